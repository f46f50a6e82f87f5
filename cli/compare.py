"""`lef compare RESULT RESULT`: is one finished study better than another?"""

from typing import TYPE_CHECKING, Any

import click

from cli.candidates import result_ids
from cli.output import deliver, percent, print_table, say, tell
from cli.params import cache_option, form_options
from cli.pulling import open_for_study
from cli.tables import SHORT
from lefcache.wording import count

if TYPE_CHECKING:
    from lefcache import Cache
    from lefcache.results import Result
    from lefcache.study.compared import Comparison

CSV = (
    "first",
    "second",
    "n_test",
    "difference",
    "ci95_low",
    "ci95_high",
    "p_value",
    "method",
    "distinguishable",
)


@click.command("compare")
@click.argument("wanted", nargs=-1, metavar="RESULT RESULT", shell_complete=result_ids)
@cache_option
@form_options
def command(wanted: tuple[str, ...], cache: str, form: str) -> None:
    """Compare two finished studies on the same test texts: exact McNemar and a paired bootstrap.

    RESULT is an id of `lef results`, the beginning of one, or a path to its JSON file; of a sweep
    its best layer, or ID@FEATURE. Without any, the results are listed. Of one seed each, p is
    exact McNemar's; of several, the bootstrap's, which draws seeds and texts again.

    \b
    Examples:
      lef compare
      lef compare 3fa2 9c01
      lef compare 3fa2 3fa2@minilm:last
    """
    opened = open_for_study(cache)
    if not wanted:
        _list(opened, cache, form)
        return
    if len(wanted) != 2:
        raise click.UsageError("give two results: `lef results` lists them with their ids")
    from lefcache.results import look_up
    from lefcache.study.compare import compare

    pairs = [each.partition("@") for each in wanted]
    first, second = (look_up(opened.results, name) for name, _, _ in pairs)
    found = compare(first, second, (pairs[0][2], pairs[1][2]))
    stale = _stale(opened, first, second)
    for line in [*found.notes(), *stale]:
        say(f"  note: {line}")
    document = found.to_json()
    document["notes"] += stale
    deliver(form, document, CSV, [_cells(found)], lambda: _show(found))


def _list(opened: "Cache", cache: str, form: str) -> None:
    from cli.results import CSV as COLUMNS
    from cli.results import cells, show
    from lefcache.finished import finished

    found = finished(opened)
    document = [each.to_json() for each in found]
    deliver(form, document, COLUMNS, map(cells, found), lambda: show(found, cache))


def _stale(opened: "Cache", *compared: "Result") -> list[str]:
    """A note for each result whose texts or labels are no longer those of the cache."""
    from lefcache.finished import Staleness, describe

    watch = Staleness(opened)
    return [
        f"{each.id} ({describe(each)}) is stale: the {changed} changed since; run it again"
        for each in {each.path: each for each in compared}.values()
        if each.path.parent.parent == opened.results and (changed := watch.of(each))
    ]


def _show(found: "Comparison") -> None:
    rows = [
        [side.id[:SHORT], side.what, str(len(side.seeds)), percent(side.accuracy)]
        for side in (found.first, found.second)
    ]
    title = f"test accuracy (n = {found.n_test:,})"
    print_table(title, ["id", "", ">seeds", ">%"], rows)
    if len(found.pairs) > 1 and found.paired:
        lines = [
            [str(p.first_seed), str(p.first_only), str(p.second_only), f"{p.p_value:.2g}"]
            for p in found.pairs
        ]
        columns = [">seed", ">only the first right", ">only the second right", ">p"]
        print_table("exact McNemar, seed by seed", columns, lines)
    else:
        (pair, *_) = found.pairs
        tell(
            f"Seed {pair.first_seed} and seed {pair.second_seed}: only the first was right about "
            f"{count(pair.first_only, 'text')}, only the second about {pair.second_only:,}."
        )
    tell(f"{found.sentence.removesuffix('.')} ({found.method}).")


def _cells(found: "Comparison") -> dict[str, Any]:
    low, high = found.ci95
    return {
        "first": found.first.id,
        "second": found.second.id,
        "n_test": found.n_test,
        "difference": found.difference,
        "ci95_low": low,
        "ci95_high": high,
        "p_value": found.p_value,
        "method": found.method,
        "distinguishable": found.distinguishable,
    }
