"""A change to a file that a kill leaves done or undone, but never by half.

HDF5 keeps no journal of its own: a process that is killed while the library moves its metadata
leaves a file that nothing opens again. So the library writes to memory, all of what it wrote is
laid down in a journal beside the file, and only then is it copied into the file. A journal that is
there is whole; readers see the file as it says, and the next writer finishes the copying.
"""

import io
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import google_crc32c
import numpy as np

from lefcache.errors import DamagedError
from lefcache.files import read_own, replace_file

MAGIC = b"lefcache journal 1\n"
MOST = 1 << 30  # bytes of a journal: metadata is all that is in it


@dataclass(frozen=True)
class Change:
    """Pieces to write into a file, each at its offset, and the file's length afterwards."""

    size: int
    pieces: tuple[tuple[int, bytes], ...] = ()

    def to_bytes(self) -> bytes:
        """The journal: a checksum over the length and, of each piece, offset, length and bytes."""
        numbers = [self.size, len(self.pieces)]
        numbers += [n for offset, piece in self.pieces for n in (offset, len(piece))]
        body = np.array(numbers, "<u8").tobytes() + b"".join(piece for _, piece in self.pieces)
        return _head(body) + body

    @classmethod
    def from_bytes(cls, content: bytes, room: int) -> "Change":
        """Read a journal back, of a file that has so many bytes now.

        ValueError if it is damaged, or would write beyond the file: room is made beforehand.
        """
        head, body = content[: len(MAGIC) + 4], content[len(MAGIC) + 4 :]
        if head != _head(body) or len(body) < 16:
            raise ValueError("not a whole journal")
        size, count = np.frombuffer(body, "<u8", 2).tolist()
        start = 16 + 16 * count
        if start > len(body) or size > room:
            raise ValueError("not the journal of this file")
        pieces = []
        for offset, length in np.frombuffer(body, "<u8", 2 * count, 16).reshape(-1, 2).tolist():
            if offset + length > size or start + length > len(body):
                raise ValueError("not the journal of this file")
            pieces.append((offset, body[start : start + length]))
            start += length
        return cls(size, tuple(pieces))


class Draft(io.RawIOBase):
    """A file with changes that are in memory only; `change` is what was written."""

    def __init__(self, file: IO[bytes] | None, change: Change) -> None:
        self._file, self._size, self._at = file, change.size, 0
        self._pieces = list(change.pieces)

    @property
    def change(self) -> Change:
        """All that was written and not cut off since, in the order in which it was."""
        kept = [(at, piece[: max(0, self._size - at)]) for at, piece in self._pieces]
        return Change(self._size, tuple((at, piece) for at, piece in kept if piece))

    def readable(self) -> bool:
        """Always."""
        return True

    def writable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Always."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a place, counted from the start, from here or from the end."""
        self._at = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        return self._at

    def readinto(self, buffer: Any) -> int:
        """Read what lies here: the file's own bytes, and over them whatever was written since."""
        view = memoryview(buffer).cast("B")
        stop = min(self._at + len(view), self._size)
        count = max(0, stop - self._at)
        found = b""
        if self._file:
            self._file.seek(self._at)
            found = self._file.read(count)
        view[:count] = found.ljust(count, b"\0")
        for offset, piece in self._pieces:
            low, high = max(offset, self._at), min(offset + len(piece), stop)
            if low < high:
                view[low - self._at : high - self._at] = piece[low - offset : high - offset]
        self._at += count
        return count

    def write(self, content: Any) -> int:
        """Keep some bytes in memory."""
        piece = bytes(content)
        self._pieces.append((self._at, piece))
        self._at += len(piece)
        self._size = max(self._size, self._at)
        return len(piece)

    def truncate(self, size: int | None = None) -> int:
        """Set the length."""
        self._size = self._at if size is None else size
        return self._size


def pending(path: Path) -> Change | None:
    """A change that was decided and, by all that is known, not yet copied; None without one."""
    journal = journal_of(path)
    try:
        return Change.from_bytes(read_own(journal, MOST), path.stat().st_size)
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise DamagedError(f"{journal}: {error}; delete it to see the file without it") from error


@contextmanager
def drafted(path: Path) -> Iterator[Draft]:
    """A draft of a change to a file; carried out when the block ends, unless by an exception."""
    finish(path)
    with path.open("rb") as file:
        draft = Draft(file, Change(path.stat().st_size))
        yield draft
    # Room for new rows first: who reads by the journal maps the file as it is.
    os.truncate(path, max(draft.change.size, path.stat().st_size))
    replace_file(journal_of(path), draft.change.to_bytes())
    finish(path)


def finish(path: Path) -> None:
    """Carry out what a journal says, if there is one."""
    if change := pending(path):
        with path.open("r+b") as file:
            _copy(file, change.pieces)
            file.truncate(change.size)
            file.flush()
            os.fsync(file.fileno())
        journal_of(path).unlink()


def delete_drafts(path: Path) -> None:
    """Delete journals, and beginnings of the file itself, that a kill left unfinished."""
    for stray in path.parent.glob(f".{path.name}.*.tmp"):
        stray.unlink()


def discard(path: Path) -> None:
    """Delete what was to become of a file, and then the file, if they are there."""
    delete_drafts(path)
    journal_of(path).unlink(missing_ok=True)
    path.unlink(missing_ok=True)


def _head(body: bytes) -> bytes:
    return MAGIC + int(google_crc32c.value(body)).to_bytes(4, "little")


def _copy(file: IO[bytes], pieces: Sequence[tuple[int, bytes]]) -> None:
    for offset, piece in pieces:
        file.seek(offset)
        file.write(piece)


def journal_of(path: Path) -> Path:
    """Where the journal of a file lies."""
    return path.with_name(f"{path.name}.journal")
