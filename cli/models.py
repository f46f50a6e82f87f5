"""`lef models`: the models that have a short name, and which of them are on this machine."""

from collections.abc import Sequence
from typing import Any

import click

from cli.candidates import short_names
from cli.output import deliver, facts, print_table, tell
from cli.params import form_options
from lefcache.errors import ModelError
from lefcache.wording import command_line, did_you_mean

CSV = (
    "name",
    "source",
    "depth",
    "width",
    "licence",
    "gated",
    "revision",
    "prompt",
    "instruction",
    "pool",
    "trained_on",
    "bundled",
    "here",
    "path",
)


@click.command("models")
@click.argument("name", required=False, shell_complete=short_names)
@form_options
def command(name: str | None, form: str) -> None:
    """List the short names that --model knows, or show one of them.

    Any other hub id or folder works as well. Nothing is downloaded, nor is the network asked.

    \b
    Examples:
      lef models
      lef models mistral
      lef models --csv
    """
    from lefcache.registry import MODELS

    if name is not None and name not in MODELS:
        near = did_you_mean(name, MODELS)
        raise ModelError(f"no short name '{name}'{near}: there are {', '.join(MODELS)}")
    found = [_describe(each) for each in ([name] if name else MODELS)]
    rows = [{**each, "trained_on": " ".join(each["trained_on"])} for each in found]
    if name:
        deliver(form, found[0], CSV, rows, lambda: _show(found[0]))
    else:
        deliver(form, found, CSV, rows, lambda: _list(found))


def _describe(name: str) -> dict[str, Any]:
    from lefcache.extract.models import on_this_machine
    from lefcache.registry import MODELS

    entry, folder = MODELS[name], on_this_machine(name)
    return {
        "name": name,
        "source": entry.source,
        "depth": entry.depth or None,
        "width": entry.width or None,
        "licence": entry.licence or None,
        "gated": entry.gated,
        "revision": entry.revision or None,
        "prompt": entry.prompt,
        "instruction": entry.instruction,
        "pool": entry.pool or None,
        "trained_on": list(entry.trained_on),
        "bundled": entry.bundled,
        "here": folder is not None,
        "path": str(folder) if folder else None,
    }


def _show(model: dict[str, Any]) -> None:
    tell(model["name"])
    facts(
        {
            "hub id": _hub_id(model),
            "revision": model["revision"] or "the newest",
            "blocks": model["depth"],
            "width": model["width"],
            "licence": model["licence"],
            **({"gated": _gate(model)} if model["gated"] else {}),
            "prompt": repr(model["prompt"]) if model["prompt"] else None,
            "instruction": repr(model["instruction"]) if model["instruction"] else None,
            "authors' pooling": model["pool"],
            "trained on": ", ".join(model["trained_on"]) or "none of the common test sets is known",
            "on this machine": model["path"] or "no; lef extract downloads it first",
        }
    )
    tell(f"Next: {command_line(['lef', 'extract', '--model', model['name']])}")


def _hub_id(model: dict[str, Any]) -> str:
    return "(bundled)" if model["bundled"] else str(model["source"])


def _gate(model: dict[str, Any]) -> str:
    return f"accept the licence at https://huggingface.co/{model['source']}, then `hf auth login`"


def _list(models: Sequence[dict[str, Any]]) -> None:
    rows = [
        [
            model["name"],
            _hub_id(model),
            str(model["depth"] or ""),
            str(model["width"] or ""),
            (model["licence"] or "") + (" (gated)" if model["gated"] else ""),
            "yes" if model["here"] else "",
        ]
        for model in models
    ]
    columns = ["name", "hub id", ">blocks", ">width", "licence", "on this machine"]
    print_table("short names for --model", columns, rows)
    tell("Any other: lef extract --model ORG/NAME, or a folder.")
    tell(f"What to know of one: {command_line(['lef', 'models', models[0]['name']])}")
