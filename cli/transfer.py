"""`lef transfer`: what the layer, or the head, that one corpus chose is worth on another."""

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from cli.candidates import several_corpora
from cli.output import cache_words, deliver, duration, print_table, say, tell
from cli.params import (
    cache_option,
    device_option,
    form_options,
    memory_option,
    models_option,
    probe_option,
    probe_settings,
    settings_options,
)
from cli.pulling import open_for_study
from cli.tables import SHORT, bounds, on_test, points
from lefcache.recipe import Recipe
from lefcache.wording import command_line, count

if TYPE_CHECKING:
    from lefcache.study import Figures, HeadMoved, Target, Transfer, Transferred

OWN = "own choice"
CSV = (
    *("model", "what", "source", "target", "feature", "chosen_by", "n", "n_known"),
    *("accuracy", "ci95_low", "ci95_high", "regret", "regret_ci95_low", "regret_ci95_high"),
    *("spearman", "why_not", "id"),
)


@click.command("transfer")
@models_option(
    "Models, for example mistral (all layers that the corpora share) or mistral:16..32; each "
    "has a matrix of its own."
)
@click.option(
    "--data",
    shell_complete=several_corpora,
    metavar="CORPORA",
    help="The corpora that choose, as in mr,r8  [default: all that have the model]",
)
@click.option(
    "--to",
    shell_complete=several_corpora,
    metavar="CORPORA",
    help="Those that are chosen for  [default: all of these that have a test]",
)
@probe_option
@click.option(
    "--seeds", type=click.IntRange(1), default=1, show_default=True, help="Heads a layer."
)
@click.option("--seed", type=int, default=0, show_default=True, help="The first seed.")
@settings_options(Recipe)
@memory_option
@cache_option
@device_option
@form_options
def command(models: str, data: str | None, to: str | None, form: str, **options: Any) -> None:
    """Use the layer that one corpus chose on another, and say what that costs.

    Every corpus chooses a layer by its own train and validation. On the test of each other one that
    layer is then held against the other one's own choice: the points that it loses, with a paired
    interval; beside it the last layer and a fixed depth of 0.6. All of these are settled before a
    test is read. Where two corpora have the same classes, heads trained on one are tried on the
    other as they are.

    \b
    Examples:
      lef transfer --models minilm
      lef transfer --models mistral --to mr
      lef transfer --models llama2,mistral --data sst2,r8 --to mr --probe mlp --seeds 5
    """
    from lefcache.study import across, transfer

    settings = probe_settings(options)
    cache = open_for_study(options["cache"])
    found = []
    for each in across(cache, models, _listed(data), _listed(to)):
        for line in each.notes:
            say(f"  note: {line}")
        found.append(
            transfer(
                each.corpora,
                options["probe"],
                Recipe(**settings),
                sources=each.sources,
                targets=each.targets,
                seeds=options["seeds"],
                first_seed=options["seed"],
                depth=each.depth,
                device=options["device"],
                memory=options["memory"],
                results=cache.results,
                on_target=_show_target,
            )
        )
    for line in dict.fromkeys(line for each in found for line in each.notes()):
        say(f"  note: {line}")
    document = {"transfers": [each.to_json() for each in found]}
    deliver(form, document, CSV, _records(found), lambda: _report(found, options))


def _listed(words: str | None) -> list[str]:
    return [each for each in (words or "").replace(" ", "").split(",") if each]


def _show_target(target: "Target") -> None:
    if not target.cached:
        say(f"  {target.model} on {target.corpus}: {duration(target.seconds)}")


def _records(found: "Sequence[Transfer]") -> Iterator[dict[str, Any]]:
    """A row of `--csv` for each layer on each target, for each head, and for what has none."""
    empty = dict.fromkeys(CSV)
    for each in found:
        for target in each.targets:
            same = empty | {"model": each.model, "target": target.corpus, "id": target.id}
            layers = [("layer", row) for row in target.rows]
            layers += [("baseline", row) for row in target.baselines]
            for what, row in layers:
                by = row.source if what == "layer" else None
                yield same | {"what": what, "n": target.n_test, "chosen_by": by} | _flat(row)
            for head in target.heads:
                known = same | {"what": "head", "source": head.source, "why_not": head.why_not}
                known["n_known"] = head.n_known
                yield from (known | _flat(one) for one in head.on)
                if not head.on:
                    yield known


def _flat(row: "Transferred | Figures") -> dict[str, Any]:
    """The fields that `--csv` has, the bounds of an interval as two."""
    values = asdict(row)
    flat = {name: value for name, value in values.items() if name in CSV}
    for name in ("ci95", "regret_ci95"):
        flat[f"{name}_low"], flat[f"{name}_high"] = values[name]
    return flat


def _report(found: "Sequence[Transfer]", options: dict[str, Any]) -> None:
    for each in found:
        _show_regret(each)
        _show_ranks(each)
        _show_heads(each)
        tell(_verdict(each))
    targets = [target for each in found for target in each.targets]
    ids = ", ".join(f"{each.id[:SHORT]} ({each.corpus})" for each in targets if each.id)
    if ids:
        tell(f"Results {ids}.")
    tell(_next(found, options["cache"]))


def _show_regret(found: "Transfer") -> None:
    """The matrix: who chose down, for whom across."""
    probe, names = found.targets[0].probe, [each.source for each in found.targets[0].baselines]
    rows = [[OWN, "", *(_own(each) for each in found.targets)]]
    for source in (*found.sources, *names):
        cells = [each.row(source) for each in found.targets]
        layer = next(row.feature for row in cells if row is not None)
        rows.append([source, layer, *map(_cell, found.targets, cells)])
    columns = [
        "chosen on",
        "layer",
        *(f"{each.corpus} (n = {each.n_test:,})" for each in found.targets),
    ]
    title = f"{found.model}, {probe} probe: test % of each corpus's own choice, and the points that"
    print_table(f"{title} other choices lose (95 %)", columns, rows)


def _own(target: "Target") -> str:
    return f"{on_test(target.test_accuracy, target.test_ci95)} {target.best}"


def _cell(target: "Target", row: "Transferred | None") -> str:
    if row is None:
        return ""
    if row.source == target.corpus:
        return "own"
    if row.feature == target.best:
        return "same layer"
    return f"{points(row.regret)} {bounds(row.regret_ci95)}"


def _show_ranks(found: "Transfer") -> None:
    """Whether two corpora rank the layers alike; nothing of fewer than three layers."""
    cells = {
        source: [_rank(target.row(source)) for target in found.targets] for source in found.sources
    }
    if any(cell not in ("", "own") for row in cells.values() for cell in row):
        columns = ["", *(each.corpus for each in found.targets)]
        layers = found.targets[0].layers
        title = f"do {layers} layers rank alike? Spearman of the curves that chose (95 %)"
        print_table(title, columns, [[source, *row] for source, row in cells.items()])


def _rank(row: "Transferred | None") -> str:
    if row is None or row.source == row.target:
        return "" if row is None else "own"
    if row.spearman is None:
        return ""
    if row.spearman_ci95 is None:
        return f"{row.spearman:+.2f}"
    low, high = row.spearman_ci95
    return f"{row.spearman:+.2f} [{low:+.2f}, {high:+.2f}]"


def _show_heads(found: "Transfer") -> None:
    """The heads that could be moved, and why others could not."""
    heads = [head for target in found.targets for head in target.heads]
    if not any(head.on for head in heads):
        why = ", ".join(dict.fromkeys(head.why_not for head in heads))
        tell(f"No head trained on one of these corpora can be used on another: {why}.")
        return
    rows = []
    for source in found.sources:
        cells = [target.head(source) for target in found.targets]
        for place, whose in enumerate((found.choices[source].feature, "the target's layer")):
            told = [_head_cell(head, place) for head in cells]
            if place == 0 or any(told):
                rows.append([source, whose, *told])
    columns = ["trained on", "layer", *(each.corpus for each in found.targets)]
    title = f"{found.model}: heads from elsewhere, test %, and the points lost to its own (95 %)"
    print_table(title, columns, rows)
    for one, other, classes in _mappings(heads):
        tell(f"Classes of {one} taken for those of {other}: {classes}.")


def _head_cell(head: "HeadMoved | None", place: int) -> str:
    if head is None:
        return "" if place else "own"
    if head.why_not:
        return "" if place else head.why_not
    if place >= len(head.on):
        return ""
    one = head.on[place]
    lost = f"{points(one.regret)} {bounds(one.regret_ci95)}"
    return f"{on_test(one.accuracy, one.ci95)}, {lost}, n = {one.n:,}"


def _mappings(heads: "Sequence[HeadMoved]") -> Iterator[tuple[str, str, str]]:
    """Which class was taken for which, once for every two corpora."""
    told = set()
    for head in heads:
        if head.classes and (head.target, head.source) not in told:
            told.add((head.source, head.target))
            pairs = (f"{ours} = {theirs}" for ours, theirs in head.classes.items())
            yield head.source, head.target, ", ".join(pairs)


def _verdict(found: "Transfer") -> str:
    """The means of the matrix, whose cells have the intervals."""
    names = [each.source for each in found.targets[0].baselines]
    beside = ", ".join(f"{name}: {_behind(found.baselines(name))}" for name in names)
    seconds = sum(each.seconds for each in found.targets if not each.cached)
    took = f"in {duration(seconds)}" if seconds else "taken from the results folder"
    moved = _behind(found.moved).replace("ahead", "ahead of")
    return (
        f"On average over {count(len(found.moved), 'cell')}, a layer chosen on another corpus is "
        f"{moved} the own choice ({beside}). 0 forward passes, {took}."
    )


def _behind(rows: "Sequence[Transferred]") -> str:
    regret = statistics.mean(row.regret for row in rows)
    return f"{100 * abs(regret):.1f} points {'behind' if regret >= 0 else 'ahead'}"


def _next(found: "Sequence[Transfer]", cache: str) -> str:
    """The own choices of the first target in heads of several seeds."""
    corpus = found[0].targets[0].corpus
    chosen = [target.best for each in found for target in each.targets if target.corpus == corpus]
    words = command_line(["--data", corpus, "--models", ",".join(chosen)])
    end = "--op hadamard-res" if len(chosen) > 1 else "--seeds 5"
    return f"Next: lef fuse{cache_words(cache)} {words} {end}"
