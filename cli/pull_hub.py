"""`lef pull hub:OWNER/NAME [KEY]`: layers that somebody else extracted, into this cache."""

import sys
from typing import TYPE_CHECKING, Any

import click

from cli.output import facts, print_json, say, size, tell
from lefcache.feature import check_layers
from lefcache.wording import count

if TYPE_CHECKING:
    from lefcache.share.pull import Offer


def pull_from_hub(
    source: str,
    cache: str,
    *,
    revision: str | None,
    dry_run: bool,
    yes: bool,
    as_json: bool,
    **what: Any,
) -> None:
    """Show what a snapshot was made from, ask, and fetch the layers that are wanted."""
    import lefcache
    from cli.underway import underway
    from lefcache.share.hub import Place
    from lefcache.share.pull import looked, pull

    if what["layers"]:
        check_layers(what["layers"])
    place = Place.parse(source, revision)
    opened = lefcache.open(cache)
    with looked(opened, place, **what) as offer:
        _show(offer)
        if offer.parts and not dry_run:
            if not yes:
                _ask(offer)
            with underway(f"from {place}", offer.bytes) as arrived:
                notes = pull(opened, offer, arrived)
            for note in notes:
                say(f"note: {note}")
    if as_json:
        print_json(_document(offer, dry_run))
    else:
        for part in offer.parts:
            said = "would be pulled" if dry_run else "pulled, every block compared"
            tell(f"{part.path}: {part.described.layers}: {said}")
        for path in offer.here:
            tell(f"{path}: all of it is here already")


def _show(offer: "Offer") -> None:
    """What a snapshot is, before anything of it is used."""
    say(f"{offer.snapshot.place}")
    say(f"  licence, as its card says: {offer.snapshot.licence or 'none'}")
    told = set()
    for part in offer.parts:
        each = part.described
        if (each.corpus, each.model) not in told:
            told.add((each.corpus, each.model))
            say(f"{each.corpus}/{each.model} was made with:")
            made = {
                "model": each.source or "unknown",
                "revision": each.revision,
                "licence of the model": each.licence or "not known here: see its own card",
            }
            facts(made | each.spec.to_json(), err=True)
        say(
            f"{each.path}: {each.layers}; {count(each.rows, 'row')} of width {each.width:,}, "
            f"{each.dtype}, {size(each.bytes)}"
        )
    if offer.parts:
        say(f"to fetch: {count(len(offer.files), 'file')}, {size(offer.bytes)}")


def _ask(offer: "Offer") -> None:
    """Go on only if a person says so."""
    if not sys.stdin.isatty():
        raise click.UsageError("there is no terminal to ask at: give --yes, or --dry-run to look")
    click.confirm(f"Pull {size(offer.bytes)} into the cache?", abort=True, err=True)


def _document(offer: "Offer", dry_run: bool) -> dict[str, Any]:
    return {
        "from": str(offer.snapshot.place),
        "licence": offer.snapshot.licence,
        "splits": [part.described.to_json() | {"path": part.path} for part in offer.parts],
        "here": list(offer.here),
        "files": len(offer.files),
        "bytes": offer.bytes,
        "dry_run": dry_run,
    }
