"""The words that messages share: how many of a thing, what was meant, what to type next."""

import os
import shlex
from collections.abc import Iterable


def count(number: int, thing: str, several: str = "") -> str:
    """`1 text`, `1,802 texts`; a plural that takes more than an s is given."""
    return f"{number:,} {thing if number == 1 else several or f'{thing}s'}"


def some(names: Iterable[str], most: int = 5) -> str:
    """`a, b, c`; of many, the first few and how many more there are."""
    every = list(names)
    more = f" and {len(every) - most:,} more" if len(every) > most else ""
    return ", ".join(every[:most]) + more


def shown(value: object, most: int = 60) -> str:
    """A value of anybody's as a message shows it: what is longer than a line says no more.

    A string is shown as it is, anything else as Python writes it.
    """
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= most else f"{text[:most]}..."


def nearest(word: str, known: Iterable[str]) -> str:
    """The known word that this one is, or nearly is; '' if it is like none."""
    from difflib import get_close_matches

    near = get_close_matches(word.lower(), list(known), n=1)
    return near[0] if near else ""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """` (did you mean minilm?)` after a word that is nearly a known one, otherwise nothing."""
    near = nearest(word, known)
    return f" (did you mean {near}?)" if near else ""


def install_extra(extra: str) -> str:
    """What installs an extra; lefcache is on no package index, and torch is there already."""
    return f'run pip install -e ".[{extra}]" in the checkout of lefcache'


def command_line(words: Iterable[object]) -> str:
    """A command to type, quoted for the shell of this system."""
    return " ".join(map(_quoted, map(str, words)))


def _quoted(word: str) -> str:
    if os.name == "nt":  # neither cmd nor PowerShell knows the quotes of a POSIX shell
        from subprocess import list2cmdline

        plain = not set(word) & set("<>|&^()%!")
        return list2cmdline([word]) if plain else '"' + word.replace('"', r"\"") + '"'
    if word.isprintable():
        return shlex.quote(word)
    # A line break within quotes would be lost where commands are shown on one line.
    escaped = word.replace("\\", r"\\").replace("'", r"\'")
    return "$'" + "".join(each if each.isprintable() else _bytes(each) for each in escaped) + "'"


def _bytes(character: str) -> str:
    """A character as the escapes that bash and zsh read in `$'...'`."""
    return "".join(f"\\x{byte:02x}" for byte in character.encode())
