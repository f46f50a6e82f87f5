import threading

import pytest
import torch

from lefcache.train.workers import in_order


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_results_come_in_the_order_of_the_items(workers):
    assert [*in_order(lambda item: item * item, range(1, 8), workers)] == [
        item * item for item in range(1, 8)
    ]
    assert [*in_order(str, [], workers)] == []


@pytest.mark.parametrize("workers", [1, 3])
def test_no_more_items_are_under_way_than_there_are_workers(workers):
    lock, under_way, most = threading.Lock(), 0, 0

    def work(item):
        nonlocal under_way, most
        with lock:
            under_way += 1
            most = max(most, under_way)
        threading.Event().wait(0.01)
        with lock:
            under_way -= 1
        return item

    assert [*in_order(work, [*range(1, 10)], workers)] == [*range(1, 10)]
    assert most == workers


def test_nothing_runs_ahead_of_who_takes_the_results():
    taken, begun = 0, []

    def work(item):
        begun.append(item)
        assert item <= taken + 2
        return item

    for _ in in_order(work, range(1, 9), 2):
        taken += 1
    assert begun == [*range(1, 9)]


def test_threads_are_shared_out_and_given_back():
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    try:
        assert [*in_order(lambda _: torch.get_num_threads(), "ab", 2)] == [2, 2]
        assert torch.get_num_threads() == 4
    finally:
        torch.set_num_threads(before)


def test_what_a_worker_raises_is_raised_and_the_rest_is_left_undone():
    begun = []

    def work(item):
        begun.append(item)
        if item == 2:
            raise ValueError("two")
        return item

    with pytest.raises(ValueError, match="two"):
        list(in_order(work, range(1, 100), 2))
    assert len(begun) <= 4
