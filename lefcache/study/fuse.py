"""How good several features are together: one head over several seeds, with its uncertainty."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from lefcache.recipe import Recipe
from lefcache.rows import Table
from lefcache.study.identity import BY_CARVED, BY_SPLIT, Shelf, check_tables, identity
from lefcache.train import Head, Trained, train
from lefcache.train.fit import device_of
from lefcache.train.protocol import labelled
from lefcache.train.stats import Interval, accuracy_interval, f1_interval, spread


@dataclass(frozen=True)
class Estimate:
    """A figure over seeds; `ci95` covers seeds and texts, of one seed texts only (`std` is 0)."""

    mean: float
    std: float
    ci95: Interval
    values: tuple[float, ...]


@dataclass(frozen=True)
class Fused:
    """A finished fusion: figures over seeds, those of the test None without a test split.

    Sequences follow the seeds; `selected_by` says which rows the epochs were chosen by.
    """

    corpus: str
    features: tuple[str, ...]
    op: str
    seeds: int
    recipe: dict[str, Any]
    selected_by: str
    n_train: int
    n_val: int
    n_test: int
    best_epochs: tuple[int, ...]
    val_accuracy: Estimate
    test_accuracy: Estimate | None
    test_macro_f1: Estimate | None
    seconds: float
    cached: bool = False

    def to_json(self) -> dict[str, Any]:
        """The fields as plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Fused":
        """Read what `to_json` wrote."""
        read = dict(values)
        for name in ("features", "best_epochs"):
            read[name] = tuple(read[name])
        for name in ("val_accuracy", "test_accuracy", "test_macro_f1"):
            if one := read[name]:
                pairs = {"ci95": tuple(one["ci95"]), "values": tuple(one["values"])}
                read[name] = Estimate(**{**one, **pairs})
        return cls(**read)


def fuse(
    tables: Mapping[str, Table],
    recipe: Recipe = Recipe(),  # noqa: B008  frozen
    *,
    seeds: int = 1,
    first_seed: int = 0,
    device: str | torch.device = "auto",
    results: Path | None = None,
    on_seed: Callable[[int, Head, Trained], None] | None = None,
) -> Fused:
    """Train the recipe on all features of the tables together, once for each seed.

    Every seed learns from the same rows and is scored on the test once, at its best epoch on
    validation.

    Args:
        tables: `train`, and `validation` and `test` where the corpus has them, of equal features.
        recipe: operator and training; a function as `op` is never kept in `results`.
        seeds: how many.
        first_seed: the seeds are this one and those that follow it.
        device: `auto`, `cpu`, `cuda` or a torch device.
        results: a folder that finished fusions are kept in and loaded from.
        on_seed: called after each seed with its head; a loaded fusion has none.
    """
    start = time.perf_counter()
    where = device_of(device)
    chain = range(first_seed, first_seed + seeds)
    check_tables(tables, chain)
    shelf = Shelf(results if recipe.named else None, identity("fuse", tables, recipe, chain))
    if found := shelf.find():
        return Fused.from_json(found)
    validation, test = tables.get("validation"), tables.get("test")
    runs: list[Trained] = []
    for seed in chain:
        head, trained = train(
            tables["train"], recipe, validation=validation, test=test, seed=seed, device=where
        )
        runs.append(trained)
        if on_seed is not None:
            on_seed(seed, head, trained)
    values = recipe.to_json()
    test_accuracy, test_macro_f1 = _test_figures(runs, test) if test is not None else (None, None)
    fused = Fused(
        corpus=tables["train"].corpus,
        features=tuple(str(feature) for feature in tables["train"].features),
        op=values["op"],
        seeds=seeds,
        recipe=values,
        selected_by=BY_SPLIT if validation is not None else BY_CARVED,
        n_train=runs[0].n_train,
        n_val=runs[0].n_val,
        n_test=runs[0].n_test,
        best_epochs=tuple(run.best_epoch for run in runs),
        val_accuracy=_accuracies(np.stack([run.val_correct for run in runs])),
        test_accuracy=test_accuracy,
        test_macro_f1=test_macro_f1,
        seconds=time.perf_counter() - start,
    )
    tested = [run.probabilities for run in runs if run.probabilities is not None]
    shelf.put(fused.to_json(), np.stack(tested) if tested else None, where)
    return fused


def _test_figures(runs: Sequence[Trained], test: Table) -> tuple[Estimate, Estimate]:
    scored = labelled(test)
    every = np.stack([run.predictions for run in runs if run.predictions is not None])  # (S, N)
    classes = every[:, scored.index]
    f1 = np.array([run.test_macro_f1 for run in runs], np.float64)
    interval = f1_interval(scored.labels, classes)
    return _accuracies(classes == scored.labels), _estimate(f1, interval)


def _accuracies(correct: NDArray[np.bool_]) -> Estimate:
    """Of (S, N) right or wrong."""
    return _estimate(correct.mean(axis=1), accuracy_interval(correct))


def _estimate(values: NDArray[np.float64], ci95: Interval) -> Estimate:
    return Estimate(**spread(values), ci95=ci95, values=tuple(values.tolist()))
