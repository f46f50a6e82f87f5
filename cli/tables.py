"""Tables that several studies print."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from cli.output import percent, print_table, say
from lefcache.wording import count

if TYPE_CHECKING:
    from lefcache.study import Baseline

SHORT = 8  # characters of an id that are shown: enough to be the only one

PER_CLASS = ("class", "precision", "recall", "f1", "n")


def on_test(accuracy: float | None, ci95: Sequence[float] | None, rows: int = 0) -> str:
    """`76.3 [74.9, 77.7]`, with n where it is not said elsewhere; nothing for no test."""
    if accuracy is None or ci95 is None:
        return ""
    low, high = ci95
    n = f", n = {rows:,}" if rows else ""
    return f"{percent(accuracy)} [{percent(low)}, {percent(high)}]{n}"


def points(share: float) -> str:
    """A difference of two shares: `+0.4`."""
    return f"{100 * share:+.1f}"


def bounds(ci95: Sequence[float]) -> str:
    """Its interval: `[-0.1, +0.9]`."""
    low, high = ci95
    return f"[{points(low)}, {points(high)}]"


def print_baselines(found: Sequence["Baseline"], protocol: str) -> None:
    """What the study has to beat; what is missing is a line below, with the way to get it."""
    paper = protocol == "paper"
    rows = [
        [
            f"{each.name}, {each.feature}" if each.feature else each.name,
            each.how,
            "" if each.val_accuracy is None or paper else percent(each.val_accuracy),
            on_test(each.test_accuracy, each.test_ci95, 0),
        ]
        for each in found
        if not each.missing
    ]
    columns = ["baseline", "by", ">validation %", "test %"]
    if not any(each.n_test for each in found):
        columns, rows = columns[:-1], [row[:-1] for row in rows]
    title = "settled beforehand, so that nothing was chosen by their test"
    if paper:
        title = (
            "baselines (protocol paper: regularisation and epochs of these chosen on the test too)"
        )
    print_table(title, columns, rows)
    for each in found:
        if each.missing:
            say(f"  note: no {each.name}: {each.missing}; run this where they are, once")


def print_per_class(rows: Iterable[Mapping[str, Any]], tested: int, seeds: int) -> None:
    """Precision, recall and F1 of each class on the test, where there is one."""
    if not tested:
        say("  note: no report of each class: the corpus has no test with labels")
        return
    lines = [
        [row["class"], *(percent(row[name]) for name in ("precision", "recall", "f1")), row["n"]]
        for row in rows
    ]
    over = f", means of {count(seeds, 'seed')}" if seeds > 1 else ""
    title = f"each class on the test (n = {tested:,}{over})"
    cells = [[*map(str, line)] for line in lines]
    print_table(title, ["class", ">precision %", ">recall %", ">F1 %", ">n"], cells)
