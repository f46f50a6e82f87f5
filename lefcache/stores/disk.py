"""What a disk and damaged metadata do to a store, turned once into errors of ours."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lefcache.errors import DamagedError, StorageError
from lefcache.stores import ArrayInfo

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
            raise DamagedError(f"{path}: this metadata cannot be read: {error!r}") from error


def checked(info: ArrayInfo) -> ArrayInfo:
    """An array of a size that can be, or ValueError: a stranger's file may say anything."""
    sizes = (*info.shape, info.chunk_rows)
    if not (info.shape and all(map(_is_count, sizes)) and info.chunk_rows):
        raise ValueError(f"an array of {info.shape} in chunks of {info.chunk_rows}")
    return info


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
