"""Which layer is best: one small classifier per layer, chosen without the test."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from lefcache.errors import RecipeError
from lefcache.feature import Feature
from lefcache.recipe import Recipe
from lefcache.rows import Table
from lefcache.study.identity import (
    CHOSEN,
    Shelf,
    alone,
    check_tables,
    identity,
    known_of,
    notes_on_known,
    notes_on_rows,
)
from lefcache.study.probes import PROBES, SEEDLESS, Probe, Probed, Setup
from lefcache.train.fit import device_of
from lefcache.train.protocol import labelled
from lefcache.train.stats import accuracy_interval, macro_f1


@dataclass(frozen=True)
class Row:
    """One layer of a sweep; the test's fields are None unless this row was shown the test."""

    feature: str
    val_accuracy: float
    seconds: float
    test_accuracy: float | None = None
    test_macro_f1: float | None = None
    test_ci95: tuple[float, float] | None = None


@dataclass(frozen=True)
class Sweep:
    """A finished sweep: `best` is the chosen feature, `last` the deepest ones of each model.

    `n_val` is 0 where rows were left out in turn (`selected_by` says so) instead of held out. Of
    `n_val` and `n_test`, those with `known` have a text that is also in train.
    """

    corpus: str
    probe: str
    seeds: int
    selected_by: str
    n_train: int
    n_val: int
    n_test: int
    rows: tuple[Row, ...]
    best: str
    last: tuple[str, ...]
    seconds: float
    cached: bool = False
    n_val_known: int = 0
    n_test_known: int = 0

    @property
    def chosen(self) -> str:
        """`selected_by` in words that follow "chosen"."""
        return CHOSEN.get(self.selected_by, f"by {self.selected_by}")

    def notes(self) -> list[str]:
        """What to know of these figures that they do not show."""
        return [
            *notes_on_rows(self.n_val or self.n_train, self.n_test),
            *notes_on_known("validation", self.n_val_known, self.n_val),
            *notes_on_known("test", self.n_test_known, self.n_test),
        ]

    def to_json(self) -> dict[str, Any]:
        """The fields as plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Sweep":
        """Read what `to_json` wrote."""
        rows = []
        for row in values["rows"]:
            ci95 = row["test_ci95"]
            rows.append(Row(**{**row, "test_ci95": tuple(ci95) if ci95 else None}))
        return cls(**{**values, "rows": tuple(rows), "last": tuple(values["last"])})


Judged = tuple[Row, NDArray[np.int32] | None]


def sweep(
    tables: Mapping[str, Table],
    probe: str | Probe = "ridge",
    recipe: Recipe = Recipe(),  # noqa: B008  frozen
    *,
    seeds: int = 1,
    first_seed: int = 0,
    show_test: bool = False,
    device: str | torch.device = "auto",
    results: Path | None = None,
    on_row: Callable[[Row], None] | None = None,
) -> Sweep:
    """Judge every feature of the tables on its own and choose the best, ties to the shallower.

    The test is read for the chosen feature only, after it was chosen: the best of 33 layers on
    the test itself would be 33 chances to be lucky. At most one layer of train and one of
    another split are in memory.

    Args:
        tables: `train`, and `validation` and `test` where the corpus has them, of equal features.
        probe: a name in PROBES, or a function like those there.
        recipe: how the probe `mlp` is trained.
        seeds: heads per layer; a ridge is the same for every seed, so it is fitted once.
        first_seed: the seeds are this one and those that follow it.
        show_test: fill the test figures of every row, for a plot, not for a choice.
        device: of the probe `mlp`.
        results: a folder that finished sweeps are kept in and loaded from; own functions are not.
        on_row: called as each row is judged, before the chosen one is shown the test.
    """
    start = time.perf_counter()
    fit, name = _probe_of(probe)
    where = device_of(device)
    chain = (0,) if name in SEEDLESS else tuple(range(first_seed, first_seed + seeds))
    check_tables(tables, chain)
    shown = show_test and "test" in tables
    settings = None if name in SEEDLESS else recipe
    key = identity("sweep", tables, settings, chain, probe=name, show_test=shown)
    shelf = Shelf(results if isinstance(probe, str) and recipe.named else None, key, tables)
    known = known_of(tables)
    if found := shelf.find():
        return Sweep.from_json(found | known)  # one of before does not say it
    setup = Setup(recipe, chain, where)
    judged, best, leader = _judge_all(fit, tables, setup, shown, on_row)
    if "test" in tables and not shown:
        judged[best] = _show_test(judged[best][0], leader, alone(tables, best)["test"])
    rows = tuple(row for row, _ in judged)
    predicted = [classes for _, classes in judged if classes is not None]
    sweep = Sweep(
        corpus=tables["train"].corpus,
        probe=name,
        seeds=len(chain),
        selected_by=leader.selected_by,
        n_train=leader.n_train,
        n_val=leader.n_val,
        n_test=len(labelled(tables["test"])) if "test" in tables else 0,
        rows=rows,
        best=rows[best].feature,
        last=_deepest(tables["train"].features),
        seconds=time.perf_counter() - start,
        n_val_known=known["n_val_known"],
        n_test_known=known["n_test_known"],
    )
    shelf.put(sweep.to_json(), np.stack(predicted) if predicted else None, where)
    return sweep


def _probe_of(probe: str | Probe) -> tuple[Probe, str]:
    if not isinstance(probe, str):
        return probe, getattr(probe, "__name__", type(probe).__name__)
    if probe not in PROBES:
        raise RecipeError(f"no probe '{probe}': it is one of {', '.join(PROBES)}")
    return PROBES[probe], probe


def _judge_all(
    fit: Probe,
    tables: Mapping[str, Table],
    setup: Setup,
    shown: bool,
    on_row: Callable[[Row], None] | None,
) -> tuple[list[Judged], int, Probed]:
    """Every row with what it predicted of the test, if shown; the best one's place and probe."""
    judged: list[Judged] = []
    best, leader, highest = 0, None, (math.inf, math.inf)
    for place, feature in enumerate(tables["train"].features):
        mine = alone(tables, place)
        start = time.perf_counter()
        probed = fit(mine["train"], mine.get("validation"), setup)
        row = Row(str(feature), probed.val_accuracy, time.perf_counter() - start)
        rank = (-row.val_accuracy, depth_of(feature))
        if leader is None or rank < highest:
            best, leader, highest = place, probed, rank  # only the leader's heads are kept
        judged.append(_show_test(row, probed, mine["test"]) if shown else (row, None))
        if on_row is not None:
            on_row(judged[-1][0])
    assert leader is not None  # a table has at least one feature
    return judged, best, leader


def _show_test(row: Row, probed: Probed, test: Table) -> Judged:
    """The row with its test figures, and the classes (S, N) of all the test's rows."""
    predicted = probed.predict(test)
    scored = labelled(test)
    classes = predicted[:, scored.index]
    correct = classes == scored.labels
    filled = replace(
        row,
        test_accuracy=float(correct.mean()),
        test_macro_f1=float(np.mean([macro_f1(scored.labels, one) for one in classes])),
        test_ci95=accuracy_interval(correct),
    )
    return filled, predicted


def depth_of(feature: Feature) -> float:
    """How deep a feature lies, in blocks: the mean of its layers; `last` is below them all."""
    numbers = [part if isinstance(part, int) else math.inf for part in feature.parts]
    return sum(numbers) / len(numbers)


def _deepest(features: Sequence[Feature]) -> tuple[str, ...]:
    depths: dict[str, float] = {}
    for feature in features:
        depths[feature.model] = max(depth_of(feature), depths.get(feature.model, -math.inf))
    return tuple(str(each) for each in features if depth_of(each) == depths[each.model])
