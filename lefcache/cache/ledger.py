"""The ledger: one row per block says that it is done, and what its bytes must sum to.

A row is `[rows in the block, CRC-32C of each array's rows, CRC-32C of the row itself]` in
uint32. A block that was never written is a row of zeros, which no finished block can be.
"""

from collections.abc import Sequence
from typing import Any

import google_crc32c
import numpy as np
from numpy.typing import NDArray


def checksum(values: NDArray[Any]) -> int:
    """CRC-32C of the little-endian C-order bytes of some rows."""
    little = values.astype(values.dtype.newbyteorder("<"), copy=False)
    return int(google_crc32c.value(little.tobytes()))


def seal(rows: int, checksums: Sequence[int]) -> NDArray[np.uint32]:
    """The (1, 2 + A) ledger row of a finished block."""
    body = np.array([rows, *checksums], np.uint32)
    return np.append(body, np.uint32(checksum(body)))[np.newaxis]


def finished(ledger: NDArray[np.uint32], rows: int, block_rows: int) -> NDArray[np.bool_]:
    """(blocks,) which blocks of a split of `rows` rows are whole.

    A last block that was finished when the split was shorter does not count: its rows grew.
    """
    starts = np.arange(0, rows, block_rows)
    wanted = np.minimum(rows - starts, block_rows)
    whole = np.zeros(len(starts), bool)
    for block, row in enumerate(ledger[: len(starts)]):
        whole[block] = row[0] == wanted[block] and row[-1] == checksum(row[:-1])
    return whole
