"""The groups and arrays of an open HDF5 file: what they are made of, their seals, their places."""

import json
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import DTypeLike

from lefcache.errors import DamagedError
from lefcache.files import parse_json
from lefcache.stores import BITS_OF, ArrayInfo
from lefcache.stores.disk import bits_as, checked, joined, possible
from lefcache.stores.seal import PLACE, SEAL, seal_of
from lefcache.wording import shown

if TYPE_CHECKING:
    import h5py

AXES = "DIMENSION_LABELS"  # the attribute in which HDF5 keeps the names of an array's axes
OWN = (AXES, SEAL, PLACE)  # attributes that are no one's values


def new_array(
    file: "h5py.File", path: str, shape: tuple[int, ...], dtype: DTypeLike, chunk_rows: int
) -> "h5py.Dataset":
    """An array that has its place in the file from the start, so that its rows never move."""
    import h5py

    made = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    made.set_chunk((chunk_rows, *shape[1:]))
    made.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    made.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    links = h5py.h5p.create(h5py.h5p.LINK_CREATE)
    links.set_create_intermediate_group(True)
    space = h5py.h5s.create_simple(shape, (h5py.h5s.UNLIMITED, *shape[1:]))
    kind = h5py.h5t.py_create(np.dtype(dtype).newbyteorder("<"), logical=True)
    made_id = h5py.h5d.create(file.id, path.encode(), kind, space, dcpl=made, lcpl=links)
    return h5py.Dataset(made_id)


def node_at(file: "h5py.File", path: str) -> Any:
    """The group or array of a path, None where there is none.

    ValueError for one that lies elsewhere: HDF5 follows links into any file of the machine.
    """
    import h5py

    if not possible(path):
        raise ValueError(f"{shown(repr(path), 200)} can be no place in a cache")
    node: Any = file
    for name in path.split("/") if path else ():
        link = node.get(name, getlink=True) if isinstance(node, h5py.Group) else None
        if link is None:
            return None
        if not isinstance(link, h5py.HardLink):
            raise ValueError(f"{path} is a link, and may lead anywhere")
        node = node[name]
    return node


def put_attrs(file: "h5py.File", path: str, values: Mapping[str, Any], home: str) -> None:
    """Replace the attributes of a node, making groups down to it where needed, and seal it."""
    node = node_at(file, path)
    if node is None:
        node = file.require_group(path)
    for name in {*node.attrs} - {*values, *OWN}:
        del node.attrs[name]
    for name, value in values.items():
        node.attrs[name] = json.dumps(value, ensure_ascii=False)
    seal_node(node, home)


def seal_node(node: Any, home: str) -> None:
    """Seal a node of the file at a place, and the groups above it that came into being with it."""
    node.attrs[PLACE] = json.dumps(joined(home, node.name.strip("/")))
    node.attrs[SEAL] = json.dumps(Node(node).seal())
    if node.name != "/" and SEAL not in node.parent.attrs:
        seal_node(node.parent, home)


class Node:
    """A group or array of an open file; what was read of it once is not read again."""

    def __init__(self, node: Any) -> None:
        self._node, self._is_group = node, not hasattr(node, "chunks")

    @cached_property
    def children(self) -> list[str]:
        """Names below a group, sorted; none below an array."""
        return sorted(filter(possible, self._node)) if self._is_group else []

    @cached_property
    def attrs(self) -> dict[str, Any]:
        """Attributes as plain values."""
        return {name: parse_json(value) for name, value in self._all.items() if name not in OWN}

    @cached_property
    def holds(self) -> bool | None:
        """Whether the node is what it was when it was sealed; None without a seal."""
        return json.loads(self._all[SEAL]) == self.seal() if SEAL in self._all else None

    @cached_property
    def place(self) -> str | None:
        """The place that it was written for; None for a node from before this was kept."""
        return str(json.loads(self._all[PLACE])) if PLACE in self._all else None

    @cached_property
    def info(self) -> ArrayInfo | None:
        """What an array is made of; None for a group."""
        if self._is_group:
            return None
        node, attrs = self._node, self._all
        if node.chunks is None or node.id.get_create_plist().get_nfilters():
            raise DamagedError(
                f"{node.name}: compressed, or laid out, by another program; cannot map"
            )
        dtype = node.dtype
        if BITS_OF in attrs:
            dtype = bits_as(dtype, parse_json(attrs[BITS_OF]))
        axes = tuple(map(str, attrs[AXES])) if AXES in attrs else ("",) * node.ndim
        shape, chunk = (tuple(map(int, each)) for each in (node.shape, node.chunks))
        return checked(ArrayInfo(shape, dtype, chunk[0], axes), chunk)

    @cached_property
    def places(self) -> tuple[ArrayInfo, list[int | None]]:
        """What an array is made of, and the offset of each chunk in order; None for one without."""
        info, found = self.info, self._node.id
        assert info is not None, f"{self._node.name} is no array"
        below = [0] * (len(info.shape) - 1)
        starts = range(0, info.shape[0], info.chunk_rows)
        if len(starts) > self._node.file.id.get_filesize():
            raise DamagedError(f"{self._node.name}: more chunks than the file has bytes")
        return info, [found.get_chunk_info_by_coord((at, *below)).byte_offset for at in starts]

    def seal(self) -> str:
        """The seal of what is there now: HDF5 sums up its own metadata, but no texts in it."""
        sealed = self._all.keys() - {AXES, SEAL}
        texts = sorted([name, str(self._all[name])] for name in sealed)
        info = self.info
        made = info and [info.shape, info.dtype.name, info.chunk_rows, info.axes]
        return seal_of(json.dumps([texts, made]).encode())

    @cached_property
    def _all(self) -> dict[str, Any]:
        return dict(self._node.attrs.items())
