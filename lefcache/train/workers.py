"""Work done side by side, each worker with its share of the processor.

Layers and heads are small: two matrix products of one thread each, side by side, take less time
than one product shared by two threads after the other, and far less on a machine that has other
things to do, where the threads of one product wait for each other.
"""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Event
from typing import TypeVar

import torch
from threadpoolctl import threadpool_limits

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_order(
    work: Callable[[Item], Result],
    items: Iterable[Item],
    workers: int,
    stop: Event | None = None,
) -> Generator[Result, None, None]:
    """The results of `work` in the order of its items, of which `workers` are under way at once.

    Nothing runs further ahead than that, so that no more than `workers` items are in memory: while
    one is computed, the next is read. One worker is the caller's own thread, undisturbed.
    """
    if workers == 1:
        yield from map(work, items)
        return
    threads = torch.get_num_threads()
    share = max(1, threads // workers)
    waiting = iter(items)
    running: deque[Future[Result]] = deque()
    # torch counts threads for each of ours; numpy's library counts them for the whole process.
    with (
        threadpool_limits(share, user_api="blas"),
        ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(share,)) as pool,
    ):
        try:
            while True:
                while len(running) < workers and (item := next(waiting, None)) is not None:
                    running.append(pool.submit(work, item))
                if not running:
                    return
                yield running.popleft().result()
        finally:
            if stop is not None:
                stop.set()
            for each in running:
                each.cancel()
            torch.set_num_threads(threads)
