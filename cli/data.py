"""`lef data`: the data sets that have a short name, and which of them are on this machine."""

from typing import TYPE_CHECKING

import click

from cli.output import facts, print_json, print_table
from cli.params import json_option

if TYPE_CHECKING:
    from lefcache.catalogue import Known


@click.command("data", short_help="List the data sets that have a short name.")
@click.argument("name", required=False)
@json_option
def command(name: str | None, as_json: bool) -> None:
    """List the data sets that `--data` knows by a short name, or show one of them.

    "here" means on this machine: readable without a network. The others are downloaded when they
    are first extracted; that needs the extra `hub`.

    \b
    Examples:
      lef data
      lef data sst2
      lef data --json
    """
    from lefcache.catalogue import catalogue, look_up

    if name:
        known = look_up(name)
        if as_json:
            print_json(known.to_json())
        else:
            _show(known)
        return
    entries = catalogue()
    if as_json:
        print_json([each.to_json() for each in entries])
        return
    columns = ["name", "hub id", "configuration", "splits", ">classes", ""]
    print_table("data", columns, [_row(each) for each in entries])
    for each in entries:
        for note in each.notes:
            click.echo(f"{each.name}: {note}")
    click.echo(
        "Any other: lef extract --data ORG/NAME, with --config, --text-column, --label-column or "
        "--template where it needs them."
    )


def _row(known: "Known") -> list[str]:
    return [
        known.name,
        known.id or "(bundled)",
        known.config,
        ", ".join(_split(ours, hubs) for ours, hubs in known.splits.items()),
        str(known.classes),
        "here" if known.here else "",
    ]


def _split(ours: str, hubs: str) -> str:
    return ours if ours == hubs else f"{ours} (its {hubs})"


def _show(known: "Known") -> None:
    click.echo(known.name)
    facts(
        {
            "hub id": known.id or "none: bundled",
            **({"configuration": known.config} if known.config else {}),
            "splits": ", ".join(_split(ours, hubs) for ours, hubs in known.splits.items()),
            "classes": known.classes,
            "text": known.text,
            "label": known.label,
            "on this machine": "yes" if known.here else "no",
            **({"download": known.download} if known.download else {}),
        }
    )
    for note in known.notes:
        click.echo(f"  note: {note}")
    click.echo(f"Next: lef extract --data {known.name} --model minilm")
