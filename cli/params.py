"""Flags that several commands share, and flags made from a dataclass of settings."""

from collections.abc import Callable
from dataclasses import Field, fields
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])

DEFAULT_CACHE = "lef-cache"

cache_option = click.option(
    "--cache",
    envvar="LEF_CACHE",
    default=DEFAULT_CACHE,
    show_default=True,
    help="The cache folder (or $LEF_CACHE).",
)
data_option = click.option(
    "--data",
    envvar="LEF_DATA",
    help="The corpus: its name in the cache, a folder with train.tsv|csv|jsonl|parquet and so on, "
    "NAME=FOLDER, or 'demo' (or $LEF_DATA; default: the only one in the cache, else demo).",
)
json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON document on stdout, nothing else."
)
device_option = click.option(
    "--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1 or mps."
)


def settings_options(settings: type) -> Callable[[Command], Command]:
    """A flag for each field of a settings dataclass that has a help text.

    A flag that is not given is None, so that a default can come from elsewhere (a model's own
    prompt); `given` picks the ones that were.
    """

    def decorate(command: Command) -> Command:
        for each in reversed(fields(settings)):
            if each.metadata:
                command = _flag(each)(command)
        return command

    return decorate


def given(settings: type, values: dict[str, Any]) -> dict[str, Any]:
    """The settings among a command's values that the user gave."""
    names = [each.name for each in fields(settings) if each.metadata]
    return {name: values[name] for name in names if values[name] is not None}


def _flag(each: Field[Any]) -> Callable[[Command], Command]:
    choices, default = each.metadata["choices"], each.default
    kind: Any = type(default)
    if choices:
        kind = click.Choice(choices)
    elif isinstance(default, tuple):
        kind = _numbers(type(default[0]))
        default = ",".join(str(number) for number in default)
    shown = str(default) if default != "" else "none"
    return click.option(
        f"--{each.name.replace('_', '-')}",
        each.name,
        type=kind,
        default=None,
        help=f"{each.metadata['help']}  [default: {shown}]",
    )


def _numbers(kind: type) -> Callable[[str], tuple[Any, ...]]:
    """A reader of `1024,256`; an empty string is no numbers at all."""

    def numbers(text: str) -> tuple[Any, ...]:
        try:
            return tuple(kind(number) for number in text.split(",") if number)
        except ValueError as error:
            raise click.BadParameter(f"'{text}' is no list such as 1024,256") from error

    return numbers
