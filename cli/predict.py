"""`lef predict`: labels for raw text, from a saved head."""

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli.output import percent, print_csv, print_json, print_table, visible
from cli.params import device_option, form_options

if TYPE_CHECKING:
    from lefcache.predict import Prediction

PORTION = 256  # lines of a stream that are answered together, if so many have come


@click.command("predict", short_help="Label raw texts with a saved head.")
@click.argument("head", type=click.Path(path_type=Path))
@click.argument("texts", nargs=-1, metavar="[TEXT]... | -")
@click.option(
    "--file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Texts from a jsonl, csv, tsv or parquet file, or the lines of a txt.",
)
@click.option(
    "--text-column",
    default="",
    help="The column of --file with the texts, if not text or sentence.",
)
@click.option(
    "--template", default="", help="A text made of several columns of --file: '{title}: {body}'."
)
@click.option(
    "--model",
    "models",
    multiple=True,
    metavar="NAME=FOLDER",
    help="Where a model of the head is now, if not where it was; may be repeated.",
)
@click.option("--trust-remote-code", is_flag=True, help="Run code that comes with a model.")
@click.option("--jsonl", is_flag=True, help="One JSON object a line, as the answers come.")
@device_option
@form_options
def command(head: Path, texts: tuple[str, ...], form: str, **options: Any) -> None:
    """Label texts with a head that `lef fuse --save` wrote; HEAD is its folder.

    Each model is loaded only as deep as the head reads it. With `-` the texts are lines of
    standard input, answered as they come. On a terminal a few texts are a table, everything else
    is label, percent and text between tabs.

    \b
    Examples:
      lef predict head/ "a text" "another one"
      lef predict head/ --file reviews.csv --json > labels.json
      tail -f log.txt | lef predict head/ - --jsonl
    """
    if (bool(texts) + bool(options["file"])) != 1:
        raise click.UsageError("give texts, or --file FILE, or - for standard input")
    if options["jsonl"] and form != "table":
        raise click.UsageError(f"--{form} and --jsonl exclude each other")
    from lefcache.predict import load

    portions = _portions(texts, options)
    predictor = load(
        head,
        models=dict(_named(each) for each in options["models"]),
        device=options["device"],
        trust_remote_code=options["trust_remote_code"],
    )
    answers = (answer for some in portions for answer in predictor.stream(some))
    if options["jsonl"]:
        for answer in answers:
            print_json(answer.to_json())
    elif form == "json":
        print_json([answer.to_json() for answer in answers])
    elif form == "csv":
        rows = ({"text": each.text, "label": each.label} | _shares(each) for each in answers)
        print_csv(["text", "label", *map(_share, predictor.classes)], rows)
    elif texts and texts != ("-",) and sys.stdout.isatty():
        _report(list(answers))
    else:
        _print_lines(answers)


def _share(label: str) -> str:
    return f"probability of {label}"


def _shares(answer: "Prediction") -> dict[str, float]:
    return {_share(label): share for label, share in answer.probabilities.items()}


def _portions(texts: tuple[str, ...], options: dict[str, Any]) -> Iterable[list[str]]:
    """The texts, all at once or as they come."""
    from lefcache.texts import as_they_come, read_texts

    if options["file"]:
        return [read_texts(options["file"], options["text_column"], options["template"])]
    if texts == ("-",):
        return as_they_come(sys.stdin.buffer, PORTION)
    return [list(texts)]


def _named(text: str) -> tuple[str, str]:
    name, equals, folder = text.partition("=")
    if not equals or not name or not folder:
        raise click.UsageError(f"--model {text}: write NAME=FOLDER, NAME as the head has it")
    return name, folder


def _report(answers: list["Prediction"]) -> None:
    rows = [
        [answer.label, percent(answer.probabilities[answer.label]), answer.text]
        for answer in answers
    ]
    print_table("", ["label", ">%", "~text"], rows)


def _print_lines(answers: Iterator["Prediction"]) -> None:
    """Label, probability and text, tab-separated: for other programs, and for long lists."""
    for answer in answers:
        share = percent(answer.probabilities[answer.label])
        click.echo(f"{visible(answer.label)}\t{share}\t{visible(answer.text)}")
