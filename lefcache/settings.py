"""Settings are dataclass fields that know their own help, so that flags are made from them."""

from dataclasses import field
from typing import Any


def setting(
    default: Any,
    help: str,
    choices: tuple[str, ...] = (),
    bare: str | None = None,
    usual: Any = None,
) -> Any:
    """A dataclass field that is also a command-line flag, with this help and these choices.

    `bare` is what the flag means when no value follows it; `usual` what a default of None most
    often comes to.
    """
    metadata = {"help": help, "choices": choices, "bare": bare, "usual": usual}
    return field(default=default, metadata=metadata)
