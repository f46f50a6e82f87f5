"""Tables that several studies print."""

from collections.abc import Iterable, Mapping
from typing import Any

from cli.output import percent, print_table
from lefcache.wording import count

SHORT = 8  # characters of an id that are shown: enough to be the only one


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
