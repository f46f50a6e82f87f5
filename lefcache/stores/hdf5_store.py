"""One HDF5 file: uncompressed chunks that never move, so that each is a raw block to map.

HDF5 itself is asked only where things lie. Rows are written straight to their place in the file,
which touches no metadata, and metadata changes by way of a journal: so `kill -9` at any moment
leaves a file that opens, with every row that was written before.
"""

import json
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import DTypeLike, NDArray

from lefcache.dtypes import BFLOAT16, raw
from lefcache.errors import DamagedError
from lefcache.files import sync_file
from lefcache.rows import Extent
from lefcache.stores import BITS_OF, ArrayInfo
from lefcache.stores.disk import joined, length_of, on_disk, readable
from lefcache.stores.hdf5_nodes import Node, new_array, node_at, put_attrs, seal_node
from lefcache.stores.hdf5_open import Look, look, numbered
from lefcache.stores.journal import Change, Draft, delete_drafts, discard, drafted, finish
from lefcache.stores.seal import Seal, check_place

if TYPE_CHECKING:
    import h5py

Found = TypeVar("Found")

# Chunks of vectors begin where every number of them is aligned, as in a file of their own.
ALIGNED = {"alignment_threshold": 1024, "alignment_interval": 64}
# A reader that comes while a change is copied into the file may find half of it: it looks again.
LOOKS, PAUSE = 5, 0.05


class Hdf5Store:
    """A tree in one HDF5 file; `home` is its path in the cache that it is, or will be, in."""

    def __init__(self, root: Path, home: str = "", look: Look = look) -> None:
        self.root, self.home, self._look_at = root, home, look

    def children(self, path: str) -> list[str]:
        """Names below a group, sorted."""
        none: list[str] = []
        return [*self._look(path, lambda node: node.children, none)]

    def attrs(self, path: str) -> dict[str, Any]:
        """Attributes as plain values; {} for a node that is absent."""
        none: tuple[dict[str, Any], str | None] = ({}, None)
        values, place = self._look(path, lambda node: (node.attrs, node.place), none)
        check_place(place, joined(self.home, path))
        return {**values}

    def set_attrs(self, path: str, values: Mapping[str, Any]) -> None:
        """Replace the attributes, creating groups down to `path` where needed."""
        if self._there():
            with self._change() as file:
                put_attrs(file, path, values, self.home)
        else:  # born with its attributes: a kill cannot leave a file that has none
            with on_disk(self.root):
                _new_file(self.root, self.home, path, values)

    def seal(self, path: str) -> Seal:
        """Whether the metadata is what was written, and where that was."""
        none: tuple[bool | None, str | None] = (None, None)
        holds, place = self._look(path, lambda node: (node.holds, node.place), none)
        return Seal(joined(self.home, path), holds, place)

    def info(self, path: str) -> ArrayInfo | None:
        """Shape, dtype and chunk of an array; None where there is none."""
        return self._look(path, lambda node: node.info, None)

    def create(
        self,
        path: str,
        shape: Sequence[int],
        dtype: DTypeLike,
        chunk_rows: int,
        axes: Sequence[str],
    ) -> None:
        """Create an array without compression or filters, its first axis cut into chunks."""
        if self.info(path) is not None:
            # In a change of its own: what another array left free is not taken for zeros then.
            with self._change() as file:
                _delete(file, path)
        narrow = np.dtype(dtype).name == BFLOAT16
        with self._change() as file:
            node_at(file, path)  # which lies in this file, or nowhere yet
            array = new_array(file, path, tuple(shape), "<u2" if narrow else dtype, chunk_rows)
            if narrow:
                array.attrs[BITS_OF] = json.dumps(BFLOAT16)
            for axis, name in enumerate(axes):
                array.dims[axis].label = name
            seal_node(array, self.home)

    def resize(self, path: str, rows: int) -> None:
        """Change the length; what lay beyond the new end is gone."""
        with self._change() as file:
            array = node_at(file, path)
            array.resize(rows, axis=0)
            seal_node(array, self.home)

    def write(self, path: str, start: int, values: NDArray[Any]) -> None:
        """Write rows from `start` where they lie, and zeros after the last row of the array."""
        info = self.info(path)
        assert info is not None, f"{path} is no array"
        assert start % info.chunk_rows == 0, "a write must begin a chunk"
        flat = raw(np.ascontiguousarray(values.astype(info.dtype, copy=False)))
        extents, stop = self.extents(path), start + len(values)
        if stop == info.shape[0]:
            padding = np.zeros((-stop % info.chunk_rows, *info.shape[1:]), flat.dtype)
            flat = np.concatenate([flat, padding])
        with on_disk(self.root), self.root.open("r+b", buffering=0) as file:
            for low in range(0, len(flat), info.chunk_rows):
                piece = flat[low : low + info.chunk_rows]
                file.seek(extents[(start + low) // info.chunk_rows].offset)
                _write_all(file, memoryview(piece.tobytes()))

    def sweep(self, path: str, deep: bool = True) -> None:
        """Finish a change that a killed writer had decided on, and delete one it had not."""
        with on_disk(self.root):
            delete_drafts(self.root)
            if self._there():
                finish(self.root)

    def sync(self) -> None:
        """Put all that was written on the disk."""
        with on_disk(self.root):
            sync_file(self.root)

    def size(self, path: str) -> int:
        """Bytes of the rows below a node; of the whole file for the root."""
        if not path:
            return self.root.stat().st_size
        info = self.info(path)
        if info is not None:
            return math.prod(info.shape) * info.dtype.itemsize
        return sum(self.size(f"{path}/{name}") for name in self.children(path))

    def delete(self, path: str) -> None:
        """Take a node away with all below it: the file itself, or a part of it.

        HDF5 does not give the place of a part back to the disk.
        """
        if not path:
            with on_disk(self.root):
                discard(self.root)
        elif self._there():
            with self._change() as file:
                _delete(file, path)

    def read(
        self, path: str, stop: int | None = None, sparse: bool = False, start: int = 0
    ) -> NDArray[Any]:
        """The rows start..stop of an array, in memory; what was never written is zeros."""
        info = self.info(path)
        if info is None:
            raise DamagedError(f"{self.root}/{path} is no array")
        stop = info.shape[0] if stop is None else min(stop, info.shape[0])
        width, extents = math.prod(info.shape[1:]), self.extents(path)
        with readable(self.root):
            found = np.zeros((max(stop - start, 0), *info.shape[1:]), info.dtype)
            for number, extent in enumerate(extents):
                first = number * info.chunk_rows
                low, high = max(first, start), min(first + extent.rows, stop)
                if low < high:
                    skipped = (low - first) * width * info.dtype.itemsize
                    place, count = extent.offset + skipped, (high - low) * width
                    rows = np.fromfile(self.root, _plain(info.dtype), count, offset=place)
                    part = found[low - start : high - start]
                    part[:] = rows.view(info.dtype).reshape(part.shape)
        return found

    def extents(self, path: str) -> list[Extent]:
        """Where the rows of each chunk lie in the file, in order."""
        info, chunks = self._places(path)
        extents = []
        for number, chunk in enumerate(chunks):
            assert info is not None, "an array with chunks"
            start = number * info.chunk_rows
            if chunk is None:
                raise DamagedError(f"{self.root}/{path}: rows {start}.. lie beyond its end")
            rows = min(chunk.rows, info.shape[0] - start)
            extents.append(Extent(chunk.path, chunk.offset, rows))
        return extents

    def chunks(self, path: str) -> list[Extent | None]:
        """Where each whole chunk lies, padding and all; None where there is no such place."""
        return self._places(path)[1]

    def _places(self, path: str) -> tuple[ArrayInfo | None, list[Extent | None]]:
        """What an array is made of and where its chunks lie, at one look: a writer may be at it."""
        nothing: tuple[ArrayInfo | None, list[int | None]] = (None, [])
        info, places = self._look(path, lambda node: node.places, nothing)
        if info is None:
            return None, []
        size = info.chunk_bytes
        with on_disk(self.root):
            end = _size(self.root)
        return info, [
            None if at is None or at + size > end else Extent(str(self.root), at, info.chunk_rows)
            for at in places
        ]

    def _look(self, path: str, see: Callable[[Node], Found], absent: Found) -> Found:
        """What is seen of a node, once more where a writer was changing the file meanwhile."""
        for number in range(LOOKS):
            try:
                with readable(self.root):
                    if not self._there():
                        return absent
                    found: Found | None = self._look_at(self.root, path, see)
                    return absent if found is None else found
            except DamagedError:
                if number == LOOKS - 1:
                    raise
            time.sleep(PAUSE)
        raise AssertionError("the last look returns or raises")

    def _there(self) -> bool:
        """Whether the file is there; DamagedError for a link, which may lead to another."""
        return length_of(self.root) is not None

    @contextmanager
    def _change(self) -> Iterator["h5py.File"]:
        """The file to change its metadata; all of it happens or nothing."""
        import h5py

        with on_disk(self.root):
            if not self._there():
                _new_file(self.root, self.home)
            with (
                readable(self.root),
                numbered(),
                drafted(self.root) as draft,
                h5py.File(draft, "r+", **ALIGNED) as file,
            ):
                yield file


def _new_file(
    path: Path, home: str, group: str = "", attrs: Mapping[str, Any] | None = None
) -> None:
    """A file that appears whole; the format's newest version has checksums in metadata."""
    import h5py

    from lefcache.files import replace_file

    draft = Draft(None, Change(0))
    with h5py.File(draft, "w", libver=("v112", "v112")) as file:
        put_attrs(file, group, attrs or {}, home)
    draft.seek(0)
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, draft.readall())


def _size(path: Path) -> int:
    return path.stat().st_size


def _delete(file: "h5py.File", path: str) -> None:
    if node_at(file, path) is not None:
        del file[path]


def _plain(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """What numpy itself reads from a file: bfloat16 is not its own."""
    return np.dtype("<u2") if dtype.name == BFLOAT16 else dtype


def _write_all(file: Any, content: memoryview) -> None:
    """A raw file may write less than it was given: a disk that fills up does that once."""
    while content:
        content = content[file.write(content) :]
