"""The largest magnitude in each block of each array: how near the end of its type it has come.

`magnitudes/<g>` stands beside `ledger/<g>`: (blocks, A) float32, a column for each array, in the
same order. A row is written before the block's row in the ledger, and counts once that is there.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lefcache.cache.ledger import Generation
from lefcache.stores import Store

if TYPE_CHECKING:
    from lefcache.cache.pages import Pages


def create_magnitudes(store: Store, path: str, generation: Generation, blocks: int) -> None:
    """Make room for the rows of a new set of arrays."""
    shape = (blocks, len(generation.arrays))
    store.create(_of(path, generation), shape, np.float32, 1, ("block", "array"))


def write_magnitudes(
    store: Store, path: str, generation: Generation, block: int, values: Sequence[float]
) -> None:
    """Write down one block, unless its arrays were begun before magnitudes were kept."""
    if store.info(_of(path, generation)) is not None:
        store.write(_of(path, generation), block, np.array([values], np.float32))


def read_magnitudes(pages: "Pages") -> dict[str, NDArray[np.float32]]:
    """(blocks,) of each array, NaN for a block that is missing; without those that have none."""
    found: dict[str, NDArray[np.float32]] = {}
    for generation in pages.generations:
        if pages.store.info(_of(pages.path, generation)) is None:
            continue
        written, finished = (
            pages.store.read(_of(pages.path, generation), sparse=True),
            pages.finished(generation),
        )
        known = np.full((len(finished), len(generation.arrays)), np.nan, np.float32)
        # A run that was stopped while it made room for more rows leaves fewer blocks here.
        known[: len(written)][finished[: len(written)]] = written[finished[: len(written)]]
        for column, name in enumerate(generation.arrays):
            found[name] = np.fmax(known[:, column], found.get(name, np.float32(np.nan)))
    return found


def _of(path: str, generation: Generation) -> str:
    return f"{path}/magnitudes/{generation.number}"
