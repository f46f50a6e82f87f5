"""Is one result better than another: a paired test on the same texts, and its sentence."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lefcache.errors import MismatchError, ResultError
from lefcache.finished import describe
from lefcache.results import Result
from lefcache.study.compared import Comparison, Pair, Side
from lefcache.train.stats import Floats, Ints, interval, resampled, seed_shares
from lefcache.wording import count

DRAWS = 10_000
MCNEMAR = "exact McNemar"
BOOTSTRAP = "paired bootstrap"
OF_LAYERS = ("sweep", "transfer")  # what keeps classes (F, S, N) of each layer that it was shown


def compare(first: Result, second: Result, features: tuple[str, str] = ("", "")) -> Comparison:
    """Hold two results against each other on the test texts that both were scored on.

    Args:
        first: its accuracy minus that of `second` is the difference.
        second: the other one.
        features: of each, if it is a sweep: a layer that was shown the test, if not the best one.

    Raises:
        ResultError: a result without predictions, or a layer that was not shown the test.
        MismatchError: other texts, or other labels of them: the message says which.
    """
    _check_same(first, second)
    ours, theirs = side_of(first, features[0]), side_of(second, features[1])
    paired = ours.seeds == theirs.seeds
    drawn = differences(ours.correct, theirs.correct, paired)
    alone = len(ours.seeds) == len(theirs.seeds) == 1
    pairs = tuple(_pairs(ours, theirs))
    return Comparison(
        first=ours,
        second=theirs,
        n_test=ours.correct.shape[1],
        difference=ours.accuracy - theirs.accuracy,
        ci95=interval(drawn),
        p_value=pairs[0].p_value if alone else _p_of(drawn, _differing(ours, theirs)),
        method=MCNEMAR if alone else BOOTSTRAP,
        paired=paired,
        pairs=pairs,
    )


def side_of(result: Result, feature: str = "") -> Side:
    """What a stored result had right, of the test rows that have a label."""
    predicted, truth = result.predictions(), result.truth()
    if predicted is None or truth is None:
        raise ResultError(
            f"{result.id} ({describe(result)}) has no predictions of a test to compare: its corpus "
            "has no test with labels, or an older lefcache wrote it (run it again)"
        )
    what, classes = _classes(result, predicted, feature)
    known, values = truth >= 0, result.payload["result"]
    return Side(
        id=result.id,
        what=what,
        protocol=values.get("protocol", "validation"),
        n_train=values["n_train"],
        seeds=tuple(result.payload["key"].get("seeds") or (0,)),
        correct=classes[:, known] == truth[known],
    )


def _classes(
    result: Result, predicted: NDArray[Any], feature: str
) -> tuple[str, NDArray[np.integer[Any]]]:
    """What a result is called, and the classes (S, N) that it gave."""
    if result.kind not in OF_LAYERS:
        if feature:
            raise ResultError(f"{result.id} is no sweep: it has no layer {feature} to choose")
        # A fusion keeps probabilities (S, N, C), a baseline classes (S, N).
        return describe(result), predicted.argmax(axis=2) if predicted.ndim == 3 else predicted
    values = result.payload["result"]
    shown = result.payload.get("shown") or [
        row["feature"] for row in values["rows"] if row["test_accuracy"] is not None
    ]
    wanted = feature or values["best"]
    if wanted not in shown:
        raise ResultError(
            f"{result.id} has no test of {wanted}: it shows {', '.join(shown)}; a sweep with "
            "--show-test has all"
        )
    return f"{wanted}, {values['probe']}", predicted[shown.index(wanted)]


def _check_same(first: Result, second: Result) -> None:
    """Refuse what is not about the same test."""
    sides = [
        (each, f"{each.id} ({describe(each)})", each.payload.get("splits", {}).get("test"))
        for each in (first, second)
    ]
    for _, name, test in sides:
        if test is None:
            raise ResultError(f"{name} was not scored on a test with labels: nothing to compare")
    (_, ours, mine), (_, theirs, its) = sides
    if mine["texts"] != its["texts"]:
        rows = [f"{count(test['rows'], 'text')} of {each.corpus}" for each, _, test in sides]
        same = " (other ones)" if rows[0] == rows[1] else ""
        raise MismatchError(
            f"not the same texts: {ours} was scored on {rows[0]}, {theirs} on {rows[1]}{same}; "
            "only results on the same test can be compared"
        )
    if mine["labels"] != its["labels"]:
        raise MismatchError(
            f"not the same labels: {ours} and {theirs} were scored on the same texts before and "
            f"after labels of {first.corpus} were corrected; run the older one again "
            "(`lef results` marks it)"
        )


def differences(ours: NDArray[np.bool_], theirs: NDArray[np.bool_], paired: bool) -> Floats:
    """(R,) differences of accuracy on other texts and with other seeds, by a bootstrap.

    Both sides always see the same texts. Equal seeds are drawn as pairs, since they share the order
    of the rows and the dropout; others each for themselves.
    """
    patterns, counts = np.unique(np.concatenate([ours, theirs]), axis=1, return_counts=True)
    values = patterns.astype(np.float64)
    mine, its = values[: len(ours)], values[len(ours) :]
    generator = np.random.default_rng(1)
    rows = ours.shape[1]

    def replicate(drawn: Ints, seeds: Floats) -> Floats:
        others = seeds if paired else seed_shares(generator, len(its), len(drawn))
        one = np.einsum("rs,rs->r", drawn @ mine.T, seeds)
        other = np.einsum("rs,rs->r", drawn @ its.T, others)
        difference: Floats = (one - other) / rows
        return difference

    return resampled(replicate, counts, len(ours), values.nbytes, DRAWS)


def _p_of(differences: Floats, differing: int) -> float:
    """Two-sided: how often a difference drawn again is on the other side of nothing.

    Drawing again from a few texts shows nothing but them, so it is no less than the least p of
    any exact test on as many texts as differ: 5 that are all for one side are a coin's 5 heads.
    """
    below, above = (differences <= 0).sum(), (differences >= 0).sum()
    drawn = 2 * (1 + int(min(below, above))) / (1 + len(differences))
    return min(1.0, max(drawn, 2.0 ** (1 - differing)))


def _differing(ours: Side, theirs: Side) -> int:
    """How many texts one side has right more often than the other, over its seeds."""
    return int((ours.correct.mean(axis=0) != theirs.correct.mean(axis=0)).sum())


def _pairs(ours: Side, theirs: Side) -> Iterator[Pair]:
    """Exact McNemar for each pair of seeds; of unequal seeds, as many as both have."""
    from scipy.stats import binomtest

    rows = zip(ours.seeds, theirs.seeds, ours.correct, theirs.correct, strict=False)
    for mine, its, one, other in rows:
        first, second = int((one & ~other).sum()), int((other & ~one).sum())
        several = first + second
        p_value = float(binomtest(first, several).pvalue) if several else 1.0
        yield Pair(mine, its, first, second, p_value)
