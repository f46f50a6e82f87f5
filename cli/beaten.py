"""The baselines of a command's study: each asked of the library with the command's own flags."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lefcache import Cache
    from lefcache.rows import Table
    from lefcache.study import Baseline, Sweep


def settled(
    cache: "Cache",
    tables: "Mapping[str, Table]",
    data: str | None,
    options: dict[str, Any],
    size: int | None,
) -> "list[Baseline]":
    """The largest class and the words of the texts."""
    from lefcache.study import plain_baselines, read_again

    return plain_baselines(
        tables,
        lambda: read_again(cache, cache.corpus(data)),
        protocol=options["protocol"],
        n_train=size,
        results=cache.results,
    )


def fixed(
    cache: "Cache",
    tables: "Mapping[str, Table]",
    data: str | None,
    options: dict[str, Any],
    swept: "Sweep | None" = None,
    **settings: Any,
) -> "list[Baseline]":
    """Layer 0, the last layer and a fixed depth, as a sweep judged them, or by ridge."""
    from lefcache.study import fixed_layers, layer_baselines

    names = fixed_layers(cache, tables["train"].features, data)
    same = {"protocol": options["protocol"], **settings}
    return layer_baselines(cache, names, swept, data, **same)
