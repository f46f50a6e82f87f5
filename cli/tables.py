"""Tables that several studies print."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from cli.output import percent, print_table
from lefcache.wording import count

SHORT = 8  # characters of an id that are shown: enough to be the only one

PER_CLASS = ("class", "precision", "recall", "f1", "n")


def on_test(accuracy: float | None, ci95: Sequence[float] | None, rows: int = 0) -> str:
    """`76.3 [74.9, 77.7]`, with n where it is not said elsewhere; nothing for no test."""
    if accuracy is None or ci95 is None:
        return ""
    low, high = ci95
    n = f", n = {rows:,}" if rows else ""
    return f"{percent(accuracy)} [{percent(low)}, {percent(high)}]{n}"


def print_per_class(rows: Iterable[Mapping[str, Any]], tested: int, seeds: int) -> None:
    """Precision, recall and F1 of each class on the test."""
    lines = [
        [row["class"], *(percent(row[name]) for name in ("precision", "recall", "f1")), row["n"]]
        for row in rows
    ]
    over = f", means of {count(seeds, 'seed')}" if seeds > 1 else ""
    title = f"each class on the test (n = {tested:,}{over})"
    cells = [[*map(str, line)] for line in lines]
    print_table(title, ["class", ">precision %", ">recall %", ">F1 %", ">n"], cells)
