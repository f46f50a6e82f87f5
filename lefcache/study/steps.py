"""In which order features are added: as named, or next the one that ridge gains most by."""

from collections.abc import Iterable, Mapping

import numpy as np

from lefcache.rows import Table
from lefcache.study.arrange import arranged
from lefcache.study.narrow import Beside, Narrow, narrowed
from lefcache.train.protocol import Part, training_parts
from lefcache.train.ridge import best, fit_ridge

Tables = Mapping[str, Table]


def taking(tables: Tables, places: Iterable[int]) -> dict[str, Table]:
    """The same splits with the features at these places, in this order."""
    order = [*places]
    return {name: table.of(order) for name, table in tables.items()}


def greedy(tables: Tables, n_train: int | None = None) -> list[int]:
    """Places of all features: first the best one for ridge, then the best beside those before.

    Judged by the rows that choose the epochs of a head, never by the test; ties go to the lower
    error, then to the one that was named first. Features wider than 512 are projected first.
    """
    used, _ = arranged(tables, "validation", n_train, carves=True)
    learned, chosen = training_parts(used["train"], used.get("validation"))
    sides = [
        narrowed(learned.alone(place), chosen.alone(place))
        for place in range(len(learned.table.features))
    ]
    order: list[int] = []
    while len(order) < len(sides):
        rest = [place for place in range(len(sides)) if place not in order]
        scores = {place: _score(learned, chosen, sides, [*order, place]) for place in rest}
        order.append(max(rest, key=lambda place: scores[place]))
    return order


def _score(
    learned: Part, chosen: Part, sides: list[Narrow], places: list[int]
) -> tuple[float, float]:
    """Accuracy of ridge on these features side by side, and its error with the sign turned."""
    held_out = [side.held_out for place in places if (side := sides[place])]
    path = fit_ridge(
        Beside([sides[place].rows for place in places]),
        learned.labels,
        len(learned.table.classes),
        leave_out=False,
    )
    _, accuracies, errors = path.judge(Beside([each for each in held_out if each]), chosen.labels)
    at = best(np.asarray(accuracies), np.asarray(errors))
    return float(accuracies[at]), -float(errors[at])
