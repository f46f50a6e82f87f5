import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from lefcache.train.markdown import code, listed, table

RENDER = MarkdownIt("gfm-like", {"linkify": False}).render

HOSTILE = [
    "<script>alert(1)</script>",
    "[a](javascript:b)",
    "a`b``c",
    "``",
    " query: ",
    "one\n\n# two",
    "\\",
    "*not* __strong__ ~~gone~~",
    "&lt;",
    "a\u202eb",
]


def shown(html):
    """The text of the only code span of a paragraph, and that there is nothing else."""
    from html import unescape

    start, end = "<p>a <code>", "</code> z</p>\n"
    assert html.startswith(start)
    assert html.endswith(end)
    inside = html.removeprefix(start).removesuffix(end)
    assert "<" not in inside
    return unescape(inside)


@pytest.mark.parametrize("text", HOSTILE)
def test_words_are_shown_and_do_nothing(text):
    plain = text.replace("\n", "\\u000a").replace("\u202e", "\\u202e")
    assert shown(RENDER(f"a {code(text)} z")) == plain


@given(st.text(st.sampled_from("`| \\a<*\n"), min_size=1))
def test_any_text_is_shown_in_a_paragraph_and_in_a_cell(text):
    plain = text.replace("\n", "\\u000a")
    if not plain.strip(" "):
        assert code(text) == "(blank)"
        return
    assert shown(RENDER(f"a {code(text)} z")) == plain
    html = RENDER(table(["x", "y"], [[code(text), "end"]]))
    assert html.count("<td>") == 2
    assert "<td>end</td>" in html


def test_a_list_reads_as_a_sentence():
    assert [listed(["a", "b", "c"][:size]) for size in (1, 2, 3)] == ["a", "a and b", "a, b and c"]
