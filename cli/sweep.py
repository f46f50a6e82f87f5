"""`lef sweep`: every layer on its own, and which one is best."""

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from cli.beaten import fixed, settled
from cli.engine import check_engine, engine_of, engine_options
from cli.output import bar, cache_words, deliver, duration, percent, print_table, say, tell
from cli.params import memory_option, probe_option, probe_settings, study_options
from cli.pulling import open_for_study, tables_for_study
from cli.tables import PER_CLASS, SHORT, on_test, print_baselines, print_per_class
from lefcache.recipe import Recipe
from lefcache.wording import count

if TYPE_CHECKING:
    from lefcache import Cache, Feature
    from lefcache.rows import Table
    from lefcache.study import Baseline, Engine, Row, Sweep

    Point = tuple[Sweep, list[Baseline]]


CSV = (
    "feature",
    "val_accuracy",
    "test_accuracy",
    "test_macro_f1",
    "test_ci95_low",
    "test_ci95_high",
    "seconds",
    "best",
    "protocol",
    "n_train",
)
CLOSE = 0.1  # a feature that is further behind the best one adds little to it


@click.command("sweep")
@study_options(
    "Models and layers, for example mistral (all its layers), mistral:16..32 or e5:all@first.",
    "Heads a layer.",
    probe_option,
    memory_option,
    click.option("--show-test", is_flag=True, help="Fill the test column of every row."),
    engine_options,
)
def command(models: str, data: str | None, form: str, **options: Any) -> None:
    """Train one small classifier per layer from the cache, and choose the best layer.

    The choice is made on validation (exact leave-one-out on train where a corpus has none), and
    only the chosen layer is shown the test.

    \b
    Examples:
      lef sweep --models minilm
      lef sweep --models llama2,mistral --data sst2 --probe mlp --seeds 5
      lef sweep --models mistral --probe mlp --seeds 5 --engine ray --address auto
    """
    from lefcache.study import sizes_of

    settings = probe_settings(options)
    check_engine(options)
    cache = open_for_study(options["cache"], later=options["engine"] == "ray")
    tables = tables_for_study(cache, models, data)
    sizes = sizes_of(tables, options["n_train"]) if options["n_train"] else [None]
    engine = engine_of(options, cache)
    points = [_point(cache, tables, data, settings, options, size, engine) for size in sizes]
    found = points[-1][0]
    finals = _finals(cache, tables["train"].features, data)
    rows = [_record(row, one) for one, _ in points for row in one.rows]
    for line in found.notes():
        say(f"  note: {line}")
    if options["probe"] != "mlp" and (options["seeds"], options["seed"]) != (1, 0):
        say(f"  note: --probe {options['probe']} is the same for every seed: it is fitted once")
    documents = [
        one.to_json() | {"baselines": [each.to_json() for each in beaten]} for one, beaten in points
    ]
    document = documents[-1] | ({"curve": documents} if options["n_train"] else {})
    if options["per_class"] and form == "csv":
        deliver(form, document, PER_CLASS, found.per_class, lambda: None)
    else:
        deliver(form, document, CSV, rows, lambda: _report(points, options, finals))


def _point(
    cache: "Cache",
    tables: "Mapping[str, Table]",
    data: str | None,
    settings: dict[str, Any],
    options: dict[str, Any],
    size: int | None,
    engine: "Engine",
) -> "Point":
    """The sweep of this many rows, and what its choice has to beat."""
    from lefcache.study import fixed_layers, sweep

    same = {
        "probe": options["probe"],
        "recipe": Recipe(**settings),
        "seeds": options["seeds"],
        "first_seed": options["seed"],
        "n_train": size,
        "device": options["device"],
        "engine": engine,
    }
    wanted, told = options["baselines"], options["probe"] == "mlp"
    if told and options["n_train"]:
        say(f"{count(size, 'row') if size else 'all rows'} to train on:")
    names = fixed_layers(cache, tables["train"].features, data) if wanted else {}
    here = {str(each) for each in tables["train"].features}
    found = sweep(
        tables,
        show_test=options["show_test"],
        protocol=options["protocol"],
        fixed=[name for name in names if name in here],
        memory=options["memory"],
        results=cache.results,
        on_row=_show_row if told else None,
        **same,
    )
    if not wanted:
        return found, []
    plain = settled(cache, tables, data, options, size)
    return found, plain + fixed(cache, tables, data, options, found, **same)


def _record(row: "Row", found: "Sweep") -> dict[str, Any]:
    low, high = row.test_ci95 or (None, None)
    return {
        **vars(row),
        "test_ci95_low": low,
        "test_ci95_high": high,
        "best": row.feature == found.best,
        "protocol": found.protocol,
        "n_train": found.n_train,
    }


def _show_row(row: "Row") -> None:
    say(f"  {row.feature}: {percent(row.val_accuracy)} % in {duration(row.seconds)}")


def _report(points: "Sequence[Point]", options: dict[str, Any], finals: Collection[str]) -> None:
    found, beaten = points[-1]
    lowest = min(row.val_accuracy for row in found.rows)
    span = max(row.val_accuracy for row in found.rows) - lowest
    floor = max(0.0, lowest - span / 2) if span else 0.0  # bars from zero would all look alike
    full = max(row.val_accuracy for row in found.rows) - floor or 1.0
    rows = []
    marks = _marks(found, finals)
    for row in found.rows:
        tested = ""
        if row.test_accuracy is not None and row.test_ci95 is not None:
            low, high = row.test_ci95
            tested = f"{percent(row.test_accuracy)} [{percent(low)}, {percent(high)}]"
        share = (row.val_accuracy - floor) / full
        rows.append(
            [row.feature, percent(row.val_accuracy), bar(share), marks[row.feature], tested]
        )
    columns = [
        "feature",
        ">accuracy %",
        f"bars from {percent(floor)}",
        "",
        f"test % (n = {found.n_test:,})",
    ]
    if not found.n_test:
        columns, rows = columns[:-1], [row[:-1] for row in rows]
    judged = found.n_val or found.n_train  # leave-one-out judges every row of train
    title = f"{found.corpus}, {found.probe} probe: accuracy {found.chosen} (n = {judged:,})"
    title += " (protocol paper)" if found.protocol == "paper" else ""
    print_table(title, columns, rows)
    if len(points) > 1:
        _report_curve(points)
    if beaten:
        print_baselines(beaten, found.protocol)
    if options["per_class"]:
        print_per_class(found.per_class, found.n_test, found.seeds)
    for line in _verdict(found, finals):
        tell(line)
    if found.id:
        tell(f"Result {found.id[:SHORT]}.")
    tell(_next(found, options["cache"]))


def _report_curve(points: "Sequence[Point]") -> None:
    """A line for each size of train: which layer it chose, and how good that is."""
    rows = []
    for found, beaten in points:
        best = next(row for row in found.rows if row.feature == found.best)
        words = next((each for each in beaten if each.name.startswith("tf-idf")), None)
        known = words.test_accuracy if words else None
        rows.append(
            [
                f"{found.n_train:,}",
                found.best,
                percent(best.val_accuracy),
                on_test(best.test_accuracy, best.test_ci95, 0),
                "" if known is None else percent(known),
            ]
        )
    columns = [">n train", "best", ">validation %", "test %", ">tf-idf, test %"]
    print_table("learning curve", columns, rows)


def _marks(found: "Sweep", finals: Collection[str]) -> dict[str, str]:
    """What a row is: the best of all, the best of its model where there are several, the last."""
    leaders = _leaders(found)
    marks = {}
    for row in found.rows:
        model = _model(row.feature)
        words = ["last"] if row.feature in finals else []
        if row.feature == found.best:
            words = ["best"]
        elif row.feature == leaders[model]:
            words = [f"best of {model}", *words]
        marks[row.feature] = ", ".join(words)
    return marks


def _verdict(found: "Sweep", finals: Collection[str]) -> list[str]:
    score = {row.feature: row.val_accuracy for row in found.rows}
    leaders = _leaders(found)
    lines = []
    for last in found.last:
        best = leaders[_model(last)]
        gain = 100 * (score[best] - score[last])
        what = "the last layer" if last in finals else "the deepest layer here"
        if last != best:
            how = f"{gain:.1f} points above" if gain else "as good as"
            lines.append(f"{best} is {how} {what}, {last}.")
        elif len(found.rows) > len(leaders):
            whose = "" if len(leaders) == 1 else f" of {_model(last)}"
            lines.append(f"{best}, {what}, is the best{whose}.")
    heads = count(len(found.rows) * found.seeds, "head")
    took = "taken from the results folder" if found.cached else f"in {duration(found.seconds)}"
    return [*lines, f"{heads}, 0 forward passes, {took}."]


def _leaders(found: "Sweep") -> dict[str, str]:
    """The best feature of each model; the sweep's own choice, which breaks ties, for its model."""
    leaders: dict[str, Row] = {}
    for row in found.rows:
        model = _model(row.feature)
        if model not in leaders or row.val_accuracy > leaders[model].val_accuracy:
            leaders[model] = row
    return {model: row.feature for model, row in leaders.items()} | {_model(found.best): found.best}


def _model(feature: str) -> str:
    return feature.partition(":")[0]


def _next(found: "Sweep", cache: str) -> str:
    """The command that comes next: the best feature with its best companion, or with more seeds."""
    flags = f"{cache_words(cache)} --data {found.corpus} --models {found.best}"
    best = next(row for row in found.rows if row.feature == found.best)
    close = [
        row
        for row in found.rows
        if row is not best and row.val_accuracy > best.val_accuracy - CLOSE
    ]
    if not close:
        return f"Next: lef fuse{flags} --seeds 5"
    # Another model has seen something else; a layer of the same one adds less.
    mine = _model(best.feature)
    other = min(close, key=lambda row: (_model(row.feature) == mine, -row.val_accuracy))
    return f"Next: lef fuse{flags},{other.feature} --op hadamard-res"


def _finals(cache: "Cache", features: Collection["Feature"], data: str | None) -> set[str]:
    """The features that are the last layer of their model, under either name."""
    found = set()
    for feature in features:
        alias = cache.pages(feature.model, "train", data).aliases.get("last", "last")
        if feature.layer in ("last", alias):
            found.add(str(feature))
    return found
