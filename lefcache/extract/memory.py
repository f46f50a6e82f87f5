"""Memory: how running out of a device's shows, and giving back what is free of our own."""

import ctypes
import os
import sys
from functools import cache
from typing import Any

# CUDA raises torch.OutOfMemoryError, mps and a CPU a plain RuntimeError, cuBLAS its own words.
OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "cublas_status_alloc_failed")


def out_of_memory(error: RuntimeError) -> bool:
    """Whether an error of torch says that there was too little memory."""
    return any(words in str(error).lower() for words in OUT_OF_MEMORY)


def keep_few_kernels() -> None:
    """Bound what oneDNN, which torch uses on a CPU, keeps of the kernels it makes for a shape.

    Nearly every batch has a shape of its own, so the 1,024 that it would keep are never used
    again and grow a long run by a hundred MB. Read at its first kernel; a user's value stands.
    """
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "8")


def give_back() -> None:
    """Return freed memory to the system, where the C library would keep it.

    Every batch has its own shape, and the kernels that a CPU caches for the shapes lie scattered
    between the freed states: without this, a long run grows by some 10 MB a block.
    """
    if trim := _malloc_trim():
        trim(0)


@cache
def _malloc_trim() -> Any:
    """Glibc's function of this name; None on other systems."""
    if not sys.platform.startswith("linux"):
        return None
    return getattr(ctypes.CDLL(None), "malloc_trim", None)
