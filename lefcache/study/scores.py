"""What may tell how good a layer is before any head is trained on it: closed-form scores.

Each takes some rows of one layer and gives one number. Those of LABEL_FREE look at the vectors
alone; of those in LOWER_IS_BETTER less is taken to be better. None of them reads the test.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lefcache.train import ridge
from lefcache.train.protocol import Labels
from lefcache.train.ridge import best

Floats = NDArray[np.float64]

# Of LogME's iteration, which has settled after a few steps on most layers.
STEPS = 100
SETTLED = 1e-6


@dataclass(frozen=True)
class Spectrum:
    """X = U sqrt(levels) V': `levels` (E,) above 0, falling, and `left` U (n, E)."""

    levels: Floats
    left: Floats

    @classmethod
    def of(cls, rows: Floats) -> "Spectrum":
        """From the smaller of X'X and X X', which takes less time than X itself."""
        count, width = rows.shape
        tall = count > width
        levels, basis = np.linalg.eigh(rows.T @ rows if tall else rows @ rows.T)
        # What rounding leaves of a direction that is empty is not there.
        some = levels > max(levels[-1], 0) * max(count, width) * np.finfo(np.float64).eps
        levels, basis = levels[some][::-1], basis[:, some][:, ::-1]
        return cls(levels, (rows @ basis) / np.sqrt(levels) if tall else basis)


@dataclass(frozen=True)
class Sample:
    """Some rows (n, D) of one layer with their labels (n,) below C, and hashes of their texts (n,).

    `judged` are the rows and labels of a validation split, where the corpus has one.
    """

    rows: NDArray[Any]
    labels: Labels
    classes: int
    texts: NDArray[np.uint64] | None = None
    judged: tuple[NDArray[Any], Labels] | None = None

    @cached_property
    def exact(self) -> Floats:
        """The rows as float64."""
        return self.rows.astype(np.float64)

    @cached_property
    def plain(self) -> Spectrum:
        """The spectrum of the rows as they are."""
        return Spectrum.of(self.exact)

    @cached_property
    def centred(self) -> Spectrum:
        """The spectrum of the rows around their mean."""
        return Spectrum.of(self.exact - self.exact.mean(axis=0))

    @cached_property
    def right(self) -> NDArray[np.bool_]:
        """Which rows a ridge classifier has right that did not learn them.

        Those of `judged`, or without any each of the sample's own, left out with its twins; the
        regularisation is the one that has most of them right, as in a sweep's ridge.
        """
        path = ridge.fit_ridge(
            self.rows,
            self.labels,
            self.classes,
            texts=self.texts,
            leave_out=self.judged is None,
        )
        if self.judged is None:
            choice = best(path.loo_accuracy, path.loo_error)
            return np.asarray(path.loo_predicted[choice] == self.labels)
        rows, truth = self.judged
        decided = path.decide(rows)  # (A, N, C)
        correct = decided.argmax(axis=2) == truth
        targets = 2.0 * np.eye(self.classes)[truth] - 1
        errors = np.square(decided - targets).mean(axis=(1, 2), dtype=np.float64)
        return np.asarray(correct[best(correct.mean(axis=1), errors)])


Score = Callable[[Sample], float]


def ridge_right(sample: Sample) -> float:
    """The accuracy of ridge classification on rows that it did not learn (`Sample.right`)."""
    return float(sample.right.mean())


def logme(sample: Sample) -> float:
    """The log evidence per row of a Bayesian linear model, a mean over the classes.

    You et al., LogME (2021): y = F w + noise for the 0/1 target of each class, with the precisions
    of weights (alpha) and noise (beta) that make the labels likeliest, found by their fixed-point
    iteration. Rows are not centred, as there.
    """
    count = len(sample.rows)
    levels, left = sample.plain.levels, sample.plain.left
    seen = np.unique(sample.labels)
    targets = (sample.labels[:, None] == seen).astype(np.float64)  # (n, C)
    onto = np.square(left.T @ targets)  # (E, C)
    beyond = np.maximum(np.square(targets).sum(axis=0) - onto.sum(axis=0), 0)  # (C,)
    alpha, beta = precisions(levels, onto, beyond, count)
    ratio = alpha / beta
    weights = (levels[:, None] * onto / np.square(levels[:, None] + ratio)).sum(axis=0)
    residual = (onto / np.square(1 + levels[:, None] / ratio)).sum(axis=0) + beyond
    # Directions without any spread have the precision alpha, whose log is counted below too.
    logdet = np.log(alpha + beta * levels[:, None]).sum(axis=0) - len(levels) * np.log(alpha)
    fit = count * np.log(beta / (2 * np.pi)) - logdet - beta * residual - alpha * weights
    return float(np.mean(fit / (2 * count)))


def precisions(levels: Floats, onto: Floats, beyond: Floats, count: int) -> tuple[Floats, Floats]:
    """The alphas (C,) and betas (C,) of LogME.

    Args:
        levels: (E,) eigenvalues of F'F.
        onto: (E, C) squares of the targets' coordinates along its directions.
        beyond: (C,) what is left of the squared targets outside of them.
        count: n.
    """
    tiny = np.finfo(np.float64).tiny
    ratio = np.ones(len(beyond))
    for _ in range(STEPS):
        spread = levels[:, None] + ratio
        gamma = (levels[:, None] / spread).sum(axis=0)
        weights = (levels[:, None] * onto / np.square(spread)).sum(axis=0)
        residual = (onto * np.square(ratio / spread)).sum(axis=0) + beyond
        alpha = gamma / np.maximum(weights, tiny)
        beta = np.maximum(count - gamma, tiny) / np.maximum(residual, tiny)
        before, ratio = ratio, np.clip(alpha / beta, 1e-12, 1e12)
        if (np.abs(ratio - before) <= SETTLED * before).all():
            break
    return ratio * beta, beta


def h_score(sample: Sample) -> float:
    """The spread of the classes' means against that of the rows, with a shrunk covariance.

    Ibrahim et al. (2022): tr(S_a^-1 (1 - a) B), where S_a = (1 - a) S + a tr(S) / D I with the
    share a of Ledoit and Wolf (2004), and B is the covariance of the rows' class means.
    """
    count, width = sample.rows.shape
    levels, left = sample.centred.levels, sample.centred.left
    if not len(levels):  # all rows are the same
        return 0.0
    shrink = shrinkage(sample.centred, width)
    mean = levels.sum() / (count * width)
    along = (1 - shrink) * levels / count + shrink * mean  # eigenvalues of S_a, (E,)
    seen, home, sizes = np.unique(sample.labels, return_inverse=True, return_counts=True)
    sums = np.zeros((len(seen), len(levels)))
    np.add.at(sums, home, left)
    means = sums / sizes[:, None] * np.sqrt(levels)  # along the same directions, (C, E)
    between = sizes @ np.square(means) / (count - 1)  # (E,)
    return float((1 - shrink) * (between / along).sum())


def shrinkage(centred: Spectrum, width: int) -> float:
    """The share that Ledoit and Wolf (2004) take of the mean variance, for rows of this width.

    All that it needs, the norms of S and of each row, is in the spectrum already.
    """
    count = len(centred.left)
    levels = centred.levels / count  # eigenvalues of S
    square = np.square(levels).sum()  # ||S||^2
    fourth = np.square(np.square(centred.left) @ centred.levels).mean()  # of the rows' norms
    noise = (fourth - square) / count
    away = square - levels.sum() ** 2 / width  # from a multiple of the identity
    return float(min(noise, away) / away) if noise > 0 and away > 0 else 0.0


def matrix_entropy(sample: Sample) -> float:
    """The von Neumann entropy, in nats, of the Gram matrix X X' divided by its trace.

    Skean et al., Layer by Layer (2025), of the rows as they are: 0 where all point the same way.
    """
    return _entropy(sample.plain.levels)


def effective_rank(sample: Sample) -> float:
    """How many directions the rows use: exp of the entropy of their singular values' shares.

    Roy and Vetterli (2007), of the rows around their mean; 1 where there is no spread at all.
    """
    return float(np.exp(_entropy(np.sqrt(sample.centred.levels))))


def anisotropy(sample: Sample) -> float:
    """The mean cosine between two different rows: 1 where all point the same way.

    Ethayarajh (2019); over all pairs, which need only the sum of the unit vectors.
    """
    norms = np.linalg.norm(sample.exact, axis=1)
    units = sample.exact[norms > 0] / norms[norms > 0, None]
    count = len(units)
    if count < 2:
        return 1.0
    return float((np.square(units.sum(axis=0)).sum() - count) / (count * (count - 1)))


def _entropy(values: Floats) -> float:
    """Of their shares of the sum."""
    if not len(values):
        return 0.0
    shares = values / values.sum()
    return float(-(shares * np.log(shares)).sum())


SCORES: dict[str, Score] = {
    "ridge": ridge_right,
    "logme": logme,
    "h-score": h_score,
    "entropy": matrix_entropy,
    "rank": effective_rank,
    "anisotropy": anisotropy,
}

LABEL_FREE = ("entropy", "rank", "anisotropy")
LOWER_IS_BETTER = ("anisotropy",)


def merit(name: str, value: float) -> float:
    """A score so that more is better."""
    return -value if name in LOWER_IS_BETTER else value


def spearman(scores: Mapping[str, float], truth: Mapping[str, float], name: str) -> float | None:
    """The rank correlation of a score (`name`) with a sweep's figures, over the features of both.

    None of fewer than three features, or where either is the same for all.
    """
    from scipy.stats import spearmanr

    shared = [feature for feature in truth if feature in scores]
    ours = [merit(name, scores[feature]) for feature in shared]
    theirs = [truth[feature] for feature in shared]
    if len(shared) < 3 or len(set(ours)) == 1 or len(set(theirs)) == 1:
        return None
    return float(spearmanr(ours, theirs).statistic)
