"""`lef sweep`: every layer on its own, and which one is best."""

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli.output import bar, cache_words, duration, percent, print_json, print_table, say
from cli.params import (
    cache_option,
    data_option,
    device_option,
    given,
    json_option,
    settings_options,
)
from lefcache.recipe import Recipe

if TYPE_CHECKING:
    from lefcache import Cache, Feature
    from lefcache.study import Row, Sweep


@click.command("sweep", short_help="Judge every layer; choose one without the test.")
@click.option(
    "--models",
    required=True,
    help="Models and layers, for example mistral (all its layers), mistral:16..32 or e5:all@first.",
)
@data_option
@click.option(
    "--probe",
    type=click.Choice(["ridge", "mlp"]),
    default="ridge",
    show_default=True,
    help="ridge: closed form, seconds; mlp: the method's own head.",
)
@click.option(
    "--seeds", type=click.IntRange(1), default=1, show_default=True, help="Heads a layer."
)
@click.option("--seed", type=int, default=0, show_default=True, help="The first seed.")
@click.option("--show-test", is_flag=True, help="Fill the test column of every row.")
@settings_options(Recipe)
@cache_option
@device_option
@json_option
def command(models: str, data: str | None, as_json: bool, **options: Any) -> None:
    """Train one small classifier per layer from the cache, and choose the best layer.

    The choice is made on validation (exact leave-one-out on train where a corpus has none), and
    only the chosen layer is shown the test.

    \b
    Examples:
      lef sweep --models minilm
      lef sweep --models llama2,mistral --data sst2 --probe mlp --seeds 5
    """
    import lefcache
    from lefcache.study import sweep

    settings = given(Recipe, options)
    if settings and options["probe"] == "ridge":
        flags = ", ".join(f"--{name}" for name in settings)
        raise click.UsageError(f"{flags}: for --probe mlp; a ridge has no such settings")
    cache = lefcache.open(options["cache"])
    tables = cache.tables(models, data)
    for line in cache.unextracted(models, data):
        say(f"  note: {line}")
    found = sweep(
        tables,
        options["probe"],
        Recipe(**settings),
        seeds=options["seeds"],
        first_seed=options["seed"],
        show_test=options["show_test"],
        device=options["device"],
        results=Path(options["cache"]) / "results",
        on_row=_show_row if options["probe"] == "mlp" else None,
    )
    if as_json:
        print_json(found.to_json())
    else:
        _report(found, options["cache"], _finals(cache, tables["train"].features, data))


def _show_row(row: "Row") -> None:
    say(f"  {row.feature}: {percent(row.val_accuracy)} in {duration(row.seconds)}")


def _report(found: "Sweep", cache: str, finals: Collection[str]) -> None:
    lowest = min(row.val_accuracy for row in found.rows)
    span = max(row.val_accuracy for row in found.rows) - lowest
    floor = max(0.0, lowest - span / 2) if span else 0.0  # bars from zero would all look alike
    full = max(row.val_accuracy for row in found.rows) - floor or 1.0
    rows = []
    for row in found.rows:
        mark = "best" if row.feature == found.best else "last" if row.feature in finals else ""
        tested = ""
        if row.test_accuracy is not None and row.test_ci95 is not None:
            low, high = row.test_ci95
            tested = f"{percent(row.test_accuracy)} [{percent(low)}, {percent(high)}]"
        share = (row.val_accuracy - floor) / full
        rows.append([row.feature, percent(row.val_accuracy), bar(share), mark, tested])
    columns = [
        "feature",
        ">accuracy %",
        f"bars from {percent(floor)}",
        "",
        f"test % (n = {found.n_test:,})",
    ]
    if not found.n_test:
        columns, rows = columns[:-1], [row[:-1] for row in rows]
    judged = f"{found.n_val:,} rows" if found.n_val else f"all {found.n_train:,} rows in turn"
    title = f"{found.corpus}, {found.probe} probe: accuracy by {found.selected_by}, {judged}"
    print_table(title, columns, rows)
    click.echo(_verdict(found, finals))
    click.echo(_next(found, cache))


def _verdict(found: "Sweep", finals: Collection[str]) -> str:
    score = {row.feature: row.val_accuracy for row in found.rows}
    lines = []
    for last in found.last:
        gain = 100 * (score[found.best] - score[last])
        what = "the last layer" if last in finals else "the deepest layer of this sweep"
        if last != found.best:
            lines.append(f"{found.best} is {gain:.1f} points above {what}, {last}.")
        elif len(found.rows) > 1:
            lines.append(f"{found.best}, {what}, is the best here.")
    heads = len(found.rows) * found.seeds
    took = "taken from the results folder" if found.cached else f"in {duration(found.seconds)}"
    return "\n".join([*lines, f"{heads} heads, 0 forward passes, {took}."])


def _next(found: "Sweep", cache: str) -> str:
    others = sorted(
        (row for row in found.rows if row.feature != found.best),
        key=lambda row: (row.feature not in found.last, -row.val_accuracy),
    )
    if not others:
        return f"Next: lef sweep{cache_words(cache)} --data {found.corpus} --models MODEL"
    pair = f"{found.best},{others[0].feature}"
    flags = f"--data {found.corpus} --models {pair} --op hadamard-res"
    return f"Next: lef fuse{cache_words(cache)} {flags}"


def _finals(cache: "Cache", features: Collection["Feature"], data: str | None) -> set[str]:
    """The features that are the last layer of their model, under either name."""
    found = set()
    for feature in features:
        alias = cache.pages(feature.model, "train", data).aliases.get("last", "last")
        if feature.layer in ("last", alias):
            found.add(str(feature))
    return found
