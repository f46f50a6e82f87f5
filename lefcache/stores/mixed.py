"""One tree out of both formats: Zarr, in which any group may be an HDF5 file instead.

The group `a/b/c` is the folder `a/b/c`, or the file `a/b/c.h5` where there is one. Where both are,
the file counts: the folder is what a conversion that was stopped has left behind.
"""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from numpy.typing import DTypeLike, NDArray

from lefcache.errors import StorageError
from lefcache.files import sync_folder
from lefcache.rows import Extent
from lefcache.stores import ArrayInfo, Store
from lefcache.stores.disk import (
    NODE,
    check_path,
    length_of,
    no_link,
    on_disk,
    place,
    possible,
)
from lefcache.stores.hdf5_open import Held, Look, See, look
from lefcache.stores.hdf5_store import Hdf5Store
from lefcache.stores.seal import Seal
from lefcache.stores.zarr_store import ZarrStore

SUFFIX = ".h5"


def in_folder(path: Path) -> "MixedStore":
    """The store in a folder, which need not be there yet; StorageError for a file."""
    if path.exists() and not path.is_dir():
        raise StorageError(f"{path} is a file, not a cache folder: choose another with --cache")
    return MixedStore(path)


class MixedStore:
    """A store that hands each path to the format that holds it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._zarr = ZarrStore(root)
        self._files: dict[str, Hdf5Store] = {}
        self._look: Look = look

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep the HDF5 file that was looked at last open, for who looks at all there is of it."""
        held = Held()
        self._look = held.look
        try:
            yield
        finally:
            self._look = look
            held.close()

    # Formats

    def format_of(self, path: str) -> str:
        """The format that a node is kept in: `zarr`, also where there is none yet, or `hdf5`."""
        return "zarr" if self._home(path)[0] is self._zarr else "hdf5"

    def begin(self, path: str, format: str, values: Mapping[str, Any]) -> None:
        """Make a group of a format with these attributes, in place of whatever was there."""
        self.delete(path)
        if format == "hdf5":
            self._hdf5(path).set_attrs("", values)
        else:
            self._zarr.set_attrs(path, values)

    def folders(self, path: str) -> list[str]:
        """What should be a node below a group that is a folder: its subfolders, but for chunks."""
        folder = place(self.root, path)
        if not folder.is_dir():
            return []
        found = {each.name for each in folder.iterdir() if each.is_dir()}
        files = {each.name.removesuffix(SUFFIX) for each in folder.glob(f"*{SUFFIX}")}
        names = (found - {"c"} | files) - ({"results"} if not path else set())
        return sorted(filter(NODE.fullmatch, names))

    @contextmanager
    def replacing(self, path: str, format: str) -> Iterator[Store]:
        """A store of another format for a copy of a group, which takes its place at the end.

        What was not finished is deleted: on a disk that is full it would keep the room.
        """
        self._sweep_drafts(path)
        draft = _draft(self.root / path if format == "zarr" else self._file(path))
        store = ZarrStore(draft, path) if format == "zarr" else Hdf5Store(draft, path)
        try:
            yield store
            store.sync()
            self._put_in_place(path, draft, format)
        finally:
            self._sweep_drafts(path)

    def _put_in_place(self, path: str, draft: Path, format: str) -> None:
        folder, file = self.root / path, self._file(path)
        with on_disk(folder):
            if format == "hdf5":
                draft.replace(file)
                sync_folder(file.parent)
                self._zarr.delete(path)
            else:
                self._zarr.delete(path)  # what a conversion that was stopped has left
                draft.rename(folder)
                sync_folder(folder.parent)
                self._hdf5(path).delete("")

    # What every store does

    def children(self, path: str) -> list[str]:
        """Names below a group, sorted."""
        if not possible(path):
            return []
        store, rest = self._home(path)
        names = store.children(rest)
        if store is not self._zarr:
            return names
        with on_disk(self.root / path):
            files = (self.root / path).glob(f"*{SUFFIX}")
            here = [each.name.removesuffix(SUFFIX) for each in files]
        return sorted({*names, *filter(NODE.fullmatch, here)})

    def attrs(self, path: str) -> dict[str, Any]:
        """Attributes as plain values; {} for a node that is absent."""
        if not possible(path):
            return {}
        store, rest = self._home(path)
        return store.attrs(rest)

    def set_attrs(self, path: str, values: Mapping[str, Any]) -> None:
        """Replace the attributes, creating groups down to `path` where needed."""
        store, rest = self._home(path)
        store.set_attrs(rest, values)

    def seal(self, path: str) -> Seal:
        """Whether the metadata of a node is what was written, and where that was."""
        store, rest = self._home(path)
        return store.seal(rest)

    def mend(self, path: str, bare: bool = False) -> bool:
        """Give metadata of Zarr the one bit back that was flipped; False if it was not that."""
        store, _ = self._home(path)
        return store is self._zarr and self._zarr.mend(path, bare)

    def info(self, path: str) -> ArrayInfo | None:
        """Shape, dtype and chunk of an array; None where there is none."""
        if not possible(path):
            return None
        store, rest = self._home(path)
        return store.info(rest)

    def create(
        self,
        path: str,
        shape: Sequence[int],
        dtype: DTypeLike,
        chunk_rows: int,
        axes: Sequence[str],
    ) -> None:
        """Create an uncompressed array in the format of the group it is in."""
        store, rest = self._home(path)
        store.create(rest, shape, dtype, chunk_rows, axes)

    def resize(self, path: str, rows: int) -> None:
        """Make the first axis longer or shorter."""
        store, rest = self._home(path)
        store.resize(rest, rows)

    def write(self, path: str, start: int, values: NDArray[Any]) -> None:
        """Write rows from `start`, which must begin a chunk."""
        store, rest = self._home(path)
        store.write(rest, start, values)

    def sweep(self, path: str, deep: bool = True) -> None:
        """Delete, or finish, what a killed writer left half-written of a group and below it."""
        store, rest = self._home(path)
        if deep:
            self._sweep_drafts(path)
            if store is not self._zarr:
                self._zarr.delete(path)
                self._zarr.sweep(path)
        store.sweep(rest, deep)

    def sync(self) -> None:
        """Put all that was written since the last call on the disk."""
        self._zarr.sync()
        for file in self._files.values():
            file.sync()
        self._files.clear()

    def size(self, path: str) -> int:
        """The bytes that a node and all below it take on disk."""
        store, rest = self._home(path)
        return store.size(rest)

    def delete(self, path: str) -> None:
        """Take a node away with all below it; nothing happens if it is absent."""
        store, rest = self._home(path)
        store.delete(rest)

    def read(
        self, path: str, stop: int | None = None, sparse: bool = False, start: int = 0
    ) -> NDArray[Any]:
        """The rows start..stop of an array, in memory; see `Store.read`."""
        store, rest = self._home(path)
        return store.read(rest, stop, sparse, start)

    def extents(self, path: str) -> list[Extent]:
        """Where the rows of an array lie, in order."""
        store, rest = self._home(path)
        return store.extents(rest)

    def chunks(self, path: str) -> list[Extent | None]:
        """Where each whole chunk lies, padding and all; None for one that is missing or torn."""
        store, rest = self._home(path)
        return store.chunks(rest)

    # Which is whose

    def _home(self, path: str) -> tuple[Store, str]:
        """The store that a node lives in, and its path there; DamagedError for what is no place."""
        check_path(path)
        names, folder = path.split("/") if path else [], str(self.root)
        for depth, name in enumerate(names, 1):
            if length_of(f"{folder}/{name}{SUFFIX}") is not None:
                return self._hdf5("/".join(names[:depth])), "/".join(names[depth:])
            no_link(folder := f"{folder}/{name}")
        return self._zarr, path

    def _hdf5(self, group: str) -> Hdf5Store:
        if group not in self._files:
            self._files[group] = Hdf5Store(self._file(group), group, self._looked)
        return self._files[group]

    def _looked(self, path: Path, node: str, see: See) -> Any:
        return self._look(path, node, see)  # of now: files are known for longer than they are held

    def _file(self, group: str) -> Path:
        folder = place(self.root, group)
        return folder.with_name(f"{folder.name}{SUFFIX}")

    def _sweep_drafts(self, path: str) -> None:
        """Delete the copy that a conversion of this group had not finished."""
        folder = _draft(self.root / path)
        with on_disk(folder):
            if folder.is_symlink():
                folder.unlink()
            elif folder.is_dir():
                shutil.rmtree(folder)
        # With its journal, which would else be carried out on the next copy.
        Hdf5Store(_draft(self._file(path))).delete("")


def _draft(place: Path) -> Path:
    """Where a group is built before it takes its place; the dot keeps it out of the tree."""
    return place.with_name(f".{place.name}.partial")
