"""The command that comes after the one that has just ended."""

from typing import TYPE_CHECKING

from cli.output import cache_words
from lefcache.errors import LefError

if TYPE_CHECKING:
    from lefcache import Cache


def next_sweep(
    cache: "Cache", folder: str, corpus: str, model: str, with_torch: bool = True
) -> str:
    """The sweep that comes next, or what it would refuse, with what to do instead.

    Without torch, which takes seconds to import, that it lacks rows to train on is all that shows.
    """
    pages, *_ = cache[corpus][model].values()
    # A model's name alone stands for its layers pooled by their mean, or for what was imported
    # without a pooling.
    plain = "mean" in pages.pools or (pages.spec.imported and "own" in pages.pools)
    models = model if plain else f"{model}:all@{pages.pools[0]}"
    why = ""
    try:
        tables = cache.tables(models, corpus)
        if with_torch:
            from lefcache.study import check_tables

            check_tables(tables, seeds=[0])
        ready = "train" in tables
    except LefError as error:
        ready, why = False, str(error)
    if ready:
        return f"Next: lef sweep{cache_words(folder)} --data {corpus} --models {models}"
    lacking = cache.unextracted(models, corpus)
    why = "; ".join(lacking) or why or f"{corpus} has no labelled rows to train on"
    return f"Before lef sweep can run: {why}"
