import itertools

from hypothesis import given
from hypothesis import strategies as st

from lefcache.extract.batching import BATCH_COST, plan_batches

LENGTHS = st.lists(st.integers(1, 60), max_size=80)
BUDGET = st.integers(1, 400)


def cost(batches, lengths):
    return sum(len(batch) * max(lengths[i] for i in batch) + BATCH_COST for batch in batches)


def greedy(lengths, budget):
    """The plan of most embedding libraries: sort, and fill each batch as far as it goes."""
    batches = []
    for index in sorted(range(len(lengths)), key=lengths.__getitem__):
        full = batches and (len(batches[-1]) + 1) * lengths[index] > budget
        if not batches or full:
            batches.append([])
        batches[-1].append(index)
    return batches


@given(LENGTHS, BUDGET)
def test_every_text_is_in_exactly_one_batch(lengths, budget):
    planned = [index for batch in plan_batches(lengths, budget) for index in batch]
    assert sorted(planned) == list(range(len(lengths)))


@given(LENGTHS, BUDGET)
def test_a_batch_keeps_the_budget_unless_it_is_a_single_text(lengths, budget):
    for batch in plan_batches(lengths, budget):
        padded = len(batch) * max(lengths[i] for i in batch)
        assert len(batch) == 1 or padded <= budget


@given(LENGTHS, BUDGET)
def test_a_plan_costs_no_more_than_filling_batches_greedily(lengths, budget):
    planned = cost(plan_batches(lengths, budget), lengths)
    assert planned <= cost(greedy(lengths, budget), lengths)


@given(LENGTHS, BUDGET)
def test_the_longest_texts_come_first(lengths, budget):
    longest = [max(lengths[i] for i in batch) for batch in plan_batches(lengths, budget)]
    assert longest == sorted(longest, reverse=True)


@given(LENGTHS, BUDGET)
def test_the_plan_is_a_function_of_the_lengths_alone(lengths, budget):
    assert plan_batches(lengths, budget) == plan_batches(tuple(lengths), budget)


def test_a_large_budget_is_for_a_device_that_small_batches_do_not_fill():
    lengths = list(range(1, 61)) * 8
    small, large = (plan_batches(lengths, budget) for budget in (2048, 64 * 2048))
    assert len(large) < len(small)
    assert len(plan_batches([1, 2000], 64 * 2048)) == len(plan_batches([1, 4000], 64 * 2048)) - 1


def test_no_texts_make_no_batch():
    assert plan_batches([], 100) == []


def test_texts_of_equal_length_fill_whole_batches():
    assert sorted(len(batch) for batch in plan_batches([10] * 25, 100)) == [5, 10, 10]


@given(st.lists(st.integers(1, 9), min_size=1, max_size=7), st.integers(1, 30))
def test_no_cut_of_the_sorted_texts_costs_less(lengths, budget):
    order = sorted(range(len(lengths)), key=lengths.__getitem__)
    costs = []
    for cuts in itertools.product([False, True], repeat=len(order) - 1):
        batches = [order[:1]]
        for index, cut in zip(order[1:], cuts, strict=True):
            batches += [[]] * cut
            batches[-1] = [*batches[-1], index]
        if all(len(b) == 1 or len(b) * lengths[b[-1]] <= budget for b in batches):
            costs.append(cost(batches, lengths))
    assert cost(plan_batches(lengths, budget), lengths) == min(costs)
