"""Texts made of several columns: `{premise} [SEP] {hypothesis}`."""

import math
from collections.abc import Mapping
from functools import lru_cache
from string import Formatter
from typing import Any

from lefcache.errors import CorpusError


def template_columns(template: str) -> tuple[str, ...]:
    """The columns that a template names, each once; CorpusError if it is no template."""
    return tuple(dict.fromkeys(column for _, column in _parts(template) if column is not None))


def fill(template: str, row: Mapping[str, Any]) -> str:
    """One text from the cells of a row; a doubled brace stands for itself.

    Only a row's own cells can be named: nothing of Python is looked up, whatever a template says.
    Numbers are written as Python writes them, a missing cell (None, NaN) as nothing. Raises
    CorpusError for a column that the row lacks and for a cell that holds several values.
    """
    return "".join(
        literal + ("" if column is None else _cell(row, column))
        for literal, column in _parts(template)
    )


@lru_cache(maxsize=16)  # the same one for every row
def _parts(template: str) -> tuple[tuple[str, str | None], ...]:
    """Literal text and the column after it, if any, from left to right."""
    try:
        parsed = list(Formatter().parse(template))
    except ValueError as error:
        raise CorpusError(
            f"template '{template}': {error}; double a brace that is text: {{{{ or }}}}"
        ) from error
    for _, column, form, conversion in parsed:
        if column == "" or form or conversion:
            raise CorpusError(
                f"template '{template}': between braces stands the name of a column and nothing "
                "else, for example {premise}; double a brace that is text: {{ or }}"
            )
    if all(column is None for _, column, _, _ in parsed):
        raise CorpusError(
            f"template '{template}' names no column: write one between braces, for example "
            "'{premise} [SEP] {hypothesis}'"
        )
    return tuple((literal, column) for literal, column, _, _ in parsed)


def _cell(row: Mapping[str, Any], column: str) -> str:
    if column not in row:
        raise CorpusError(f"the template names the column '{column}': there are {', '.join(row)}")
    value = row[column]
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if not isinstance(value, str | int | float):
        raise CorpusError(
            f"the template names the column '{column}', which holds {value!r}: it can show texts "
            "and numbers only"
        )
    return str(value)
