"""Taking things out of a cache, in steps that a kill leaves each done or undone."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from lefcache.cache.documents import bereft, described
from lefcache.cache.keys import Key, arrays_meant, check_there
from lefcache.cache.ledger import Generation, ledgers, read_generations, seal, vouched
from lefcache.cache.lock import exclusive
from lefcache.cache.lost import BEGUN, splits_gone
from lefcache.cache.magnitudes import copy_magnitudes
from lefcache.cache.pages import TOKENS, Pages
from lefcache.corpus import SPLITS
from lefcache.errors import DamagedError, FeatureError
from lefcache.feature import RESERVED
from lefcache.stores import Home
from lefcache.stores.disk import possible

if TYPE_CHECKING:
    from lefcache.cache.tree import Cache


@dataclass(frozen=True)
class Doomed:
    """What a key names: the whole node at `path`, or where there are any, arrays of that split."""

    path: str
    arrays: tuple[str, ...] = ()
    bytes: int = 0


def doomed(cache: "Cache", key: str) -> list[Doomed]:
    """What `remove` would take away for a key (`cache.keys`), and how many bytes each of it is.

    A corpus, model or split can be taken away too where its metadata is damaged, or gone.
    Raises FeatureError for a key that names nothing here.
    """
    wanted, store = Key.parse(key), cache.store
    try:
        check_there(cache, wanted)
        found = [*_in_part(store, wanted)] if wanted.in_part else [Doomed(wanted.path)]
        return [replace(each, bytes=_bytes(store, each)) for each in _emptied(store, found)]
    except (DamagedError, FeatureError) as error:
        if not _lies_there(store, wanted, lost=isinstance(error, FeatureError)):
            raise
        return [Doomed(wanted.path, bytes=store.size(wanted.path))]


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
                _forget(store, each.path)
                # An object store deletes one by one: nothing may vouch for what is half gone.
                for path in _splits(store, each.path):
                    with suppress(DamagedError):  # a file that cannot be opened vouches for nothing
                        store.delete(f"{path}/ledger")
                store.delete(each.path)


def _in_part(store: Home, key: Key) -> Iterator[Doomed]:
    """The arrays of each split that a key means; the split itself where it has no others."""
    splits = [Pages(store, *path.split("/")) for path in _splits(store, key.path)]
    held = [_arrays(pages) for pages in splits]
    meant = arrays_meant(key, zip(splits, held, strict=True))
    for pages, arrays, chosen in zip(splits, held, meant, strict=True):
        if chosen:
            yield Doomed(pages.path, tuple(chosen) if {*arrays} - {*chosen} else ())


def _forget(store: Home, path: str) -> None:
    """Let a model know no longer that it has begun a split."""
    above, _, split = path.rpartition("/")
    if path.count("/") != 2:
        return
    with exclusive(store.root, above.replace("/", "+"), wait=60.0), suppress(DamagedError):
        attrs = described(store, above)
        if split in attrs.get(BEGUN, ()):
            begun = [each for each in attrs[BEGUN] if each != split]
            store.set_attrs(above, attrs | {BEGUN: begun})


def _lies_there(store: Home, key: Key, lost: bool) -> bool:
    """Whether there is such a whole node: by its name alone, or by what it has below it if lost.

    A split that is gone is there as long as its model knows that it has begun it.
    """
    above, _, name = key.path.rpartition("/")
    if key.in_part or {key.corpus, key.model} & {*RESERVED} or not possible(key.path):
        return False
    if lost and key.split and name in splits_gone(store, above):
        return True
    return name in (bereft(store, above) if lost else store.folders(above))


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
        return [path] if path.rpartition("/")[2] in SPLITS and _is_there(store, path) else []
    names = [each for each in store.children(path) if depth or each not in RESERVED]
    if depth == 1:
        return [f"{path}/{split}" for split in SPLITS if split in names]
    return [split for name in names for split in _splits(store, f"{path}/{name}")]


def _is_there(store: Home, path: str) -> bool:
    """Whether there is such a split, whatever state it is in."""
    try:
        return bool(described(store, path))
    except DamagedError:
        return True


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
            if kept not in ([], [TOKENS]) and not _is_vouched_for(pages, generation, kept):
                _vouch_again(pages, generation, kept)
            store.sync()  # or a power cut might leave neither the old ledger nor the new one
            store.delete(f"{pages.path}/ledger/{generation.number}")
    _delete_magnitudes(store, pages.path)
    store.sync()  # or it might leave a ledger of vectors that are not there
    for name in thing.arrays:
        store.delete(f"{pages.path}/{name}")
        pool = f"{pages.path}/{name.partition('/')[0]}"
        if not store.children(pool):
            store.delete(pool)


def _is_vouched_for(pages: Pages, generation: Generation, kept: Sequence[str]) -> bool:
    """Whether a removal that was killed has written the new ledger of the arrays that stay."""
    wanted = [generation.checksums(name) for name in kept]
    return any(
        each.arrays == tuple(kept) and [each.checksums(name) for name in kept] == wanted
        for each in pages.generations
        if each.number > generation.number
    )


def _delete_magnitudes(store: Home, path: str) -> None:
    """Take away the magnitudes of ledgers that are gone, now or in a removal that was killed."""
    known = {str(number) for number in ledgers(store, path)}
    for number in store.children(f"{path}/magnitudes"):
        if number not in known:
            store.delete(f"{path}/magnitudes/{number}")


def _vouch_again(pages: Pages, generation: Generation, kept: Sequence[str]) -> None:
    """A new ledger of the arrays that stay, which counts from the moment that it names them.

    Until the old one is gone both vouch for the same bytes.
    """
    store, path = pages.store, pages.path
    # Beyond those that count: what a kill has left of a new one is written over.
    number = max(each.number for each in read_generations(store, path)) + 1
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
