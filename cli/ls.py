"""`lef ls`: what is in the cache, and the command that finishes what is not."""

from collections.abc import Sequence
from typing import Any

import click

from cli.output import deliver, print_table, say, size, visible
from cli.params import cache_option, form_options

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

    entries = lefcache.open(cache).ls()
    # Layers and pools as --layers takes them, and as one writes several pools.
    rows = [
        entry
        | {
            "layers": describe_layers(entry["layers"]).replace(" ", ""),
            "pools": ",".join(entry["pools"]),
        }
        for entry in entries
    ]
    deliver(form, entries, CSV, rows, lambda: _show(cache, entries))


def _show(cache: str, entries: Sequence[dict[str, Any]]) -> None:
    from lefcache.feature import describe_layers

    if not entries:
        say(f"{cache} is empty. Start with: lef extract --model minilm")
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
    for entry in entries:
        if entry["resume"]:
            left = "; ".join(entry["unfinished"])
            click.echo(f"\n{_key(entry)} is not finished ({left}). Go on with:")
            click.echo(f"  {visible(entry['resume'])}")


def _key(entry: dict[str, Any]) -> str:
    return f"{entry['corpus']}/{entry['model']}/{entry['split']}"
