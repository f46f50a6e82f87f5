"""What lies in a cache's folder, also where its metadata is gone and no reader would find it."""

import os
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from lefcache.cache.documents import bereft
from lefcache.cache.lost import splits_gone
from lefcache.cache.nodes import CorpusNode
from lefcache.cache.pages import Pages
from lefcache.corpus import SPLITS
from lefcache.errors import DamagedError, LefError
from lefcache.feature import RESERVED
from lefcache.stores import disk
from lefcache.stores.mixed import SUFFIX

if TYPE_CHECKING:
    from lefcache.cache.tree import Cache

STRAYS = (".partial", ".tmp", ".journal")
# What metadata that was changed into other metadata does to who reads it.
UNREADABLE = (LefError, *disk.UNREADABLE)


def splits_below(cache: "Cache", key: str) -> Iterator[str]:
    """The paths of the splits below a key; of all there are for an empty one.

    Also of a corpus or model that has lost its own metadata.
    """
    parts = key.split("/") if key else []
    for corpus in parts[:1] or [*cache, *bereft(cache.store, "")]:
        models = [*CorpusNode(cache, corpus), *bereft(cache.store, corpus)]
        for model in parts[1:2] or models:
            if model in RESERVED:
                continue
            for split in parts[2:3] or cache._splits(corpus, model):
                yield f"{corpus}/{model}/{split}"


def models_without_splits(cache: "Cache", key: str) -> Iterator[str]:
    """The paths of the models at or below a key of which no split lies there, whole or damaged."""
    parts = key.split("/") if key else []
    for corpus in parts[:1] or list(cache):
        for model in parts[1:2] or list(CorpusNode(cache, corpus)):
            path = f"{corpus}/{model}"
            if len(parts) < 3 and not {*SPLITS} & {*cache.store.folders(path)}:
                yield path


def splits_gone_below(cache: "Cache", key: str) -> Iterator[str]:
    """The paths of the splits that a model below a key has begun, and that are not there any more.

    None of a model without any, which is told as a whole.
    """
    parts = key.split("/") if key else []
    bare = {*models_without_splits(cache, key)}
    for corpus in parts[:1] or list(cache):
        for model in parts[1:2] or list(CorpusNode(cache, corpus)):
            path = f"{corpus}/{model}"
            with suppress(*UNREADABLE):  # of metadata that is damaged, as is told elsewhere
                if len(parts) < 3 and path not in bare:
                    yield from (f"{path}/{split}" for split in splits_gone(cache.store, path))


def nodes_below(cache: "Cache", key: str) -> Iterator[str]:
    """Every group and array on the way to a key and below it, also where its metadata is gone."""
    parts = key.split("/") if key else []
    for depth in range(len(parts)):
        yield "/".join(parts[:depth])
    if len(parts) > 1:
        for beside in ("labels", "rows"):
            yield from _below(cache, f"{parts[0]}/{beside}")
    if cache.exists:
        yield from _below(cache, key)


def _below(cache: "Cache", path: str) -> Iterator[str]:
    yield path
    try:
        in_file = cache.store.format_of(path) == "hdf5"
        names = cache.store.children(path) if in_file else cache.store.folders(path)
    except DamagedError:
        return  # which the look at its seal has told
    for name in names:
        yield from _below(cache, f"{path}/{name}" if path else name)


def strays_below(cache: "Cache", key: str) -> Iterator[str]:
    """What killed processes have left behind: the next writer of a split takes it away."""
    above = len(f"{cache.path}/")
    for folder, names, files in os.walk(f"{cache.path}/{key}"):
        inside = partial(os.path.join, folder[above:])
        names[:] = [name for name in names if name != ".locks" and inside(name) != "results"]
        yield from (inside(name) for name in [*names, *files] if name.endswith(STRAYS))
        names[:] = [name for name in names if not name.endswith(STRAYS)]
        yield from (inside(name) for name in names if f"{name}{SUFFIX}" in files)
    for path in splits_below(cache, key):
        try:
            pages = Pages(cache.store, *path.split("/"))
            known = {*pages.arrays, *pages.asked}
            for pool in cache.store.children(path):
                if pool not in ("ledger", "magnitudes"):
                    for layer in cache.store.children(f"{path}/{pool}"):
                        if f"{pool}/{layer}" not in known:
                            yield f"{path}/{pool}/{layer}"
        except UNREADABLE:
            continue
