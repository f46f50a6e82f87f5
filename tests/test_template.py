"""Templates: a row's own cells between braces, and nothing else of Python."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lefcache.errors import CorpusError
from lefcache.template import fill, template_columns

PAIR = "{premise} [SEP] {hypothesis}"


def test_columns_are_put_where_they_are_named():
    assert fill(PAIR, {"premise": "It rains.", "hypothesis": "It is wet."}) == (
        "It rains. [SEP] It is wet."
    )
    assert template_columns(PAIR) == ("premise", "hypothesis")
    assert template_columns("{a}{b}{a}") == ("a", "b")


def test_a_doubled_brace_stands_for_itself():
    assert fill("{{{a}}} }}{{", {"a": "x"}) == "{x} }{"


def test_braces_in_a_cell_are_text():
    assert fill("{a}{b}", {"a": "{b}", "b": "{0.__class__}"}) == "{b}{0.__class__}"


@pytest.mark.parametrize(
    ("cell", "shown"),
    [("", ""), (None, ""), (float("nan"), ""), (5, "5"), (2.5, "2.5"), (True, "True")],
)
def test_numbers_are_written_and_missing_cells_are_nothing(cell, shown):
    assert fill("<{a}>", {"a": cell}) == f"<{shown}>"


def test_any_column_of_a_file_can_be_named():
    assert fill("{my column} {0} {a.b}", {"my column": "x", "0": "y", "a.b": "z"}) == "x y z"


@given(st.text(max_size=20))
def test_every_template_is_filled_or_refused(template):
    try:
        text = fill(template, {"a": "x"})
    except CorpusError:
        return
    assert "x" in text


class Secret:
    key = "secret"


@pytest.mark.parametrize("template", ["{a.key}", "{a.__class__}", "{a[0]}", "{a.__init__.x}"])
def test_nothing_of_python_can_be_reached(template):
    with pytest.raises(CorpusError, match=r"names the column 'a.*': there are a$"):
        fill(template, {"a": Secret()})


@pytest.mark.parametrize("value", [["x"], {"x": 1}, Secret(), b"x"])
def test_a_cell_of_several_values_is_refused(value):
    with pytest.raises(CorpusError, match="texts and numbers only"):
        fill("{a}", {"a": value})


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("", "names no column"),
        ("no column", "names no column"),
        ("{{a}}", "names no column"),
        ("{}", "the name of a column and nothing else"),
        ("{a!r}", "the name of a column and nothing else"),
        ("{a:>99999999}", "the name of a column and nothing else"),
        ("{a:{b}}", "the name of a column and nothing else"),
        ("{a", "double a brace"),
        ("a}", "double a brace"),
        ("{a{b}}", "double a brace"),
    ],
)
def test_what_is_no_template_is_refused(template, message):
    with pytest.raises(CorpusError, match=message):
        fill(template, {"a": "x", "b": "y"})


@given(st.text(max_size=20) | st.from_regex(r"[{}a.!:\[\]_0-9]{1,20}", fullmatch=True))
def test_any_template_is_filled_or_refused(template):
    with suppress(CorpusError):
        assert isinstance(fill(template, {"a": "x", "b": 1}), str)


@pytest.mark.parametrize(
    "template", ["{a.__class__}", "{a[0]}", "{a!r}", "{a:>999999999}", "{a:{b}}", "{0.__init__}"]
)
def test_nothing_of_python_is_looked_up(template):
    with pytest.raises(CorpusError):
        fill(template, {"a": "x", "b": 1})
