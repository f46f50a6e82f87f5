"""`lef push KEY hub:owner/name`: a snapshot of what is in the cache, for others to pull."""

from typing import TYPE_CHECKING, Any

import click

from cli.candidates import keys
from cli.output import print_json, say, size, tell
from cli.params import cache_option, json_option
from lefcache.wording import command_line, count

if TYPE_CHECKING:
    from lefcache.share.push import Plan


@click.command("push")
@click.argument("key", shell_complete=keys)
@click.argument("place", metavar="hub:OWNER/NAME")
@click.option("--private", is_flag=True, help="Make the repository for its owner's eyes only.")
@click.option("--revision", help="The branch to push to.  [default: main]")
@click.option("--no-labels", is_flag=True, help="Leave the labels and the names of classes out.")
@click.option(
    "--licence",
    "--license",
    default="",
    help="What you give the vectors out under, as the hub writes it (cc-by-4.0).  [default: the "
    "card says that the licences of model and corpus bind]",
)
@click.option("--prune", is_flag=True, help="Delete layers there that the cache has not.")
@click.option("--dry-run", is_flag=True, help="Say what would be uploaded; then stop.")
@cache_option
@json_option
def command(key: str, place: str, dry_run: bool, as_json: bool, cache: str, **how: Any) -> None:
    """Push a split (sst2/mistral/train), a model (sst2/mistral) or a corpus to the hub.

    The data set becomes a Zarr tree of the vectors with a card that says how they were made.
    Every byte is compared with its checksum first. Texts are not in a cache and do not go along;
    labels do, unless --no-labels. Pushed again, only what changed is uploaded, in one commit.

    \b
    Examples:
      lef push sst2/mistral hub:me/sst2-mistral --dry-run
      lef push sst2/mistral hub:me/sst2-mistral --private
      lef push sst2/e5/test hub:me/sst2-layers --licence cc-by-4.0
    """
    import lefcache
    from cli.underway import underway
    from lefcache.share.hub import Hub, Place
    from lefcache.share.push import planned, push
    from lefcache.travel import PREFIX

    if key.startswith(PREFIX):
        raise click.UsageError(f"KEY comes first: {command_line(['lef', 'push', place, key])}")
    where = Place.parse(place, how.pop("revision"))
    opened = lefcache.open(cache)
    how["labels"] = not how.pop("no_labels")
    if not dry_run:
        Hub(where).check_token()
    with planned(opened, key, where, on_split=_checked, **how) as plan:
        _show(plan)
        made = ("", "")
        if not dry_run:
            with underway(f"to {where}", plan.changed_bytes) as arrived:
                made = push(plan, arrived)
    if as_json:
        print_json(_document(plan, made, dry_run))
    elif dry_run:
        tell(f"{size(plan.changed_bytes)} would be uploaded to {where}")
    elif made[0]:
        tell(f"pushed: {made[1]}")
        tell(f"To get it elsewhere: lef pull hub:{where.id}")
    else:
        tell(f"{where} has all of it already")


def _checked(path: str, blocks: int) -> None:
    say(f"{path}: {count(blocks, 'block')} compared, all whole")


def _show(plan: "Plan") -> None:
    seen = "private" if plan.private else "public: anybody can read it"
    say(f"{plan.place} ({'is there' if plan.parent else 'new'}, {seen})")
    for each in plan.splits:
        say(f"  {each.path}: {each.layers}; {count(each.rows, 'row')}, {each.dtype}")
    say(
        f"  {count(len(plan.files), 'file')} ({size(plan.bytes)}): {len(plan.changed):,} to upload "
        f"({size(plan.changed_bytes)}), {len(plan.gone):,} to delete"
    )
    labels = "with the labels (--no-labels leaves them out)" if plan.labelled else "without labels"
    say(f"  {labels}; the texts are not in a cache")
    for each in plan.splits:
        if not each.licence:
            say(f"  the licence of {each.model} is not known here: the card says so")
            break


def _document(plan: "Plan", made: tuple[str, str], dry_run: bool) -> dict[str, Any]:
    return {
        "to": str(plan.place),
        "private": plan.private,
        "splits": [each.to_json() for each in plan.splits],
        "files": len(plan.files),
        "bytes": plan.bytes,
        "uploaded_files": len(plan.changed),
        "uploaded_bytes": plan.changed_bytes,
        "deleted": list(plan.gone),
        "labels": plan.labelled,
        "commit": made[0] or None,
        "url": made[1] or None,
        "dry_run": dry_run,
    }
