"""`lef select`: which layer, for a small part of what a sweep with heads takes."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import click

from cli.output import cache_words, deliver, duration, print_table, say, tell
from cli.params import (
    cache_option,
    data_option,
    device_option,
    form_options,
    given,
    memory_option,
    models_option,
    settings_options,
)
from cli.pulling import open_for_study, tables_for_study
from cli.tables import SHORT, on_test
from lefcache.recipe import Recipe
from lefcache.wording import count

if TYPE_CHECKING:
    from lefcache import Cache
    from lefcache.rows import Table
    from lefcache.study import Agreement, Choice, Layer, Regret, Selection

SCORES = ("ridge", "logme", "h-score", "entropy", "rank", "anisotropy")
CSV = (
    *("model", "feature", "chosen", "last", "fixed", "n_train"),
    *("accuracy", "ci95_low", "ci95_high", "n_judged", "head_accuracy", "n_head"),
    *(*SCORES, "n_scores"),
)


@click.command("select")
@models_option(
    "Models, for example mistral (all its layers) or mistral:16..32; each has its own choice."
)
@data_option
@click.option(
    "--budget",
    default="10%",
    show_default=True,
    metavar="TIME|SHARE",
    help="What each choice may cost: a time such as 5s or 2min, or a share of the work of `lef "
    "sweep --probe mlp` with this recipe and one seed, counted in multiplications, so that every "
    "machine chooses the same. A time is counted from when the vectors are at hand.",
)
@click.option(
    "--score",
    type=click.Choice(SCORES),
    default="ridge",
    show_default=True,
    help="What layers are compared by; entropy, rank and anisotropy know nothing of labels.",
)
@click.option(
    "--seed",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Of the drawn rows, the resamples and the heads.",
)
@click.option(
    "--n-train",
    type=click.IntRange(1),
    help="Choose for learning from so many rows: those of `lef sweep --n-train`.",
)
@settings_options(Recipe)
@memory_option
@cache_option
@device_option
@form_options
def command(models: str, data: str | None, form: str, **options: Any) -> None:
    """Choose a layer without training a head on each of them.

    A closed-form score judges all layers on a few rows, the better ones on more, and so on; where
    the budget still pays for it, the layers that may well be the best get the method's own head.
    Train and validation decide, the test is not read. Where a finished sweep of these layers is in
    the cache, it is said what the choice loses against the best one.

    \b
    Examples:
      lef select --models minilm
      lef select --models llama2,mistral --data sst2 --budget 2%
      lef select --models mistral --budget 5s --score logme
    """
    from lefcache.study import select

    cache = open_for_study(options["cache"])
    tables = tables_for_study(cache, models, data)
    found = select(
        tables,
        options["budget"],
        options["score"],
        Recipe(**given(Recipe, options)),
        seed=options["seed"],
        n_train=options["n_train"],
        depths=_depths(cache, tables, data),
        device=options["device"],
        memory=options["memory"],
        results=cache.results,
    )
    for line in found.notes():
        say(f"  note: {line}")
    deliver(form, found.to_json(), CSV, _records(found), lambda: _report(found, options))


def _depths(cache: "Cache", tables: "Mapping[str, Table]", data: str | None) -> dict[str, int]:
    models = {feature.model for feature in tables["train"].features}
    return {model: cache.pages(model, "train", data).depth for model in models}


def _records(found: "Selection") -> Iterator[dict[str, Any]]:
    """A row of `--csv` for each layer."""
    for choice in found.choices:
        for layer in choice.layers:
            low, high = layer.ci95 or (None, None)
            yield {
                **vars(layer),
                **dict.fromkeys(SCORES),
                **layer.scores,
                "model": choice.model,
                "chosen": layer.feature == choice.feature,
                "last": layer.feature == choice.last,
                "fixed": layer.feature == choice.fixed,
                "ci95_low": low,
                "ci95_high": high,
                "n_head": choice.n_head,
                "n_scores": choice.n_scores,
            }


def _report(found: "Selection", options: dict[str, Any]) -> None:
    for choice in found.choices:
        _show(found, choice)
        for line in _verdict(found, choice):
            tell(line)
        if choice.regret:
            _show_regret(choice.regret)
    if found.id:
        tell(f"Result {found.id[:SHORT]}.")
    tell(_next(found, options))


def _show(found: "Selection", choice: "Choice") -> None:
    """Every layer of a model, with all that was found out about it."""
    shown = [name for name in SCORES if name != "ridge" and choice.n_scores]
    heads = [f">head % (n = {choice.n_head:,})"] if choice.n_head else []
    ridge = found.score == "ridge"
    first = "ridge % (95 %)" if ridge else f">{found.score}"
    columns = [
        "feature",
        ">rows",
        first,
        *([">n"] if ridge else []),
        *heads,
        "",
        *map(_flush, shown),
    ]
    rows = []
    for layer in choice.layers:
        score = on_test(layer.accuracy, layer.ci95) if ridge else _number(layer.value)
        rows.append(
            [
                layer.feature,
                f"{layer.n_train:,}" if layer.n_train else "",
                score,
                *([f"{layer.n_judged:,}" if layer.n_judged else ""] if ridge else []),
                *([on_test(layer.head_accuracy, layer.head_ci95)] if heads else []),
                _mark(choice, layer),
                *(_number(layer.scores.get(name)) for name in shown),
            ]
        )
    title = f"{found.corpus}, {choice.model}: {found.score}"
    title += f", judged {found.chosen}" if ridge else ""
    title += f"; the scores on the right, of {choice.n_scores:,} rows" if shown else ""
    print_table(title, columns, rows)


def _flush(name: str) -> str:
    return f">{name}"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"


def _mark(choice: "Choice", layer: "Layer") -> str:
    return ", ".join(word for word, feature in choice.marks.items() if feature == layer.feature)


def _verdict(found: "Selection", choice: "Choice") -> Iterator[str]:
    """Which layer, how sure, and at what cost."""
    by = choice.by
    if choice.n_train:
        by += f" on {choice.n_train:,} rows"
    if choice.n_head_train:
        by += f" (the heads on {choice.n_head_train:,})"
    if len(choice.layers) == 1:
        sure = ", the only layer here"
    elif choice.sure is None:
        sure = "; how sure that is, is not known"
    else:
        sure = (
            f"; {100 * choice.sure:.0f} % of bootstrap resamples of the judged rows choose it too"
        )
    yield f"{choice.feature}: chosen by {by}{sure}."
    if choice.rivals:
        yield f"Resamples also choose {', '.join(choice.rivals)}: they may be as good."
    yield (
        f"It took {duration(choice.seconds)}, {count(choice.rows_read, 'row')} read, "
        f"{100 * choice.share:.2g} % of the work of a sweep with one head a layer; "
        "0 forward passes, the test was not read."
    )


def _show_regret(regret: "Regret") -> None:
    rows = [
        [each.name, each.feature, f"{each.points:.1f} [{each.ci95[0]:.1f}, {each.ci95[1]:.1f}]"]
        for each in regret.losses
    ]
    title = f"held against the {regret.probe} sweep {regret.id[:SHORT]}"
    over = f"{regret.by} n = {regret.n:,}, {count(regret.seeds, 'seed')}"
    print_table(title, ["", "feature", f"points behind {regret.best} (95 %; {over})"], rows)
    known = [each for each in regret.agreements if each.spearman is not None]
    if known:
        lines = [[each.score, _correlation(each)] for each in known]
        over = f"Spearman correlation with it over {regret.layers} layers (95 %)"
        print_table("", ["score", over], lines)


def _correlation(found: "Agreement") -> str:
    low, high = found.ci95 or (None, None)
    around = "" if low is None or high is None else f" [{low:+.2f}, {high:+.2f}]"
    return f"{found.spearman:+.2f}{around}"


def _next(found: "Selection", options: dict[str, Any]) -> str:
    """The command that comes next: the chosen layers in one head, or with more seeds."""
    flags = f"{cache_words(options['cache'])} --data {found.corpus}"
    chosen = ",".join(each.feature for each in found.choices)
    end = "--op hadamard-res" if len(found.choices) > 1 else "--seeds 5"
    return f"Next: lef fuse{flags} --models {chosen} {end}"
