"""Which cache is meant: a folder, or an address on an object store."""

import os
from pathlib import Path

from lefcache.cache.hints import DEFAULT_CACHE
from lefcache.cache.tree import Cache
from lefcache.files import REMOTE, Url, path_of
from lefcache.stores import Home
from lefcache.stores.mixed import MixedStore


def open(path: str | Path | None = None, whole: bool = True, later: bool = False) -> "Cache":
    """Open the cache in a folder: the one given, else $LEF_CACHE, else `./lef-cache`.

    A folder that is not there yet is an empty cache; nothing is written before an extraction. One
    on an object store is `s3://bucket/folder`: what is asked for is pulled into a mirror on this
    disk, with `later` not before its first row is read.
    Without `whole`, nothing is believed of what its own metadata says, which may be damaged.
    """
    where = place_of(path or os.environ.get("LEF_CACHE") or DEFAULT_CACHE)
    if isinstance(where, Url):
        from lefcache.cache.remote import RemoteCache

        return RemoteCache(where, whole, later)
    return Cache(where, whole=whole)


def place_of(written: str | Path) -> Path | Url:
    """A cache's folder or address as a user writes it."""
    text = str(written)
    if not text.startswith(REMOTE):
        return path_of(written)
    return Url(REMOTE + text.removeprefix(REMOTE).rstrip("/"))


def store_at(written: str | Path) -> Home:
    """The store of a cache, however damaged the metadata of the cache itself may be."""
    where = place_of(written)
    if isinstance(where, Url):
        from lefcache.stores.remote_store import RemoteStore

        return RemoteStore(where)
    return MixedStore(where)
