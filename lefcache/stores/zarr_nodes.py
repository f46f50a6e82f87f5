"""Groups and arrays as Zarr v3 describes them, wherever their documents lie."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from lefcache.dtypes import BFLOAT16
from lefcache.errors import DamagedError
from lefcache.files import parse_json
from lefcache.stores import BITS_OF, ArrayInfo
from lefcache.stores.disk import bits_as, checked

METADATA = "zarr.json"  # the file of a group or array
KEYS = {"name": "default", "configuration": {"separator": "/"}}  # of chunks: c/0/0
# The types of Zarr that hold numbers, under the names that numpy gives them too.
TYPES = {f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)}
TYPES |= {"float16", "float32", "float64"}
GROUP: Mapping[str, Any] = {"attributes": {}, "zarr_format": 3, "node_type": "group"}


def node_of(content: bytes) -> dict[str, Any]:
    """A group or array as the format lays it down; ValueError for a document that is neither."""
    node = parse_json(content)
    if not isinstance(node, dict) or not isinstance(node.get("attributes", {}), dict):
        raise ValueError("no metadata of Zarr")
    if node.get("zarr_format") != 3:
        raise ValueError(f"Zarr format {node.get('zarr_format')!r}")
    if node.get("node_type") not in ("group", "array"):
        raise ValueError(f"{node.get('node_type')!r} is no kind of node")
    return node


def info_of(node: Mapping[str, Any], where: object) -> ArrayInfo | None:
    """Shape, dtype and chunk of an array; None for a group.

    A stranger's document may say anything, so it is held against what ours say. DamagedError for
    an array of another program that cannot be mapped, ValueError, LookupError or TypeError for one
    that cannot be.
    """
    if node["node_type"] != "array":
        return None
    if [codec["name"] for codec in node["codecs"]] != ["bytes"]:
        raise DamagedError(f"{where}: compressed by another program; cannot map")
    if node["chunk_key_encoding"] != KEYS:
        raise DamagedError(f"{where}: its chunks have other names than ours")
    if node["fill_value"] != 0 or node.get("storage_transformers"):
        raise DamagedError(f"{where}: what is missing of it is not zeros")
    if str(node["data_type"]) not in TYPES or node["chunk_grid"]["name"] != "regular":
        raise ValueError(f"{node['data_type']!r} is no type of numbers, or chunks differ")
    big = node["codecs"][0].get("configuration", {}).get("endian") == "big"
    dtype = np.dtype(node["data_type"]).newbyteorder(">" if big else "<")
    if bits_of := node.get("attributes", {}).get(BITS_OF):
        dtype = bits_as(dtype, bits_of)
    chunk = node["chunk_grid"]["configuration"]["chunk_shape"]
    shape, axes = tuple(node["shape"]), tuple(node.get("dimension_names") or ())
    if len(chunk) != len(shape) or not all(isinstance(axis, str | None) for axis in axes):
        raise ValueError(f"an array of {shape} in chunks of {chunk} along {axes}")
    return checked(ArrayInfo(shape, dtype, chunk[0], axes), chunk)


def described(
    shape: Sequence[int], dtype: DTypeLike, chunk_rows: int, axes: Sequence[str]
) -> dict[str, Any]:
    """An array without compression or filters, as zarr itself would write it down."""
    import zarr

    narrow = np.dtype(dtype).name == BFLOAT16
    written: dict[str, Any] = {}  # zarr takes it for a store, and writes down metadata there
    zarr.create_array(
        written,
        shape=tuple(shape),
        chunks=(chunk_rows, *shape[1:]),
        dtype=np.dtype(np.uint16 if narrow else dtype),
        attributes={BITS_OF: BFLOAT16} if narrow else None,
        compressors=None,
        filters=None,
        dimension_names=list(axes),
    )
    node: dict[str, Any] = json.loads(written[METADATA].to_bytes())
    return node
