"""`lef rm KEY`: take a corpus, a model, a split, a pooling or a layer out of the cache."""

import sys

import click

from cli.candidates import keys
from cli.output import print_json, say, size, tell
from cli.params import cache_option, json_option


@click.command("rm")
@click.argument("key", shell_complete=keys)
@click.option("--dry-run", is_flag=True, help="Say what would go, and how many bytes; then stop.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@cache_option
@json_option
def command(key: str, dry_run: bool, yes: bool, cache: str, as_json: bool) -> None:
    """Remove what KEY names, and ask first.

    KEY is a place in the cache: sst2, sst2/mistral, sst2/mistral/train, sst2/mistral/train/mean or
    sst2/mistral/train/mean/24; or, in all splits of a model, layers (sst2/mistral:24,last or
    sst2/mistral:16..32@max) or a pooling (sst2/mistral@max). Results of studies stay.

    \b
    Examples:
      lef rm sst2/mistral --dry-run
      lef rm sst2/mistral:24@max
      lef rm sst2/mistral/test --yes
    """
    import lefcache
    from lefcache.cache.remove import doomed, remove

    opened = lefcache.open(cache)
    things = doomed(opened, key)
    total = sum(each.bytes for each in things)
    lines = [
        f"{each.path}{': ' if each.arrays else ''}{', '.join(each.arrays)} ({size(each.bytes)})"
        for each in things
    ]
    for line in lines:
        (say if as_json else tell)(line)
    if not dry_run:
        if not yes:
            _ask(total)
        remove(opened.store, things)
    if as_json:
        removed = [
            {"path": each.path, "arrays": list(each.arrays), "bytes": each.bytes} for each in things
        ]
        print_json({"removed": removed, "bytes": total, "dry_run": dry_run})
    else:
        tell(f"{size(total)} {'would be removed' if dry_run else 'removed'}")


def _ask(total: int) -> None:
    """Go on only if a person says so."""
    if not sys.stdin.isatty():
        raise click.UsageError("there is no terminal to ask at: give --yes, or --dry-run to look")
    click.confirm(f"Remove {size(total)} for good?", abort=True, err=True)
