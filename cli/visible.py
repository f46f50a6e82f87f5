"""Text that cannot steer the terminal: what a stranger wrote into a cache, a head or a corpus.

Every line and every table cell that a command prints goes through here, error messages too.
"""

import json
import re
import unicodedata

JOINERS = "\u200c\u200d"  # zero-width (non-)joiner


def visible(text: str) -> str:
    """One line in which control characters, newlines too, are shown as what they are.

    Spaces of any width and joiners stay, which French, Japanese, Persian and emoji are written
    with; what turns the direction of writing does not.
    """
    return "".join(
        character if _harmless(character) else repr(character)[1:-1] for character in text
    )


def visible_lines(text: str) -> str:
    """A message of one line or several; those after the first are indented.

    So nothing that a message quotes can pass for a line of ours.
    """
    first, *others = map(visible, text.split("\n"))
    return "\n".join([first, *(f"  {line.strip()}" for line in others)])


def visible_json(document: str) -> str:
    """The same JSON with the same letters; what is no letter is written as an escape."""
    if document.isprintable():
        return document
    return re.sub(r"[^\x20-\x7e]", _escaped, document)


def _escaped(match: re.Match[str]) -> str:
    return match[0] if _harmless(match[0]) else json.dumps(match[0])[1:-1]


def _harmless(character: str) -> bool:
    return (
        character.isprintable()
        or character in JOINERS
        or unicodedata.category(character) == "Zs"  # spaces
    )
