"""Do the bytes sum up to what the ledger says? Each is read once, in as many threads as help."""

import math
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import google_crc32c
import numpy as np

from lefcache.cache.ledger import Generation
from lefcache.errors import DamagedError
from lefcache.rows import Extent
from lefcache.stores import ArrayInfo, Store
from lefcache.wording import command_line

Found = TypeVar("Found")

# Reading a file and summing up pieces of at least this size leave other threads free.
PIECE = 1 << 20
THREADS = min(4, os.cpu_count() or 1)


@dataclass(frozen=True)
class Stored:
    """An array as its bytes lie: `chunks` holds None for each one that is missing or torn."""

    info: ArrayInfo
    chunks: Sequence[Extent | None]

    @classmethod
    def of(cls, store: Store, path: str) -> "Stored":
        """Look up an array; DamagedError if it cannot be found."""
        info = store.info(path)
        if info is None:
            raise DamagedError(f"{path} is no array")
        return cls(info, store.chunks(path))

    @cached_property
    def row_bytes(self) -> int:
        """Bytes of a row."""
        return math.prod(self.info.shape[1:]) * self.info.dtype.itemsize

    def checksums(self, start: int, counts: Collection[int]) -> dict[int, int]:
        """CRC-32C of so many rows from `start`, for each count up to a chunk that is not there."""
        sums: dict[int, int] = {}
        crc, at = 0, start
        for count in sorted({*counts}):
            for piece in self._pieces(at, start + count):
                if piece is None:
                    return sums
                crc = google_crc32c.extend(crc, piece)
            at = start + count
            sums[count] = crc
        return sums

    def clean(self) -> bool:
        """Whether nothing but zeros follows the last row in the last chunk."""
        rows = self.info.shape[0]
        padding = self._pieces(rows, rows + -rows % self.info.chunk_rows)
        return not any(np.frombuffer(piece, np.uint8).any() for piece in padding if piece)

    def _pieces(self, start: int, stop: int) -> Iterator[bytes | None]:
        """The bytes of some rows, piece by piece; None, and no more, where they are not there."""
        while start < stop:
            number, skip = divmod(start, self.info.chunk_rows)
            rows = min(stop - start, self.info.chunk_rows - skip)
            place = self.chunks[number] if number < len(self.chunks) else None
            if place is None:
                yield None
                return
            offset = place.offset + skip * self.row_bytes
            yield from _read(place.path, offset, rows * self.row_bytes)
            start += rows


def torn_blocks(
    stored: Stored, wanted: Iterable[tuple[int, int, int]], block_rows: int
) -> list[tuple[int, int, int]]:
    """Those of some (block, rows, CRC-32C) that an array's bytes do not sum up to.

    A block may be there twice: each set of arrays vouches for the shared tokens of its own rows.
    Zeros are part of the last block, where the array ends within a chunk.
    """
    blocks: dict[int, list[tuple[int, int]]] = {}
    for block, rows, crc in wanted:
        blocks.setdefault(block, []).append((rows, crc))

    def sums_of(block: int) -> dict[int, int]:
        return stored.checksums(block * block_rows, [rows for rows, _ in blocks[block]])

    torn = []
    for (block, each), sums in zip(blocks.items(), _in_threads(sums_of, blocks), strict=True):
        torn += [(block, rows, crc) for rows, crc in each if sums.get(rows) != crc]
        end = block * block_rows + max(rows for rows, _ in each)
        if end == stored.info.shape[0] and not stored.clean():
            torn += [(block, *one) for one in each if (block, *one) not in torn]
    return torn


def check_array(
    store: Store, path: str, name: str, generations: Iterable[Generation], block_rows: int
) -> None:
    """Raise DamagedError, with the command that repairs it, unless every block is whole."""
    wanted = [each for one in generations if name in one.arrays for each in one.checksums(name)]
    if torn := torn_blocks(Stored.of(store, f"{path}/{name}"), wanted, block_rows):
        block, rows, _ = torn[0]
        start = block * block_rows
        more = f" (and {len(torn) - 1} more blocks)" if len(torn) > 1 else ""
        raise DamagedError(
            f"{path}/{name}: rows {start:,}..{start + rows - 1:,}{more} are not those that were "
            f"written; compute them again with: {repair_command(store, path)}"
        )


def repair_command(store: Store, key: str) -> str:
    """The command that repairs what lies below a key."""
    return command_line(["lef", "verify", key, "--repair", "--cache", store.root])


def _in_threads(function: Callable[[int], Found], given: Iterable[int]) -> Iterator[Found]:
    """What a function gives for each number, in order; Ctrl-C waits only for those at work."""
    pool = ThreadPoolExecutor(THREADS, thread_name_prefix="lef-sums")
    try:
        yield from pool.map(function, given)
    finally:
        pool.shutdown(cancel_futures=True)


def _read(path: str, offset: int, length: int) -> Iterator[bytes | None]:
    """Some bytes of a file, piece by piece; None, and no more, where they cannot be read."""
    try:
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123  an extent's path is text
            file.seek(offset)
            while length:
                piece = file.read(min(length, PIECE))
                yield piece or None
                if not piece:
                    return
                length -= len(piece)
    except OSError:
        yield None
