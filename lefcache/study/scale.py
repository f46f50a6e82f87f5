"""How many models pay: features added one at a time, with what each gains and costs."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from lefcache.cache import Cache
from lefcache.errors import RecipeError
from lefcache.presets import VOTE
from lefcache.recipe import Recipe
from lefcache.rows import Table
from lefcache.study.cost import (
    Disk,
    disk_of,
    embed_seconds,
    predict_seconds,
    stored_as,
    training_memory,
)
from lefcache.study.fuse import OnSeed
from lefcache.study.fused import Fused
from lefcache.study.identity import Shelf, check_tables, identity
from lefcache.study.rights import Right, fuse_with_right, gain_of
from lefcache.study.rounded import check_fits, rounded
from lefcache.study.scaled import Scale, Step
from lefcache.study.steps import greedy, taking
from lefcache.train.fit import device_of

ORDERS = ("given", "best")

OnStep = Callable[[Step], None]
Tables = Mapping[str, Table]


def scale(
    cache: Cache,
    tables: Tables,
    recipe: Recipe = Recipe(op="hadamard-res"),  # noqa: B008  frozen
    *,
    order: str = "given",
    stores: Sequence[str] = (),
    seeds: int = 3,
    first_seed: int = 0,
    n_train: int | None = None,
    device: str | torch.device = "auto",
    results: Path | None = None,
    on_seed: OnSeed | None = None,
    on_step: OnStep | None = None,
) -> Scale:
    """Train a head on the first feature, on the first two, and so on, and say what each step costs.

    All steps are settled before the first is trained, so that every one is shown the test; which
    one pays is said by the rows that chose the epochs. Each head is that of `fuse`, loaded where it
    is finished; seconds and bytes are measured each time, as they are by now and on this machine.

    Args:
        cache: where the tables come from, for what lies there and what was recorded of it.
        tables: `train`, and `validation` and `test` where the corpus has them, of equal features.
        recipe: of all heads but that on one feature, which has no operator.
        order: `given`, or `best`: next the feature that ridge beside those before does best with.
        stores: types that the features of the last step are rounded to, each trained as well.
        seeds: how many.
        first_seed: the seeds are this one and those that follow it.
        n_train: how many rows to learn from; None for all.
        device: `auto`, `cpu`, `cuda` or a torch device.
        results: a folder that finished heads are kept in and loaded from; what came of the whole
            is kept there for `lef report`.
        on_seed: called after each seed that is trained.
        on_step: called after each step.

    Raises what `fuse` does, and RecipeError for an order or a store that there is not.
    """
    start = time.perf_counter()
    check_tables(tables, range(seeds))
    if order not in ORDERS:
        raise RecipeError(f"no order '{order}': it is one of {', '.join(ORDERS)}")
    if recipe.op == VOTE:
        raise RecipeError("a vote is one head for each feature: give another --op to scale")
    check_fits(tables, tuple(stores))
    places = greedy(tables, n_train) if order == "best" else range(len(tables["train"].features))
    chosen = taking(tables, places)
    settings: dict[str, Any] = {"seeds": seeds, "first_seed": first_seed, "n_train": n_train}
    heads = _Heads(cache, recipe, device_of(device), results=results, on_seed=on_seed, **settings)
    steps, before = _steps(heads, chosen, on_step)
    others = []
    for name in dict.fromkeys(stores):
        if name != steps[-1].store:
            others.append(_stored(heads, chosen, name, steps[-1], before))
            if on_step is not None:
                on_step(others[-1])
    assert heads.last is not None  # there is a feature
    made = _summed(heads.last, recipe, order, steps, others, time.perf_counter() - start)
    return _kept(made, heads, tables, stores)


class _Heads:
    """Trains the heads of a study, all alike, and weighs them."""

    def __init__(self, cache: Cache, recipe: Recipe, where: torch.device, **settings: Any) -> None:
        self.cache, self.recipe, self.where, self.settings = cache, recipe, where, settings
        self.last: Fused | None = None

    def step(self, tables: Tables, disk: Disk, before: Right | None) -> tuple[Step, Right]:
        """One head on all features of the tables, against the rows that another had right."""
        recipe = self.recipe if len(tables["train"].features) > 1 else self.recipe.alone()
        fused, right = fuse_with_right(tables, recipe, device=self.where, **self.settings)
        self.last = fused
        tested = right.test is not None and before is not None and before.test is not None
        return Step(
            features=fused.features,
            store=stored_as(tables),
            id=fused.id,
            val_accuracy=fused.val_accuracy,
            test_accuracy=fused.test_accuracy,
            val_gain=gain_of(right.validation, before.validation) if before else None,
            test_gain=gain_of(right.test, before.test) if tested else None,  # type: ignore[arg-type, union-attr]
            row_bytes=disk.row,
            disk_bytes=disk.features,
            models_bytes=disk.models,
            memory=training_memory(tables, recipe, self.settings["n_train"]),
            train_seconds=fused.seconds / fused.seeds,
            embed_seconds=embed_seconds(self.cache, tables),
            predict_seconds=predict_seconds(tables["train"], recipe, self.where),
            cached=fused.cached,
        ), right


def _kept(made: Scale, heads: _Heads, tables: Tables, stores: Sequence[str]) -> Scale:
    """The same with its id, or why it could not be kept; what was kept before is replaced."""
    settings = heads.settings
    key = identity(
        "scale",
        tables,
        heads.recipe,
        range(settings["first_seed"], settings["first_seed"] + made.seeds),
        order=made.order if made.order != "given" else None,
        stores=[*stores] or None,
        n_train=settings["n_train"],
    )
    shelf = Shelf(settings["results"] if heads.recipe.named else None, key, tables)
    made = replace(made, id=shelf.id if shelf.results else "")
    if why_not := shelf.put(made.to_json(), None, heads.where):
        return replace(made, id="", not_kept=why_not)
    return made


def _steps(heads: _Heads, tables: Tables, on_step: OnStep | None) -> tuple[list[Step], Right]:
    """A head on the first feature, on the first two, and so on; and what the last had right."""
    steps: list[Step] = []
    right: Right | None = None
    for many in range(1, 1 + len(tables["train"].features)):
        some = taking(tables, range(many))
        step, right = heads.step(some, disk_of(heads.cache, some), right)
        steps.append(step)
        if on_step is not None:
            on_step(step)
    assert right is not None
    return steps, right


def _stored(heads: _Heads, tables: Tables, name: str, as_it_is: Step, right: Right) -> Step:
    """The same features in another store."""
    other = rounded(tables, name)
    row = sum(width * rows.stored.itemsize for width, rows in _widths(other))
    share = row / sum(width * rows.stored.itemsize for width, rows in _widths(tables))
    disk = Disk(row, round(as_it_is.disk_bytes * share), round(as_it_is.models_bytes * share))
    return heads.step(other, disk, right)[0]


def _widths(tables: Tables) -> list[tuple[int, Any]]:
    train = tables["train"]
    return [*zip(train.widths, train.rows, strict=True)]


def _summed(
    last: Fused,
    recipe: Recipe,
    order: str,
    steps: Sequence[Step],
    others: Sequence[Step],
    seconds: float,
) -> Scale:
    values = recipe.to_json()
    return Scale(
        corpus=last.corpus,
        op=values["op"],
        order=order,
        seeds=last.seeds,
        recipe=values,
        selected_by=last.selected_by,
        n_train=last.n_train,
        n_val=last.n_val,
        n_test=last.n_test,
        steps=tuple(steps),
        stores=tuple(others),
        seconds=seconds,
        n_val_known=last.n_val_known,
        n_test_known=last.n_test_known,
        not_kept=last.not_kept,
    )
