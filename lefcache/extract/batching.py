"""Which texts share a forward pass: a pure function of a block, so that its bytes repeat."""

from collections.abc import Sequence
from itertools import groupby

# What starting one more batch costs, in padded tokens: launching a forward pass is not free.
BATCH_COST = 48


def plan_batches(lengths: Sequence[int], budget: int) -> list[list[int]]:
    """Cut length-sorted texts into batches of at most `budget` padded tokens each.

    Returns lists of indices into `lengths`, longest batch first (running out of memory then
    happens at once and not after hours). Among all cuts that keep texts in order of length, this
    one has the fewest padded tokens, each batch counted with BATCH_COST more. A text longer than
    the budget gets a batch of its own.
    """
    order = sorted(range(len(lengths)), key=lengths.__getitem__)
    pieces = _pieces(order, lengths, budget)
    best = [0.0] + [float("inf")] * len(pieces)  # best[j]: cost of the first j pieces
    cut = [0] * (len(pieces) + 1)
    for end in range(1, len(pieces) + 1):
        longest = lengths[pieces[end - 1][-1]]
        rows = 0
        for begin in range(end - 1, -1, -1):
            rows += len(pieces[begin])
            if begin < end - 1 and rows * longest > budget:
                break
            cost = best[begin] + rows * longest + BATCH_COST
            if cost < best[end]:
                best[end], cut[end] = cost, begin
    batches = []
    end = len(pieces)
    while end:
        batches.append([index for piece in pieces[cut[end] : end] for index in piece])
        end = cut[end]
    return batches


def _pieces(order: Sequence[int], lengths: Sequence[int], budget: int) -> list[list[int]]:
    """Texts of equal length, in pieces that fit the budget: nothing is gained by cutting finer."""
    pieces = []
    for length, group in groupby(order, key=lengths.__getitem__):
        alike = list(group)
        room = max(1, budget // max(1, length))
        pieces += [alike[start : start + room] for start in range(0, len(alike), room)]
    return pieces
