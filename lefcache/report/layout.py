"""What a page is made of: sections with panels, each a chart, a table and its commands."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from lefcache.report.gather import Study
from lefcache.report.theme import Theme

Draw = Callable[[Theme, str], Any]  # a chart in these colours, with a title or none


@dataclass(frozen=True)
class Table:
    """Lines under headers; a header that begins with `>` is of numbers, set flush right."""

    headers: Sequence[str]
    lines: Sequence[Sequence[str]]
    caption: str = ""


@dataclass(frozen=True)
class Panel:
    """One figure: a chart, or only its table, with what to know of it and how to make it again."""

    id: str
    title: str
    draw: Draw | None = None
    note: str = ""
    marks: Sequence[str] = ()
    commands: Sequence[str] = ()
    tables: Sequence[Table] = ()
    data: Table | None = None  # the chart's numbers, for who cannot see it
    wide: bool = False


@dataclass(frozen=True)
class Section:
    """One question and its panels; without any, `missing` says which command makes them."""

    id: str
    title: str
    lead: str
    panels: Sequence[Panel] = field(default_factory=tuple)
    missing: str = ""  # in words that end in a colon
    command: str = ""


def marks_of(studies: Sequence[Study]) -> list[str]:
    """What to know of figures of these studies, each once."""
    return [*dict.fromkeys(mark for each in studies for mark in each.marks)]


def commands_of(studies: Sequence[Study]) -> list[str]:
    """The commands that make these studies, each once."""
    return [*dict.fromkeys(each.command for each in studies)]


def percent(share: float | None) -> str:
    """A share as a percentage with one decimal; nothing for none."""
    return "" if share is None else f"{100 * share:.1f} %"


def sure(probability: float) -> str:
    """A probability as a percentage; never 100 %, which nobody is."""
    return "> 99.9 %" if probability > 0.9994 else percent(probability)


def within(share: float | None, low: float | None, high: float | None) -> str:
    """`76.3 % [74.9, 77.7]`."""
    if share is None or low is None or high is None:
        return percent(share)
    return f"{percent(share)} [{100 * low:.1f}, {100 * high:.1f}]"


def points(share: float, low: float | None, high: float | None) -> str:
    """A difference in points: `+1.2 [-0.3, +2.6]`."""
    if low is None or high is None:
        return f"{100 * share:+.1f}"
    return f"{100 * share:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}]"


def size(count: float) -> str:
    """Bytes as a person reads them."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"
