"""`lef pairs`: which two features complement each other, before any head is trained on them."""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import click

from cli.engine import check_engine, engine_of, engine_options
from cli.output import (
    LOG_SECONDS,
    cache_words,
    deliver,
    duration,
    percent,
    print_table,
    say,
    tell,
)
from cli.params import cache_option, data_option, form_options, models_option
from cli.pulling import open_for_study, tables_for_study
from cli.tables import SHORT, bounds, on_test, points
from lefcache.wording import command_line, count

if TYPE_CHECKING:
    from lefcache.study import Correlation, PairRow, Pairs
    from lefcache.train.stats import Interval

# By what pairs can be ranked, and the field that says it.
ORDERS = {"gain": "gain", "accuracy": "predicted"}
FLAT = (
    *("first", "second", "gain", "gain_ci95_low", "gain_ci95_high"),
    *("predicted", "predicted_ci95_low", "predicted_ci95_high", "accuracy", "residual_gain"),
    *("oracle", "disagreement", "double_fault", "q", "cka"),
)
MEASURED = (
    *("id", "op", "seeds", "n_train", "n_test", "accuracy", "ci95_low", "ci95_high"),
    *("better", "better_accuracy", "gain", "gain_ci95_low", "gain_ci95_high"),
)
CSV = (*FLAT, *(f"measured_{name}" for name in MEASURED))


@click.command("pairs")
@models_option("Two features or more, for example llama2:24,nvembed:last,e5:8..12, or minilm:all.")
@data_option
@click.option(
    "--rows",
    type=click.IntRange(1),
    default=10_000,
    show_default=True,
    help="Learn from at most so many rows of train: a fixed choice that keeps the shares of the "
    "classes, that of --n-train.",
)
@click.option(
    "--by",
    type=click.Choice([*ORDERS]),
    default="gain",
    show_default=True,
    help="What ranks the pairs: what ridge gains over the better feature alone, or the predicted "
    "accuracy.",
)
@click.option("--top", type=click.IntRange(1), help="Only so many pairs, the first ones.")
@engine_options
@cache_option
@form_options
def command(models: str, data: str | None, form: str, **options: Any) -> None:
    """Predict what fusing each pair of features would give, without training a head.

    Ridge is fitted to each feature and to each pair, and judged by exact leave-one-out over train,
    or by the corpus's own validation split; the test is never read. The predicted accuracy is that
    of ridge on both. Its interval covers which rows are judged and which will be tested, not a test
    that is harder than train. Features wider than 512 are projected to 512 principal components
    first. For pairs that have been fused, what was measured stands beside it,
    with the correlation of every score with the measured gain.

    \b
    Examples:
      lef pairs --models minilm:all
      lef pairs --models llama2:24,nvembed:last,e5:8..12 --by accuracy --top 5
    """
    from lefcache.study import pairs

    check_engine(options)
    cache = open_for_study(options["cache"], later=options["engine"] == "ray")
    tables = tables_for_study(cache, models, data)
    found = pairs(
        tables,
        rows=options["rows"],
        results=cache.results,
        on_pair=_progress(),
        engine=engine_of(options, cache),
    )
    whole = found
    order = ORDERS[options["by"]]
    ranked = sorted(found.rows, key=lambda row: getattr(row, order), reverse=True)
    found = replace(whole, rows=tuple(ranked[: options["top"]]))
    for line in found.notes():
        say(f"  note: {line}")
    document = found.to_json() | {"best": [whole.best.first, whole.best.second]}
    rows = map(_record, found.rows)
    deliver(form, document, CSV, rows, lambda: _report(found, whole, options["cache"]))


def _progress() -> Callable[[int, int], None]:
    """A line now and then, for those who wait for many pairs."""
    began = told = time.monotonic()
    known: int | None = None  # before the first that was computed

    def progress(done: int, of: int) -> None:
        nonlocal told, known
        now, known = time.monotonic(), done - 1 if known is None else known
        if now - told > LOG_SECONDS:
            told = now
            left = (now - began) / (done - known) * (of - done)
            say(f"  {done:,} of {count(of, 'pair')}, {duration(left)} left")

    return progress


def _record(row: "PairRow") -> dict[str, Any]:
    """A row of `--csv`; nothing is measured of a pair that has not been fused."""
    measured = _flat(asdict(row.measured)) if row.measured else dict.fromkeys(MEASURED)
    return _flat(asdict(row)) | {f"measured_{name}": measured[name] for name in MEASURED}


def _flat(values: dict[str, Any]) -> dict[str, Any]:
    """With the bounds of an interval as two fields."""
    flat = dict(values)
    for name in [each for each in values if each.endswith("ci95")]:
        flat[f"{name}_low"], flat[f"{name}_high"] = values[name] or (None, None)
    return flat


def _report(found: "Pairs", whole: "Pairs", cache: str) -> None:
    """The pairs that are to be shown, and what is to say of all."""
    fused = any(row.measured for row in found.rows)
    columns = ["pair", ">gain", "95 %", ">predicted %", ">error", ">oracle", ">disagree"]
    columns += [">both wrong", ">Q", ">CKA"]
    columns += ["measured, test %", ">measured gain", "by"] if fused else []
    rows = [[*_cells(row), *(_measured(row) if fused else [])] for row in found.rows]
    judged = found.n_val or found.n_train
    title = f"{found.corpus}: what ridge makes of each pair {found.chosen} (n = {judged:,}), points"
    print_table(title, columns, rows)
    if any(each.pearson is not None for each in found.correlations):
        _report_correlations(found.correlations)
    for line in _verdict(whole):
        tell(line)
    next_one = whole.untried or whole.best
    models = f"{next_one.first},{next_one.second}"
    words = command_line(["--data", found.corpus, "--models", models])
    tell(f"Next: lef fuse{cache_words(cache)} {words} --op hadamard-res")


def _cells(row: "PairRow") -> list[str]:
    return [
        f"{row.first} + {row.second}",
        points(row.gain),
        bounds(row.gain_ci95),
        on_test(row.predicted, row.predicted_ci95),
        f"{100 * row.residual_gain:+.1f} %",
        points(row.oracle),
        percent(row.disagreement),
        percent(row.double_fault),
        "" if row.q is None else f"{row.q:.2f}",
        f"{row.cka:.2f}",
    ]


def _measured(row: "PairRow") -> list[str]:
    """What fusing the pair came to, where that is known."""
    known = row.measured
    if known is None:
        return ["", "", ""]
    gain = ""
    if known.gain is not None and known.gain_ci95 is not None:
        gain = f"{points(known.gain)} {bounds(known.gain_ci95)}"
    return [on_test(known.accuracy, known.ci95, known.n_test), gain, known.op]


def _report_correlations(found: "Sequence[Correlation]") -> None:
    """How each score goes with the measured gain."""
    rows = [
        [
            _called(each.score),
            str(each.n),
            _coefficient(each.pearson, each.pearson_ci95),
            _coefficient(each.spearman, each.spearman_ci95),
        ]
        for each in found
    ]
    title = "with the gain measured on the test, over the pairs that have been fused"
    print_table(title, ["score", ">pairs", "Pearson", "Spearman"], rows)


def _called(score: str) -> str:
    from lefcache.study.paired import SCORES

    return SCORES[score]


def _coefficient(value: float | None, ci95: "Interval | None") -> str:
    if value is None:
        return "all the same"
    if ci95 is None:
        return f"{value:+.2f}"
    low, high = ci95
    return f"{value:+.2f} [{low:+.2f}, {high:+.2f}]"


def _verdict(found: "Pairs") -> list[str]:
    best, many = found.best, len(found.rows)
    low, high = best.predicted_ci95
    alone, accuracy = found.best_alone
    known = best.measured
    fused = f" It has been fused: result {known.id[:SHORT]}." if known else ""
    took = "taken from the results folder" if found.cached else f"in {duration(found.seconds)}"
    return [
        f"{best.first} + {best.second} has the highest predicted accuracy, "
        f"{percent(best.predicted)} % [{percent(low)}, {percent(high)}]; {alone} alone, the best "
        f"single feature, has {percent(accuracy)} %.{fused}",
        *_against_measured(found),
        f"{count(many, 'pair')}, 0 heads, 0 forward passes, {took}."
        + (f" Result {found.id[:SHORT]}." if found.id else ""),
    ]


def _against_measured(found: "Pairs") -> list[str]:
    """How predictions did on the pairs that have been fused."""
    fused, inside, off = found.against_measured
    if not fused:
        return []
    return [
        f"Of {count(fused, 'pair')} fused so far, {inside:,} came out inside the interval; the "
        f"predicted accuracy was off by {100 * off:.1f} points on average."
    ]
