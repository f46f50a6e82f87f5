"""The layers that nobody has to choose, and each feature alone in the same head."""

from collections.abc import Iterable, Mapping
from typing import Any

from lefcache.cache import Cache
from lefcache.feature import DEPTH, FIRST, FIXED, LAST, Feature
from lefcache.recipe import Recipe
from lefcache.rows import Table
from lefcache.study.baselines import Baseline, alone_of, rows_of
from lefcache.study.fuse import fuse, fuse_key
from lefcache.study.fused import Fused
from lefcache.study.identity import Shelf, alone
from lefcache.study.sweep import sweep
from lefcache.study.swept import Sweep


def fixed_layers(
    cache: Cache, features: Iterable[Feature], data: str | None = None
) -> dict[str, str]:
    """Layer 0, layer round(0.6 n) and the last one of each model and pooling, as stored here.

    Gives what each is called as a baseline, by its feature; what was not extracted is left out.
    """
    names: dict[str, str] = {}
    for model, pool in dict.fromkeys((each.model, each.pool or "mean") for each in features):
        pages = cache.pages(model, "train", data)
        stored = pages.layers(pool)
        final = pages.aliases.get("last", "last")
        final = final if final in stored else pages.depth
        # The last one first: of a model of two blocks, 0.6 of the depth is no other layer.
        for layer, name in ((final, LAST), (0, FIRST), (round(DEPTH * pages.depth), FIXED)):
            if layer in stored:
                # `m:last` alone is a model's own pooled vector, where it has one.
                plain = layer == "last" and pool == "mean"
                names.setdefault(str(Feature(model, layer, None if plain else pool)), name)
    return names


def layer_baselines(
    cache: Cache, names: Mapping[str, str], swept: Sweep | None, data: str | None, **settings: Any
) -> list[Baseline]:
    """The fixed layers, judged by the probe of a sweep, or by ridge where there was none.

    Those that the sweep judged itself are taken from it. `settings` are those of `sweep`.
    """
    known = {row.feature for row in swept.fixed} if swept else set()
    found = rows_of(swept, names) if swept else []
    if lacking := [feature for feature in names if feature not in known]:
        tables = cache.tables(lacking, data)
        found += rows_of(sweep(tables, fixed=lacking, results=cache.results, **settings), names)
    order = {feature: place for place, feature in enumerate(names)}
    return sorted(found, key=lambda each: order[each.feature])


def alone_baselines(
    cache: Cache,
    tables: Mapping[str, Table],
    recipe: Recipe,
    *,
    train: bool,
    seeds: int,
    first_seed: int,
    protocol: str,
    n_train: int | None,
    **settings: Any,
) -> list[Baseline]:
    """Each feature alone in the same head: trained, or only those that are finished already.

    Args:
        cache: where the results are.
        tables: those of the fusion; of a single feature there is nothing to compare.
        recipe: the fusion's; alone, every operator is the same.
        train: whether to train those that are not there yet.
        seeds: as of the fusion, like what follows.
        first_seed: as there.
        protocol: as there.
        n_train: as there.
        settings: `device` and `on_seed` of `fuse`.
    """
    features, single = tables["train"].features, recipe.alone()
    found: list[Fused] = []
    for place in range(len(features) if len(features) > 1 and recipe.named else 0):
        one = alone(tables, place)
        key = fuse_key(one, single, range(first_seed, first_seed + seeds), protocol, n_train)
        if train or Shelf(cache.results, key, one).find():
            found.append(
                fuse(
                    one,
                    single,
                    seeds=seeds,
                    first_seed=first_seed,
                    protocol=protocol,
                    n_train=n_train,
                    results=cache.results,
                    **settings,
                )
            )
    return alone_of(found)
