"""Zarr v3 on a local disk: uncompressed chunks, so that each chunk file is a raw block to map.

Looking needs no zarr: metadata is a JSON document beside the chunks, and importing the library
takes longer than listing a cache. Everything that is written is written by zarr itself.
"""

import errno
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from lefcache.dtypes import BFLOAT16, dtype_of, raw
from lefcache.errors import DamagedError, StorageError
from lefcache.rows import Extent
from lefcache.stores import ArrayInfo

if TYPE_CHECKING:
    from zarr.core.array_spec import ArrayConfigParams

# Without this an all-zero chunk is not written at all, and a missing chunk reads as zeros: a
# lost block and a block of zeros could not be told apart. zarr does not store this setting.
_WRITE_ZEROS: "ArrayConfigParams" = {"write_empty_chunks": True}

# Of an array of uint16: the type whose bits these are, since Zarr has no bfloat16 that every
# reader knows.
BITS_OF = "bits_of"

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
    TypeError,
    ValueError,
)


@contextmanager
def _on_disk(path: Path) -> Iterator[None]:
    """Turn the system's complaints into ours, once, with the path and the fix."""
    try:
        yield
    except OSError as error:
        if error.errno in _DISK:
            raise StorageError(f"{path}: {_DISK[error.errno]}") from error
        raise StorageError(f"{path}: {error}") from error


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Turn what damaged metadata does to a reader into DamagedError."""
    with _on_disk(path):
        try:
            yield
        except UNREADABLE as error:
            raise DamagedError(f"{path}: this metadata cannot be read: {error!r}") from error


class ZarrStore:
    """A Zarr group on a local disk."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def children(self, path: str) -> list[str]:
        """Names below a group, sorted: a child is a folder with a `zarr.json`."""
        folder = self.root / path
        with _on_disk(folder):
            if not folder.is_dir():
                return []
            return sorted(child.name for child in folder.iterdir() if _is_node(child))

    def attrs(self, path: str) -> dict[str, Any]:
        """Attributes as plain values; {} for a node that is absent."""
        folder = self.root / path
        with _readable(folder):
            return dict(_metadata(folder).get("attributes", {})) if _is_node(folder) else {}

    def set_attrs(self, path: str, values: Mapping[str, Any]) -> None:
        """Replace the attributes, creating groups down to `path` where needed."""
        import zarr

        with _on_disk(self.root / path):
            self._ensure_parents(path)
            if _is_node(self.root / path):
                zarr.open(self.root / path, mode="r+", use_consolidated=False).attrs.put(
                    dict(values)
                )
            else:  # born with its attributes: a kill cannot leave a group that has none
                zarr.create_group(self.root / path, attributes=dict(values))

    def info(self, path: str) -> ArrayInfo | None:
        """Shape, dtype and chunk of an array; None where there is none."""
        with _readable(self.root / path):
            if not _is_node(self.root / path):
                return None
            node = _metadata(self.root / path)
            if node["node_type"] != "array":
                return None
            if [codec["name"] for codec in node["codecs"]] != ["bytes"]:
                raise DamagedError(f"{self.root / path}: compressed by another program; cannot map")
            if node["chunk_key_encoding"] != {
                "name": "default",
                "configuration": {"separator": "/"},
            }:
                raise DamagedError(f"{self.root / path}: its chunks have other names than ours")
            big = node["codecs"][0].get("configuration", {}).get("endian") == "big"
            dtype = np.dtype(node["data_type"]).newbyteorder(">" if big else "<")
            if bits_of := node.get("attributes", {}).get(BITS_OF):
                dtype = dtype_of(bits_of)
            chunk, *_ = node["chunk_grid"]["configuration"]["chunk_shape"]
            shape = tuple(node["shape"])
            if not (shape and all(_is_count(each) for each in (*shape, chunk)) and chunk):
                raise ValueError(f"an array of {shape} in chunks of {chunk}")
            return ArrayInfo(shape, dtype, chunk)

    def create(
        self,
        path: str,
        shape: Sequence[int],
        dtype: DTypeLike,
        chunk_rows: int,
        axes: Sequence[str],
    ) -> None:
        """Create an array without compression or filters, its first axis cut into chunks."""
        import zarr

        with _on_disk(self.root / path):
            self._ensure_parents(path)
            narrow = np.dtype(dtype).name == BFLOAT16
            zarr.create_array(
                self.root / path,
                shape=tuple(shape),
                chunks=(chunk_rows, *shape[1:]),
                dtype=np.dtype(np.uint16 if narrow else dtype),
                attributes={BITS_OF: BFLOAT16} if narrow else None,
                compressors=None,
                filters=None,
                dimension_names=list(axes),
                overwrite=True,
            )

    def _ensure_parents(self, path: str) -> None:
        """Make the groups above a node, top first: zarr would make them last, if not killed."""
        import zarr

        for parent in reversed(PurePath(path).parents):
            if not _is_node(self.root / parent):
                zarr.create_group(self.root / parent)

    def resize(self, path: str, rows: int) -> None:
        """Change the length; chunks beyond the new end are deleted."""
        import zarr

        with _on_disk(self.root / path):
            array = zarr.open_array(self.root / path, mode="r+")
            array.resize((rows, *array.shape[1:]))

    def write(self, path: str, start: int, values: NDArray[Any]) -> None:
        """Write whole chunks from `start`; each chunk file appears at once or not at all."""
        import zarr

        with _on_disk(self.root / path):
            array = zarr.open_array(self.root / path, mode="r+").with_config(_WRITE_ZEROS)
            assert start % array.chunks[0] == 0, "a write must begin a chunk"
            if bits_of := array.attrs.get(BITS_OF):
                values = raw(values.astype(dtype_of(str(bits_of)), copy=False))
            array[start : start + len(values)] = values

    def sweep(self, path: str) -> None:
        """Delete the `.partial` files of interrupted chunk writes."""
        with _on_disk(self.root / path):
            for stray in (self.root / path).rglob("*.partial"):
                stray.unlink()

    def read(self, path: str, rows: int | None = None, sparse: bool = False) -> NDArray[Any]:
        """The array or its first rows in memory; see `Store.read`."""
        info = self.info(path)
        if info is None:
            raise DamagedError(f"{self.root / path} is no array")
        count = info.shape[0] if rows is None else min(rows, info.shape[0])
        with _readable(self.root / path):
            whole = np.zeros((count, *info.shape[1:]), info.dtype)
        for file, start in self._chunks(path, info, count):
            part = whole[start : start + info.chunk_rows]
            with _on_disk(file):
                raw = file.read_bytes() if file.exists() else b""
            if raw or not sparse:
                _check_length(file, len(raw), info)
                part[:] = np.frombuffer(raw, info.dtype, part.size).reshape(part.shape)
        return whole

    def extents(self, path: str) -> list[Extent]:
        """One extent per chunk file, in order; the last chunk is stored full size, then cut."""
        info = self.info(path)
        assert info is not None, f"{path} is no array"
        extents = []
        for file, start in self._chunks(path, info, info.shape[0]):
            # A length costs one look at the file and finds a torn or missing chunk at once; a
            # reader that skipped it would shift every later row onto the wrong text.
            with _on_disk(file):
                _check_length(file, file.stat().st_size if file.exists() else 0, info)
            extents.append(Extent(str(file), 0, min(info.chunk_rows, info.shape[0] - start)))
        return extents

    def _chunks(self, path: str, info: ArrayInfo, rows: int) -> Iterator[tuple[Path, int]]:
        """The file of each chunk that holds one of the first rows, and the row it begins with."""
        below = "/0" * (len(info.shape) - 1)
        for chunk, start in enumerate(range(0, rows, info.chunk_rows)):
            yield self.root / path / f"c/{chunk}{below}", start


def _chunk_bytes(info: ArrayInfo) -> int:
    return info.chunk_rows * math.prod(info.shape[1:]) * info.dtype.itemsize


def _check_length(file: Path, found: int, info: ArrayInfo) -> None:
    if found != (size := _chunk_bytes(info)):
        raise DamagedError(f"{file}: {found:,} bytes where {size:,} were written")


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_node(folder: Path) -> bool:
    return (folder / "zarr.json").is_file()


def _metadata(folder: Path) -> dict[str, Any]:
    """What Zarr v3 says of a group or array, as the format lays it down."""
    node: dict[str, Any] = json.loads((folder / "zarr.json").read_bytes())
    if node["zarr_format"] != 3:
        raise ValueError(f"Zarr format {node['zarr_format']}")
    return node
