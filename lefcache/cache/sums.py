"""Do the bytes sum up to what the ledger says? Each is read once, and copied nowhere."""

import errno
import mmap
import sys
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import google_crc32c
import numpy as np
from numpy.typing import NDArray

from lefcache.cache.ledger import Generation
from lefcache.errors import DamagedError
from lefcache.rows import Extent
from lefcache.stores import ArrayInfo, Store
from lefcache.wording import command_line

# Ask for all pages at once, and hear of a place that the disk cannot read: touching one would end
# the process. Python has no name for it yet; kernels from before 5.14 do not know it.
MADV_POPULATE_READ = 22


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

    def checksums(self, start: int, counts: Collection[int]) -> dict[int, int]:
        """CRC-32C of so many rows from `start`, for each count up to a chunk that is not there."""
        sums: dict[int, int] = {}
        crc, at = 0, start
        for count in sorted({*counts}):
            while at < start + count:
                skip = at % self.info.chunk_rows
                rows = min(start + count - at, self.info.chunk_rows - skip)
                piece = self._bytes(at, rows)
                if piece is None:
                    return sums
                crc, at = google_crc32c.extend(crc, piece), at + rows
            sums[count] = crc
        return sums

    def clean(self) -> bool:
        """Whether nothing but zeros follows the last row in the last chunk."""
        rows = self.info.shape[0]
        piece = self._bytes(rows, -rows % self.info.chunk_rows)
        return piece is None or not piece.any()

    def _bytes(self, start: int, rows: int) -> NDArray[np.uint8] | None:
        """The bytes of rows of one chunk, or None where they cannot be read."""
        number, skip = divmod(start, self.info.chunk_rows)
        if not rows:
            return np.empty(0, np.uint8)
        place = self.chunks[number] if number < len(self.chunks) else None
        if place is None:
            return None
        with suppress(OSError):
            row = self.info.row_bytes
            return _read(place.path, place.offset + skip * row, rows * row)
        return None


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
    torn = []
    for block, each in blocks.items():
        sums = stored.checksums(block * block_rows, [rows for rows, _ in each])
        torn += [(block, rows, crc) for rows, crc in each if sums.get(rows) != crc]
        end = block * block_rows + max(rows for rows, _ in each)
        if end == stored.info.shape[0] and not stored.clean():
            torn += [(block, *one) for one in each if (block, *one) not in torn]
    return torn


def check_array(
    store: Store, path: str, name: str, generations: Iterable[Generation], block_rows: int
) -> None:
    """Raise DamagedError, with the command that repairs it, unless every block is whole."""
    if torn := torn_rows(store, path, name, generations, block_rows):
        more = f" (and {len(torn) - 1} more blocks)" if len(torn) > 1 else ""
        raise DamagedError(
            f"{path}/{name}: rows {torn[0]}{more} are not those that were written; compute them "
            f"again with: {repair_command(store, path)}"
        )


def torn_rows(
    store: Store, path: str, name: str, generations: Iterable[Generation], block_rows: int
) -> list[str]:
    """The rows of each block of an array that is not what its ledgers say, such as `16..31`."""
    wanted = [each for one in generations if name in one.arrays for each in one.checksums(name)]
    torn = torn_blocks(Stored.of(store, f"{path}/{name}"), wanted, block_rows)
    starts = ((block * block_rows, rows) for block, rows, _ in torn)
    return [f"{start:,}..{start + rows - 1:,}" for start, rows in starts]


def repair_command(store: Store, key: str) -> str:
    """The command that repairs what lies below a key."""
    return command_line(["lef", "verify", key, "--repair", "--cache", store.root])


def _read(path: str, offset: int, length: int) -> NDArray[np.uint8]:
    with open(path, "rb") as file:  # noqa: PTH123  an extent's path is text
        if sys.platform == "linux":
            low = offset // mmap.ALLOCATIONGRANULARITY * mmap.ALLOCATIONGRANULARITY
            size = offset - low + length
            mapped = mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ, offset=low)
            try:
                mapped.madvise(MADV_POPULATE_READ)
                return np.frombuffer(mapped, np.uint8, length, offset - low)
            except OSError as error:
                if error.errno != errno.EINVAL:
                    raise
        return np.fromfile(file, np.uint8, length, offset=offset)
