"""`lef models`: the models that have a short name, and which of them are on this machine."""

from collections.abc import Sequence
from typing import Any

import click

from cli.candidates import short_names
from cli.output import deliver, facts, print_table
from cli.params import form_options
from lefcache.errors import ModelError
from lefcache.wording import command_line, did_you_mean

CSV = ("name", "source", "prompt", "bundled", "here", "path")


@click.command("models", short_help="List the models that have a short name.")
@click.argument("name", required=False, shell_complete=short_names)
@form_options
def command(name: str | None, form: str) -> None:
    """List the short names that --model knows: hub id, prompt, and whether it is on this machine.

    Any other hub id or folder works as well. Nothing is downloaded, nor is the network asked.

    \b
    Examples:
      lef models
      lef models minilm
      lef models --csv
    """
    from lefcache.extract.models import MODELS

    if name is not None and name not in MODELS:
        near = did_you_mean(name, MODELS)
        raise ModelError(f"no short name '{name}'{near}: there are {', '.join(MODELS)}")
    found = [_describe(each) for each in ([name] if name else MODELS)]
    if name:
        deliver(form, found[0], CSV, found, lambda: _show(found[0]))
    else:
        deliver(form, found, CSV, found, lambda: _list(found))


def _describe(name: str) -> dict[str, Any]:
    from lefcache.extract.models import MODELS, on_this_machine

    folder = on_this_machine(name)
    return {
        "name": name,
        "source": MODELS[name].source,
        "prompt": MODELS[name].prompt,
        "bundled": MODELS[name].bundled,
        "here": folder is not None,
        "path": str(folder) if folder else None,
    }


def _show(model: dict[str, Any]) -> None:
    click.echo(model["name"])
    facts(
        {
            "hub id": _hub_id(model),
            "prompt": repr(model["prompt"]) if model["prompt"] else None,
            "on this machine": model["path"] or "no; lef extract downloads it first",
        }
    )
    click.echo(f"Next: {command_line(['lef', 'extract', '--model', model['name']])}")


def _hub_id(model: dict[str, Any]) -> str:
    return "(bundled)" if model["bundled"] else str(model["source"])


def _list(models: Sequence[dict[str, Any]]) -> None:
    rows = [
        [
            model["name"],
            _hub_id(model),
            repr(model["prompt"]) if model["prompt"] else "",
            "yes" if model["here"] else "",
        ]
        for model in models
    ]
    print_table("short names for --model", ["name", "hub id", "prompt", "on this machine"], rows)
    first = next((model["name"] for model in models if model["here"]), models[0]["name"])
    click.echo(f"Next: lef extract --model {first}")
