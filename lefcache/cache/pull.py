"""Chosen layers of a cache that lies elsewhere, brought to this disk."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lefcache.cache.adopt import adopt, adopt_corpus, check_adoptable, wanting
from lefcache.cache.pages import TOKENS, Pages
from lefcache.cache.remote import OnPull, RemoteCache
from lefcache.cache.tree import Cache
from lefcache.errors import FeatureError
from lefcache.feature import parse_layers, parse_pool


@dataclass(frozen=True)
class Pulled:
    """What became of one split: its arrays that were asked for, and those that had to come."""

    path: str
    arrays: tuple[str, ...]
    new: tuple[str, ...]
    rows: int
    unfinished: tuple[str, ...]  # arrays that lack rows where they come from


def pull(
    source: RemoteCache,
    key: str = "",
    layers: str = "",
    pools: Sequence[str] = (),
    target: Cache | None = None,
    on_pull: OnPull | None = None,
) -> Iterator[Pulled]:
    """Bring arrays of all splits below a key into another cache, or without one into the mirror.

    `layers` is such as `16..32,last`; without it and `pools` all come. What is there already is not
    pulled again. Raises FeatureError for what is not in the source, MismatchError where the target
    holds other texts, settings or vectors under that name, DamagedError for rows that are not those
    that were written.
    """
    splits = source.below(key) if key else [p for node in source.values() for p in node.all_pages()]
    if not splits:
        raise FeatureError(f"there is nothing to pull in {source.path}")
    chosen = [(pages, choose(pages, layers, pools)) for pages in splits]
    for pages, arrays in chosen:
        mirror = source.mirror if target is None else target
        new = wanting(mirror.store, pages, arrays, pages.path)
        if target is None:
            source.bring(pages, arrays)
        else:
            _take(source, target, pages, new, on_pull)
        unfinished = tuple(name for name in arrays if name in pages.missing)
        yield Pulled(pages.path, tuple(arrays), tuple(new), pages.rows, unfinished)


def choose(pages: Pages, layers: str, pools: Sequence[str]) -> list[str]:
    """The arrays of a split that are meant; FeatureError where it has none of a layer or pool."""
    wanted = [parse_pool(pool) for pool in pools] or pages.pools
    stored = [name for name in pages.arrays if name != TOKENS]
    if lacking := [pool for pool in wanted if pool not in pages.pools]:
        raise FeatureError(
            f"{pages.path} has no pool {', '.join(lacking)}: it has {', '.join(pages.pools)}"
        )
    names = [name for name in stored if name.partition("/")[0] in wanted]
    if layers:
        here = dict.fromkeys(layer for pool in wanted for layer in pages.layers(pool))
        meant = parse_layers(layers, pages.depth, [*here, *pages.aliases])
        ends = {str(pages.aliases.get(str(layer), layer)) for layer in meant}
        names = [name for name in names if name.partition("/")[2] in ends]
    return names


def _take(
    source: RemoteCache, target: Cache, pages: Pages, new: Sequence[str], on_pull: OnPull | None
) -> None:
    total = len(new) * pages.rows

    def tell(rows: int) -> None:
        if on_pull:
            on_pull(pages.path, total, rows)

    check_adoptable(target.store, pages, pages.corpus, pages.model)
    adopt_corpus(target.store, pages, pages.corpus)
    if new:
        tell(0)
        adopt(target.store, pages, new, pages.path, str(source.path), tell)
