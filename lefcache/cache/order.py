"""Do rows lie in another block's place, together with all that vouches for them?

The ledger's sums tell nothing then, as they came along: the vectors are whole, and of other texts.
What stands beside them tells: the largest magnitudes of a block, whose sum includes its place.
"""

import numpy as np
from numpy.typing import NDArray

from lefcache.cache.ledger import Generation
from lefcache.cache.magnitudes import is_row_of, summed_magnitudes
from lefcache.cache.pages import CUT, TOKENS, Pages
from lefcache.dtypes import largest


def disordered(pages: Pages, generation: Generation) -> list[int]:
    """The finished blocks of a set of arrays whose rows are those of another block.

    Their magnitudes came along, and have the sum of another place; or they stayed, and are not
    those of these rows. The latter is looked for in the tokens alone, which are quickly read, so
    two blocks of which the longest texts are equally long are not told apart.
    """
    written = summed_magnitudes(pages.store, pages.path, generation)
    finished = np.flatnonzero(pages.finished(generation)[: len(written)])
    longest = _longest(pages, generation)
    return [
        block
        for block in map(int, finished)
        if (
            longest is not None
            and written[block, generation.arrays.index(TOKENS)] != longest[block]
            if is_row_of(written[block], pages.path, generation, block)
            else _came_along(pages, generation, written, block)
        )
    ]


def find_magnitudes(pages: Pages, generation: Generation, block: int) -> list[float]:
    """The largest magnitude in each array of a set, of a block as it lies there."""
    found = []
    for name in generation.arrays:
        [rows] = [rows for at, rows, _ in generation.checksums(name) if at == block]
        start = block * pages.block_rows
        read = pages.store.read(f"{pages.path}/{name}", start + rows, start=start)
        found.append(largest(read & ~CUT if name == TOKENS else read))
    return found


def _longest(pages: Pages, generation: Generation) -> NDArray[np.float32] | None:
    """(blocks,) the tokens of the longest text of each block; None for arrays without tokens."""
    if TOKENS not in generation.arrays:
        return None
    tokens, _ = pages.tokens()
    starts = np.arange(0, pages.rows, pages.block_rows)
    return np.maximum.reduceat(tokens, starts).astype(np.float32)


def _came_along(
    pages: Pages, generation: Generation, written: NDArray[np.float32], block: int
) -> bool:
    """Whether magnitudes were written of another block, and are those of the rows that lie here.

    Magnitudes alone may have been swapped as well: then the rows are where they belong.
    """
    row = written[block]
    if not any(is_row_of(row, pages.path, generation, other) for other in range(len(written))):
        return False
    return np.array_equal(row[:-1], np.array(find_magnitudes(pages, generation, block), np.float32))
