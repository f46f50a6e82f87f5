"""Taking things out of a cache, in steps that a kill leaves each done or undone."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace

import numpy as np

from lefcache.cache.documents import described
from lefcache.cache.ledger import Generation, ledgers, seal, vouched
from lefcache.cache.lock import exclusive
from lefcache.cache.magnitudes import copy_magnitudes
from lefcache.cache.pages import TOKENS, Pages
from lefcache.corpus import SPLITS
from lefcache.errors import FeatureError
from lefcache.feature import NAME, RESERVED, Feature, parse_pool
from lefcache.stores import Home


@dataclass(frozen=True)
class Doomed:
    """What a key names: the whole node at `path`, or where there are any, arrays of that split."""

    path: str
    arrays: tuple[str, ...] = ()
    bytes: int = 0


def doomed(store: Home, key: str) -> list[Doomed]:
    """What `remove` would take away for a key, and how many bytes each of it is.

    A key is a place in the tree, from `sst2` to `sst2/mistral/train/mean/24`, or a layer or a
    pooling in all splits of a model: `sst2/mistral:24`, `sst2/mistral:24@max`, `sst2/mistral@max`.
    Raises FeatureError for a key that names nothing here.
    """
    corpus, *parts = key.strip("/").split("/")
    found: list[Doomed] = []
    names = [corpus, *(name.partition(":")[0].partition("@")[0] for name in parts[:1])]
    known = all(NAME.fullmatch(name) and name not in RESERVED for name in names)
    if known and described(store, "/".join(names)):
        found = _emptied(store, list(_named(store, corpus, parts)))
    if not found:
        raise FeatureError(
            f"nothing in {store.root} is called {key}: write corpus[/model[/split[/pool[/layer]]]] "
            "or corpus/model:layer[@pool]; see `lef ls`"
        )
    return [replace(each, bytes=_bytes(store, each)) for each in found]


def remove(store: Home, things: Sequence[Doomed]) -> None:
    """Take them away; BusyError, before anything is gone, while one of them is being written."""
    with ExitStack() as held:
        nodes = {path for each in things for path in (each.path, *_splits(store, each.path))}
        for path in sorted(nodes):
            held.enter_context(exclusive(store.root, path.replace("/", "+")))
        for each in things:
            if each.arrays:
                _remove_arrays(store, each)
            else:
                store.sweep(each.path)
                # An object store deletes one by one: nothing may vouch for what is half gone.
                for path in _splits(store, each.path):
                    store.delete(f"{path}/ledger")
                store.delete(each.path)


def _named(store: Home, corpus: str, parts: Sequence[str]) -> Iterator[Doomed]:
    """The nodes and arrays of a key that begins with a corpus."""
    model, sign, layer = parts[0].partition(":") if parts else ("", "", "")
    model, at, pool = model.partition("@")
    if len(parts) < 2 and not sign and not at:
        yield Doomed("/".join([corpus, *parts]))
        return
    for path in _splits(store, "/".join([corpus, model, *parts[1:2]])):
        if len(parts) == 2:
            yield Doomed(path)
            continue
        pages = Pages(store, *path.split("/"))
        if sign:
            wanted = {*pages._names(Feature.parse(f"{model}:{layer}"))}
        else:
            below = [parse_pool(pool)] if at else parts[2:]
            wanted = {name for name in _arrays(pages) if name.split("/")[: len(below)] == below}
        if chosen := tuple(name for name in _arrays(pages) if name in wanted):
            rest = {*_arrays(pages)} - wanted
            yield Doomed(path, chosen if rest else ())


def _emptied(store: Home, found: Sequence[Doomed]) -> list[Doomed]:
    """The model itself where all its splits go: settings bind nobody without vectors."""
    whole = {each.path for each in found if not each.arrays}
    models = {path: path.rpartition("/")[0] for path in whole if path.count("/") == 2}
    empty = {model for model in models.values() if {*_splits(store, model)} <= whole}
    return list(
        dict.fromkeys(
            Doomed(models[each.path]) if models.get(each.path) in empty else each for each in found
        )
    )


def _splits(store: Home, path: str) -> list[str]:
    """The paths of the splits at or below a corpus, model or split."""
    depth = path.count("/")
    if depth == 2:
        return [path] if path.rpartition("/")[2] in SPLITS and described(store, path) else []
    names = [each for each in store.children(path) if depth or each not in RESERVED]
    if depth == 1:
        return [f"{path}/{split}" for split in SPLITS if split in names]
    return [split for name in names for split in _splits(store, f"{path}/{name}")]


def _arrays(pages: Pages) -> list[str]:
    """The vectors of a split, those too that a removal which was killed left without a ledger."""
    stored = [
        f"{pool}/{layer}"
        for pool in pages.store.children(pages.path)
        if pool not in ("ledger", "magnitudes", TOKENS)
        for layer in pages.store.children(f"{pages.path}/{pool}")
    ]
    return [name for name in dict.fromkeys([*pages.asked, *stored]) if name != TOKENS]


def _bytes(store: Home, thing: Doomed) -> int:
    paths = [f"{thing.path}/{name}" for name in thing.arrays] or [thing.path]
    return sum(store.size(path) for path in paths if store.attrs(path) or store.info(path))


def _remove_arrays(store: Home, thing: Doomed) -> None:
    """Take arrays out of a split: of what is asked for, of the ledgers, and then from the disk."""
    pages = Pages(store, *thing.path.split("/"))
    gone = {*thing.arrays}
    store.set_attrs(
        pages.path, pages.attrs | {"arrays": [name for name in pages.asked if name not in gone]}
    )
    for generation in pages.generations:
        if gone & {*generation.arrays}:
            kept = [name for name in generation.arrays if name not in gone]
            if kept not in ([], [TOKENS]):
                _vouch_again(pages, generation, kept)
            for beside in ("ledger", "magnitudes"):
                store.delete(f"{pages.path}/{beside}/{generation.number}")
    for name in thing.arrays:
        store.delete(f"{pages.path}/{name}")
        pool = f"{pages.path}/{name.partition('/')[0]}"
        if not store.children(pool):
            store.delete(pool)


def _vouch_again(pages: Pages, generation: Generation, kept: Sequence[str]) -> None:
    """A new ledger of the arrays that stay, which counts from the moment that it names them.

    Until the old one is gone both vouch for the same bytes.
    """
    store, path = pages.store, pages.path
    number = max(ledgers(store, path)) + 1
    columns = [generation.arrays.index(name) for name in kept]
    attrs = described(store, f"{path}/ledger/{generation.number}")
    dtypes = {name: kind for name, kind in attrs.get("dtypes", {}).items() if name in kept}
    done = vouched(generation.ledger)
    copy_magnitudes(store, path, generation, number, columns)
    here = f"{path}/ledger/{number}"
    store.create(here, (len(done), 2 + len(kept)), np.uint32, 1, ("block", "entry"))
    for block in np.flatnonzero(done):
        sums = [int(generation.ledger[block, 1 + column]) for column in columns]
        store.write(here, int(block), seal(int(done[block]), sums))
    store.sync()
    store.set_attrs(here, {"arrays": list(kept)} | ({"dtypes": dtypes} if dtypes else {}))
