"""`lef report`: everything that a cache was asked, as one page that opens offline."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli.candidates import corpora
from cli.output import print_json, say, size, tell
from cli.params import cache_option, json_option
from cli.pulling import open_for_study
from lefcache.wording import count

if TYPE_CHECKING:
    from lefcache.report import Written

FORMATS = ("svg", "png")


@click.command("report")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("report.html"),
    show_default=True,
    help="The page to write; one that is there is replaced.",
)
@click.option("--data", shell_complete=corpora, help="Only this corpus.")
@click.option("--models", metavar="NAMES", help="Only these models, as in minilm,mistral.")
@click.option("--title", default="", help="Heading of the page  [default: models and corpora].")
@click.option(
    "--figures",
    type=click.Path(path_type=Path, file_okay=False),
    help="Write each chart as a file into this folder too.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(FORMATS),
    default="svg",
    show_default=True,
    help="Of the files that --figures writes.",
)
@cache_option
@json_option
def command(
    output: Path,
    data: str | None,
    models: str | None,
    title: str,
    figures: Path | None,
    form: str,
    cache: str,
    as_json: bool,
) -> None:
    """Write one HTML file of all finished studies: charts, tables, and the command of each number.

    It opens offline, in light and dark, and prints. Nothing is trained: a question that was not
    asked yet is shown with the command that asks it.

    \b
    Examples:
      lef report -o report.html
      lef report --data mr --models minilm,mistral
      lef report --figures figures/ --format png
    """
    from lefcache.report import report

    opened = open_for_study(cache)
    made = report(
        opened,
        output,
        data=data,
        models=[name for name in (models or "").replace(" ", "").split(",") if name],
        figures=figures,
        format=form,
        title=title,
    )
    for note in made.notes:
        say(f"  note: {note}")
    if as_json:
        print_json(made.to_json())
    else:
        _show(made, figures)


def _show(made: "Written", figures: Path | None) -> None:
    told = f"{count(len(made.charts), 'chart')} of {count(made.studies, 'study', 'studies')}"
    tell(f"Wrote {made.path}: {told}, {size(made.bytes)}. Open it in any browser.")
    if figures:
        tell(f"Wrote {count(len(made.figures), 'figure')} into {figures}.")
    for name, command in made.missing.items():
        tell(f"  nothing on {name} yet; this makes it: {command}")
