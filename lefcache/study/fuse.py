"""How good several features are together: one head over several seeds, with its uncertainty."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from lefcache.errors import DamagedError, RecipeError, StorageError
from lefcache.files import path_of
from lefcache.recipe import Recipe
from lefcache.rows import Table
from lefcache.saved import CARD
from lefcache.study.identity import (
    BY_CARVED,
    BY_SPLIT,
    CHOSEN,
    Shelf,
    check_tables,
    identity,
    known_of,
    notes_on_known,
    notes_on_rows,
)
from lefcache.train import Head, Trained, train
from lefcache.train.fit import device_of
from lefcache.train.head import check_destination, check_savable, load_card
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

    Sequences follow the seeds; `selected_by` says which rows the epochs were chosen by, and
    `best_seed` has the head that is best on them. Of `n_val` and `n_test`, those with `known` have
    a text that is also in train.
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
    best_seed: int
    val_accuracy: Estimate
    test_accuracy: Estimate | None
    test_macro_f1: Estimate | None
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
            *notes_on_rows(self.n_val, self.n_test),
            *notes_on_known("validation", self.n_val_known, self.n_val),
            *notes_on_known("test", self.n_test_known, self.n_test),
        ]

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


Runs = list[tuple[int, Trained]]
OnSeed = Callable[[int, Head, Trained], None]


def fuse(
    tables: Mapping[str, Table],
    recipe: Recipe = Recipe(),  # noqa: B008  frozen
    *,
    seeds: int = 1,
    first_seed: int = 0,
    device: str | torch.device = "auto",
    results: Path | None = None,
    save: Path | None = None,
    overwrite: bool = False,
    on_seed: OnSeed | None = None,
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
        save: a folder for the head of `best_seed`; of a loaded fusion it is trained again.
        overwrite: replace a head in that folder even if it has other features, another operator
            or another corpus; one that has the same is always replaced.
        on_seed: called after each seed with its head; a loaded fusion has none.

    Raises what `train` does, RecipeError for a head that no file can hold, and StorageError for a
    folder that it should not be saved to: all but the loss before anything is trained.
    """
    start = time.perf_counter()
    where = device_of(device)
    chain = range(first_seed, first_seed + seeds)
    check_tables(tables, chain)
    if save is not None:
        _check_save(save, tables["train"], recipe, overwrite)
    shelf = Shelf(results if recipe.named else None, identity("fuse", tables, recipe, chain))
    if found := shelf.find():
        fused = Fused.from_json(found | known_of(tables))  # one of before does not say it
        if save is not None:
            _run(tables, recipe, [fused.best_seed], where, None)[1].save(save)
        return fused
    runs, head = _run(tables, recipe, chain, where, on_seed)
    fused = _summary(tables, recipe, runs, time.perf_counter() - start)
    tested = [run.probabilities for _, run in runs if run.probabilities is not None]
    shelf.put(fused.to_json(), np.stack(tested) if tested else None, where)
    if save is not None:
        head.save(save)
    return fused


def _check_save(folder: Path, table: Table, recipe: Recipe, overwrite: bool) -> None:
    """Refuse to save before training what could not be saved, or would replace another head."""
    check_destination(folder)
    check_savable(recipe)
    if not table.origins:
        raise RecipeError(
            "these tables do not know what their features are made of, so a head on them "
            "cannot be saved: take tables from a cache"
        )
    if overwrite or not (path_of(folder) / CARD).is_file():
        return
    mend = "save this one to another folder, or replace that one with --overwrite"
    try:
        card = load_card(folder)
    except DamagedError as error:
        raise StorageError(f"{folder} holds a head that cannot be read: {mend}") from error
    there = (card.features, card.recipe.op, card.figures.get("corpus"))
    if there != (table.features, recipe.op, table.corpus):
        features = " + ".join(map(str, there[0]))
        raise StorageError(
            f"{folder} holds another head ({features}, {there[1]}, on {there[2]}): {mend}"
        )


def _run(
    tables: Mapping[str, Table],
    recipe: Recipe,
    chain: Sequence[int],
    where: torch.device,
    on_seed: OnSeed | None,
) -> tuple[Runs, Head]:
    """Train each seed; returns what came out, and the head that is best on validation."""
    validation, test = tables.get("validation"), tables.get("test")
    runs: Runs = []
    best: tuple[float, Head] | None = None
    for seed in chain:
        head, trained = train(
            tables["train"], recipe, validation=validation, test=test, seed=seed, device=where
        )
        runs.append((seed, trained))
        if best is None or trained.val_accuracy > best[0]:
            best = trained.val_accuracy, head
        if on_seed is not None:
            on_seed(seed, head, trained)
    assert best is not None  # check_tables saw to it
    return runs, best[1]


def _summary(tables: Mapping[str, Table], recipe: Recipe, runs: Runs, seconds: float) -> Fused:
    trained, known = [run for _, run in runs], known_of(tables)
    values, test = recipe.to_json(), tables.get("test")
    test_accuracy, test_macro_f1 = (
        _test_figures(trained, test) if test is not None else (None, None)
    )
    return Fused(
        corpus=tables["train"].corpus,
        features=tuple(str(feature) for feature in tables["train"].features),
        op=values["op"],
        seeds=len(runs),
        recipe=values,
        selected_by=BY_SPLIT if "validation" in tables else BY_CARVED,
        n_train=trained[0].n_train,
        n_val=trained[0].n_val,
        n_test=trained[0].n_test,
        best_epochs=tuple(run.best_epoch for run in trained),
        best_seed=max(runs, key=lambda run: run[1].val_accuracy)[0],
        val_accuracy=_accuracies(np.stack([run.val_correct for run in trained])),
        test_accuracy=test_accuracy,
        test_macro_f1=test_macro_f1,
        seconds=seconds,
        n_val_known=known["n_val_known"],
        n_test_known=known["n_test_known"],
    )


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
