"""The other file format for a split that is there already: the same rows, checked on the way."""

import numpy as np

from lefcache.cache.documents import described
from lefcache.cache.ledger import Generation, checksum
from lefcache.cache.lock import exclusive
from lefcache.cache.pages import Pages
from lefcache.dtypes import raw
from lefcache.errors import DamagedError, FeatureError, StorageError
from lefcache.stores import Home, Store
from lefcache.stores.mixed import MixedStore


def convert_split(store: Home, path: str, format: str) -> bool:
    """Keep a split such as `sst2/mistral/train` in another format; False if it is in it already.

    The split is copied whole before it takes the place of the old one, so a kill costs nothing.
    Only rows that the ledger vouches for come along, each block compared with its checksum.
    Raises FeatureError if there is no such split, BusyError while it is being extracted,
    DamagedError where rows are not those that were written, StorageError for a disk that has no
    room for both.
    """
    if len(path.split("/")) != 3 or not described(store, path):
        raise FeatureError(f"no split {path} in {store.root}: `lef ls` lists what there is")
    if not isinstance(store, MixedStore):
        raise StorageError(
            f"{store.root} can only hold Zarr, as HDF5 files are written in place: pull the split "
            "to a folder (lef pull), and convert it there"
        )
    with exclusive(store.root, path.replace("/", "+")):
        store.sweep(path)
        if store.format_of(path) == format:
            return False
        with store.replacing(path, format) as copy:
            copy_split(Pages(store, *path.split("/")), copy)
    return True


def copy_split(pages: Pages, copy: Store) -> None:
    """Copy a split to the root of another store; DamagedError for anything not as written."""
    _check_seal(pages, "")
    copy.set_attrs("", pages.attrs)
    for generation in pages.generations:
        for name in generation.arrays:
            if copy.info(name) is None:  # every set has the tokens
                _create_like(pages, name, copy)
            _copy_blocks(pages, generation, name, copy)
        for beside in ("magnitudes", "ledger"):
            _copy_small(pages, f"{beside}/{generation.number}", copy)


def _create_like(pages: Pages, name: str, copy: Store) -> None:
    _check_seal(pages, f"/{name}")
    info = pages.store.info(f"{pages.path}/{name}")
    if info is None:
        raise DamagedError(f"{pages.path}/{name} is not there, though its ledger speaks of it")
    copy.create(name, info.shape, info.dtype, info.chunk_rows, info.axes)


def _check_seal(pages: Pages, below: str) -> None:
    """A copy of damaged metadata would be sealed afresh, and pass for whole."""
    here = f"{pages.path}{below}"
    there = not below or pages.store.info(here) is not None
    if there and pages.store.seal(here).broken:
        raise DamagedError(f"the metadata of {here} is damaged; see: lef verify {pages.path}")


def _copy_blocks(pages: Pages, generation: Generation, name: str, copy: Store) -> None:
    """Copy what the ledger vouches for: a copy of damage would pass for whole."""
    for block, rows, crc in generation.checksums(name):
        start = block * pages.block_rows
        values = pages.store.read(f"{pages.path}/{name}", start + rows, start=start)
        if checksum(raw(values)) != crc:
            raise DamagedError(
                f"{pages.path}/{name}: rows {start}..{start + rows - 1} are not those that were "
                f"written; see: lef verify {pages.path}"
            )
        copy.write(name, start, values)


def _copy_small(pages: Pages, name: str, copy: Store) -> None:
    """Copy a ledger or what stands beside it, but for the rows of blocks that are missing."""
    here = f"{pages.path}/{name}"
    if pages.store.info(here) is None:  # a cache from before magnitudes were kept
        return
    _create_like(pages, name, copy)
    values = pages.store.read(here, sparse=True)
    for row in np.flatnonzero(values.any(axis=1)):
        copy.write(name, int(row), values[row : row + 1])
    if attrs := pages.store.attrs(here):
        copy.set_attrs(name, attrs)
