"""`lef predict`: labels for raw text, from a saved head."""

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli.output import percent, print_csv, print_json, print_table, say, tell
from cli.params import device_option, form_options
from cli.visible import visible
from lefcache.columns import Reading, text_of
from lefcache.files import lies_there
from lefcache.saved import read_card
from lefcache.travel import head_folder
from lefcache.wording import count

if TYPE_CHECKING:
    from lefcache.predict import Prediction

PORTION = 256  # lines of a stream that are answered together, if so many have come


@click.command("predict")
@click.argument("head", type=click.Path())
@click.argument("texts", nargs=-1, metavar="[TEXT]... | -")
@click.option(
    "--file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Texts from a jsonl, csv, tsv or parquet file, or the lines of a txt.",
)
@click.option(
    "--text-column",
    default="",
    help="The column of --file with the texts, if not the one the head was trained on, text or "
    "sentence.",
)
@click.option(
    "--template",
    default="",
    help="A text made of several columns of --file, if not as the head's: '{title}: {body}'.",
)
@click.option(
    "--model",
    "models",
    multiple=True,
    metavar="NAME=FOLDER",
    help="Where a model of the head is now, if not where it was; may be repeated.",
)
@click.option(
    "--device-map",
    type=click.Choice(["none", "auto"]),
    default="none",
    show_default=True,
    help="auto: spread a model over all GPUs, then the memory, then the disk.",
)
@click.option("--trust-remote-code", is_flag=True, help="Run code that comes with a model.")
@click.option("--jsonl", is_flag=True, help="One JSON object a line, as the answers come.")
@device_option
@form_options
def command(head: str, texts: tuple[str, ...], form: str, **options: Any) -> None:
    """Label texts with a head that `lef fuse --save` wrote; HEAD is its folder, or hub:OWNER/NAME.

    Each model runs only as deep as the head reads it. With `-` the texts are lines of
    standard input, answered as they come. On a terminal a few texts are a table, everything else
    is label, percent and text between tabs. --csv keeps the other columns of a --file, after a
    column for each class; one whose name is taken becomes "input NAME".

    \b
    Examples:
      lef predict head/ "a text" "another one"
      lef predict head/ --file reviews.csv --csv > labelled.csv
      tail -f log.txt | lef predict head/ - --jsonl
      lef predict hub:owner/name@v1 "a text"
    """
    _check_usage(texts, form, options)
    models = dict(_named(each) for each in options["models"])
    folder = head_folder(head)
    read_card(folder)  # before seconds of torch
    from lefcache.predict import Predictor
    from lefcache.train import load_head

    loaded = load_head(folder)
    assert loaded.card is not None  # what is loaded has one
    portions, beside = _given(texts, options, loaded.card.reading)
    predictor = Predictor(
        loaded,
        models=models,
        device=options["device"],
        device_map=options["device_map"],
        trust_remote_code=options["trust_remote_code"],
    )
    answers = _noted(answer for some in portions for answer in predictor.stream(some))
    if options["jsonl"]:
        for answer in answers:
            print_json(answer.to_json())
    elif form == "json":
        print_json([answer.to_json() for answer in answers])
    elif form == "csv":
        _print_csv(answers, predictor.classes, beside)
    elif texts and texts != ("-",) and sys.stdout.isatty():
        _report(list(answers))
    else:
        _print_lines(answers)


def _noted(answers: Iterable["Prediction"]) -> Iterator["Prediction"]:
    """The answers, and after the last one a note on the texts that were not read whole."""
    number = cut = empty = 0
    for answer in answers:
        number, cut = number + 1, cut + answer.cut
        empty += not answer.text.strip()
        yield answer
    if not number:
        say("  note: no text was given")
    odd = [f"{cut:,} cut, as longer than the head's --max-length"] if cut else []
    odd += [f"{empty:,} empty"] if empty else []
    if odd:
        say(f"  note: of {count(number, 'text')}, {' and '.join(odd)}")


def _print_csv(
    answers: Iterable["Prediction"], classes: Sequence[str], beside: Mapping[str, Sequence[Any]]
) -> None:
    """A row for each answer, with what stood beside its text."""
    columns = ["text", "label", *(f"probability of {label}" for label in classes)]
    others: dict[str, Sequence[Any]] = {}
    for given, cells in beside.items():
        name = given
        while name in columns:
            name = f"input {name}"
        columns.append(name)
        others[name] = cells
    rows = (
        [each.text, each.label, *each.probabilities.values(), *(x[place] for x in others.values())]
        for place, each in enumerate(answers)
    )
    print_csv(columns, (dict(zip(columns, row, strict=True)) for row in rows))


def _check_usage(texts: tuple[str, ...], form: str, options: dict[str, Any]) -> None:
    """Refuse flags and texts of which one would be ignored."""
    if texts and options["file"]:
        raise click.UsageError("texts and --file exclude each other: give one of them")
    if not (texts or options["file"]):
        raise click.UsageError("give texts, or --file FILE, or - for standard input")
    if "-" in texts and len(texts) > 1:
        raise click.UsageError("- stands for standard input, alone; a text - may be in a --file")
    if texts == ("-",) and sys.stdin is None:
        raise click.UsageError("- stands for standard input, which is closed")
    for flag in ("text_column", "template"):
        if options[flag] and not options["file"]:
            raise click.UsageError(f"--{flag.replace('_', '-')} is about the columns of a --file")
    if options["device"] != "auto" and options["device_map"] != "none":
        raise click.UsageError("--device and --device-map exclude each other")
    if options["jsonl"] and form != "table":
        raise click.UsageError(f"--{form} and --jsonl exclude each other")


def _given(
    texts: tuple[str, ...], options: dict[str, Any], usual: Reading
) -> tuple[Iterable[list[str]], dict[str, Sequence[Any]]]:
    """The texts, all at once or as they come, and the columns that stand beside them in a file.

    They are read as those were that the head has learnt from.
    """
    from lefcache.texts import LINES, as_they_come, read_texts

    file = options["file"]
    if usual.template and (file is None or file.suffix.lower() in LINES):
        say(f"  note: the head was trained on texts made as {usual.template!r}: give such texts")
    if file:
        given = Reading(text_column=options["text_column"], template=options["template"])
        found, beside = read_texts(file, given, usual)
        return [found], beside
    if texts == ("-",):
        return as_they_come(sys.stdin.buffer, PORTION), {}
    for text in texts:
        if lies_there(Path(text)):
            say(
                f"  note: {text} is labelled as a text; for what the file holds, give --file {text}"
            )
    return [[text_of(text, "the command line", number) for number, text in enumerate(texts)]], {}


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
        tell(visible(answer.label), share, visible(answer.text))
