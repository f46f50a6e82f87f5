"""What `benchmarks/which_layer.py` found, as Markdown: losses, agreement, time, and the verdict."""

import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from lefcache.train.stats import interval
from lefcache.wording import count

Document = Mapping[str, Any]
Cell = Mapping[str, Any]
Interval = tuple[float, float]

DRAWS = 10_000
GOAL_POINTS = 0.5
GOAL_SHARE = 0.02
BASELINES = ("last layer", "fixed depth 0.6")
ITSELF = "the sweep itself, on validation"

INTRO = """# Which layer, without the sweep

Written by `benchmarks/which_layer.py`. For each corpus and model, every layer had {heads}
({recipe}); the *best* layer is the one with the highest mean test accuracy of these, and the regret
of a choice is how many points its own mean is behind. No choice has read the test. Intervals are
95 % bootstraps over corpora x models and, within each, over seeds; the best layer stays the one of
all seeds. The best of several layers on one test is also a lucky one, so all regrets are a little
too large: the last row of the first table is what the whole sweep itself loses, when it chooses by
validation as it should.
"""
TRIAL = "\n**A trial, with one seed and one pass over the rows: its figures mean nothing.**\n"


def write(document: Document) -> str:
    """The whole page."""
    cells = document["cells"]
    recipe = ", ".join(f"{name} {value}" for name, value in document["recipe"].items())
    intro = INTRO.format(heads=count(cells[0]["sweep"]["seeds"], "head"), recipe=recipe)
    lines = [intro + (TRIAL if document["trial"] else "")]
    for title, body in (
        ("Is it worth having?", verdict(cells)),
        ("Regret", regrets(cells)),
        ("How the scores agree with the sweep", agreement(cells)),
        ("Each corpus and model", each_cell(cells)),
    ):
        lines += [f"## {title}", "", *body, ""]
    return "\n".join(lines).rstrip() + "\n"


def verdict(cells: Sequence[Cell]) -> Iterator[str]:
    """Whether the goal is reached, by which budgets, and what keeps the others from it."""
    hows = [how for how in names(cells) if how.startswith("select")]
    means = {how: mean_regret(cells, how) for how in (*hows, *BASELINES, ITSELF)}
    beaten = min(means[how] for how in BASELINES)
    shares = {how: time_share(cells, how, seeds=1) for how in hows}
    yield (
        f"To reach: a mean regret of at most {GOAL_POINTS} points, below both baselines "
        f"({_baselines(means)}), in at most {100 * GOAL_SHARE:.0f} % of the time of a sweep with "
        "one head a layer, which is the cheapest that there is."
    )
    yield ""
    for how in hows:
        within = shares[how] <= GOAL_SHARE
        good = means[how] <= GOAL_POINTS
        better = means[how] < beaten
        word = "**reached**" if within and good and better else "not reached"
        missing = [
            *([] if within else [f"it took {100 * shares[how]:.1f} % of the time"]),
            *([] if good else [f"{means[how]:.2f} points are more than {GOAL_POINTS}"]),
            *([] if better else [f"{means[how]:.2f} points are not below {beaten:.2f}"]),
        ]
        why = f": {'; '.join(missing)}" if missing else ""
        yield f"- {how}: {word}{why}."
    yield ""
    yield from reasons(cells, means)


def reasons(cells: Sequence[Cell], means: Mapping[str, float]) -> Iterator[str]:
    """Where the points are lost, and how much of that is luck."""
    how = min((how for how in means if how.startswith("select")), key=lambda each: means[each])
    losses = {f"{each['corpus']} {each['model']}": regret(each, how) for each in cells}
    worst = sorted(losses, key=lambda name: -losses[name])[:2]
    words = ", ".join(f"{name} ({losses[name]:.2f})" for name in worst)
    errors = [standard_error(each) for each in cells]
    yield (
        f"With {how}, most is lost on {words}. The standard error of one layer's test accuracy is "
        f"{min(errors):.2f} to {max(errors):.2f} points here, and the whole sweep, choosing by its "
        f"own validation, loses {means[ITSELF]:.2f} points on average: less than that is luck."
    )


def regrets(cells: Sequence[Cell]) -> Iterator[str]:
    """How much each way to choose loses, and what it takes."""
    yield from _header(
        *("chosen by", "mean regret, points", "largest", "best layer", "seconds (median)"),
        *("% of a one-seed sweep", "% of the whole sweep"),
    )
    for how in names(cells):
        low, high = regret_interval(cells, how)
        each = [regret(cell, how) for cell in cells]
        hits = sum(chosen == best_of(cell) for cell in cells for chosen in chosen_of(cell, how))
        total = sum(len(chosen_of(cell, how)) for cell in cells)
        took = [seconds for cell in cells for seconds in seconds_of(cell, how)]
        times = ("", "", "")
        if any(took):
            one, whole = time_share(cells, how, seeds=1), time_share(cells, how)
            times = (f"{statistics.median(took):.2f}", f"{100 * one:.2f}", f"{100 * whole:.2f}")
        figure = f"{statistics.mean(each):.2f} [{low:.2f}, {high:.2f}]"
        yield _row(how, figure, f"{max(each):.2f}", f"{hits} of {total}", *times)
    yield ""
    yield (
        f"n = {len(cells)} corpora x models. Choices within a budget were made several times, with "
        "other rows drawn: their regret is the mean. Scores on all rows take no budget into "
        "account, and their seconds are without reading. A share of time is the mean over corpora "
        "and models; one seed of the sweep is reckoned as its part of the whole."
    )


def agreement(cells: Sequence[Cell]) -> Iterator[str]:
    """Spearman's correlation of each score with the sweep's test, over the layers."""
    columns = [f"{cell['corpus']} {cell['model']}" for cell in cells]
    yield from _header("score, on all rows", "mean (95 %)", *columns)
    for name in cells[0]["spearman"]:
        values = [cell["spearman"][name] for cell in cells]
        known = np.array([value for value in values if value is not None])
        mean = ""
        if len(known):
            draws = np.random.default_rng(0).choice(known, (DRAWS, len(known)))
            low, high = interval(draws.mean(axis=1))
            mean = f"{known.mean():+.2f} [{low:+.2f}, {high:+.2f}]"
        yield _row(name, mean, *("" if value is None else f"{value:+.2f}" for value in values))
    layers = ", ".join(str(len(cell["sweep"]["test_accuracy"])) for cell in cells)
    yield ""
    yield f"Over {layers} layers; the sign of anisotropy is turned, since less is taken for better."


def each_cell(cells: Sequence[Cell]) -> Iterator[str]:
    """What was chosen where, and how good that is."""
    for cell in cells:
        swept = cell["sweep"]
        yield (
            f"**{cell['corpus']}, {cell['model']}**: {swept['n_train']:,} rows to learn from, "
            f"n = {swept['n_test']:,} test texts, {count(swept['seeds'], 'seed')}, the sweep "
            f"took {swept['seconds']:,.0f} s"
        )
        yield ""
        yield from _header("chosen by", "layer", "test %", "regret, points", "how sure")
        best = best_of(cell)
        yield _row("best on the test", best, f"{100 * mean_accuracy(cell, best):.2f}", "0.00", "")
        for how in names(cells):
            chosen = chosen_of(cell, how)
            layers = ", ".join(dict.fromkeys(chosen))
            test = 100 * statistics.mean(mean_accuracy(cell, feature) for feature in chosen)
            sure = [each["sure"] for each in of(cell, how) if each["sure"] is not None]
            told = f"{100 * statistics.mean(sure):.0f} %" if sure else ""
            yield _row(how, layers, f"{test:.2f}", f"{regret(cell, how):.2f}", told)
        yield ""


def names(cells: Sequence[Cell]) -> list[str]:
    """All ways to choose: budgets first, the sweep itself last."""
    found = [*dict.fromkeys(each["how"] for each in cells[0]["choices"])]
    kinds = ("select", "last", "fixed")
    order = {how: next((at for at, k in enumerate(kinds) if how.startswith(k)), 9) for how in found}
    return sorted(found, key=lambda how: (how == ITSELF, order[how]))


def of(cell: Cell, how: str) -> list[Mapping[str, Any]]:
    """The choices that were made this way."""
    return [each for each in cell["choices"] if each["how"] == how]


def chosen_of(cell: Cell, how: str) -> list[str]:
    """The features of these."""
    return [each["feature"] for each in of(cell, how)]


def seconds_of(cell: Cell, how: str) -> list[float]:
    """What these took."""
    return [each["seconds"] for each in of(cell, how)]


def mean_accuracy(cell: Cell, feature: str) -> float:
    """A layer's test accuracy, a mean over the sweep's seeds."""
    return statistics.mean(cell["sweep"]["test_accuracy"][feature])


def best_of(cell: Cell) -> str:
    """The layer with the highest one."""
    return max(cell["sweep"]["test_accuracy"], key=lambda feature: mean_accuracy(cell, feature))


def regret(cell: Cell, how: str) -> float:
    """How many points these choices are behind the best layer, on average."""
    best = mean_accuracy(cell, best_of(cell))
    chosen = [mean_accuracy(cell, feature) for feature in chosen_of(cell, how)]
    return 100 * (best - statistics.mean(chosen))


def mean_regret(cells: Sequence[Cell], how: str) -> float:
    """Over all corpora and models."""
    return statistics.mean(regret(cell, how) for cell in cells)


def regret_interval(cells: Sequence[Cell], how: str) -> Interval:
    """Of the mean regret, by drawing cells again, and in each of them its seeds."""
    generator = np.random.default_rng(0)
    seeds = []  # of each cell, the regret by each seed alone (S,)
    for cell in cells:
        tested = cell["sweep"]["test_accuracy"]
        chosen = np.mean([tested[feature] for feature in chosen_of(cell, how)], axis=0)
        seeds.append(100 * (np.array(tested[best_of(cell)]) - chosen))
    drawn = np.stack(
        [each[generator.integers(0, len(each), (DRAWS, len(each)))].mean(axis=1) for each in seeds]
    )  # (cells, R)
    places = generator.integers(0, len(cells), (DRAWS, len(cells)))
    return interval(drawn[places, np.arange(DRAWS)[:, None]].mean(axis=1))


def time_share(cells: Sequence[Cell], how: str, seeds: int | None = None) -> float:
    """The time of a choice as a part of the sweep's, of all its seeds or of fewer."""
    shares = []
    for cell in cells:
        part = seeds / cell["sweep"]["seeds"] if seeds else 1.0
        shares.append(statistics.median(seconds_of(cell, how)) / (part * cell["sweep"]["seconds"]))
    return statistics.mean(shares)


def standard_error(cell: Cell) -> float:
    """Of the best layer's test accuracy, in points, from its number of texts alone."""
    share = mean_accuracy(cell, best_of(cell))
    return 100 * (share * (1 - share) / cell["sweep"]["n_test"]) ** 0.5


def _baselines(means: Mapping[str, float]) -> str:
    return ", ".join(f"{how} {means[how]:.2f}" for how in BASELINES)


def _header(*names: str) -> Iterator[str]:
    yield _row(*names)
    yield _row(*("---" for _ in names))


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"
