"""How good, and how sure: accuracy, macro-F1 and intervals over seeds and rows at once."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

LEVEL = 0.95
Z = 1.959964  # standard deviations around a normal mean that hold LEVEL
DRAWS = 10_000
F1_DRAWS = 2_000
DRAWN_ROWS = 100_000_000  # over all replicates of a figure that no counting of patterns makes quick
RARE = 5  # right or wrong rows: fewer are too few to show by resampling how often they occur
CHUNK_BYTES = 64 << 20

Ints = NDArray[np.integer[Any]]
Floats = NDArray[np.float64]
Interval = tuple[float, float]


def accuracy(truth: Ints, predicted: Ints) -> float:
    """The share of rows that are right."""
    return float(np.mean(truth == predicted))


def macro_f1(truth: Ints, predicted: Ints) -> float:
    """The mean F1 over the classes that occur in truth or prediction, as scikit-learn counts it.

    A class that is absent from both says nothing and is left out; one that is only predicted
    counts as 0.
    """
    classes, both = np.unique(np.concatenate([truth, predicted]), return_inverse=True)
    ours, theirs = both[: len(truth)], both[len(truth) :]
    right = np.bincount(ours[ours == theirs], minlength=len(classes))
    sizes = np.bincount(both, minlength=len(classes))
    return float(np.mean(2 * right / sizes))


def accuracy_interval(correct: NDArray[np.bool_], draws: int = DRAWS, seed: int = 0) -> Interval:
    """The 95 % interval of an accuracy, by a bootstrap over seeds and over rows at once.

    Both are drawn with replacement in every replicate, seeds and rows crossed: what another run
    with other seeds on other texts of the same kind could have given. One seed leaves rows only.
    Where fewer than RARE rows are right, or wrong, it is widened to Wilson's (1927): drawing again
    from 3 rows that are all right gives 100 % for ever.

    Args:
        correct: (S, N), one row per seed: was this text right?
        draws: replicates; the same seed gives the same interval.
        seed: of the draws.
    """
    # Texts that every seed treats alike are exchangeable: drawing counts of those patterns, of
    # which there are few, is drawing rows, without a weight for each row.
    patterns, counts = np.unique(correct, axis=1, return_counts=True)
    values = patterns.astype(np.float64)  # (S, P)

    def replicate(rows: Ints, seeds: Floats) -> Floats:
        score: Floats = np.einsum("rs,rs->r", rows @ values.T / correct.shape[1], seeds)
        return score

    low, high = interval(resampled(replicate, counts, len(correct), values.nbytes, draws, seed))
    share, rows = float(correct.mean()), correct.shape[1]
    if rows * min(share, 1 - share) < RARE:
        floor, ceiling = wilson(share, rows)
        low, high = min(low, floor), max(high, ceiling)
    return low, high


def f1_interval(truth: Ints, predicted: Ints, draws: int = F1_DRAWS, seed: int = 0) -> Interval:
    """The 95 % interval of a macro-F1, by the same bootstrap over confusion counts.

    Args:
        truth: (N,).
        predicted: (S, N), one row per seed.
        draws: replicates.
        seed: of the draws.
    """
    classes, both = np.unique(np.vstack([truth[None], predicted]), return_inverse=True)
    both = both.reshape(1 + len(predicted), -1)  # (1 + S, N), as numbers below C
    patterns, counts = np.unique(both, axis=1, return_counts=True)
    one_hot = np.eye(len(classes), dtype=np.float64)
    ours, theirs = one_hot[patterns[0]], one_hot[patterns[1:]]  # (P, C), (S, P, C)

    def replicate(rows: Ints, seeds: Floats) -> Floats:
        weights = rows.astype(np.float64)
        truths = weights @ ours  # (R, C)
        score = np.zeros(len(weights))
        for theirs_s, weight in zip(theirs, seeds.T, strict=True):
            sizes = truths + weights @ theirs_s
            right = weights @ (ours * theirs_s)
            f1 = np.divide(2 * right, sizes, out=np.zeros_like(sizes), where=sizes > 0)
            score += weight * f1.sum(axis=1) / np.count_nonzero(sizes, axis=1)
        return score

    return interval(resampled(replicate, counts, len(predicted), 8 * ours.size, draws, seed))


def per_class(truth: Ints, predicted: Ints, classes: Sequence[str]) -> list[dict[str, Any]]:
    """Precision, recall and F1 of each class, means over seeds, with its n rows of truth.

    A share of nothing is 0, as scikit-learn has it with `zero_division=0`.

    Args:
        truth: (N,).
        predicted: (S, N), one row per seed.
        classes: C names, of all numbers in both.
    """
    many = len(classes)
    sizes = np.bincount(truth, minlength=many)  # (C,)
    named = np.stack([np.bincount(one, minlength=many) for one in predicted])  # (S, C)
    right = np.stack([np.bincount(one[one == truth], minlength=many) for one in predicted])
    shares = {
        "precision": right / np.maximum(named, 1),
        "recall": right / np.maximum(sizes, 1),
        "f1": 2 * right / np.maximum(named + sizes, 1),
    }
    means = {name: values.mean(axis=0) for name, values in shares.items()}
    return [
        {"class": name, "n": int(sizes[place])}
        | {share: float(values[place]) for share, values in means.items()}
        for place, name in enumerate(classes)
    ]


def spread(values: Floats) -> dict[str, float]:
    """Mean and standard deviation over seeds (S,); of one seed the deviation is 0."""
    std = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
    return {"mean": float(np.mean(values)), "std": std}


def wilson(share: float, rows: float) -> Interval:
    """The score interval of a binomial share: honest for any number of rows, 1 among them."""
    pull = Z * Z / rows
    middle = (share + pull / 2) / (1 + pull)
    half = (pull * share * (1 - share) + pull * pull / 4) ** 0.5 / (1 + pull)
    return max(0.0, middle - half), min(1.0, middle + half)


def resampled(
    replicate: Callable[[Ints, Floats], Floats],
    counts: Ints,
    seeds: int,
    bytes_each: int,
    draws: int,
    seed: int = 0,
) -> Floats:
    """What `replicate` says of each of `draws` other samples of rows and of seeds.

    Args:
        replicate: takes how often each kind of row was drawn (R, P), and the share of each seed
            (R, S); gives (R,) figures, or more of each (R, F).
        counts: (P,) rows of each kind.
        seeds: S.
        bytes_each: what one replicate needs at its height.
        draws: how many.
        seed: of the draws.
    """
    generator = np.random.default_rng(seed)
    scores = []
    for some in _chunks(draws, max(bytes_each // max(seeds, 1), 8 * len(counts))):
        rows = _drawn(generator, counts, some)  # (R, P)
        scores.append(replicate(rows, seed_shares(generator, seeds, some)))
    return np.concatenate(scores)


def seed_shares(generator: np.random.Generator, seeds: int, some: int) -> Floats:
    """(R, S) what each seed counts for in each of `some` other samples of S seeds.

    One fewer than there are is drawn: means of S draws would vary by (S - 1) / S of what means of
    S seeds do, half of it for two (Rao and Wu, 1988).
    """
    drawn = max(seeds - 1, 1)
    return generator.multinomial(drawn, [1 / seeds] * seeds, size=some) / drawn


def interval(scores: Floats) -> Interval:
    """The middle 95 % of replicates (R,)."""
    tail = 100 * (1 - LEVEL) / 2
    low, high = np.percentile(scores, [tail, 100 - tail])
    return float(low), float(high)


def draws_for(rows: int) -> int:
    """How many replicates of a figure whose rows are all different: seconds, however many rows."""
    return int(np.clip(DRAWN_ROWS // max(rows, 1), 400, F1_DRAWS))


def _drawn(generator: np.random.Generator, counts: Ints, some: int) -> Ints:
    """(R, P) how often each kind of row is drawn, of as many draws as there are rows."""
    total, kinds = int(counts.sum()), len(counts)
    if total != kinds:
        return generator.multinomial(total, counts / total, size=some)
    # The same, ten times as quick where every row is a kind of its own.
    places = generator.integers(0, total, (some, total)) + total * np.arange(some)[:, None]
    return np.bincount(places.ravel(), minlength=some * total).reshape(some, total)


def _chunks(draws: int, bytes_each: int) -> Iterator[int]:
    """Numbers of replicates whose weights stay within a fair memory."""
    step = max(1, CHUNK_BYTES // bytes_each)
    for start in range(0, draws, step):
        yield min(step, draws - start)
