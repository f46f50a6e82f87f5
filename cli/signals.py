"""Ctrl-C and SIGTERM: the first ends a command cleanly, the second at once."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

STOPS = (signal.SIGINT, signal.SIGTERM)


class Stopped(KeyboardInterrupt):
    """Ctrl-C, or a request to end such as a batch system or `kill` sends."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


@contextmanager
def stoppable() -> Iterator[None]:
    """Let a signal raise Stopped, so that the block being written is finished first.

    From then on the next one ends the process at once: whoever is in a hurry loses a block, and a
    cache survives that. What the caller's shell ignores stays ignored (`lef extract ... &`), and
    outside the main thread nothing changes, since Python handles signals there.
    """
    before = {each: signal.getsignal(each) for each in STOPS}
    if threading.current_thread() is not threading.main_thread():
        before = {}
    heard = [each for each, handler in before.items() if handler != signal.SIG_IGN]

    def stop(number: int, frame: FrameType | None) -> None:
        for each in heard:
            signal.signal(each, signal.SIG_DFL)
        raise Stopped(number)

    for each in heard:
        signal.signal(each, stop)
    try:
        yield
    finally:
        for each in heard:
            signal.signal(each, before[each])


def exit_code(error: KeyboardInterrupt) -> int:
    """What a shell expects of a command that was stopped: 130 by Ctrl-C, 143 by SIGTERM."""
    return 128 + (error.number if isinstance(error, Stopped) else signal.SIGINT)
