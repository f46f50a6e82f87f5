"""Columns of a table as texts and labels: which column is which, and texts made of several."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any
from unicodedata import normalize

from lefcache.errors import CorpusError
from lefcache.settings import setting
from lefcache.template import fill, template_columns
from lefcache.wording import command_line, did_you_mean, shown, some

TEXT_COLUMNS = ("text", "sentence")
LABEL_COLUMNS = ("label", "labels", "class", "category", "target")


@dataclass(frozen=True)
class Reading:
    """How a corpus is read: what changes its texts and labels beside the place they come from.

    Raises CorpusError for settings that cannot go together.
    """

    text_column: str = setting("", "The column with the texts, if not text or sentence.")
    label_column: str = setting("", "The column with the labels, if not label.")
    template: str = setting(
        "", "A text made of several columns, for example '{premise} [SEP] {hypothesis}'."
    )
    config: str = setting("", "Configuration of a data set on the hub.")
    data_revision: str = setting("", "Branch, tag or commit of a data set on the hub.")

    def __post_init__(self) -> None:
        if self.template:
            template_columns(self.template)
            if self.text_column:
                raise CorpusError("--template and --text-column exclude each other: give one")

    def over(self, other: "Reading") -> "Reading":
        """These settings, and the other's where these say nothing."""
        given = {each.name: value for each in fields(self) if (value := getattr(self, each.name))}
        if given.keys() & {"text_column", "template"}:  # two ways to say what the text is
            other = replace(other, text_column="", template="")
        return replace(other, **given)

    def flags(self) -> dict[str, str]:
        """The settings that are not defaults, by the names of their flags."""
        return {
            each.name.replace("_", "-"): value
            for each in fields(self)
            if (value := getattr(self, each.name))
        }

    def words(self) -> str:
        """The same as they are typed: `--text-column body`."""
        return command_line(
            word for flag, text in self.flags().items() for word in (f"--{flag}", text)
        )

    @classmethod
    def from_flags(cls, flags: Mapping[str, str]) -> "Reading":
        """Read what `flags` gave; one that this version does not know is refused."""
        settings = {flag.replace("-", "_"): value for flag, value in flags.items()}
        if unknown := sorted(settings.keys() - {each.name for each in fields(cls)}):
            raise CorpusError(
                f"written by a newer lefcache, which knows {shown(some(unknown), 200)}: "
                "upgrade lefcache"
            )
        return cls(**settings)


@dataclass(frozen=True)
class Sheet:
    """One split as it was found: its columns, and where it lies for a message to say.

    `cells(name)` gives one column; the others need never be read. `lines` are those of a file on
    which its rows stand.
    """

    where: str
    header: Sequence[str]
    cells: Callable[[str], Sequence[Any]]
    lines: Sequence[int] = ()

    def row(self, number: int) -> str:
        """A row, as a message names it."""
        line = f"line {self.lines[number]}" if self.lines else f"row {number}"
        return f"{self.where}: {line}"


def texts_and_labels(
    sheet: Sheet, reading: Reading
) -> tuple[list[str], list[str | None] | None, str]:
    """The texts, the labels as strings (None: no label) and a note for the reader, or ''.

    Raises CorpusError for a column that is not there or holds no texts.
    """
    used, texts = texts_of(sheet, reading)
    label = column_of(sheet.header, reading.label_column, LABEL_COLUMNS)
    if label is None and reading.label_column:
        raise CorpusError(
            f"{sheet.where} has no column '{reading.label_column}'"
            f"{did_you_mean(reading.label_column, sheet.header)}: it has "
            f"{', '.join(sheet.header)}; name one with --label-column"
        )
    if label is None:
        others = [column for column in sheet.header if column not in used]
        hint = f" (is it {' or '.join(others)}? name it with --label-column)" if others else ""
        note = f"no labels{hint}; it can be extracted and predicted, not scored"
        return texts, None, "; ".join(filter(None, (note, _note_on_quotes(sheet, texts))))
    if reading.template and label in used:
        raise CorpusError(
            f"the template '{reading.template}' puts the labels ({label}) into the texts: leave "
            "them out, or name another column with --label-column"
        )
    labels = [_label(value, sheet, label) for value in sheet.cells(label)]
    known = None if all(each in (None, "-1") for each in labels) else labels
    return texts, known, _note_on_quotes(sheet, texts)


def _note_on_quotes(sheet: Sheet, texts: Sequence[str]) -> str:
    """What a spreadsheet puts around a cell, and what is text in a .tsv as we and GLUE read it."""
    if not sheet.where.lower().endswith(".tsv"):
        return ""
    quoted = sum(text[:1] == text[-1:] == '"' and '""' in text[1:-1] for text in texts)
    which = "1 text stands" if quoted == 1 else f"{quoted:,} texts stand"
    kept = f"{which} in quotation marks and hold doubled ones, which are kept as text: if a "
    return f"{kept}spreadsheet wrote them, save it as .csv instead" if quoted else ""


def texts_of(sheet: Sheet, reading: Reading) -> tuple[Sequence[str], list[str]]:
    """The columns that the texts are made of, and the texts; CorpusError where there are none."""
    if reading.template:
        used = template_columns(reading.template)
        if missing := [column for column in used if column not in sheet.header]:
            raise CorpusError(
                f"{sheet.where} has no column '{missing[0]}'"
                f"{did_you_mean(missing[0], sheet.header)}, which the template "
                f"'{reading.template}' names: it has {', '.join(sheet.header)}"
            )
        rows = zip(*(sheet.cells(column) for column in used), strict=True)
        values = [fill(reading.template, dict(zip(used, row, strict=True))) for row in rows]
    else:
        text = column_of(sheet.header, reading.text_column)
        if text is None:
            named = reading.text_column
            near = did_you_mean(named, sheet.header)
            wanted = f"column '{named}'{near}" if named else "column 'text' or 'sentence'"
            raise CorpusError(
                f"{sheet.where} has no {wanted}: it has {', '.join(sheet.header)}; "
                "name one with --text-column, or several with --template"
            )
        used, values = (text,), list(sheet.cells(text))
    column = "" if reading.template else f", column '{used[0]}',"
    for number, value in enumerate(values):
        if fault := _fault(value):
            raise CorpusError(f"{sheet.row(number)}{column} {fault}")
    return used, values


def column_of(
    header: Sequence[str], wanted: str = "", spellings: Sequence[str] = TEXT_COLUMNS
) -> str | None:
    """The column that is wanted, or else the first of the usual spellings that is there."""
    if wanted:
        # An accent may be a letter's own or one after it: both look the same.
        same = {normalize("NFC", column): column for column in reversed(header)}
        return wanted if wanted in header else same.get(normalize("NFC", wanted))
    lower = {column.strip().lower(): column for column in reversed(header)}
    return next((lower[spelling] for spelling in spellings if spelling in lower), None)


def text_of(value: Any, where: str, number: int) -> str:
    """A cell that is a text; CorpusError, naming the row, if it is not."""
    if fault := _fault(value):
        raise CorpusError(f"{where}: row {number} {fault}")
    return str(value)


def _fault(value: Any) -> str:
    """What is wrong with a cell that should be a text; nothing if it is one."""
    if value is None:
        return 'has nothing where a text should be: an empty text is written ""'
    if not isinstance(value, str):
        return f"has {value!r} where a text should be"
    try:
        value.encode()
    except UnicodeEncodeError:
        return "holds half of a surrogate pair, which is no text: write it again as UTF-8"
    return ""


def _label(value: Any, sheet: Sheet, column: str) -> str | None:
    if isinstance(value, list | dict):
        raise CorpusError(
            f"{sheet.where}: column '{column}' holds {value!r} where one label should be; "
            "name another column with --label-column"
        )
    if isinstance(value, float):
        if math.isnan(value):
            return None
        # One missing label makes floats of a column of whole numbers: 1.0 is the label 1.
        value = int(value) if value.is_integer() else value
    if value is None:
        return None
    label = str(value).strip()
    if fault := _fault(label):
        raise CorpusError(f"{sheet.where}: column '{column}' {fault}")
    return label or None
