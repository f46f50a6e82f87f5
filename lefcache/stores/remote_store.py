"""Zarr v3 on an object store: each object has the bytes of the file that a local cache would have.

Nothing is half-written: an object appears whole. A group or array begins with its metadata and
ends with it, so a deletion that was stopped can be told from one that is done.
"""

import shutil
import tempfile
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from lefcache.dtypes import raw
from lefcache.errors import DamagedError, StorageError
from lefcache.files import Url
from lefcache.rows import Extent
from lefcache.stores import ArrayInfo
from lefcache.stores.disk import NODE, UNREADABLE, joined, on_disk, possible
from lefcache.stores.objects import at_once, bucket_at
from lefcache.stores.seal import Seal, mended, seal_in, sealed_json, values_of
from lefcache.stores.zarr_nodes import GROUP, described, info_of, node_of
from lefcache.wording import shown

METADATA = "zarr.json"


class RemoteStore:
    """A Zarr group below an address such as s3://bucket/run1."""

    def __init__(self, root: Url) -> None:
        self.root = root
        self.bucket = bucket_at(root)
        self._scratch: Path | None = None  # where chunks are that were asked for last

    # Formats

    def format_of(self, path: str) -> str:
        """Always `zarr`."""
        return "zarr"

    def begin(self, path: str, format: str, values: Mapping[str, Any]) -> None:
        """Make a group in place of whatever was there; StorageError for one in HDF5."""
        if format != "zarr":
            raise StorageError(
                f"{self.root}: an HDF5 file is written in place, row by row, which no object "
                "store can do: leave out --format hdf5, or extract to a folder"
            )
        self.delete(path)
        self.set_attrs(path, values)

    def held(self) -> AbstractContextManager[None]:
        """Nothing to keep open: every object is asked for by itself."""
        return nullcontext()

    # What every store does

    def children(self, path: str) -> list[str]:
        """Names below a group, sorted: a child is a folder with a `zarr.json`."""
        if not possible(path) or self.info(path) is not None:
            return []
        names = [name for name in self.bucket.folders(path) if NODE.fullmatch(name)]
        there = at_once(lambda name: self.bucket.look(joined(path, name, METADATA)), names)
        return [name for name, content in zip(names, there, strict=True) if content is not None]

    def folders(self, path: str) -> list[str]:
        """What should be a group or an array below a group, also where its metadata is gone."""
        other = {"c"} if path else {"results"}
        return [n for n in self.bucket.folders(path) if n not in other and NODE.fullmatch(n)]

    def attrs(self, path: str) -> dict[str, Any]:
        """Attributes as plain values; {} for a node that is absent."""
        node = self._node(path)
        with _understood(self.root / path):
            return values_of(node.get("attributes", {}), path) if node else {}

    def set_attrs(self, path: str, values: Mapping[str, Any]) -> None:
        """Replace the attributes, creating groups down to `path` where needed."""
        node = self._node(path) or GROUP
        self._ensure_parents(path)
        self._describe(path, {**node, "attributes": dict(values)})

    def seal(self, path: str) -> Seal:
        """Whether the metadata is what was written, and where; DamagedError where it is gone."""
        content = self.bucket.get(joined(path, METADATA))
        if content is None:
            raise DamagedError(f"{self.root / path}/{METADATA} is missing")
        with _understood(self.root / path):
            return seal_in(content, path)

    def mend(self, path: str, bare: bool = False) -> bool:
        """Give metadata the one bit back that was flipped; False if there is no such bit.

        That of a `bare` group, which says nothing of its own, is written again otherwise.
        """
        content = self.bucket.get(joined(path, METADATA))
        whole = mended(content) if content else None
        if whole is None and bare:
            whole = sealed_json(GROUP, path)
        if whole:
            self.bucket.put(joined(path, METADATA), whole)
        return whole is not None

    def info(self, path: str) -> ArrayInfo | None:
        """Shape, dtype and chunk of an array; None where there is none."""
        node = self._node(path)
        with _understood(self.root / path):
            return info_of(node, self.root / path) if node else None

    def create(
        self,
        path: str,
        shape: Sequence[int],
        dtype: DTypeLike,
        chunk_rows: int,
        axes: Sequence[str],
    ) -> None:
        """Create an array without compression or filters, its first axis cut into chunks."""
        node = described(shape, dtype, chunk_rows, axes)
        self.delete(path)
        self._ensure_parents(path)
        self._describe(path, node)

    def resize(self, path: str, rows: int) -> None:
        """Change the length; chunks beyond the new end are deleted."""
        info = self._array(path)
        node = self._node(path)
        assert node is not None
        kept = -(-rows // info.chunk_rows)
        self.bucket.delete(_chunks(path, info)[kept:])
        self._describe(path, {**node, "shape": [rows, *info.shape[1:]]})

    def write(self, path: str, start: int, values: NDArray[Any]) -> None:
        """Write whole chunks from `start`, several at a time; all are there when it returns."""
        info = self._array(path)
        assert start % info.chunk_rows == 0, "a write must begin a chunk"
        stop = start + len(values)
        padded = -(-stop // info.chunk_rows) * info.chunk_rows
        flat = raw(np.ascontiguousarray(values.astype(info.dtype, copy=False)))
        if stop < min(padded, info.shape[0]):
            flat = np.concatenate([flat, raw(self.read(path, padded, sparse=True, start=stop))])
        after = padded - start - len(flat)
        flat = np.concatenate([flat, np.zeros((after, *flat.shape[1:]), flat.dtype)])
        names = _chunks(path, info)[start // info.chunk_rows :]
        places = range(0, len(flat), info.chunk_rows)

        def put(place: tuple[int, str]) -> None:
            low, name = place
            self.bucket.put(name, flat[low : low + info.chunk_rows].tobytes())

        at_once(put, zip(places, names, strict=False))

    def sweep(self, path: str, deep: bool = True) -> None:
        """Nothing: an object that was not finished is not there."""

    def sync(self) -> None:
        """Nothing: a put returns when the object is there to stay."""

    def size(self, path: str) -> int:
        """Bytes of all objects below a node."""
        return sum(self.bucket.lengths(path).values())

    def delete(self, path: str) -> None:
        """Take a node away with all below it, its own metadata last."""
        last, there = joined(path, METADATA), self.bucket.lengths(path)
        self.bucket.delete([name for name in there if name != last])
        if last in there:
            self.bucket.delete([last])

    def read(
        self, path: str, stop: int | None = None, sparse: bool = False, start: int = 0
    ) -> NDArray[Any]:
        """The rows start..stop of an array, in memory; see `Store.read`."""
        info = self.info(path)
        if info is None:
            raise DamagedError(f"{self.root / path} is no array")
        stop = info.shape[0] if stop is None else min(stop, info.shape[0])
        with _understood(self.root / path):
            found = np.zeros((max(stop - start, 0), *info.shape[1:]), info.dtype)
        first = start // info.chunk_rows
        names = _chunks(path, info)[first : -(-stop // info.chunk_rows)] if len(found) else []

        def fill(place: tuple[int, str]) -> None:
            number, name = place
            content = self.bucket.get(name)
            if content is None and sparse:
                return
            _check_length(self.root / name, len(content or b""), info)
            begin = number * info.chunk_rows
            low, high = max(begin, start), min(begin + info.chunk_rows, stop)
            chunk = np.frombuffer(content or b"", info.dtype).reshape(-1, *info.shape[1:])
            found[low - start : high - start] = chunk[low - begin : high - begin]

        at_once(fill, enumerate(names, first))
        return found

    def extents(self, path: str) -> list[Extent]:
        """Where the rows of an array lie once they are brought to this disk, until the next ask."""
        info, extents = self._array(path), []
        for number, chunk in enumerate(self.chunks(path)):
            if chunk is None:
                name = _chunks(path, info)[number]
                _check_length(self.root / name, self.bucket.length(name) or 0, info)
            assert chunk is not None
            rows = min(info.chunk_rows, info.shape[0] - number * info.chunk_rows)
            extents.append(Extent(chunk.path, 0, rows))
        return extents

    def chunks(self, path: str) -> list[Extent | None]:
        """Each whole chunk, brought to this disk until the next array is asked for."""
        info, folder = self._array(path), self._emptied()

        def bring(place: tuple[int, str]) -> Extent | None:
            number, name = place
            content, file = self.bucket.get(name), folder / str(number)
            if content is None or len(content) != info.chunk_bytes:
                return None
            with on_disk(file):
                file.write_bytes(content)
            return Extent(str(file), 0, info.chunk_rows)

        return at_once(bring, enumerate(_chunks(path, info)))

    def _node(self, path: str) -> dict[str, Any] | None:
        if not possible(path):
            return None
        content = self.bucket.look(joined(path, METADATA))
        with _understood(self.root / path):
            return None if content is None else node_of(content)

    def _array(self, path: str) -> ArrayInfo:
        info = self.info(path)
        assert info is not None, f"{path} is no array"
        return info

    def _ensure_parents(self, path: str) -> None:
        """Make the groups above a node, top first."""
        for parent in reversed(PurePosixPath(path).parents):
            above = "" if parent == PurePosixPath() else str(parent)
            if path and self.bucket.look(joined(above, METADATA)) is None:
                self._describe(above, GROUP)

    def _describe(self, path: str, node: Mapping[str, Any]) -> None:
        self.bucket.put(joined(path, METADATA), sealed_json(node, path))

    def _emptied(self) -> Path:
        """The folder that chunks are brought to, without those of before."""
        if self._scratch is None:
            self._scratch = Path(tempfile.mkdtemp(prefix="lef-"))
            weakref.finalize(self, shutil.rmtree, self._scratch, ignore_errors=True)
        for file in self._scratch.iterdir():
            file.unlink()
        return self._scratch


def _chunks(path: str, info: ArrayInfo) -> list[str]:
    """The objects that an array's chunks are, in order."""
    below = "/0" * (len(info.shape) - 1)
    return [joined(path, f"c/{number}{below}") for number in range(info.chunks)]


@contextmanager
def _understood(where: Url) -> Iterator[None]:
    """Turn what damaged metadata does to a reader into DamagedError."""
    try:
        yield
    except UNREADABLE as error:
        raise DamagedError(f"{where}: this metadata cannot be read: {shown(error, 200)}") from error


def _check_length(where: Url, found: int, info: ArrayInfo) -> None:
    if found != (size := info.chunk_bytes):
        raise DamagedError(f"{where}: {found:,} bytes where {size:,} were written")
