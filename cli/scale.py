"""`lef scale`: how many models pay, what each costs, and what more texts would take."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from cli.output import cache_words, deliver, duration, percent, print_table, say, size, tell
from cli.params import (
    Several,
    cache_option,
    data_option,
    device_option,
    form_options,
    given,
    models_option,
    settings_options,
    spelled,
)
from cli.projected import CSV as PROJECTED
from cli.projected import projected, read_projects, read_rate, records, report_projected
from cli.pulling import open_for_study, tables_for_study
from cli.tables import SHORT, bounds, on_test, points
from lefcache.recipe import Recipe
from lefcache.spec import STORED
from lefcache.wording import command_line, count

if TYPE_CHECKING:
    from lefcache import Cache
    from lefcache.study import Gain, Scale, Step

OP = "hadamard-res"
FIGURES = ("val_accuracy", "test_accuracy")
GAINS = ("val_gain", "test_gain")
COSTS = (
    *("row_bytes", "disk_bytes", "models_bytes", "memory"),
    *("train_seconds", "embed_seconds", "predict_seconds"),
)
CSV = (
    *("features", "store", "id"),
    *(f"{name}{end}" for name in FIGURES for end in ("", "_ci95_low", "_ci95_high")),
    *(f"{name}{end}" for name in GAINS for end in ("", "_ci95_low", "_ci95_high")),
    *("n_val", "n_test", *COSTS, "best_by_bytes", "best_by_seconds"),
)


@click.command("scale")
@models_option(
    "Features in the order in which they are added, for example llama2:24,nvembed:last,e5:12.",
    required=False,
)
@data_option
@click.option(
    "--order",
    type=click.Choice(["given", "best"]),
    default="given",
    show_default=True,
    help="As named, or next the one that ridge on validation does best with.",
)
@click.option(
    "--store",
    type=Several(STORED),
    default=None,
    help="Round the features of the last step to these types too, each with heads of its own.",
)
@click.option("--seeds", type=click.IntRange(1), default=3, show_default=True, help="Heads a step.")
@click.option("--seed", type=int, default=0, show_default=True, help="The first seed.")
@click.option("--n-train", type=click.IntRange(1), help="Learn from fewer rows, a fixed choice.")
@click.option(
    "--project",
    multiple=True,
    callback=read_projects,
    metavar="TEXTSxLAYERSxWIDTH",
    help="What every layer of a model would take, for example 1000000x33x4096; more than once for "
    "several, and alone without --models.",
)
@click.option(
    "--tokens",
    type=click.FloatRange(0, min_open=True),
    help="Of a text, for --project  [default: as extracted here]",
)
@click.option(
    "--rate",
    callback=read_rate,
    help="Floating-point operations a second, for --project: 200T  [default: as extracted here]",
)
@settings_options(Recipe, op=OP)
@cache_option
@device_option
@form_options
def command(models: str | None, data: str | None, form: str, **options: Any) -> None:
    """Add features one at a time: what each gains, what it costs, and where it no longer pays.

    Every step is a head as `lef fuse` trains it, over several seeds. The next feature pays while
    the 95 % interval of its gain on validation lies above 0; the test is shown for all steps, which
    are settled beforehand, and chooses nothing.

    \b
    Examples:
      lef scale --models llama2:24,nvembed:last,e5:12
      lef scale --models minilm:3,minilm:last,minilm:5 --order best --store all
      lef scale --project 67349x33x4096 --project 10000000x33x4096 --rate 200T
    """
    if not models and not options["project"]:
        ctx = click.get_current_context()
        param = next(each for each in ctx.command.params if each.name == "models")
        raise click.MissingParameter(ctx=ctx, param=param)
    cache = open_for_study(options["cache"])
    made, rate = projected(cache, options)
    document: dict[str, Any] = {
        "projections": [each.to_json() for each in made],
        "rate": rate.__dict__ if rate else None,
    }
    if not models:
        told = records(made)
        deliver(form, document, PROJECTED, told, lambda: report_projected(made, rate, options))
        return
    found = _scaled(cache, models, data, options)
    for line in found.notes():
        say(f"  note: {line}")

    def show() -> None:
        _report(found, options)
        if made:
            report_projected(made, rate, options)
        _report_next(found, options)

    deliver(form, found.to_json() | document, CSV, _records(found), show)


def _scaled(cache: "Cache", models: str, data: str | None, options: dict[str, Any]) -> "Scale":
    from lefcache.study import scale

    tables = tables_for_study(cache, models, data)
    stores = options["store"] or ()
    return scale(
        cache,
        tables,
        Recipe(**({"op": OP} | given(Recipe, options))),
        order=options["order"],
        stores=STORED if stores == ("all",) else stores,
        seeds=options["seeds"],
        first_seed=options["seed"],
        n_train=options["n_train"],
        device=options["device"],
        results=cache.results,
        on_seed=lambda seed, head, run: say(
            f"  seed {seed}: {percent(run.val_accuracy)} % on validation at epoch "
            f"{run.best_epoch}, {duration(run.seconds)}"
        ),
        on_step=lambda step: say(
            f"{count(len(step.features), 'feature')} ({step.store}): "
            f"{percent(step.val_accuracy.mean)} % on validation"
        ),
    )


def _records(found: "Scale") -> Iterator[dict[str, Any]]:
    """A row of `--csv` for each configuration."""
    for place, step in enumerate(found.every):
        row: dict[str, Any] = dict.fromkeys(CSV)
        row |= {"features": ",".join(step.features), "store": step.store, "id": step.id}
        for name in (*FIGURES, *GAINS):
            if figure := getattr(step, name):
                low, high = figure.ci95
                row |= {name: figure.mean, f"{name}_ci95_low": low, f"{name}_ci95_high": high}
        row |= {name: getattr(step, name) for name in COSTS}
        row |= {"n_val": found.n_val, "n_test": found.n_test}
        row["best_by_bytes"] = place in found.best_by_bytes
        row["best_by_seconds"] = place in found.best_by_seconds
        yield row


def _report(found: "Scale", options: dict[str, Any]) -> None:
    tested = f", n = {found.n_test:,} of the test" if found.n_test else ""
    heads = f"{found.op}, {count(found.seeds, 'seed')}; n = {found.n_val:,} that chose{tested}"
    _accuracies(f"{found.corpus}: one feature more at a time ({heads})", found.steps, "+ ")
    if found.stores:
        kept = found.steps[-1]
        title = f"the same {count(len(kept.features), 'feature')} in other stores, against"
        _accuracies(f"{title} {kept.store} as they are stored", found.stores, "")
    _costs(found)
    tell(_verdict(found))
    ids = ", ".join(step.id[:SHORT] for step in found.every if step.id)
    results = f" Result {found.id[:SHORT]}, its heads {ids}." if found.id else ""
    tell(
        f"{count(found.n_train, 'row')} to train on; epochs chosen {found.chosen}; 0 forward "
        f"passes, in {duration(found.seconds)}.{results}"
    )


def _accuracies(title: str, steps: "tuple[Step, ...]", sign: str) -> None:
    rows = [
        [
            f"{sign if len(step.features) > 1 else ''}{step.features[-1]}" if sign else step.store,
            *([str(len(step.features))] if sign else []),
            on_test(step.val_accuracy.mean, step.val_accuracy.ci95),
            _gain(step.val_gain),
            on_test(*((each.mean, each.ci95) if (each := step.test_accuracy) else (None, None))),
            _gain(step.test_gain),
        ]
        for step in steps
    ]
    first = ["feature", ">features"] if sign else ["store"]
    columns = ["validation %", "gain, points", "test %", "gain, points"]
    print_table(title, [*first, *columns], rows)


def _gain(gain: "Gain | None") -> str:
    if gain is None:
        return ""
    return f"{points(gain.mean)} {bounds(gain.ci95)}"


def _costs(found: "Scale") -> None:
    """Every configuration's costs, and which of them no other beats."""
    rows = [
        [
            f"{len(step.features)}, {step.store}",
            size(step.row_bytes),
            size(step.disk_bytes),
            size(step.models_bytes),
            size(step.memory),
            duration(step.train_seconds),
            "unknown" if step.embed_seconds is None else duration(step.embed_seconds),
            f"{1000 * step.predict_seconds:.1f} ms",
            percent(step.val_accuracy.mean),
            "yes" if place in found.best_by_bytes else "",
            "yes" if place in found.best_by_seconds else "",
        ]
        for place, step in enumerate(found.every)
    ]
    title = (
        "what it costs; embedding and predicting 1,000 texts; best: no other is as good for less"
    )
    columns = ["features", ">a row", ">on disk", ">with all layers", ">memory to train"]
    columns += [">to train a head", ">to embed", ">to predict", ">validation %"]
    print_table(title, [*columns, "best by bytes", "best by seconds"], rows)
    if any(step.embed_seconds is None for step in found.steps):
        tell("Embedding is unknown where a cache came from an import, a pull or an older lefcache.")


def _verdict(found: "Scale") -> str:
    """Where the next feature no longer pays."""
    pays, steps = found.pays, found.steps
    if len(steps) == 1:
        return "One feature: name more to see whether a second one pays."
    if pays == len(steps):
        return f"All {pays} features pay: each gains more on validation than luck would."
    following, gain = steps[pays].features[-1], steps[pays].val_gain
    later = [
        step.features[-1] for step in steps[pays + 1 :] if step.val_gain and step.val_gain.sure
    ]
    told = f" ({' and '.join(later)} after it did.)" if later else ""
    return (
        f"{count(pays, 'feature')} pay{'s' if pays == 1 else ''}: {following} is not known to gain "
        f"anything on validation, {_gain(gain)} points (n = {found.n_val:,}).{told}"
    )


def _report_next(found: "Scale", options: dict[str, Any]) -> None:
    models = ",".join(found.steps[found.pays - 1].features)
    flags = ["--data", found.corpus, "--models", models, "--op", found.op]
    flags += spelled({k: v for k, v in given(Recipe, options).items() if k != "op"})
    words = command_line([*flags, "--seeds", str(found.seeds), "--save", "head"])
    tell(f"Next: lef fuse{cache_words(options['cache'])} {words}")
