"""The commands that a message tells the user to type, built from what the cache itself knows."""

import shlex
from collections.abc import Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from lefcache.feature import Layer, describe_layers
from lefcache.spec import Spec

DEFAULT_CACHE = "lef-cache"
SETTLED = ("dtype", "attention")  # settings whose `auto` means, on a cache, what it was made with


def extract_command(
    cache: Path,
    data: str,
    model: str,
    layers: Iterable[Layer] = (),
    pools: Iterable[str] = (),
    more: Iterable[str] = (),
) -> str:
    """`lef extract ...` with the flags that are not defaults, quoted for a shell."""
    words = ["lef", "extract"]
    if str(cache) != DEFAULT_CACHE:
        words += ["--cache", str(cache)]
    words += ["--data", data, "--model", model]
    if written := describe_layers(list(layers)).replace(" ", ""):
        words += ["--layers", written]
    for pool in pools:
        words += ["--pool", pool]
    return shlex.join([*words, *more])


def spec_flags(spec: Spec) -> list[str]:
    """The flags that give this Spec again on its own cache, where `auto` is what it was."""
    words = []
    for each in fields(spec):
        value = getattr(spec, each.name)
        if each.metadata and each.name not in SETTLED and value != each.default:
            words += [f"--{each.name.replace('_', '-')}", str(value)]
    return words


def corpus_flags(attrs: Mapping[str, Any]) -> list[str]:
    """The flags that read this corpus again, beside its source."""
    options = attrs.get("options", {})
    return [word for flag, value in options.items() for word in (f"--{flag}", str(value))]
