"""Which texts share a forward pass: a pure function of a block, so that its bytes repeat."""

from collections.abc import Sequence

import numpy as np

# What starting one more batch costs, in padded tokens: launching a forward pass is not free. Large
# batches are for devices that small ones do not fill, which pay this share of the budget.
BATCH_COST = 48
BATCH_COST_SHARE = 1 / 64


def plan_batches(lengths: Sequence[int], budget: int) -> list[list[int]]:
    """Cut length-sorted texts into batches of at most `budget` padded tokens each.

    Returns lists of indices into `lengths`, longest batch first (running out of memory then
    happens at once and not after hours). Among all cuts that keep texts in order of length, this
    one has the fewest padded tokens, each batch counted with its cost. A text longer than the
    budget gets a batch of its own.
    """
    cost = max(BATCH_COST, round(budget * BATCH_COST_SHARE))
    order = sorted(range(len(lengths)), key=lengths.__getitem__)
    place = np.arange(len(order) + 1)
    best = np.zeros(len(order) + 1, np.int64)  # best[j]: cost of the first j texts
    cut = [0] * (len(order) + 1)
    for end, index in enumerate(order, 1):
        longest = lengths[index]
        begin = max(0, end - max(1, budget // max(1, longest)))
        costs = best[begin:end] + (end - place[begin:end]) * longest + cost
        cut[end] = begin + int(costs.argmin())
        best[end] = costs.min()
    batches = []
    end = len(order)
    while end:
        batches.append(order[cut[end] : end])
        end = cut[end]
    return batches
