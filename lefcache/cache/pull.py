"""Chosen layers of a cache that lies elsewhere, brought to this disk."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from lefcache.cache.adopt import adopt, check_adoptable, wanting
from lefcache.cache.corpora import adopt_corpus
from lefcache.cache.pages import TOKENS, Pages
from lefcache.cache.remote import OnPull, RemoteCache
from lefcache.cache.tree import Cache
from lefcache.errors import FeatureError
from lefcache.feature import NAME, RESERVED, parse_layers, parse_pool


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
    name: str = "",
) -> Iterator[Pulled]:
    """Bring arrays of all splits below a key into another cache, or without one into the mirror.

    `layers` is such as `16..32,last`; without it and `pools` all come. `name` is what the model is
    to be called there, `NAME` or `CORPUS/NAME`. What is there already is not pulled again. Raises
    FeatureError for what is not in the source, MismatchError where the target holds other texts,
    settings or vectors under that name, DamagedError for rows that are not those that were written.
    """
    splits = source.below(key) if key else [p for node in source.values() for p in node.all_pages()]
    if not splits:
        raise FeatureError(f"there is nothing to pull in {source.path}")
    chosen = [
        (pages, path_here(pages, name, splits), choose(pages, layers, pools)) for pages in splits
    ]
    for pages, path, arrays in chosen:
        new = wanting((target or source.mirror).store, pages, arrays, path)
        if target is None:
            source.bring(pages, arrays)
        else:
            _take(source, target, pages, path, new, on_pull)
        unfinished = tuple(name for name in arrays if name in pages.missing)
        yield Pulled(path, tuple(arrays), tuple(new), pages.rows, unfinished)


def path_here(pages: Pages, name: str, found: Sequence[Pages]) -> str:
    """Where a split goes that is found with others, under its own name or `[CORPUS/]NAME`."""
    corpus, slash, model = name.rpartition("/")
    if not name:
        return pages.path
    if len({(each.corpus, each.model) for each in found}) > 1:
        models = ", ".join(sorted({f"{each.corpus}/{each.model}" for each in found}))
        raise FeatureError(f"--as names one model, and there are {models}: choose one with KEY")
    corpus = corpus if slash else pages.corpus
    for each in (corpus, model):
        if not NAME.fullmatch(each) or each in RESERVED:
            raise FeatureError(f"'{each}' cannot be a name here: --as takes NAME or CORPUS/NAME")
    return f"{corpus}/{model}/{pages.split}"


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
    source: RemoteCache,
    target: Cache,
    pages: Pages,
    path: str,
    new: Mapping[str, int],
    on_pull: OnPull | None,
) -> None:
    def tell(rows: int) -> None:
        if on_pull:
            on_pull(path, sum(new.values()), rows)

    corpus, model, _ = path.split("/")
    check_adoptable(target.store, pages, corpus, model)
    adopt_corpus(target.store, pages, corpus)
    if new:
        tell(0)
        adopt(target.store, pages, new, path, str(source.path), tell)
