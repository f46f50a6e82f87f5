"""What a disk and damaged metadata do to a store, turned once into errors of ours."""

import errno
import os
import re
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from lefcache.dtypes import BFLOAT16, dtype_of
from lefcache.errors import DamagedError, StorageError
from lefcache.stores import ArrayInfo
from lefcache.wording import shown

# The names of groups and arrays, none of which leads out of its folder.
NODE = re.compile(r"[a-z0-9][a-z0-9._-]{0,254}")
DEEPEST = 5  # names in a path, corpus/model/split/pool/layer: a group may hold itself
NUMBERS = ("u", "i", "f")  # the kinds of types that arrays have, beside bfloat16

MOST_CHUNKS = 1 << 22
MOST_ROW = 1 << 31  # bytes
MOST_BYTES = 1 << 46  # of an array: twenty times a hundred million of the widest vectors

_DISK = {
    errno.ENOSPC: "the disk is full: free some space, then run the same command again",
    errno.EDQUOT: "the disk quota is used up: free some space, then run the same command again",
    errno.EROFS: "the folder is read-only: choose another with --cache",
    errno.EACCES: "no permission to write here: choose another folder with --cache",
    errno.EPERM: "no permission to write here: choose another folder with --cache",
    errno.ENOTDIR: "a file stands where the cache folder should be: choose another with --cache",
    errno.EEXIST: "a file stands where the cache folder should be: choose another with --cache",
}


# What metadata of the wrong kind or size ends in.
UNREADABLE = (
    AttributeError,
    LookupError,
    MemoryError,
    OverflowError,
    RecursionError,
    RuntimeError,
    TypeError,
    ValueError,
)


@contextmanager
def on_disk(path: Path) -> Iterator[None]:
    """Turn the system's complaints into ours, with the path and the fix."""
    try:
        yield
    except OSError as error:
        if error.errno in _DISK:
            raise StorageError(f"{path}: {_DISK[error.errno]}") from error
        raise StorageError(f"{path}: {error}") from error


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turn what damaged metadata does to a reader into DamagedError."""
    with on_disk(path):
        try:
            yield
        except UNREADABLE as error:
            raise DamagedError(
                f"{path}: this metadata cannot be read: {shown(error, 200)}"
            ) from error


def possible(path: str) -> bool:
    """Whether a cache may have a node of this path; the root has an empty one."""
    names = path.split("/") if path else []
    return len(names) <= DEEPEST and all(map(NODE.fullmatch, names))


def joined(*names: str) -> str:
    """One path out of several, of which any may be the root's."""
    return "/".join(filter(None, names))


def check_path(path: str) -> None:
    """Refuse a path that a cache cannot have."""
    if not possible(path):
        raise DamagedError(
            f"{shown(repr(path), 200)} can be no place in a cache: its metadata is damaged"
        )


def place(root: Path, path: str) -> Path:
    """The folder of a node below a root; DamagedError for a name or link that leads out of it."""
    check_path(path)
    folder = root
    for name in path.split("/") if path else ():
        folder /= name
        no_link(folder)
    return folder


def no_link(path: str | Path) -> None:
    """Refuse a link below a cache's folder, whatever it leads to."""
    if (mode := _mode_of(path)) is not None and stat.S_ISLNK(mode.st_mode):
        raise DamagedError(f"{path} is a link, and may lead anywhere: put what it stands for there")


def length_of(file: str | Path) -> int | None:
    """The bytes of a plain file, None where there is none; DamagedError for a link or a pipe."""
    found = _mode_of(file)
    if found is None or stat.S_ISDIR(found.st_mode):
        return None
    if stat.S_ISREG(found.st_mode):
        return found.st_size
    no_link(file)
    raise DamagedError(f"{file} is no plain file")


def _mode_of(path: str | Path) -> os.stat_result | None:
    """What lies at a path, at which it is looked again and again; None where nothing lies."""
    try:
        return os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise StorageError(f"{path}: {error.strerror}") from error


def checked(info: ArrayInfo, chunk: Sequence[int]) -> ArrayInfo:
    """An array that can be, cut into whole rows, or ValueError: a stranger's file may say anything.

    Nothing is allocated for an array before it is held against this.
    """
    shape, rows = info.shape, info.chunk_rows
    if not (shape and all(map(_is_count, (*shape, *chunk))) and rows):
        raise ValueError(f"an array of {shape} in chunks of {tuple(chunk)}")
    if tuple(chunk[1:]) != shape[1:]:
        raise ValueError(f"chunks of {tuple(chunk)} are no whole rows of {shape}")
    if info.dtype.kind not in NUMBERS and info.dtype.name != BFLOAT16:
        raise ValueError(f"{info.dtype} is no type of numbers")
    row = info.row_bytes
    chunks = -(-shape[0] // rows)
    array, slack = max(shape[0], rows * (chunks - 1)) * row, rows * row
    if chunks > MOST_CHUNKS or row > MOST_ROW or array > MOST_BYTES or slack > MOST_ROW + 2 * array:
        raise ValueError(f"an array of {shape} in chunks of {rows} is larger than any")
    return info


def bits_as(dtype: np.dtype[Any], name: Any) -> np.dtype[Any]:
    """The type whose bits an array of this one holds; ValueError for any but bfloat16."""
    if name != BFLOAT16 or dtype != np.uint16:
        raise ValueError(f"{dtype} holds no bits of {name!r}")
    return dtype_of(BFLOAT16)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
