"""`lef results`: the finished studies of a cache, with the ids that `lef compare` takes."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from cli.candidates import corpora
from cli.output import cache_words, deliver, print_table, say, tell
from cli.params import cache_option, form_options
from cli.pulling import open_for_study
from cli.tables import SHORT, on_test

if TYPE_CHECKING:
    from lefcache.finished import Finished

CSV = (
    "id",
    "corpus",
    "kind",
    "what",
    "seeds",
    "protocol",
    "n_train",
    "val_accuracy",
    "test_accuracy",
    "test_ci95_low",
    "test_ci95_high",
    "n_test",
    "hidden",
    "stale",
    "path",
)


@click.command("results")
@click.option("--data", shell_complete=corpora, help="Only those of this corpus.")
@cache_option
@form_options
def command(data: str | None, cache: str, form: str) -> None:
    """List every finished study in the cache, the latest of a corpus last.

    Those of sweep, select, fuse, pairs, transfer and scale, and the baselines beside them.

    A result is stale when texts or labels were changed since: run its command again.

    \b
    Examples:
      lef results
      lef results --data mr --csv > results.csv
    """
    from lefcache.finished import finished

    opened = open_for_study(cache)
    found = finished(opened, opened[opened.corpus(data)].corpus if data else None)
    deliver(
        form, [each.to_json() for each in found], CSV, map(cells, found), lambda: show(found, cache)
    )


def show(found: Sequence["Finished"], cache: str) -> None:
    """The list as a table."""
    if not found:
        say(f"No results yet. Start with: lef sweep{cache_words(cache)} --models MODEL")
        return
    columns = ["id", "corpus", "kind", "~what", ">seeds", ">n train", ">validation %", "test %", ""]
    rows = [
        [
            each.id[:SHORT],
            each.corpus,
            each.kind,
            each.what,
            str(each.seeds),
            f"{each.n_train:,}",
            "" if each.val_accuracy is None else f"{100 * each.val_accuracy:.1f}",
            _tested(each),
            _marks(each),
        ]
        for each in found
    ]
    print_table(f"finished studies in {cache}", columns, rows)
    tell(f"Hold two against each other: lef compare{cache_words(cache)} ID ID")


def _tested(each: "Finished") -> str:
    if each.hidden:  # another operator was chosen
        return "not shown"
    return on_test(each.test_accuracy, each.test_ci95, each.n_test)


def _marks(each: "Finished") -> str:
    """What to know of a result before its figures are believed."""
    marks = ["protocol paper: chosen on the test"] if each.protocol == "paper" else []
    marks += [f"stale: the {each.stale} changed since"] if each.stale else []
    return "; ".join(marks)


def cells(each: "Finished") -> dict[str, object]:
    """A row of `--csv`."""
    low, high = each.test_ci95 or (None, None)
    return each.to_json() | {"test_ci95_low": low, "test_ci95_high": high}
