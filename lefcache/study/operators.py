"""Several operators on the same features: all trained, one chosen, the test shown for that one."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from lefcache.presets import MIX, OPS
from lefcache.recipe import Recipe
from lefcache.rows import Table
from lefcache.study.fuse import fuse
from lefcache.study.fused import Fused

# A mix is of layers of one model, another question; concat with the inputs beside is concat again.
ALL = tuple(op for op in OPS if op not in (MIX, "concat-res"))


def fuse_best(
    tables: Mapping[str, Table],
    recipes: Sequence[Recipe],
    *,
    show_test: bool = False,
    save: Path | None = None,
    overwrite: bool = False,
    on_fused: Callable[[Fused], None] | None = None,
    **settings: Any,
) -> tuple[Fused, list[Fused]]:
    """Fuse by each recipe and choose the best on validation, ties to the first; returns all too.

    The test of the others is measured and kept, so that they need not be trained again, but it is
    shown to nobody: their figures come back without it unless `show_test` is given, and a listing
    of results hides it until one of them is asked for by itself.

    Args:
        tables: as `fuse` takes them.
        recipes: at least one; they differ in their operators.
        show_test: give the test figures of all.
        save: a folder for the best head of the chosen recipe.
        overwrite: as in `fuse`.
        on_fused: called after each recipe.
        settings: everything else that `fuse` takes.
    """
    assert recipes
    if len(recipes) == 1:
        fused = fuse(tables, recipes[0], save=save, overwrite=overwrite, **settings)
        return fused, [fused]
    tried = []
    for recipe in recipes:
        tried.append(fuse(tables, recipe, shown=show_test, **settings))
        if on_fused is not None:
            on_fused(tried[-1])
    place = max(range(len(tried)), key=lambda at: (tried[at].val_accuracy.mean, -at))
    best = tried[place]
    if save is not None or not show_test:
        # It is there already: this shows its test, and trains a head that is to be saved again.
        fuse(tables, recipes[place], save=save, overwrite=overwrite, **settings)
    shown = [each if show_test or each is best else untested(each) for each in tried]
    return best, shown


def untested(fused: Fused) -> Fused:
    """The same without what it did on the test."""
    hidden = ("test_accuracy", "test_macro_f1", "test_log_loss", "test_calibration_error")
    return replace(fused, per_class=(), **dict.fromkeys(hidden))  # type: ignore[arg-type]
