"""Readers of tabular text files, by ending: a header and rows, or a CorpusError that says where."""

import codecs
import csv
import json
import re
import sys
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from lefcache.columns import Sheet
from lefcache.errors import CorpusError
from lefcache.wording import command_line, install_extra

# The header, the rows, and the line of each row in the file, where it has lines.
Read = tuple[list[str], list[list[Any]], Sequence[int]]

SPREADSHEETS = (".xlsx", ".xls", ".ods")
# The marks that Excel ("Unicode text") and Notepad write first; UTF-32's begins as UTF-16's does.
MARKS = {
    codecs.BOM_UTF32_LE: "UTF-32",
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}
# What files that are not UTF-8 were saved as, most often: in Western Europe, in Central Europe, in
# Cyrillic, in Turkish. Each of them reads any bytes as something.
OLD_ENCODINGS = ("cp1252", "cp1250", "cp1251", "cp1254")
WORDS = 1000  # that are looked at for one which tells them apart


def _read_text(file: Path) -> str:
    try:
        raw = file.read_bytes()
    except OSError as error:
        raise CorpusError(f"{file} cannot be read: {error.strerror}") from error
    if encoding := next((name for mark, name in MARKS.items() if raw.startswith(mark)), ""):
        raise CorpusError(f"{file} is {encoding}, not UTF-8: {_convert(file, encoding.lower())}")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise CorpusError(
            f"{file}: line {line} is not UTF-8: {_convert(file, 'ENCODING')}, whichever reads "
            f"right: {_readings(raw)}"
        ) from error


def _readings(raw: bytes) -> str:
    """A word in each of the encodings, one that they read unlike: who wrote it can tell which."""
    words = islice(re.finditer(rb"[\w\x80-\xff]*[\x80-\xff][\w\x80-\xff]*", raw), WORDS)
    each = [[word[0].decode(name, "replace") for name in OLD_ENCODINGS] for word in words]
    telling = max(each, key=lambda readings: len(set(readings)))
    return ", ".join(f"{name} {word!r}" for name, word in zip(OLD_ENCODINGS, telling, strict=True))


def _convert(file: Path, encoding: str) -> str:
    """How a file becomes UTF-8; a command that wrote to what it reads would leave nothing."""
    made = f"{file}.utf8"
    convert = command_line(["iconv", "-f", encoding, "-t", "utf-8", file])
    return (
        "save it as UTF-8 (Excel: CSV UTF-8), or convert it with "
        f"`{convert} > {command_line([made])} && {command_line(['mv', made, file])}`"
    )


def read_lines(file: Path) -> list[str]:
    """The lines of a UTF-8 text file; only a newline ends one."""
    lines = _read_text(file).split("\n")
    if lines[-1] == "":
        lines.pop()
    return [line.removesuffix("\r") for line in lines]


def _read_tsv(file: Path) -> Read:
    """Tab-separated without quoting: quotation marks are text, and only a newline ends a row."""
    rows = [line.split("\t") for line in read_lines(file)]
    return _header_and_rows(file, rows, range(1, len(rows) + 1))


def _read_csv(file: Path) -> Read:
    """Separated by commas, or by semicolons as Excel writes where the comma is in numbers."""
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))  # the default refuses texts over 128 KiB
    lines = _read_text(file).removesuffix("\n").split("\n")
    separator = _separator(lines)
    reader = csv.reader((line + "\n" for line in lines), delimiter=separator, strict=True)
    try:
        rows = [(reader.line_num, row) for row in reader]
    except csv.Error as error:
        raise CorpusError(
            f"{file}: line {reader.line_num} is not well-formed csv: {error}; within a text in "
            'quotes, write each quotation mark twice: ""'
        ) from error
    alone = len(rows[0][1]) == 1  # with one column, an empty line is an empty text
    kept = [(line, row or [""]) for line, row in rows if row or alone]
    mend = f"; a text that holds '{separator}' stands in quotes"
    return _header_and_rows(file, [row for _, row in kept], [line for line, _ in kept], mend)


def _separator(lines: list[str]) -> str:
    """A semicolon where the header has one and would be a single column without it."""
    try:
        header = next(csv.reader(line for line in lines if line.strip()), [])
    except csv.Error:  # which reading all of it names
        return ","
    return ";" if len(header) == 1 and ";" in header[0] else ","


def _check_separator(file: Path, header: list[str]) -> None:
    """Refuse a table that is separated by something else, or whole lines would be its texts."""
    others = {".csv": {"\t": "tab"}, ".tsv": {";": "semicolon", ",": "comma"}}
    for separator, name in others[file.suffix.lower()].items():
        if len(header) == 1 and separator in header[0]:
            ending = ".tsv" if name == "tab" else ".csv"
            raise CorpusError(
                f"{file} looks {name}-separated: its only column is {header[0]!r}; rename it to "
                f"{file.stem}{ending}"
            )


def _header_and_rows(
    file: Path, rows: list[list[Any]], lines: Sequence[int], mend: str = ""
) -> Read:
    """The first row and the others, which have as many columns; `lines` are where they end."""
    header, body = (rows[0], rows[1:]) if rows else ([], [])
    _check_separator(file, header)
    for number, row in enumerate(body):
        if len(row) != len(header):
            raise CorpusError(
                f"{file}: row {number} (line {lines[number + 1]}) has {len(row)} columns where "
                f"the header has {len(header)}{mend}"
            )
    return header, body, lines[1:]


def _read_jsonl(file: Path) -> Read:
    records, lines = [], []
    for number, line in enumerate(_read_text(file).split("\n"), 1):
        if line.strip():
            try:
                record = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise CorpusError(f"{file}: line {number} is not JSON: {error}") from error
            if not isinstance(record, dict):
                raise CorpusError(f"{file}: line {number} is no JSON object")
            records.append(record)
            lines.append(number)
    header = list(dict.fromkeys(key for record in records for key in record))
    return header, [[record.get(key) for key in header] for record in records], lines


def _read_parquet(file: Path) -> Read:
    try:
        from pyarrow import ArrowException, parquet
    except ImportError as error:
        raise CorpusError(f"reading {file.name} needs pyarrow: {install_extra('hub')}") from error
    try:
        # This file and no other: read_table takes folders too, and makes columns of their names.
        with parquet.ParquetFile(file) as opened:
            table = opened.read()
        columns = [column.to_pylist() for column in table.columns]
    except (ArrowException, OSError, ValueError, OverflowError) as error:
        raise CorpusError(f"{file} is no readable parquet file: {error}") from error
    return table.column_names, [list(row) for row in zip(*columns, strict=True)], ()


READERS: dict[str, Callable[[Path], Read]] = {
    ".tsv": _read_tsv,
    ".csv": _read_csv,
    ".jsonl": _read_jsonl,
    ".parquet": _read_parquet,
}


def sheet_of(file: Path) -> Sheet:
    """The table in a file, read by its ending; CorpusError for one that cannot be read."""
    ending = file.suffix.lower()
    if ending in SPREADSHEETS:
        raise CorpusError(
            f"{file} is a spreadsheet: save its sheet as {file.stem}.csv (Excel: CSV UTF-8)"
        )
    if ending not in READERS:
        raise CorpusError(f"{file} is not one of {', '.join(READERS)}: write its texts as one")
    header, rows, lines = READERS[ending](file)
    if not header:
        raise CorpusError(
            f"{file} is empty: it needs columns such as text and label, and a row for each text"
        )

    def cells(column: str) -> list[Any]:
        number = header.index(column)
        return [row[number] for row in rows]

    return Sheet(str(file), header, cells, lines)
