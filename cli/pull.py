"""`lef pull`: layers of a cache on an object store or on the hub, brought to this disk."""

from dataclasses import asdict
from typing import Any

import click

from cli.candidates import pools as known_pools
from cli.output import print_json, say, tell
from cli.params import cache_option, json_option
from cli.pulling import Pulling, open_cache
from lefcache.files import REMOTE
from lefcache.travel import PREFIX as HUB
from lefcache.wording import command_line, count

# What is asked before vectors of somebody else are taken; on an object store they are one's own.
ONLY_HUB = {"revision": "--revision", "dry_run": "--dry-run", "yes": "--yes"}


@click.command("pull")
@click.argument("source", metavar="[SOURCE] [KEY]", required=False, default="")
@click.argument("key", metavar="", required=False, default="")
@click.option("--layers", default="", help="Only these, for example 16..32,last or -4..-1.")
@click.option("--pool", "pools", multiple=True, shell_complete=known_pools, help="Only these.")
@click.option("--as", "name", default="", help="What to call the model here: NAME or CORPUS/NAME.")
@click.option("--revision", help="hub: a branch, tag or commit.  [default: main]")
@click.option(
    "--dry-run", is_flag=True, help="hub: show what it is and what would be fetched; then stop."
)
@click.option("--yes", is_flag=True, help="hub: do not ask.")
@cache_option
@json_option
def command(source: str, key: str, cache: str, **options: Any) -> None:
    """Bring what is below KEY (sst2, sst2/mistral or sst2/mistral/train; all without one) here.

    From SOURCE, such as s3://bucket/run1 or hub:owner/name, layers come into the cache folder.
    Without one they come from a --cache that is on an object store into its mirror, which is where
    sweep and fuse look; they pull what they need by themselves as well. Every block is held against
    its checksum, and what is here already is not pulled again.

    Of a snapshot on the hub, what it was made from is shown first, and you are asked. Vectors made
    otherwise than those of the same name here are refused: --as keeps both. Stopped at any moment,
    the same command goes on where it was.

    \b
    Examples:
      lef pull s3://bucket/run1 sst2/mistral --layers 24,last
      lef pull sst2/mistral/train --cache s3://bucket/run1
      lef pull hub:me/sst2-mistral --dry-run
      lef pull hub:me/sst2-mistral sst2/mistral --layers 24 --yes
    """
    _check_key(key or ("" if "://" in source or source.startswith(HUB) else source))
    if source.startswith(HUB):
        from cli.pull_hub import pull_from_hub

        pull_from_hub(source, cache, key=key, **options)
        return
    if given := [flag for name, flag in ONLY_HUB.items() if options[name]]:
        raise click.UsageError(f"{', '.join(given)}: for a SOURCE such as {HUB}OWNER/NAME only")
    what = {name: options[name] for name in ("layers", "pools", "name")}
    _pull_from_store(source, key, what, cache, as_json=options["as_json"])


def _check_key(key: str) -> None:
    """Refuse what is no key, or one of layers, which have flags of their own here."""
    from lefcache.cache.keys import Key

    wanted = Key.parse(key) if key else None
    if wanted and wanted.in_part:
        words = [wanted.path]
        for flag, value in (("--layers", wanted.layers), ("--pool", wanted.pool)):
            words += [flag, value] if value else []
        raise click.UsageError(f"{key}: layers are chosen by flags: write {command_line(words)}")


def _pull_from_store(
    source: str, key: str, what: dict[str, Any], cache: str, *, as_json: bool
) -> None:
    import lefcache
    from lefcache.cache.pull import pull
    from lefcache.cache.remote import RemoteCache

    named = "://" in source
    if key and not named:
        raise click.UsageError(
            f"{source} is no SOURCE: write {REMOTE}BUCKET/FOLDER or {HUB}OWNER/NAME, and KEY "
            "after it"
        )
    opened = open_cache(source if named else cache)
    if not isinstance(opened, RemoteCache):
        read = f"{source} was read as a KEY, and there is " if source else ""
        raise click.UsageError(
            f"{read}nothing to pull from: name a SOURCE, as in lef pull {HUB}OWNER/NAME or lef "
            f"pull {REMOTE}BUCKET/FOLDER{f' {source}' if source else ''}, or such a --cache"
        )
    if what["name"] and not named:
        raise click.UsageError("--as: a mirror keeps the names there: name a SOURCE, and a folder")
    target = lefcache.open(cache) if named else None
    if isinstance(target, RemoteCache):
        raise click.UsageError("--cache is where SOURCE is brought to: name a folder on this disk")
    done = []
    wanted = key if named else source
    for each in pull(opened, wanted.strip("/"), target=target, on_pull=Pulling(), **what):
        done.append(each)
        come = len(each.new) - len({*each.new} & {*each.unfinished})
        say(f"{each.path}: {count(come, 'array')} pulled, {len(each.arrays) - come} here before")
        if each.unfinished:
            say(f"  note: {count(len(each.unfinished), 'array')} not finished there: pull again")
    where = (target or opened.mirror).path
    if as_json:
        print_json({"path": str(where), "splits": [asdict(each) for each in done]})
    else:
        tell(f"{count(len(done), 'split')} in {where}")
