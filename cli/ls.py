"""`lef ls`: what is in the cache, and the command that finishes what is not."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from cli.output import cache_words, deliver, print_table, say, size, tell
from cli.params import cache_option, form_options

if TYPE_CHECKING:
    from lefcache import Cache

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


@click.command("ls", short_help="List what is in the cache.")
@cache_option
@form_options
def command(cache: str, form: str) -> None:
    """List every corpus, model and split in the cache with its layers, rows and size.

    An interrupted extraction is shown with the command that finishes it.

    \b
    Examples:
      lef ls
      lef ls --cache /data/lef-cache --json
      lef ls --csv > cache.csv
    """
    import lefcache
    from lefcache.feature import describe_layers

    opened = lefcache.open(cache)
    entries = opened.ls()
    # Layers and pools as --layers takes them, and as one writes several pools.
    rows = [
        entry
        | {
            "layers": describe_layers(entry["layers"]).replace(" ", ""),
            "pools": ",".join(entry["pools"]),
        }
        for entry in entries
    ]
    deliver(form, entries, CSV, rows, lambda: _show(opened, cache, entries))


def _show(opened: "Cache", cache: str, entries: Sequence[dict[str, Any]]) -> None:
    from lefcache.feature import describe_layers

    if not entries:
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
    for corpus in opened.values():
        for model in corpus.values():
            if resume := model.resume_command():
                tell("")
                tell(f"{model.corpus}/{model.model} is not finished:")
                for pages in model.values():
                    for line in pages.progress(pages.missing):
                        tell(f"  {pages.split}: {line}")
                tell(f"Go on with:\n  {resume}")


def _key(entry: dict[str, Any]) -> str:
    return f"{entry['corpus']}/{entry['model']}/{entry['split']}"
