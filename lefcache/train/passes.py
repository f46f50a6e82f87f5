"""Rows read from front to back, a chunk at a time, as numbers that can be computed with."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from lefcache.errors import NotFiniteError
from lefcache.train.protocol import Index

CHUNK_BYTES = 8 << 20  # such chunks stay near the processor from one operation to the next

Floats = NDArray[np.floating[Any]]


def mean_of(rows: Any, index: Index | None, count: int) -> Floats:
    """The mean (D,) of the rows used; NotFiniteError where they hold NaN or infinity."""
    total = np.zeros(rows.shape[1])
    for _, chunk in chunks(rows, index, None, np.dtype(np.float64)):
        total += chunk.sum(axis=0)
    if not np.isfinite(total).all():
        raise NotFiniteError(
            "the rows hold NaN or infinity: extract this layer again, with --store-dtype float32"
        )
    center: Floats = total / count
    return center


def chunks(
    rows: Any, index: Index | None, center: Floats | None, dtype: np.dtype[Any]
) -> Iterator[tuple[slice, Floats]]:
    """Consecutive rows, as `dtype` and centred, with their places among the rows used."""
    count, width = len(rows) if index is None else len(index), rows.shape[1]
    step = max(1, CHUNK_BYTES // (width * dtype.itemsize))
    # A run without gaps is read as slices, which of mapped rows are views.
    whole = index is None or bool(count and index[-1] - index[0] == count - 1 and _rising(index))
    start = 0 if index is None or not count else int(index[0])
    for low in range(0, count, step):
        here = slice(low, min(low + step, count))
        source = slice(start + here.start, start + here.stop) if whole else index[here]  # type: ignore[index]
        chunk = copied(np.asarray(rows[source]), dtype)
        if center is not None:
            chunk -= center.astype(dtype)
        yield here, chunk


def copied(values: NDArray[Any], dtype: np.dtype[Any]) -> Floats:
    """The values as `dtype`, in memory of their own."""
    if values.dtype == np.float16 and dtype == np.float32:
        # torch widens with one instruction where numpy takes many; it wants to own what it reads.
        wide: Floats = torch.from_numpy(values.copy()).float().numpy()
        return wide
    return values.astype(dtype)


def _rising(index: Index) -> bool:
    return bool((np.diff(index) == 1).all())
