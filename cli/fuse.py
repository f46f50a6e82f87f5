"""`lef fuse`: several features in one head."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli.beaten import fixed, settled
from cli.output import cache_words, deliver, duration, percent, print_table, say, tell
from cli.params import given, spelled, study_options
from cli.points import Point, report_curve, report_layers, report_ops
from cli.pulling import open_for_study, tables_for_study
from cli.tables import PER_CLASS, SHORT, print_baselines, print_per_class
from lefcache.recipe import Recipe
from lefcache.saved import MODEL_CARD
from lefcache.wording import command_line, count

if TYPE_CHECKING:
    from lefcache import Cache
    from lefcache.rows import Table
    from lefcache.study import Estimate, Fused
    from lefcache.train import Head


FEW = 6  # features that a title names
CSV = ("figure", "mean", "std", "ci95_low", "ci95_high", "n", "protocol", "n_train")
FIGURES = {
    "val_accuracy": "accuracy, validation",
    "test_accuracy": "accuracy, test",
    "test_macro_f1": "macro F1, test",
    "test_log_loss": "log-loss, test",
    "test_calibration_error": "calibration error, test",
}
SHARES = ("val_accuracy", "test_accuracy", "test_macro_f1", "test_calibration_error")


@click.command("fuse")
@study_options(
    "Features, for example llama2:24,nvembed:last; a range such as e5:4..8 is several.",
    "Heads to train.",
    click.option(
        "--save", type=click.Path(path_type=Path), help="Keep the best head in this folder."
    ),
    click.option("--overwrite", is_flag=True, help="Let --save replace a head of other features."),
    click.option("--alone", is_flag=True, help="Train each feature alone in the same head too."),
    click.option("--show-test", is_flag=True, help="Of several --op, show the test of all."),
    several=("op",),
)
def command(models: str, data: str | None, form: str, **options: Any) -> None:
    """Project each feature to a common width, fuse them, and train a classifier on the result.

    The epoch is chosen on validation (the corpus's own, else a part of train), and so is the
    operator where --op names several; the test is shown for what was chosen. One finished
    configuration is never trained twice.

    \b
    Examples:
      lef fuse --models llama2:24,nvembed:last --op hadamard-res
      lef fuse --models llama2:24,nvembed:last --op all --seeds 5 --alone
      lef fuse --models minilm:4,minilm:last --data demo --op hadamard-res --seeds 3 --epochs 30
      lef fuse --models minilm:3,minilm:last --save head/
      lef fuse --models minilm:all --op mix
      lef fuse --models minilm:3,minilm:last --n-train 100,1000,all
    """
    from lefcache.study import sizes_of

    if options["overwrite"] and not options["save"]:
        raise click.UsageError("--overwrite goes with --save")
    cache = open_for_study(options["cache"])
    tables = tables_for_study(cache, models, data)
    settings = given(Recipe, options)
    features = tables["train"].features
    if len(features) > len(models.split(",")):
        say(f"  {models} is {_joined([*map(str, features)])}: one head on all of these")
    sizes = sizes_of(tables, options["n_train"]) if options["n_train"] else [None]
    points = [
        _point(cache, tables, data, _recipes(settings), options, size, size == sizes[-1])
        for size in sizes
    ]
    found = points[-1].best
    rows = [row for point in points for row in _figures(point.best)]
    for line in found.notes():
        say(f"  note: {line}")
    documents = [point.to_json() for point in points]
    document = documents[-1] | ({"curve": documents} if options["n_train"] else {})
    if options["per_class"] and form == "csv":
        deliver(form, document, PER_CLASS, found.per_class, lambda: None)
    else:
        options["models"] = models
        deliver(form, document, CSV, rows, lambda: _show(points, options, settings))
    if options["save"]:
        imported = [each.model for each in tables["train"].origins if each.source is None]
        _report_head(found, options["save"], imported, form)


def _recipes(settings: dict[str, Any]) -> list[Recipe]:
    """One for each operator."""
    from lefcache.study.operators import ALL

    ops = settings.get("op", (Recipe().op,))
    return [Recipe(**{**settings, "op": op}) for op in (ALL if ops == ("all",) else ops)]


def _point(
    cache: "Cache",
    tables: "Mapping[str, Table]",
    data: str | None,
    recipes: list[Recipe],
    options: dict[str, Any],
    size: int | None,
    last: bool,
) -> Point:
    """Train on this many rows; the largest size is what is saved."""
    from lefcache.study import alone_baselines, fuse_best

    judged = "the test" if options["protocol"] == "paper" else "validation"
    same = {
        "seeds": options["seeds"],
        "first_seed": options["seed"],
        "protocol": options["protocol"],
        "n_train": size,
        "device": options["device"],
        "on_seed": lambda seed, head, run: say(
            f"  {_whose(head, tables)}seed {seed}: {percent(run.val_accuracy)} % on {judged} at "
            f"epoch {run.best_epoch}, {duration(run.seconds)}"
        ),
    }
    if options["n_train"]:
        say(f"{count(size, 'row') if size else 'all rows'} to train on:")
    best, tried = fuse_best(
        tables,
        recipes,
        show_test=options["show_test"],
        save=options["save"] if last else None,
        overwrite=options["overwrite"],
        on_fused=lambda each: say(f"{each.op}: {percent(each.val_accuracy.mean)} % on {judged}"),
        results=cache.results,
        **same,
    )
    chosen = next(recipe for recipe in recipes if recipe.to_json()["op"] == best.op)
    beaten = []
    if options["baselines"]:
        beaten += settled(cache, tables, data, options, size)
        beaten += fixed(cache, tables, data, options, n_train=size)
    if options["baselines"] or options["alone"]:
        beaten += alone_baselines(cache, tables, chosen, train=options["alone"], **same)
    return Point(best, tried, beaten)


def _whose(head: "Head", tables: "Mapping[str, Table]") -> str:
    """Before a line of progress: which feature a head is on, if it is not on all of them."""
    features = head.card.features if head.card else ()
    alone = len(features) < len(tables["train"].features)
    return f"{features[0]} alone, " if features and alone else ""


def _figures(found: "Fused") -> Iterator[dict[str, Any]]:
    """A row for each figure that was measured, and for the weight of each layer of a mix."""
    same = {"protocol": found.protocol, "n_train": found.n_train}
    several = found.seeds > 1
    for name in FIGURES:
        figure: Estimate | None = getattr(found, name)
        if figure is not None:
            low, high = figure.ci95
            yield {
                "figure": name,
                "mean": figure.mean,
                "std": figure.std if several else None,
                "ci95_low": low,
                "ci95_high": high,
                "n": found.n_val if name == "val_accuracy" else found.n_test,
                **same,
            }
    for feature, share in (found.layer_weights or {}).items():
        row = {"figure": f"layer_weights.{feature}", "mean": share["mean"], **same}
        yield dict.fromkeys(CSV) | row | {"std": share["std"] if several else None}


def _show(points: Sequence[Point], options: dict[str, Any], settings: dict[str, Any]) -> None:
    """The figures of the largest size, what else was tried, and the curve where there is one."""
    *_, point = points
    if len(point.tried) > 1:
        report_ops(point)
    if len(points) > 1:
        report_curve(points)
    if point.baselines:
        print_baselines(point.baselines, options["protocol"])
    _report(point.best, options, settings)


def _report(found: "Fused", options: dict[str, Any], settings: dict[str, Any]) -> None:
    paper = found.protocol == "paper"
    title = f"{found.corpus}: {_joined(found.features)}, {found.op}"
    title += " (protocol paper: best epoch on the test)" if paper else ""
    shown = {*FIGURES} - ({"val_accuracy"} if paper else set())
    rows = [_row(each) for each in _figures(found) if each["figure"] in shown]
    print_table(title, ["", ">", ">± seeds", "95 % interval", ">n"], rows)
    if options["per_class"]:
        print_per_class(found.per_class, found.n_test, found.seeds)
    if found.layer_weights:
        report_layers(found.layer_weights, found.seeds)
    epochs = "epoch " if found.seeds == 1 else "epochs "
    epochs += ", ".join(str(epoch) for epoch in found.best_epochs)
    which = " (the latest of the vote's heads)" if found.op == "vote" else ""
    took = "taken from the results folder" if found.cached else f"in {duration(found.seconds)}"
    tell(
        f"{count(found.n_train, 'row')} to train on; {epochs} of {found.recipe['epochs']}{which} "
        f"chosen {found.chosen}; {count(found.seeds, 'seed')}, 0 forward passes, {took}."
    )
    if found.recipe["epochs"] in found.best_epochs and found.val_accuracy.mean < 1:
        tell("The last epoch was the best: the head was still learning; raise --epochs or --lr.")
    if found.id:
        tell(f"Result {found.id[:SHORT]}.")
    if found.seeds == 1:
        tell("One seed: these intervals cover the texts only, not the luck of training.")
    if found.seeds == 1 and not options["save"]:  # what comes after a head is to use it
        flags = ["--data", found.corpus, "--models", options["models"], *spelled(settings)]
        flags += ["--protocol", "paper"] if paper else []
        words = command_line([*flags, "--seeds", "5"])
        tell(f"Next: lef fuse{cache_words(options['cache'])} {words}")


def _joined(features: Sequence[str]) -> str:
    """The features of a title; of many, the first and the last."""
    if len(features) <= FEW:
        return " + ".join(features)
    return f"{features[0]} + ... + {features[-1]} ({len(features)} features)"


def _row(figure: dict[str, Any]) -> list[str]:
    """A line of the table; shares as percentages, a log-loss as it is."""
    share = figure["figure"] in SHARES

    def shown(value: float) -> str:
        return percent(value) if share else f"{value:.3f}"

    return [
        FIGURES[figure["figure"]],
        f"{shown(figure['mean'])} %" if share else f"{shown(figure['mean'])}  ",
        "" if figure["std"] is None else shown(figure["std"]),
        f"[{shown(figure['ci95_low'])}, {shown(figure['ci95_high'])}]",
        f"{figure['n']:,}",
    ]


def _report_head(found: "Fused", folder: Path, imported: list[str], form: str) -> None:
    """Where the head is, and what it is good for."""
    from lefcache.train.readme import has_own_card

    # With --json and --csv, stdout belongs to the document.
    write = tell if form == "table" else say
    which = f" of seed {found.best_seed}, the best of {found.seeds} {found.chosen}"
    again = ", trained again for it" if found.cached else ""
    write(f"Saved the head{which if found.seeds > 1 else ''}{again}, in {folder}.")
    if has_own_card(folder):
        say(f"  note: {MODEL_CARD} there is your own and stays: its figures may be of another head")
    if imported:
        models = " and ".join(dict.fromkeys(imported))
        write(
            f"It can label rows of the cache, but no raw text: the vectors of {models} were made "
            "elsewhere. From Python: lefcache.train.logits(load_head(FOLDER), table)"
        )
    else:
        write(f"Next: {command_line(['lef', 'predict', folder, 'a text'])}")
