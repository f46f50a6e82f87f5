"""The largest magnitude in each block of each array: how near the end of its type it has come.

`magnitudes/<g>` stands beside `ledger/<g>`: (blocks, A + 1) float32, a column for each array, in
the same order, and a last one that is no number but the bits of the row's CRC-32C; a cache from
before has none. A row is written before the block's row in the ledger, and counts once that
is there.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lefcache.cache.documents import described
from lefcache.cache.ledger import Generation, blocks_of, checksum, vouched
from lefcache.errors import DamagedError
from lefcache.stores import Store

if TYPE_CHECKING:
    from lefcache.cache.pages import Pages

NORM_ROWS = 1024  # enough for a mean, and read in no time


def create_magnitudes(store: Store, path: str, generation: Generation, blocks: int) -> None:
    """Make room for the rows of a new set of arrays."""
    shape = (blocks, len(generation.arrays) + 1)
    store.create(_of(path, generation), shape, np.float32, 1, ("block", "array"))


def write_magnitudes(
    store: Store, path: str, generation: Generation, block: int, values: Sequence[float]
) -> None:
    """Write down one block, unless its arrays were begun before magnitudes were kept."""
    info = store.info(_of(path, generation))
    if info is not None:
        row = np.array(values, np.float32)
        if info.shape[1] > len(values):
            row = np.append(row, _sum(row, path, generation.number, block).view(np.float32))
        store.write(_of(path, generation), block, row[np.newaxis])


def copy_magnitudes(
    store: Store, path: str, generation: Generation, number: int, columns: Sequence[int]
) -> None:
    """Write down those of some arrays of a set once more, for the set of this number."""
    written = _read(store, path, generation)
    if written is None:
        return
    arrays = tuple(generation.arrays[column] for column in columns)
    fewer = replace(generation, number=number, arrays=arrays)
    create_magnitudes(store, path, fewer, len(written))
    for block in np.flatnonzero(vouched(generation.ledger[: len(written)])):
        write_magnitudes(store, path, fewer, int(block), [*written[block, list(columns)]])


def spoilt_magnitudes(store: Store, path: str, generation: Generation) -> list[int]:
    """The finished blocks whose magnitudes are not those that were written, if that is known."""
    if _read(store, path, generation) is None and _were_kept(store, path, generation):
        return [int(block) for block in np.flatnonzero(vouched(generation.ledger))]
    written = summed_magnitudes(store, path, generation)
    return [
        int(block)
        for block in np.flatnonzero(vouched(generation.ledger[: len(written)]))
        if not is_row_of(written[block], path, generation, int(block))
    ]


def summed_magnitudes(store: Store, path: str, generation: Generation) -> NDArray[np.float32]:
    """(blocks, A + 1) magnitudes as they are stored; none where they have no sums, or are gone."""
    written, columns = _read(store, path, generation), len(generation.arrays) + 1
    if written is None or written.shape[1:] != (columns,):
        return np.empty((0, columns), np.float32)
    return written


def is_row_of(row: NDArray[np.float32], path: str, generation: Generation, block: int) -> bool:
    """Whether these magnitudes are those that were written of a block of a split."""
    known = row[-1:].view(np.uint32)[0]
    # Before sums had the split in them, they had none.
    return any(known == _sum(row[:-1], each, generation.number, block) for each in (path, ""))


def make_magnitudes(store: Store, path: str, generation: Generation) -> None:
    """Make room for those of a set of arrays where they are gone."""
    if store.info(_of(path, generation)) is None:
        create_magnitudes(store, path, generation, len(generation.ledger))


def read_magnitudes(pages: "Pages") -> dict[str, NDArray[np.float32]]:
    """(blocks,) of each array, NaN for a block that is missing; without those that have none."""
    found: dict[str, NDArray[np.float32]] = {}
    for generation in pages.generations:
        written = _read(pages.store, pages.path, generation)
        if written is None:
            continue
        finished = pages.finished(generation)
        written = written[: len(finished)]
        known = np.full((len(finished), len(generation.arrays)), np.nan, np.float32)
        written = written[:, : len(generation.arrays)]
        # A run that was stopped while it made room for more rows leaves fewer blocks here.
        known[: len(written)][finished[: len(written)]] = written[finished[: len(written)]]
        for column, name in enumerate(generation.arrays):
            found[name] = np.fmax(known[:, column], found.get(name, np.float32(np.nan)))
    return found


def mean_norm(pages: "Pages", array: str) -> float | None:
    """The mean Euclidean norm of an array's first vectors; None where they are still missing."""
    rows = min([rows for start, rows, _ in pages.checksums(array) if not start], default=0)
    if not rows:
        return None
    vectors = pages.store.read(f"{pages.path}/{array}", min(rows, NORM_ROWS)).astype(np.float32)
    return float(np.linalg.norm(vectors, axis=1).mean())


def _sum(row: NDArray[np.float32], path: str, number: int, block: int) -> np.uint32:
    """The checksum of a row at its place: nothing else would notice two that were swapped."""
    place = np.array([number, block], np.uint32)
    split = np.frombuffer(path.encode(), np.uint8).astype(np.uint32)
    return np.uint32(checksum(np.concatenate([row.view(np.uint32), place, split])))


def _read(store: Store, path: str, generation: Generation) -> NDArray[np.float32] | None:
    """The rows of a set of arrays, None where none were kept; DamagedError for what is none."""
    here, columns = _of(path, generation), len(generation.arrays)
    info = store.info(here)
    if info is None:
        return None
    known = info.dtype == np.float32 and info.shape[1:] in ((columns,), (columns + 1,))
    if not known or info.shape[0] > blocks_of(described(store, path)):
        raise DamagedError(f"{here}: not the magnitudes of {columns} arrays")
    return store.read(here, sparse=True)


def _were_kept(store: Store, path: str, generation: Generation) -> bool:
    """Whether magnitudes of a set were written: since they have sums, its ledger names dtypes."""
    return "dtypes" in described(store, f"{path}/ledger/{generation.number}")


def _of(path: str, generation: Generation) -> str:
    return f"{path}/magnitudes/{generation.number}"
