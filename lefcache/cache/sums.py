"""Do the bytes sum up to what the ledger says? Each is read once, and kept nowhere."""

from collections.abc import Collection, Iterable, Iterator, Sequence
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

# Bytes that are still in the processor's own cache when they are summed up, so that this costs a
# third of what reading them does. From a map of the file they would come by way of memory.
PIECE = 1 << 18


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
        with suppress(OSError):
            for count in sorted({*counts}):
                for piece in self._pieces(at, start + count):
                    crc = google_crc32c.extend(crc, piece)
                at = start + count
                sums[count] = crc
        return sums

    def clean(self) -> bool:
        """Whether nothing but zeros follows the last row in the last chunk, if that can be read."""
        rows = self.info.shape[0]
        with suppress(OSError):
            return not any(map(np.any, self._pieces(rows, rows + -rows % self.info.chunk_rows)))
        return True

    def _pieces(self, start: int, stop: int) -> Iterator[NDArray[np.uint8]]:
        """The bytes of some rows, each piece until the next is asked for; OSError where none is."""
        buffer = np.empty(min((stop - start) * self.info.row_bytes, PIECE), np.uint8)
        while start < stop:
            number, skip = divmod(start, self.info.chunk_rows)
            rows = min(stop - start, self.info.chunk_rows - skip)
            place = self.chunks[number] if number < len(self.chunks) else None
            if place is None:
                raise FileNotFoundError(f"rows {start:,}.. are not there")
            offset = place.offset + skip * self.info.row_bytes
            yield from _read(place.path, offset, rows * self.info.row_bytes, buffer)
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


def _read(
    path: str, offset: int, length: int, buffer: NDArray[np.uint8]
) -> Iterator[NDArray[np.uint8]]:
    """Some bytes of a file, piece by piece in the same buffer; OSError where it ends before."""
    with open(path, "rb", buffering=0) as file:  # noqa: PTH123  an extent's path is text
        file.seek(offset)
        while length:
            count = file.readinto(buffer[:length].data)
            if not count:
                raise OSError(f"{path} ends before its rows do")
            yield buffer[:count]
            length -= count
