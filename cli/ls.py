"""`lef ls`: what is in the cache, and the command that finishes what is not."""

import click

from cli.output import print_json, print_table, say, size, visible
from cli.params import cache_option, json_option


@click.command("ls", short_help="List what is in the cache.")
@cache_option
@json_option
def command(cache: str, as_json: bool) -> None:
    """List every corpus, model and split in the cache with its layers, rows and size.

    An interrupted extraction is shown with the command that finishes it.

    \b
    Examples:
      lef ls
      lef ls --cache /data/lef-cache --json
    """
    import lefcache
    from lefcache.feature import describe_layers

    entries = lefcache.open(cache).ls()
    if as_json:
        print_json(entries)
        return
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
                f"{entry['corpus']}/{entry['model']}/{entry['split']}",
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
            key = f"{entry['corpus']}/{entry['model']}/{entry['split']}"
            left = "; ".join(entry["unfinished"])
            click.echo(f"\n{key} is not finished ({left}). Go on with:")
            click.echo(f"  {visible(entry['resume'])}")
