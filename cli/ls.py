"""`lef ls`: what is in the cache, and the command that finishes what is not."""

import sys
from collections.abc import Sequence
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli.output import cache_words, deliver, print_table, say, size, tell
from cli.params import cache_option, form_options
from cli.verify import FOUND
from lefcache.errors import DamagedError

if TYPE_CHECKING:
    from lefcache import Cache
    from lefcache.cache.nodes import ModelNode

CSV = (
    "corpus",
    "model",
    "split",
    "layers",
    "pools",
    "rows",
    "done_rows",
    "width",
    "dtype",
    "bytes",
    "resume",
)


@click.command("ls")
@cache_option
@form_options
def command(cache: str, form: str) -> None:
    """List every corpus, model and split in the cache with its layers, rows and size.

    An interrupted extraction is shown with the command that finishes it. What cannot be read is
    told beside the rest, and the exit code is then 3.

    \b
    Examples:
      lef ls
      lef ls --cache /data/lef-cache --json
      lef ls --csv > cache.csv
    """
    import lefcache
    from lefcache.feature import describe_layers

    opened = lefcache.open(cache)
    damaged: list[DamagedError] = []
    entries = opened.ls(damaged)
    # Layers and pools as --layers takes them, and as one writes several pools.
    rows = [
        entry
        | {
            "layers": describe_layers(entry["layers"]).replace(" ", ""),
            "pools": ",".join(entry["pools"]),
        }
        for entry in entries
    ]
    deliver(form, entries, CSV, rows, lambda: _show(opened, cache, entries, damaged))
    for error in damaged:
        say(f"Error: {error}")
    if damaged:
        say(f"What that costs, and what mends it: lef verify{cache_words(cache)}")
        sys.exit(FOUND)


def _show(
    opened: "Cache",
    cache: str,
    entries: Sequence[dict[str, Any]],
    damaged: Sequence[DamagedError],
) -> None:
    from lefcache.feature import describe_layers

    if not (entries or damaged or list(opened)):
        if _holds_other_files(cache):
            say(f"{cache} holds no cache but other files: name the cache's own folder with --cache")
            return
        here = "is empty" if opened.exists else "is not there yet"
        say(f"{cache} {here}. Start with: lef extract{cache_words(cache)} --model minilm")
        return
    columns = ["key", "layers", "pools", ">rows", ">width", "dtype", ">size"]
    rows = []
    for entry in entries:
        done = f"{entry['done_rows']:,}"
        whole = entry["done_rows"] == entry["rows"]
        rows.append(
            [
                _key(entry),
                describe_layers(entry["layers"]),
                ", ".join(entry["pools"]),
                done if whole else f"{done} of {entry['rows']:,}",
                str(entry["width"]),
                entry["dtype"],
                size(entry["bytes"]),
            ]
        )
    print_table(cache, columns, rows)
    for (corpus, name), splits in groupby(entries, itemgetter("corpus", "model")):
        unfinished = [entry for entry in splits if entry["resume"]]
        if unfinished:
            tell("")
            tell(f"{corpus}/{name} is not finished:")
            for entry in unfinished:
                for line in entry["unfinished"]:
                    tell(f"  {entry['split']}: {line}")
            tell(f"Go on with:\n  {_resume(opened[corpus][name], unfinished)}")


def _holds_other_files(cache: str) -> bool:
    folder = Path(cache)
    return folder.is_dir() and any(folder.iterdir()) and not (folder / "zarr.json").exists()


def _resume(model: "ModelNode", unfinished: Sequence[dict[str, Any]]) -> str:
    """The command that finishes a model, or where one of its splits is damaged, the others."""
    try:
        return str(model.resume_command())
    except DamagedError:
        return "\n  ".join(entry["resume"] for entry in unfinished)


def _key(entry: dict[str, Any]) -> str:
    return f"{entry['corpus']}/{entry['model']}/{entry['split']}"
