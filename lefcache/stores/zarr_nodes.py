"""Groups and arrays as Zarr v3 describes them, wherever their documents lie."""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from lefcache.dtypes import BFLOAT16, dtype_of
from lefcache.errors import DamagedError
from lefcache.stores import BITS_OF, ArrayInfo
from lefcache.stores.disk import checked

METADATA = "zarr.json"  # the file of a group or array
GROUP: Mapping[str, Any] = {"attributes": {}, "zarr_format": 3, "node_type": "group"}


def node_of(content: bytes) -> dict[str, Any]:
    """A group or array as the format lays it down."""
    node: dict[str, Any] = json.loads(content)
    if node["zarr_format"] != 3:
        raise ValueError(f"Zarr format {node['zarr_format']}")
    return node


def info_of(node: Mapping[str, Any], where: object) -> ArrayInfo | None:
    """Shape, dtype and chunk of an array; None for a group."""
    if node["node_type"] != "array":
        return None
    if [codec["name"] for codec in node["codecs"]] != ["bytes"]:
        raise DamagedError(f"{where}: compressed by another program; cannot map")
    if node["chunk_key_encoding"] != {
        "name": "default",
        "configuration": {"separator": "/"},
    }:
        raise DamagedError(f"{where}: its chunks have other names than ours")
    big = node["codecs"][0].get("configuration", {}).get("endian") == "big"
    dtype = np.dtype(node["data_type"]).newbyteorder(">" if big else "<")
    if bits_of := node.get("attributes", {}).get(BITS_OF):
        dtype = dtype_of(bits_of)
    chunk, *_ = node["chunk_grid"]["configuration"]["chunk_shape"]
    axes = tuple(node.get("dimension_names") or ())
    return checked(ArrayInfo(tuple(node["shape"]), dtype, chunk, axes))


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


def chunk_bytes(info: ArrayInfo) -> int:
    """The bytes of every chunk: the last one is stored whole too."""
    return info.chunk_rows * math.prod(info.shape[1:]) * info.dtype.itemsize
