"""`lef fuse`: several features in one head."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli.output import cache_words, duration, percent, print_json, print_table, say
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
    from lefcache.study import Estimate, Fused


@click.command("fuse", short_help="Train one head on several features together.")
@click.option(
    "--models",
    required=True,
    help="Features, for example llama2:24,nvembed:last; a range such as e5:4..8 is several.",
)
@data_option
@click.option(
    "--seeds", type=click.IntRange(1), default=1, show_default=True, help="Heads to train."
)
@click.option("--seed", type=int, default=0, show_default=True, help="The first seed.")
@settings_options(Recipe)
@cache_option
@device_option
@json_option
def command(models: str, data: str | None, as_json: bool, **options: Any) -> None:
    """Project each feature to a common width, fuse them, and train a classifier on the result.

    The epoch is chosen on validation (the corpus's own, else a part of train); the test is read
    once. One finished configuration is never trained twice.

    \b
    Examples:
      lef fuse --models llama2:24,nvembed:last --op hadamard-res
      lef fuse --models minilm:4,minilm:last --data demo --op hadamard-res --seeds 3 --epochs 30
    """
    import lefcache
    from lefcache.study import fuse

    cache = lefcache.open(options["cache"])
    tables = cache.tables(models, data)
    for line in cache.unextracted(models, data):
        say(f"  note: {line}")
    found = fuse(
        tables,
        Recipe(**given(Recipe, options)),
        seeds=options["seeds"],
        first_seed=options["seed"],
        device=options["device"],
        results=Path(options["cache"]) / "results",
        on_seed=lambda seed, _, run: say(
            f"  seed {seed}: {percent(run.val_accuracy)} % on validation at epoch "
            f"{run.best_epoch}, {duration(run.seconds)}"
        ),
    )
    if as_json:
        print_json(found.to_json())
    else:
        _report(found, options["cache"])


def _report(found: "Fused", cache: str) -> None:
    title = f"{found.corpus}: {' + '.join(found.features)}, {found.op}"
    rows = [_row("accuracy, validation", found.val_accuracy, found.n_val)]
    if found.test_accuracy and found.test_macro_f1:
        rows.append(_row("accuracy, test", found.test_accuracy, found.n_test))
        rows.append(_row("macro F1, test", found.test_macro_f1, found.n_test))
    print_table(title, ["", ">%", ">± seeds", "95 % interval", ">n"], rows)
    epochs = ", ".join(str(epoch) for epoch in found.best_epochs)
    took = "taken from the results folder" if found.cached else f"in {duration(found.seconds)}"
    click.echo(
        f"{found.n_train:,} rows to train on; epoch {epochs} of {found.recipe['epochs']} chosen by "
        f"{found.selected_by}; {found.seeds} {'seeds' if found.seeds > 1 else 'seed'}, "
        f"0 forward passes, {took}."
    )
    if found.recipe["epochs"] in found.best_epochs:
        click.echo(
            "The last epoch was the best: the head was still learning; raise --epochs or --lr."
        )
    if found.seeds == 1:
        again = f"--data {found.corpus} --models {','.join(found.features)} --op {found.op}"
        click.echo("One seed: these intervals cover the texts only, not the luck of training.")
        click.echo(f"Next: lef fuse{cache_words(cache)} {again} --seeds 5")


def _row(name: str, figure: "Estimate", rows: int) -> list[str]:
    low, high = figure.ci95
    spread = percent(figure.std) if len(figure.values) > 1 else ""
    return [name, percent(figure.mean), spread, f"[{percent(low)}, {percent(high)}]", f"{rows:,}"]
