"""Which rows each seed of a fusion had right: what a paired difference is made of."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lefcache import results as store
from lefcache.recipe import Recipe
from lefcache.rows import Table
from lefcache.study.compare import differences, side_of
from lefcache.study.fuse import OnSeed, fuse, fuse_key
from lefcache.study.fused import Fused, packed, unpacked
from lefcache.study.identity import Shelf, as_written
from lefcache.train import Trained
from lefcache.train.protocol import labelled
from lefcache.train.stats import Interval, interval


@dataclass(frozen=True)
class Right:
    """Of (S, V) validation rows and (S, N) test texts, which a seed had right; None: no test."""

    validation: NDArray[np.bool_]
    test: NDArray[np.bool_] | None


@dataclass(frozen=True)
class Gain:
    """How much more is right than before, as a share of `n` rows that both were asked about."""

    mean: float
    ci95: Interval
    n: int

    @property
    def sure(self) -> bool:
        """Whether it is more than the luck of these rows and seeds."""
        return self.ci95[0] > 0


def gain_of(right: NDArray[np.bool_], before: NDArray[np.bool_]) -> Gain:
    """The paired difference of two (S, N) of equal seeds, over seeds and rows."""
    drawn = differences(right, before, True)
    return Gain(float(right.mean() - before.mean()), interval(drawn), right.shape[1])


def fuse_with_right(
    tables: Mapping[str, Table],
    recipe: Recipe,
    *,
    results: Path | None,
    on_seed: OnSeed | None = None,
    **settings: Any,
) -> tuple[Fused, Right]:
    """Fuse, or take it from the results, and say which rows were right as well.

    A fusion that was kept before its validation rows were is trained once more for them.
    `settings` are those of `fuse`: seeds, first_seed, n_train and device.
    """
    runs: list[Trained] = []

    def keep(seed: int, head: Any, run: Trained) -> None:
        runs.append(run)
        if on_seed is not None:
            on_seed(seed, head, run)

    fused = fuse(tables, recipe, results=results, on_seed=keep, **settings)
    if runs:
        return fused, _of_runs(runs, tables)
    assert results is not None  # else it had been trained
    first, many = settings.get("first_seed", 0), settings["seeds"]
    seeds = range(first, first + many)
    shelf = Shelf(results, fuse_key(tables, recipe, seeds, n_train=settings.get("n_train")), tables)
    found = store.find(results, tables["train"].corpus, shelf.id)
    assert found is not None
    words = found.payload.get("val_right")
    if words is None:
        fuse(tables, recipe, results=None, on_seed=keep, **settings)
        shelf.amend({"val_right": packed([run.val_correct for run in runs])})
        return fused, _of_runs(runs, tables)
    with as_written(found.path):
        validation = unpacked(words, fused.n_val)
    return fused, Right(validation, side_of(found).correct if "test" in tables else None)


def _of_runs(runs: list[Trained], tables: Mapping[str, Table]) -> Right:
    validation = np.stack([run.val_correct for run in runs])
    if "test" not in tables:
        return Right(validation, None)
    scored = labelled(tables["test"])
    given = np.stack([run.predictions for run in runs if run.predictions is not None])
    return Right(validation, given[:, scored.index] == scored.labels)
