"""How good several features are together: one head over several seeds, with its uncertainty."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lefcache.errors import DamagedError, RecipeError, StorageError
from lefcache.files import path_of
from lefcache.recipe import Recipe
from lefcache.rows import Table
from lefcache.saved import CARD
from lefcache.study.arrange import arranged, check_protocol
from lefcache.study.fused import (
    ESTIMATES,
    Fused,
    accuracies,
    figures_on_test,
    packed,
    shares_of_layers,
)
from lefcache.study.identity import Shelf, check_tables, identity, known_of
from lefcache.train import Head, Trained
from lefcache.train.fit import Job, device_of, train_all
from lefcache.train.saving import check_destination, check_savable, load_card

Runs = list[tuple[int, Trained]]
OnSeed = Callable[[int, Head, Trained], None]


def fuse(
    tables: Mapping[str, Table],
    recipe: Recipe = Recipe(),  # noqa: B008  frozen
    *,
    seeds: int = 1,
    first_seed: int = 0,
    protocol: str = "validation",
    n_train: int | None = None,
    shown: bool = True,
    device: str | torch.device = "auto",
    results: Path | None = None,
    save: Path | None = None,
    overwrite: bool = False,
    on_seed: OnSeed | None = None,
) -> Fused:
    """Train the recipe on all features of the tables together, once for each seed.

    Every seed learns from the same rows and is scored on the test once, at its best epoch on
    validation (under the protocol "paper": on the test itself, and labelled so).

    Args:
        tables: `train`, and `validation` and `test` where the corpus has them, of equal features.
        recipe: operator and training; a function as `op` is never kept in `results`.
        seeds: how many.
        first_seed: the seeds are this one and those that follow it.
        protocol: `validation`, or `paper`: the best epoch on the test, as the method's source does.
        n_train: how many rows to learn from, the same for every study; None for all.
        shown: whether the test is shown to anybody; a listing of results hides it otherwise.
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
    recipe = recipe.settled(len(tables["train"].features))
    check_protocol(tables, protocol)
    used, by = arranged(tables, protocol, n_train, carves=True)
    if save is not None:
        _check_save(save, tables["train"], recipe, overwrite)
    key = fuse_key(tables, recipe, chain, protocol, n_train)
    shelf = Shelf(results if recipe.named else None, key, tables)
    if found := shelf.find():
        if shown and not found.get("test_shown", True):
            shelf.amend(test_shown=True)
        fused = Fused.from_json(found | known_of(used))  # one of before does not say it
        if save is not None:
            _labelled(_run(used, recipe, [fused.best_seed], where, None)[1], fused).save(save)
        return fused
    runs, head = _run(used, recipe, chain, where, on_seed)
    fused = replace(
        _summary(used, recipe, runs, by, protocol),
        seconds=time.perf_counter() - start,
        id=shelf.id if shelf.results else "",
    )
    tested = [run.probabilities for _, run in runs if run.probabilities is not None]
    figures = fused.to_json() | ({} if shown else {"test_shown": False})
    right = packed([run.val_correct for _, run in runs])
    predicted = np.stack(tested) if tested else None
    if why_not := shelf.put(figures, predicted, where, val_right=right):
        fused = replace(fused, id="", not_kept=why_not)
    if save is not None:
        _labelled(head, fused).save(save)
    return fused


def fuse_key(
    tables: Mapping[str, Table],
    recipe: Recipe,
    seeds: Sequence[int],
    protocol: str = "validation",
    n_train: int | None = None,
) -> dict[str, Any]:
    """What makes a fusion the same one."""
    paper = protocol if protocol != "validation" else None
    recipe = recipe.settled(len(tables["train"].features))
    return identity("fuse", tables, recipe, seeds, protocol=paper, n_train=n_train)


def _labelled(head: Head, fused: Fused) -> Head:
    """The head, whose card says how its figures came about and how other seeds did."""
    if head.card is not None:
        study = {name: each for name, each in fused.to_json().items() if name in ESTIMATES}
        how = {"protocol": fused.protocol, "selected_by": fused.selected_by, "seeds": fused.seeds}
        head.card = replace(head.card, figures={**head.card.figures, **how, "study": study})
    return head


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
    splits = tables["train"], tables.get("validation"), tables.get("test")
    runs: Runs = []
    best: tuple[float, Head] | None = None
    trained = train_all([Job(*splits, seed) for seed in chain], recipe, device=where)
    for seed, (head, run) in zip(chain, trained, strict=True):
        runs.append((seed, run))
        if best is None or run.val_accuracy > best[0]:
            best = run.val_accuracy, head
        if on_seed is not None:
            on_seed(seed, head, run)
    assert best is not None  # check_tables saw to it
    return runs, best[1]


def _summary(
    tables: Mapping[str, Table], recipe: Recipe, runs: Runs, by: str, protocol: str
) -> Fused:
    trained, values = [run for _, run in runs], recipe.to_json()
    more: dict[str, Any] = dict.fromkeys(("test_accuracy", "test_macro_f1")) | known_of(tables)
    if "test" in tables:
        more |= figures_on_test(trained, tables["test"])
    return Fused(
        corpus=tables["train"].corpus,
        features=tuple(str(feature) for feature in tables["train"].features),
        op=values["op"],
        seeds=len(runs),
        recipe=values,
        selected_by=by,
        n_train=trained[0].n_train,
        n_val=trained[0].n_val,
        n_test=trained[0].n_test,
        best_epochs=tuple(run.best_epoch for run in trained),
        best_seed=max(runs, key=lambda run: run[1].val_accuracy)[0],
        val_accuracy=accuracies(np.stack([run.val_correct for run in trained])),
        seconds=0.0,
        protocol=protocol,
        layer_weights=shares_of_layers(trained, tables["train"]),
        **more,
    )
