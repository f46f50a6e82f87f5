"""Zarr v3 on a local disk: uncompressed chunks, so that each chunk file is a raw block to map.

Looking needs no zarr: metadata is a JSON document beside the chunks, and importing the library
takes longer than listing a cache. What is written is what zarr itself would write, but for a seal
in the metadata, by which one changed byte of it is noticed.
"""

import os
import secrets
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from lefcache.dtypes import dtype_of, raw
from lefcache.errors import DamagedError
from lefcache.files import DRAFT, is_own, read_own, replace_file, sync_file, sync_folder
from lefcache.rows import Extent
from lefcache.stores import BITS_OF, ArrayInfo
from lefcache.stores.disk import NODE, joined, length_of, no_link, on_disk, place, readable
from lefcache.stores.seal import Seal, mended, seal_in, sealed_json, values_of
from lefcache.stores.zarr_nodes import GROUP, METADATA, described, info_of, node_of

if TYPE_CHECKING:
    from zarr.core.array_spec import ArrayConfigParams

# Without this an all-zero chunk is not written at all, and a missing chunk reads as zeros: a
# lost block and a block of zeros could not be told apart. zarr does not store this setting.
_WRITE_ZEROS: "ArrayConfigParams" = {"write_empty_chunks": True}


class ZarrStore:
    """A Zarr group on a local disk; `home` is its path in the cache that it is, or will be, in."""

    def __init__(self, root: Path, home: str = "") -> None:
        self.root, self.home = root, home
        self._unsynced: set[Path] = set()  # files that were written since the last `sync`

    def children(self, path: str) -> list[str]:
        """Names below a group, sorted: a child is a folder with a `zarr.json`."""
        folder = place(self.root, path)
        with on_disk(folder):
            if not folder.is_dir():
                return []
            # A name that begins with a dot is on its way in or out; none of ours has capitals.
            names = (each.name for each in folder.iterdir() if NODE.fullmatch(each.name))
            return sorted(name for name in names if (folder / name / METADATA).is_file())

    def attrs(self, path: str) -> dict[str, Any]:
        """Attributes as plain values; {} for a node that is absent."""
        folder = place(self.root, path)
        with readable(folder):
            given = _metadata(folder).get("attributes", {}) if _is_node(folder) else {}
            return values_of(given, joined(self.home, path))

    def seal(self, path: str) -> Seal:
        """Whether the metadata is what was written, and where; DamagedError where it is gone."""
        folder = place(self.root, path)
        with readable(folder):
            if not _is_node(folder):
                raise DamagedError(f"{folder / METADATA} is missing")
            return seal_in(read_own(folder / METADATA), joined(self.home, path))

    def mend(self, path: str, bare: bool = False) -> bool:
        """Give metadata the one bit back that was flipped; False if there is no such bit.

        That of a `bare` group, which says nothing of its own, is written again otherwise.
        """
        file = place(self.root, path) / METADATA
        with readable(file):
            content = mended(read_own(file)) if _is_node(file.parent) else None
            if content is None and bare:
                content = sealed_json(GROUP, joined(self.home, path))
            if content:
                self.sweep(path, deep=False)
                replace_file(file, content)
        return content is not None

    def set_attrs(self, path: str, values: Mapping[str, Any]) -> None:
        """Replace the attributes, creating groups down to `path` where needed."""
        folder = place(self.root, path)
        with readable(folder):
            node = _metadata(folder) if _is_node(folder) else GROUP
        self._ensure_parents(path)
        self._describe(path, {**node, "attributes": dict(values)})

    def _describe(self, path: str, node: Mapping[str, Any]) -> None:
        """Write metadata with its seal, at once: a kill leaves the old one or the new one.

        zarr would write down attributes only without a seal, or with one of what was there before.
        """
        file = place(self.root, path) / METADATA
        with on_disk(file.parent):
            file.parent.mkdir(parents=True, exist_ok=True)
            replace_file(file, sealed_json(node, joined(self.home, path)), sync=False)
            self._unsynced.add(file)

    def info(self, path: str) -> ArrayInfo | None:
        """Shape, dtype and chunk of an array; None where there is none."""
        folder = place(self.root, path)
        with readable(folder):
            return info_of(_metadata(folder), folder) if _is_node(folder) else None

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

    def _ensure_parents(self, path: str) -> None:
        """Make the groups above a node, top first: zarr would make them last, if not killed."""
        names = path.split("/") if path else []
        for above in ("/".join(names[:depth]) for depth in range(len(names))):
            if not (place(self.root, above) / METADATA).is_file():
                self._describe(above, GROUP)

    def resize(self, path: str, rows: int) -> None:
        """Change the length; chunks beyond the new end are deleted."""
        info = self.info(path)
        assert info is not None, f"{path} is no array"
        with readable(self.root / path):
            node = _metadata(self.root / path)
        kept = -(-rows // info.chunk_rows)
        with on_disk(self.root / path):
            for file, start in self._chunks(path, info, info.shape[0]):
                if start // info.chunk_rows >= kept:
                    Path(file).unlink(missing_ok=True)
        self._describe(path, {**node, "shape": [rows, *info.shape[1:]]})

    def write(self, path: str, start: int, values: NDArray[Any]) -> None:
        """Write whole chunks from `start`; each chunk file appears at once or not at all."""
        import zarr

        info = self.info(path)
        assert info is not None, f"{path} is no array"
        for _ in self._chunks(path, info, start + len(values), start):
            pass  # none of their folders is a link
        with readable(self.root / path):  # zarr reads more of the metadata than we do
            array = zarr.open_array(self.root / path, mode="r+").with_config(_WRITE_ZEROS)
        with on_disk(self.root / path):
            assert start % array.chunks[0] == 0, "a write must begin a chunk"
            if bits_of := array.attrs.get(BITS_OF):
                values = raw(values.astype(dtype_of(str(bits_of)), copy=False))
            array[start : start + len(values)] = values
            below = "/0" * (array.ndim - 1)
            first, beyond = (at // array.chunks[0] for at in (start, start + len(values) - 1))
            numbers = range(first, beyond + 1)
            self._unsynced |= {self.root / path / f"c/{number}{below}" for number in numbers}

    def sweep(self, path: str, deep: bool = True) -> None:
        """Delete what interrupted writes and deletions have left.

        Its name ends in `.partial`, or in `.tmp` where it was to become metadata.
        """
        folder = place(self.root, path)
        with on_disk(folder):
            if deep:
                strays = [*folder.parent.glob(f".{folder.name}.*.partial")] if path else []
                strays += [each for each in folder.rglob("*") if each.suffix in (".partial", DRAFT)]
            else:  # zarr itself wrote metadata once, by way of a `.partial`
                strays = [*folder.glob("zarr.*.partial"), *folder.glob(f".{METADATA}.*{DRAFT}")]
            for stray in strays:
                if stray.is_dir() and not stray.is_symlink():
                    shutil.rmtree(stray)
                else:
                    stray.unlink(missing_ok=True)

    def sync(self) -> None:
        """Put every file that was written on the disk, and the folders that name it."""
        with on_disk(self.root):
            folders: set[Path] = set()
            for file in self._unsynced:
                sync_file(file)
                folders |= {each for each in file.parents if each.is_relative_to(self.root)}
            for folder in folders:
                if folder.is_dir():  # and was not deleted since
                    sync_folder(folder)
        self._unsynced.clear()

    def size(self, path: str) -> int:
        """Bytes of all files below a node, without those that a writer renames meanwhile."""
        found = os.walk(place(self.root, path))
        files = (Path(folder, name) for folder, _, names in found for name in names)
        return sum(map(_size, files))

    def delete(self, path: str) -> None:
        """Take a node away at once, and then its files one by one."""
        folder = place(self.root, path)
        with on_disk(folder):
            if folder.is_dir():
                gone = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.partial")
                folder.rename(gone)
                self._unsynced.add(folder / METADATA)  # the folders above must know that it is gone
                shutil.rmtree(gone)

    def read(
        self, path: str, stop: int | None = None, sparse: bool = False, start: int = 0
    ) -> NDArray[Any]:
        """The rows start..stop of an array, in memory; see `Store.read`."""
        info = self.info(path)
        if info is None:
            raise DamagedError(f"{self.root / path} is no array")
        stop = info.shape[0] if stop is None else min(stop, info.shape[0])
        there = []
        for file, first in self._chunks(path, info, stop, start) if start < stop else ():
            if (length := length_of(file)) or not sparse:
                _check_length(file, length or 0, info)
                there.append((file, first))
        with readable(self.root / path):
            found = np.zeros((max(stop - start, 0), *info.shape[1:]), info.dtype)
            for file, first in there:
                low, high = max(first, start), min(first + info.chunk_rows, stop)
                content = Path(file).read_bytes()
                chunk = np.frombuffer(content, info.dtype).reshape(-1, *info.shape[1:])
                found[low - start : high - start] = chunk[low - first : high - first]
        return found

    def extents(self, path: str) -> list[Extent]:
        """One extent per chunk file, in order; the last chunk is stored full size, then cut."""
        info = self.info(path)
        assert info is not None, f"{path} is no array"
        extents = []
        for file, start in self._chunks(path, info, info.shape[0]):
            # A length costs one look at the file and finds a torn or missing chunk at once; a
            # reader that skipped it would shift every later row onto the wrong text.
            _check_length(file, length_of(file) or 0, info)
            extents.append(Extent(file, 0, min(info.chunk_rows, info.shape[0] - start)))
        return extents

    def chunks(self, path: str) -> list[Extent | None]:
        """Where each whole chunk lies, padding and all; None for one that is missing or torn."""
        info = self.info(path)
        assert info is not None, f"{path} is no array"
        size = info.chunk_bytes
        return [
            Extent(file, 0, info.chunk_rows) if length_of(file) == size else None
            for file, _ in self._chunks(path, info, info.shape[0])
        ]

    def _chunks(
        self, path: str, info: ArrayInfo, stop: int, start: int = 0
    ) -> Iterator[tuple[str, int]]:
        """The file of each chunk that holds one of the rows start..stop, and its first row."""
        folder = f"{place(self.root, path)}/c"
        no_link(folder)
        for chunk in range(start // info.chunk_rows, -(-stop // info.chunk_rows)):
            file = f"{folder}/{chunk}"
            for _ in info.shape[1:]:
                no_link(file)
                file += "/0"
            yield file, chunk * info.chunk_rows


def _check_length(file: str, found: int, info: ArrayInfo) -> None:
    if found != (size := info.chunk_bytes):
        raise DamagedError(f"{file}: {found:,} bytes where {size:,} were written")


def _is_node(folder: Path) -> bool:
    return is_own(folder / METADATA)


def _metadata(folder: Path) -> dict[str, Any]:
    """What Zarr v3 says of a group or array, as the format lays it down."""
    return node_of(read_own(folder / METADATA))


def _size(file: Path) -> int:
    try:
        return file.lstat().st_size
    except FileNotFoundError:
        return 0
