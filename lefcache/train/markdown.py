"""Words of a user or a stranger in Markdown: shown as they are, and never as anything else."""

import re
from collections.abc import Iterable, Sequence


def code(text: object) -> str:
    """A code span that shows a text: no markup, link, line break or direction mark in it acts."""
    plain = "".join(each if each.isprintable() else _named(each) for each in str(text))
    fence = "`" * (1 + max(map(len, re.findall("`+", plain)), default=0))
    # One blank on both sides is not shown; without it, fence and backtick would be one.
    blank = " " if plain.startswith(("`", " ")) or plain.endswith(("`", " ")) else ""
    return f"{fence}{blank}{plain}{blank}{fence}" if plain.strip(" ") else "(blank)"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; a bar in a cell, even in code, is not the end of it."""
    lines = [header, ["---"] * len(header), *rows]
    escaped = [[cell.replace("|", "\\|") for cell in line] for line in lines]
    return "\n".join(f"| {' | '.join(line)} |" for line in escaped)


def listed(words: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def _named(character: str) -> str:
    """A character that is not shown, by its number."""
    number = ord(character)
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"
