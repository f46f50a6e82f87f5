"""The ledger: one row per block says that it is done, and what its bytes must sum to.

A row is `[rows in the block, CRC-32C of each array's rows, CRC-32C of the row itself]` in
uint32. A block that was never written is a row of zeros, which no finished block can be.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import google_crc32c
import numpy as np
from numpy.typing import NDArray

from lefcache.cache.documents import described
from lefcache.errors import DamagedError
from lefcache.stores import Store


@dataclass(frozen=True)
class Generation:
    """Arrays that were asked for together, and the ledger (blocks, 2 + A) of their blocks."""

    number: int
    arrays: tuple[str, ...]
    ledger: NDArray[np.uint32]

    def checksums(self, array: str) -> list[tuple[int, int, int]]:
        """Number, rows and CRC-32C of each block of one array that the ledger vouches for."""
        done, sums = vouched(self.ledger), self.ledger[:, 1 + self.arrays.index(array)]
        return [(int(b), int(done[b]), int(sums[b])) for b in np.flatnonzero(done)]


def read_generations(store: Store, path: str, window: range | None = None) -> list[Generation]:
    """The sets of arrays of a split, in the order in which they were added.

    With a `window`, only the ledger rows of these blocks are read, and others are as if they had
    not been written: each is a file or an object of its own.
    """
    found = []
    for number in ledgers(store, path):
        here = f"{path}/ledger/{number}"
        arrays = tuple(described(store, here).get("arrays", ()))
        if not arrays:  # killed between creating the ledger and naming its arrays
            continue
        check_ledger(store, here, arrays, blocks_of(described(store, path)))
        found.append(Generation(number, arrays, _read(store, here, window)))
    return found


def _read(store: Store, path: str, window: range | None) -> NDArray[np.uint32]:
    if window is None:
        return store.read(path, sparse=True)
    info = store.info(path)
    assert info is not None, f"{path} is no array"
    ledger = np.zeros(info.shape, np.uint32)
    low, high = window.start, min(window.stop, info.shape[0])
    ledger[low:high] = store.read(path, high, sparse=True, start=low)
    return ledger


def ledgers(store: Store, path: str) -> list[int]:
    """The numbers of the ledgers of a split, in order; what is called otherwise is none of ours."""
    names = (name for name in store.children(f"{path}/ledger") if name.isdecimal())
    return sorted(int(name) for name in names if name == str(int(name)))


def blocks_of(split: Mapping[str, Any]) -> int:
    """How many blocks a split of these attributes has."""
    return int(-(-split["rows"] // split["block_rows"])) if split else 0


def check_ledger(store: Store, path: str, arrays: Sequence[str], blocks: int) -> None:
    """Refuse what cannot be the ledger of these arrays in so many blocks, before it is read."""
    info = store.info(path)
    if (
        info is None
        or info.dtype != np.uint32
        or info.shape[1:] != (2 + len(arrays),)
        or info.shape[0] > blocks
    ):
        raise DamagedError(f"{path}: not the ledger of {len(arrays)} arrays")


def checksum(values: NDArray[Any]) -> int:
    """CRC-32C of the little-endian C-order bytes of some rows."""
    little = values.astype(values.dtype.newbyteorder("<"), order="C", copy=False)
    return int(google_crc32c.value(little))  # its bytes, where they are


def seal(rows: int, checksums: Sequence[int]) -> NDArray[np.uint32]:
    """The (1, 2 + A) ledger row of a finished block."""
    body = np.array([rows, *checksums], np.uint32)
    return np.append(body, np.uint32(checksum(body)))[np.newaxis]


def withdraw(store: Store, path: str, number: int, block: int) -> None:
    """Vouch no longer for a block of a split, in one write: the next writer makes it again."""
    ledger = f"{path}/ledger/{number}"
    info = store.info(ledger)
    if info is not None and block < info.shape[0]:
        store.write(ledger, block, np.zeros((1, info.shape[1]), np.uint32))


def finished(ledger: NDArray[np.uint32], rows: int, block_rows: int) -> NDArray[np.bool_]:
    """(blocks,) which blocks of a split of `rows` rows are whole.

    A last block that was finished when the split was shorter does not count: its rows grew.
    """
    starts = np.arange(0, rows, block_rows)
    wanted = np.minimum(rows - starts, block_rows)
    whole = np.zeros(len(starts), bool)
    done = vouched(ledger[: len(starts)])
    whole[: len(done)] = done == wanted[: len(done)]
    return whole


def vouched(ledger: NDArray[np.uint32]) -> NDArray[np.int64]:
    """(blocks,) how many rows of each block are there; 0 for one that was not written whole."""
    rows = np.zeros(len(ledger), np.int64)
    for block in np.flatnonzero(ledger.any(axis=1)):
        row = ledger[block]
        rows[block] = row[0] if row[-1] == checksum(row[:-1]) else 0
    return rows
