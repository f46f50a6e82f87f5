"""What `benchmarks/transfer.py` found, as Markdown: the matrix, its means, ranks, and heads."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from lefcache.study import Figures, Target, Transfer, Transferred
from lefcache.train.stats import Interval, interval

DRAWS = 10_000
ELSEWHERE = "a layer chosen on another corpus"
ALIKE, UNLIKE = "on one of the same kind", "on one of another kind"
Kinds = Mapping[str, str]
# What each (model, target) says: the regrets of one way to choose, of which the mean is taken.
Told = Sequence[Sequence[float]]

INTRO = """# Does it transfer?

Written by `benchmarks/transfer.py` ({probe} probe; {models}; {corpora}). Each corpus chooses a
layer by its own train (leave-one-out) or validation split. Regret: how many points of test accuracy
a layer is behind the target's own choice, on the same texts, with heads trained on the target. Only
choices that were settled before were shown a test. Of the same kind are {kinds}.
"""


def write(found: Sequence[Transfer], kinds: Kinds) -> str:
    """The whole page."""
    targets = found[0].targets
    groups: dict[str, list[str]] = {}
    for each in targets:
        groups.setdefault(kinds.get(each.corpus, each.corpus), []).append(each.corpus)
    intro = INTRO.format(
        probe=targets[0].probe,
        models=", ".join(each.model for each in found),
        corpora=", ".join(each.corpus for each in targets),
        kinds=" and ".join(f"{', '.join(names)} ({kind})" for kind, names in groups.items()),
    )
    ways = ways_of(found, kinds)
    lines = [intro]
    for title, body in (
        ("What it comes to", verdict(ways)),
        ("Mean regret", means(ways)),
        ("The matrix", (line for each in found for line in matrix(each))),
        ("Do layers rank alike?", (line for each in found for line in ranks(each))),
        ("Whole heads", heads(found)),
    ):
        lines += [f"## {title}", "", *body, ""]
    return "\n".join(lines).rstrip() + "\n"


def ways_of(found: Sequence[Transfer], kinds: Kinds) -> dict[str, Told]:
    """By each way to choose a layer the regrets, in points, of every model and target."""
    targets = [target for each in found for target in each.targets]
    baselines = [row.source for row in targets[0].baselines]
    ways: dict[str, Told] = {
        ELSEWHERE: [_regrets(each.rows, each) for each in targets],
        f"- {ALIKE}": [_regrets(_of_kind(each, kinds, True), each) for each in targets],
        f"- {UNLIKE}": [_regrets(_of_kind(each, kinds, False), each) for each in targets],
    }
    for name in baselines:
        ways[name] = [[100 * row.regret] for each in targets if (row := each.row(name))]
    return ways


def _of_kind(target: Target, kinds: Kinds, same: bool) -> list[Transferred]:
    mine = kinds.get(target.corpus, target.corpus)
    return [row for row in target.rows if (kinds.get(row.source, row.source) == mine) == same]


def _regrets(rows: Sequence[Transferred], target: Target) -> list[float]:
    return [100 * row.regret for row in rows if row.source != target.corpus]


def mean_of(told: Told) -> tuple[float, Interval]:
    """The mean over all models and targets, and its interval: these are drawn again."""
    each = np.array([np.mean(one) for one in told if one])
    drawn = np.random.default_rng(0).choice(each, (DRAWS, len(each)))
    return float(each.mean()), interval(drawn.mean(axis=1))


def verdict(ways: Mapping[str, Told]) -> Iterator[str]:
    """Whether another corpus's layer is worth having, in sentences."""
    for name in (way for way in ways if way != ELSEWHERE and not way.startswith("- ")):
        for way, told in ways.items():
            if way == name or not (way == ELSEWHERE or way.startswith("- ")) or not any(told):
                continue
            pairs = [(one, its) for one, its in zip(told, ways[name], strict=True) if one]
            apart = [[float(np.mean(one)) - float(np.mean(its))] for one, its in pairs]
            yield f"- {_sentence(way.removeprefix('- '), name, apart)}"


def _sentence(way: str, name: str, apart: Told) -> str:
    mean, (low, high) = mean_of(apart)
    who = way if way == ELSEWHERE else f"A layer chosen {way}"
    figures = f"{mean:+.2f} points [{low:+.2f}, {high:+.2f}]"
    if low > 0:
        told = f"loses more than the {name}"
    elif high < 0:
        told = f"loses less than the {name}"
    else:
        told = f"is not told apart from the {name}"
    return f"{who[0].upper()}{who[1:]} {told}: {figures}, over {len(apart)} models x targets."


def means(ways: Mapping[str, Told]) -> Iterator[str]:
    """The mean regret of each way to choose."""
    yield from _header("layer", "mean regret, points (95 %)", "largest", "cells")
    for way, told in ways.items():
        cells = [regret for one in told for regret in one]
        if cells:
            mean, (low, high) = mean_of(told)
            figure = f"{mean:.2f} [{low:.2f}, {high:.2f}]"
            yield _row(way.replace("- ", "... "), figure, f"{max(cells):.2f}", str(len(cells)))
    yield ""
    yield (
        "Below 0 the own choices were the unlucky ones. Intervals are bootstraps over models x "
        "targets, each with the mean of its cells; the texts are not drawn again, corpora of the "
        "same kind share some of them, and models are few: take these intervals for too narrow."
    )


def matrix(found: Transfer) -> Iterator[str]:
    """Sources down, targets across."""
    yield f"**{found.model}**, {found.targets[0].layers} layers"
    yield ""
    across = (f"{each.corpus} (n = {each.n_test:,})" for each in found.targets)
    yield from _header("chosen on", "layer", *across)
    own = (
        f"{each.best}: {_percent(each.test_accuracy, each.test_ci95)} %" for each in found.targets
    )
    yield _row("own choice", "", *own)
    for source in (*found.sources, *(each.source for each in found.targets[0].baselines)):
        cells = [each.row(source) for each in found.targets]
        layer = next(row.feature for row in cells if row is not None)
        yield _row(source, layer, *map(_cell, found.targets, cells))
    yield ""


def _cell(target: Target, row: Transferred | None) -> str:
    if row is None or row.source == target.corpus:
        return "own"
    return "same layer" if row.feature == target.best else _points(row.regret, row.regret_ci95)


def ranks(found: Transfer) -> Iterator[str]:
    """Spearman's correlation of the curves that chose."""
    yield from _header(found.model, *(each.corpus for each in found.targets))
    for source in found.sources:
        rows = [each.row(source) for each in found.targets]
        yield _row(source, *(_rank(row) for row in rows))
    yield ""


def _rank(row: Transferred | None) -> str:
    if row is None or row.spearman is None:
        return ""
    if row.spearman_ci95 is None:
        return f"{row.spearman:+.2f}"
    low, high = row.spearman_ci95
    return f"{row.spearman:+.2f} [{low:+.2f}, {high:+.2f}]"


def heads(found: Sequence[Transfer]) -> Iterator[str]:
    """Heads that could be moved, and why the others could not."""
    moved = [(each.model, head) for each in found for t in each.targets for head in t.heads]
    able = [(model, head, one) for model, head in moved for one in head.on]
    if able:
        columns = "trained on", "tested on", "layer", "n", "left out", "test %", "own head %"
        yield from _header("model", *columns, "points lost")
    for model, head, one in able:
        yield _row(model, head.source, head.target, one.feature, *_figures(one, head.n_known))
    why = {head.why_not for _, head in moved if head.why_not}
    refused = sum(bool(head.why_not) for _, head in moved)
    yield ""
    yield (
        "Test texts that are in the other corpus's train are left out, for the own head too. Only "
        "equal texts are found: the same sentence with another comma is still among them."
    )
    if refused:
        yield ""
        yield f"Not moved: {refused} of {len(moved)} ({', '.join(sorted(why))})."


def _figures(one: Figures, n_known: int) -> Iterator[str]:
    yield from (f"{one.n:,}", f"{n_known:,}", _percent(one.accuracy, one.ci95))
    yield from (_percent(one.own_accuracy, one.own_ci95), _points(one.regret, one.regret_ci95))


def _percent(share: float, ci95: Interval) -> str:
    return f"{100 * share:.1f} [{100 * ci95[0]:.1f}, {100 * ci95[1]:.1f}]"


def _points(share: float, ci95: Interval) -> str:
    return f"{100 * share:+.1f} [{100 * ci95[0]:+.1f}, {100 * ci95[1]:+.1f}]"


def _header(*names: str) -> Iterator[str]:
    yield _row(*names)
    yield _row(*("---" for _ in names))


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"
