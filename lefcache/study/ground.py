"""Where a layer is looked for: samples of rows, and what it takes to judge them."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from lefcache.rows import Table
from lefcache.study.arrange import arranged, nested, taken
from lefcache.study.budget import head_work, score_work
from lefcache.study.probes import Setup
from lefcache.study.scores import Sample
from lefcache.train.fit import Job
from lefcache.train.protocol import Index, Part, training_parts

SMALLEST = 256  # rows that a score begins with
PER_CLASS = 4  # and at least so many of each class
FINEST = 2**0.5  # between two sizes that a budget is tried with


@dataclass(frozen=True)
class Ground:
    """The layers of one model, and the rows that learn and judge.

    `judges` are a corpus's own validation split, or what was carved from train; `own` says which.
    """

    table: Table
    learned: Part
    judges: Part
    own: bool
    seed: int
    setup: Setup
    drawn: dict[int, Index] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.table.features)

    @property
    def model(self) -> str:
        """Whose layers these are."""
        return self.table.features[0].model

    @property
    def classes(self) -> int:
        """C."""
        return len(self.table.classes)

    @property
    def smallest(self) -> int:
        """How many rows a score begins with."""
        return min(len(self.learned), max(SMALLEST, PER_CLASS * self.classes))

    def index(self, size: int) -> Index:
        """The rows of the table that a sample of this size has, or a few fewer."""
        if size not in self.drawn:
            self.drawn[size] = nested(self.learned, size, self.seed)
        return self.drawn[size]

    def sample(self, place: int, size: int) -> Sample:
        """So many rows of one layer, read."""
        table, index = self.table, self.index(size)
        assert table.labels is not None
        judged = None
        if self.own:
            judges = self.judges
            judged = np.asarray(judges.table.rows[place][judges.index]), judges.labels
        return Sample(
            np.asarray(table.rows[place][index]),
            table.labels[index].astype(np.int64),
            self.classes,
            table.texts[index],
            judged,
        )

    def job(self, place: int, size: int) -> Job:
        """The head of one layer, on so many rows."""
        learns = taken(self.table.alone(place), self.index(size))
        judges = taken(self.judges.table.alone(place), self.judges.index)
        return Job(learns, judges, seed=self.setup.seeds[0])

    def score_work(self, places: Sequence[int], size: int) -> float:
        """What one score of these layers takes."""
        judged = len(self.judges) if self.own else 0
        widths = [self.table.widths[place] for place in places]
        return math.fsum(score_work(size, width, self.classes, judged) for width in widths)

    def head_work(self, places: Sequence[int], size: int) -> float:
        """What a head on each of these layers takes."""
        widths = [self.table.widths[place] for place in places]
        more = self.setup.recipe, len(self.judges)
        return math.fsum(head_work(size, width, self.classes, *more) for width in widths)

    def sweep_work(self) -> float:
        """What a sweep of one seed takes, with a head on every layer and all rows."""
        return self.head_work(range(len(self)), len(self.learned))

    def sizes(self) -> Iterator[int]:
        """Sizes of samples, falling, from all rows."""
        size = float(len(self.learned))
        yield round(size)
        while (size := size / FINEST) > self.smallest:
            yield round(size)


def grounds_of(
    tables: Mapping[str, Table], n_train: int | None, seed: int, setup: Setup
) -> list[Ground]:
    """The ground of each model, from the rows that a study of `n_train` learns from; no test."""
    used, _ = arranged(tables, "validation", n_train, carves=True)
    found = []
    for model in dict.fromkeys(feature.model for feature in tables["train"].features):
        mine = {name: of_model(table, model) for name, table in used.items() if name != "test"}
        parts = training_parts(mine["train"], mine.get("validation"))
        found.append(Ground(mine["train"], *parts, "validation" in tables, seed, setup))
    return found


def of_model(table: Table, model: str) -> Table:
    """The same rows with the features of one model only."""
    places = [at for at, each in enumerate(table.features) if each.model == model]

    def mine(values: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(values[place] for place in places) if values else ()

    return replace(
        table,
        features=mine(table.features),
        rows=mine(table.rows),
        specs=mine(table.specs),
        origins=mine(table.origins),
    )
