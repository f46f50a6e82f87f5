"""`lef data`: the data sets that have a short name, and which of them are on this machine."""

from typing import TYPE_CHECKING

import click

from cli.candidates import data_sets
from cli.output import deliver, facts, print_table, tell
from cli.params import form_options

if TYPE_CHECKING:
    from lefcache.catalogue import Known


CSV = ("name", "id", "config", "splits", "classes", "text", "label", "here", "notes")


@click.command("data")
@click.argument("name", required=False, shell_complete=data_sets)
@form_options
def command(name: str | None, form: str) -> None:
    """List the data sets that `--data` knows by a short name, or show one of them.

    "On this machine" means readable without a network. The others are downloaded when they
    are first extracted; that needs the extra `hub`.

    \b
    Examples:
      lef data
      lef data sst2
      lef data --json
    """
    from lefcache.catalogue import catalogue, look_up

    found = [look_up(name)] if name else catalogue()
    documents = [each.to_json() for each in found]
    rows = [
        {
            **each,
            "splits": " ".join(_split(*pair) for pair in each["splits"].items()),
            "notes": " | ".join(each["notes"]),
        }
        for each in documents
    ]
    document = documents[0] if name else documents
    deliver(form, document, CSV, rows, lambda: _show(found[0]) if name else _list(found))


def _list(entries: list["Known"]) -> None:
    columns = ["name", "hub id", "configuration", "splits", ">classes", "on this machine"]
    print_table("short names for --data", columns, [_row(each) for each in entries])
    tell(
        "Any other: lef extract --data ORG/NAME, with --config, --text-column, --label-column or "
        "--template where it needs them."
    )
    tell(f"What to know of one: lef data {entries[0].name}")


def _row(known: "Known") -> list[str]:
    return [
        known.name,
        known.id or "(bundled)",
        known.config,
        ", ".join(_split(ours, hubs) for ours, hubs in known.splits.items()),
        str(known.classes),
        "yes" if known.here else "",
    ]


def _split(ours: str, hubs: str) -> str:
    return ours if ours == hubs else f"{ours} (its {hubs})"


def _show(known: "Known") -> None:
    tell(known.name)
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
        tell(f"  note: {note}")
    tell(f"Next: lef extract --data {known.name} --model minilm")
