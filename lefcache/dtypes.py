"""The types that numbers may have on disk: numpy's own, and bfloat16, which numpy does not have.

bfloat16 is the upper half of a float32: the same range, and 8 bits of precision where float16 has
11. numpy knows it by way of ml_dtypes, and only once that is imported: here, where it is met.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

BFLOAT16 = "bfloat16"
# The largest magnitude that each type of stored numbers holds.
LARGEST = {
    "float16": 65_504.0,
    BFLOAT16: (2 - 2**-7) * 2.0**127,
    "float32": (2 - 2**-23) * 2.0**127,
}


def dtype_of(name: str) -> np.dtype[Any]:
    """The numpy dtype of this name; values are rounded to it by `astype`, to nearest even."""
    if name == BFLOAT16:
        import ml_dtypes

        narrow: np.dtype[Any] = np.dtype(ml_dtypes.bfloat16)
        return narrow
    return np.dtype(name)


def raw(values: NDArray[Any]) -> NDArray[Any]:
    """The same bytes in a type that every program knows: the bits of a bfloat16 as uint16."""
    return values.view(np.uint16) if values.dtype.name == BFLOAT16 else values


def widened(values: NDArray[Any]) -> NDArray[Any]:
    """bfloat16 as float32, which holds every one of its values; all others as they are."""
    return values.astype(np.float32) if values.dtype.name == BFLOAT16 else values


def largest(values: NDArray[Any]) -> float:
    """The largest magnitude among numbers that are all finite; 0 for none."""
    if values.dtype.itemsize > 2:
        return float(np.abs(values).max(initial=0))
    # Without their signs, bits sort as the numbers do, and numpy compares them 20 times faster.
    bits = values.view(np.uint16) & np.uint16(0x7FFF)
    return float(bits.max(initial=0).view(values.dtype))
