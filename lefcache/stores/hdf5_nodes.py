"""The groups and arrays of an open HDF5 file: what they are made of, their seals, their places."""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import DTypeLike

from lefcache.errors import DamagedError
from lefcache.files import parse_json
from lefcache.stores import BITS_OF, ArrayInfo
from lefcache.stores.disk import bits_as, checked, possible
from lefcache.stores.seal import SEAL, seal_of

if TYPE_CHECKING:
    import h5py

AXES = "DIMENSION_LABELS"  # the attribute in which HDF5 keeps the names of an array's axes
OWN = (AXES, SEAL)  # attributes that are no one's values


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
        raise ValueError(f"{path[:200]!r} can be no place in a cache")
    node: Any = file
    for name in path.split("/") if path else ():
        link = node.get(name, getlink=True) if isinstance(node, h5py.Group) else None
        if link is None:
            return None
        if not isinstance(link, h5py.HardLink):
            raise ValueError(f"{path} is a link, and may lead anywhere")
        node = node[name]
    return node


def is_group(node: Any) -> bool:
    """Whether a node is no array."""
    return not hasattr(node, "chunks")


def children_of(node: Any) -> list[str]:
    """Names below a group, sorted; none below an array."""
    return sorted(filter(possible, node)) if is_group(node) else []


def attrs_of(node: Any) -> dict[str, Any]:
    """Attributes as plain values."""
    return {name: parse_json(value) for name, value in node.attrs.items() if name not in OWN}


def put_attrs(file: "h5py.File", path: str, values: Mapping[str, Any]) -> None:
    """Replace the attributes of a node, making groups down to it where needed, and seal it."""
    node = node_at(file, path)
    if node is None:
        node = file.require_group(path)
    for name in set(node.attrs) - {*values, *OWN}:
        del node.attrs[name]
    for name, value in values.items():
        node.attrs[name] = json.dumps(value, ensure_ascii=False)
    seal_node(node)


def seal_node(node: Any) -> None:
    """Seal a node, and the groups above it that came into being with it."""
    node.attrs[SEAL] = json.dumps(_seal_of(node))
    if node.name != "/" and SEAL not in node.parent.attrs:
        seal_node(node.parent)


def is_sealed(node: Any) -> bool | None:
    """Whether a node is what it was when it was sealed; None without a seal."""
    return json.loads(node.attrs[SEAL]) == _seal_of(node) if SEAL in node.attrs else None


def _seal_of(node: Any) -> str:
    """HDF5 sums up its own metadata, but not the texts that attributes are."""
    texts = sorted([name, str(node.attrs[name])] for name in node.attrs if name not in OWN)
    info = info_of(node)
    made = info and [info.shape, info.dtype.name, info.chunk_rows, info.axes]
    return seal_of(json.dumps([texts, made]).encode())


def info_of(node: Any) -> ArrayInfo | None:
    """What an array is made of; None for a group."""
    if is_group(node):
        return None
    if node.chunks is None or node.id.get_create_plist().get_nfilters():
        raise DamagedError(f"{node.name}: compressed, or laid out, by another program; cannot map")
    dtype, attrs = node.dtype, node.attrs
    if BITS_OF in attrs:
        dtype = bits_as(dtype, parse_json(attrs[BITS_OF]))
    axes = tuple(map(str, attrs[AXES])) if AXES in attrs else ("",) * node.ndim
    shape, chunk = (tuple(map(int, each)) for each in (node.shape, node.chunks))
    return checked(ArrayInfo(shape, dtype, chunk[0], axes), chunk)


def places_of(node: Any) -> tuple[ArrayInfo, list[int | None]]:
    """What an array is made of, and the offset of each chunk, in order; None for one without."""
    info = info_of(node)
    assert info is not None, f"{node.name} is no array"
    below = [0] * (len(info.shape) - 1)
    starts = range(0, info.shape[0], info.chunk_rows)
    if len(starts) > node.file.id.get_filesize():
        raise DamagedError(f"{node.name}: more chunks than the file has bytes")
    places = [node.id.get_chunk_info_by_coord((start, *below)).byte_offset for start in starts]
    return info, places
