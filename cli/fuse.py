"""`lef fuse`: several features in one head."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli.output import cache_words, deliver, duration, percent, print_table, say
from cli.params import given, spelled, study_options
from lefcache.recipe import Recipe
from lefcache.wording import command_line, count

if TYPE_CHECKING:
    from lefcache.study import Estimate, Fused


CSV = ("figure", "mean", "std", "ci95_low", "ci95_high", "n")
FIGURES = {
    "val_accuracy": "accuracy, validation",
    "test_accuracy": "accuracy, test",
    "test_macro_f1": "macro F1, test",
}


@click.command("fuse", short_help="Train one head on several features together.")
@study_options(
    "Features, for example llama2:24,nvembed:last; a range such as e5:4..8 is several.",
    "Heads to train.",
    click.option(
        "--save", type=click.Path(path_type=Path), help="Keep the best head in this folder."
    ),
    click.option("--overwrite", is_flag=True, help="Let --save replace a head of other features."),
)
def command(models: str, data: str | None, form: str, **options: Any) -> None:
    """Project each feature to a common width, fuse them, and train a classifier on the result.

    The epoch is chosen on validation (the corpus's own, else a part of train); the test is read
    once. One finished configuration is never trained twice.

    \b
    Examples:
      lef fuse --models llama2:24,nvembed:last --op hadamard-res
      lef fuse --models minilm:4,minilm:last --data demo --op hadamard-res --seeds 3 --epochs 30
      lef fuse --models minilm:3,minilm:last --save head/
    """
    import lefcache
    from lefcache.study import fuse

    if options["overwrite"] and not options["save"]:
        raise click.UsageError("--overwrite goes with --save")
    cache = lefcache.open(options["cache"])
    tables = cache.tables(models, data)
    for line in cache.unextracted(models, data):
        say(f"  note: {line}")
    settings = given(Recipe, options)
    found = fuse(
        tables,
        Recipe(**settings),
        seeds=options["seeds"],
        first_seed=options["seed"],
        device=options["device"],
        results=cache.results,
        save=options["save"],
        overwrite=options["overwrite"],
        on_seed=lambda seed, _, run: say(
            f"  seed {seed}: {percent(run.val_accuracy)} % on validation at epoch "
            f"{run.best_epoch}, {duration(run.seconds)}"
        ),
    )
    rows = list(_figures(found))
    for line in found.notes():
        say(f"  note: {line}")
    deliver(
        form, found.to_json(), CSV, rows, lambda: _report(found, rows, options["cache"], settings)
    )
    if options["save"]:
        imported = [each.model for each in tables["train"].origins if each.source is None]
        _report_head(found, options["save"], imported, form)


def _figures(found: "Fused") -> Iterator[dict[str, Any]]:
    """A row for each figure that was measured."""
    for name in FIGURES:
        figure: Estimate | None = getattr(found, name)
        if figure is not None:
            low, high = figure.ci95
            yield {
                "figure": name,
                "mean": figure.mean,
                "std": figure.std if found.seeds > 1 else None,
                "ci95_low": low,
                "ci95_high": high,
                "n": found.n_val if name == "val_accuracy" else found.n_test,
            }


def _report(
    found: "Fused", figures: list[dict[str, Any]], cache: str, settings: dict[str, Any]
) -> None:
    title = f"{found.corpus}: {' + '.join(found.features)}, {found.op}"
    rows = [
        [
            FIGURES[row["figure"]],
            percent(row["mean"]),
            "" if row["std"] is None else percent(row["std"]),
            f"[{percent(row['ci95_low'])}, {percent(row['ci95_high'])}]",
            f"{row['n']:,}",
        ]
        for row in figures
    ]
    print_table(title, ["", ">%", ">± seeds", "95 % interval", ">n"], rows)
    epochs = "epoch " if found.seeds == 1 else "epochs "
    epochs += ", ".join(str(epoch) for epoch in found.best_epochs)
    took = "taken from the results folder" if found.cached else f"in {duration(found.seconds)}"
    click.echo(
        f"{count(found.n_train, 'row')} to train on; {epochs} of {found.recipe['epochs']} "
        f"chosen {found.chosen}; {count(found.seeds, 'seed')}, 0 forward passes, {took}."
    )
    if found.recipe["epochs"] in found.best_epochs:
        click.echo(
            "The last epoch was the best: the head was still learning; raise --epochs or --lr."
        )
    if found.seeds == 1:
        flags = ["--data", found.corpus, "--models", ",".join(found.features), *spelled(settings)]
        click.echo("One seed: these intervals cover the texts only, not the luck of training.")
        click.echo(f"Next: lef fuse{cache_words(cache)} {command_line([*flags, '--seeds', '5'])}")


def _report_head(found: "Fused", folder: Path, imported: list[str], form: str) -> None:
    """Where the head is, and what it is good for."""
    # With --json and --csv, stdout belongs to the document.
    write = click.echo if form == "table" else say
    which = f" of seed {found.best_seed}, the best of {found.seeds} on validation"
    again = ", trained again for it" if found.cached else ""
    write(f"Saved the head{which if found.seeds > 1 else ''}{again}, in {folder}.")
    if imported:
        models = " and ".join(dict.fromkeys(imported))
        write(
            f"It can label rows of the cache, but no raw text: the vectors of {models} were made "
            "elsewhere. From Python: lefcache.train.logits(load_head(FOLDER), table)"
        )
    else:
        write(f"Next: {command_line(['lef', 'predict', folder, 'a text'])}")
