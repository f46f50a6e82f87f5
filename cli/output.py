"""How things look: JSON and csv on stdout, tables for people, progress and plans on stderr."""

import codecs
import csv
import io
import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

import click

from cli.params import DEFAULT_CACHE
from cli.signals import exit_code
from cli.visible import visible, visible_json, visible_lines
from lefcache.wording import command_line

if TYPE_CHECKING:  # --help and completion should not wait for rich
    from rich.console import Console, JustifyMethod, OverflowMethod

BAR = 24  # characters of a full bar
LOG_SECONDS = 30.0  # between two lines of progress where there is no terminal
ANY_WIDTH = 100_000  # characters, more than a table has
NO_TERMINAL_WIDTH = 160  # files and pipes have no width; a table should not be squeezed for them


def say(line: str) -> None:
    """A line for the person watching, on stderr."""
    click.echo(visible_lines(line), err=True)


def tell(*cells: str) -> None:
    """A line of the answer, on stdout; several cells are separated by tabs."""
    click.echo("\t".join(map(visible_lines, cells)))


def print_json(document: Any) -> None:
    """The one document of `--json`, or one line of `--jsonl`."""
    unicode = _document_is_unicode()
    click.echo(visible_json(json.dumps(document, ensure_ascii=not unicode, allow_nan=False)))


def print_csv(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """The rows of `--csv` under a header: numbers as they are, true and false, nothing for None.

    Each is written as it comes; to a terminal as what cannot steer it, to a program as it is.
    """
    _document_is_unicode()
    shown = visible if sys.stdout.isatty() else str
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(columns)
    sys.stdout.flush()
    for row in rows:
        cells = (row[name] for name in columns)
        writer.writerow(shown(cell) if isinstance(cell, str) else _number(cell) for cell in cells)
        sys.stdout.flush()


def _number(cell: Any) -> Any:
    return str(cell).lower() if isinstance(cell, bool) else cell


def _document_is_unicode() -> bool:
    """Make stdout UTF-8 unless a terminal reads it; whether it is now.

    Another program is to get every letter, whatever the machine's locale. What is no letter at
    all, a byte of a file's name, is written as JSON does.
    """
    if isinstance(sys.stdout, io.TextIOWrapper) and not sys.stdout.isatty():
        sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace")
    return codecs.lookup(sys.stdout.encoding).name == "utf-8"


def deliver(
    form: str,
    document: Any,
    columns: Sequence[str],
    rows: Iterable[Mapping[str, Any]],
    show: Callable[[], None],
) -> None:
    """What a command found, in the form that was asked for; `show` prints it for a person."""
    if form == "json":
        print_json(document)
    elif form == "csv":
        print_csv(columns, rows)
    else:
        show()


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table on stdout; a column named `>...` is set flush right, one named `~...` is wrapped."""
    from rich.table import Table
    from rich.text import Text

    console = console_of()
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        flush: JustifyMethod = "right" if column.startswith(">") else "left"
        wraps = column.startswith("~")
        cut: OverflowMethod = "fold" if wraps else "ellipsis"
        table.add_column(column.lstrip(">~"), justify=flush, no_wrap=not wraps, overflow=cut)
    for row in rows:
        table.add_row(*(Text(visible(cell)) for cell in row))
    if not any(column.startswith("~") for column in columns):
        # A line that the terminal breaks is ugly; a name or a figure that is cut off is lost.
        wide = console.options.update_width(ANY_WIDTH)  # it would measure what fits, otherwise
        console.width = max(console.width, console.measure(table, options=wide).maximum)

    def write() -> None:
        # Not the table's own title, which would be broken where a narrow table ends.
        if title:
            console.print(Text(visible(title), style="table.title"), soft_wrap=True)
        console.print(table)

    if console.is_terminal:
        write()
        return
    with console.capture() as printed:
        write()
    for line in printed.get().removesuffix("\n").split("\n"):
        tell(line.rstrip())


def console_of(stderr: bool = False) -> "Console":
    """Where rich writes: with NO_COLOR or a dumb terminal, not even bold."""
    from rich.console import Console

    plain = bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") in ("dumb", "unknown")
    console = Console(stderr=stderr, highlight=False, color_system=None if plain else "auto")
    if not (stderr or console.is_terminal):
        console.width = NO_TERMINAL_WIDTH
    return console


def bar(share: float) -> str:
    """A bar of up to BAR characters for a share between 0 and 1, in eighths of a character."""
    eighths = round(max(0.0, min(1.0, share)) * BAR * 8)
    return "█" * (eighths // 8) + (" ▏▎▍▌▋▊▉"[eighths % 8] if eighths % 8 else "")


def size(count: float) -> str:
    """Bytes as a person reads them."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def duration(seconds: float) -> str:
    """Seconds as a person reads them: 4.2 s, 3 min 20 s, 5 h 10 min."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min"


def percent(share: float) -> str:
    """A share as a percentage with one decimal."""
    return f"{100 * share:.1f}"


class Advance(Protocol):
    """Called with the split, rows and tokens that have just been done, and more to say."""

    def __call__(self, split: str, rows: int, tokens: int, more: str = "") -> None:
        """One batch is done."""


@contextmanager
def progress(label: str, total: int) -> Iterator[Advance]:
    """A bar with rows/s, tokens/s and time left; a line now and then where there is no terminal."""
    console, label = console_of(stderr=True), visible(label)
    if total == 0:
        yield lambda split, rows, tokens, more="": None
    elif console.is_terminal and not console.is_dumb_terminal:
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=12),  # in all narrow enough for 80 characters
            TextColumn("{task.fields[rate]}", markup=False),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=console) as live:
            task = live.add_task(label, total=total, tokens=0, rate=_rate(0, total, 0, 0))

            def advance(split: str, rows: int, tokens: int, more: str = "") -> None:
                state = live.tasks[0]
                tokens += state.fields["tokens"]
                rate = _rate(state.completed + rows, total, tokens, state.elapsed or 0)
                rate += f"; {more}" if more else ""
                live.update(task, description=f"{label}/{split}")
                live.update(task, advance=rows, tokens=tokens, rate=rate)

            yield advance
    else:
        yield _Log(label, total)


def _rate(rows: float, total: int, tokens: int, seconds: float) -> str:
    """Rows done and both rates; there are no tokens where no text is read."""
    done = f"{rows:,.0f}/{total:,} rows"
    if not seconds:
        return done
    spoken = f", {tokens / seconds:,.0f} tokens/s" if tokens else ""
    return f"{done}, {rows / seconds:,.0f}/s{spoken}"


class _Log:
    """Progress for a log file: one line every LOG_SECONDS."""

    def __init__(self, label: str, rows: int) -> None:
        self.label, self.rows = label, rows
        self.done = self.tokens = 0
        self.started = self.logged = time.monotonic()

    def __call__(self, split: str, rows: int, tokens: int, more: str = "") -> None:
        self.done += rows
        self.tokens += tokens
        now = time.monotonic()
        if now - self.logged < LOG_SECONDS:
            return
        self.logged = now
        rate = self.done / (now - self.started)
        left = duration(max(0, self.rows - self.done) / rate) if rate else "some time"
        speed = self.tokens / (now - self.started)
        spoken = f"{speed:,.0f} tokens/s, " if speed else ""  # an import reads no texts
        say(
            f"{self.label}/{split}: {self.done:,}/{self.rows:,} rows, {rate:,.0f} rows/s, "
            f"{spoken}{left} left" + (f"; {more}" if more else "")
        )


def cache_words(cache: str) -> str:
    """` --cache FOLDER` for a command to type next, or nothing for the default folder."""
    return "" if cache == DEFAULT_CACHE else f" {command_line(['--cache', cache])}"


def facts(values: Mapping[str, Any], indent: str = "  ", err: bool = False) -> None:
    """Names and values, one a line, on stdout or stderr."""
    width = max((len(name) for name in values), default=0)
    for name, value in values.items():
        (say if err else tell)(visible(f"{indent}{name:<{width}}  {plain(value)}".rstrip()))


def plain(value: Any) -> str:
    """A value as a person writes it: no brackets around lists, no Python words."""
    if value is None or value in ("", [], {}):
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {plain(each)}" for name, each in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(plain(each) for each in value)
    return str(value)


def interrupted(error: KeyboardInterrupt, what: str, say: Callable[[str], None] = say) -> NoReturn:
    """End a command that Ctrl-C or SIGTERM stopped: what became of it, and how to repeat it."""
    say("")  # what the terminal shows of Ctrl-C has a line of its own
    say(f"Interrupted{what}{command_line(['lef', *sys.argv[1:]])}")
    sys.exit(exit_code(error))
