"""Bytes on their way: a bar at a terminal, a line now and then in a log."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from cli.output import LOG_SECONDS, console_of, say, size


@contextmanager
def underway(label: str, total: int) -> Iterator[Callable[[int], None]]:
    """A function to call with the bytes that have just arrived."""
    console = console_of(stderr=True)
    if total and console.is_terminal and not console.is_dumb_terminal:
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
            TransferSpeedColumn,
        )

        columns = (
            TextColumn("{task.description}"),
            BarColumn(bar_width=12),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=console) as live:
            task = live.add_task(label, total=total)
            yield lambda count: live.update(task, advance=count)
    else:
        yield _Log(label, total)


class _Log:
    """One line every LOG_SECONDS."""

    def __init__(self, label: str, total: int) -> None:
        self.label, self.total, self.done = label, total, 0
        self.logged = time.monotonic()

    def __call__(self, count: int) -> None:
        self.done += count
        now = time.monotonic()
        if now - self.logged >= LOG_SECONDS:
            self.logged = now
            say(f"{self.label}: {size(self.done)} of {size(self.total)}")
