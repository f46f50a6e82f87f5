"""`lef doctor`: examine a model, and what a cache holds of it."""

import sys
from typing import TYPE_CHECKING, Any

import click

from cli.candidates import models as known_models
from cli.output import deliver, print_table, say, tell
from cli.params import (
    cache_option,
    data_option,
    device_option,
    form_options,
    given,
    settings_options,
)
from cli.reading import open_corpus
from lefcache.columns import Reading
from lefcache.spec import Spec

if TYPE_CHECKING:
    from lefcache import Cache, Corpus
    from lefcache.extract import Diagnosis

CSV = ("check", "verdict", "found", "fix")
DAMAGE = 3  # the exit code of a command that found something wrong


@click.command("doctor")
@click.option(
    "--model",
    required=True,
    shell_complete=known_models,
    help="A short name (mistral, minilm, ...), hub id or folder, or NAME= and one of these.",
)
@data_option
@settings_options(Reading)
@settings_options(Spec)
@click.option(
    "--drift/--no-drift",
    "with_drift",
    default=True,
    show_default=True,
    help="Load the model once more, in float32 (or in bfloat16), and compare every layer.",
)
@click.option("--revision", help="Branch, tag or commit of a model on the hub.")
@click.option("--as", "name", help="The model's name in the cache.")
@click.option("--trust-remote-code", is_flag=True, help="Run code that comes with the model.")
@cache_option
@device_option
@form_options
def command(model: str, name: str | None, form: str, **options: Any) -> None:
    """Examine a model on a few texts: weights, tokens, layers, final norm, padding, neighbours.

    With --data, rows of the cache are made again and compared. Exit code 3: something is wrong.

    \b
    Examples:
      lef doctor --model minilm
      lef doctor --model mistral --dtype bfloat16 --no-drift
      lef doctor --model minilm --data demo
    """
    diagnosis = _examine(model, name, options)
    rows = [
        {"check": each.name, "verdict": each.verdict, "found": each.found, "fix": each.fix}
        for each in diagnosis.findings
    ]
    deliver(form, diagnosis.to_json(), CSV, rows, lambda: _show(diagnosis))
    if diagnosis.wrong:
        sys.exit(DAMAGE)


def _examine(model: str, name: str | None, options: dict[str, Any]) -> "Diagnosis":
    from lefcache.extract import DefectError, Diagnosis, examine, load_backbone, resolve_model

    corpus: Corpus | None = None
    cache: Cache | None = None
    settings = given(Spec, options)
    if options["data"]:
        corpus, cache = open_corpus(options)
        known = cache.spec(resolve_model(model, name).name, corpus.name)
        if known is not None and not known.imported:
            # What is left open is what the cache was made with.
            made = {each: getattr(known, each) for each in Spec.settings()}
            settings = made | {each: value for each, value in settings.items() if value != "auto"}
    say(f"loading {model}")
    try:
        backbone = load_backbone(
            model,
            name=name,
            device=options["device"],
            revision=options["revision"],
            trust_remote_code=options["trust_remote_code"],
            checked=False,
            **settings,
        )
    except DefectError as error:
        return Diagnosis(error.model, error.findings)
    say(f"{backbone.name}: {backbone.spec.dtype} on {backbone.provenance['device']}")
    for line in backbone.notes:
        say(f"  note: {line}")
    return examine(
        backbone,
        with_drift=options["with_drift"],
        stored=(cache, corpus) if cache is not None and corpus is not None else None,
        on_check=lambda check: say(f"  {check} ..."),
    )


def _show(diagnosis: "Diagnosis") -> None:
    rows = [
        [each.name, each.verdict, f"{each.found}{f'. Fix: {each.fix}' if each.fix else ''}"]
        for each in diagnosis.findings
    ]
    print_table(diagnosis.model, ["check", "verdict", "~what was found"], rows)
    tell(diagnosis.verdict)
