"""What may tell how good a layer is before any head is trained on it: closed-form scores.

Each takes some rows of one layer and gives one number. Those of LABEL_FREE look at the vectors
alone; of those in LOWER_IS_BETTER less is taken to be better. None of them reads the test.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lefcache.train import ridge
from lefcache.train.passes import chunks, mean_of
from lefcache.train.protocol import Labels
from lefcache.train.ridge import best

Floats = NDArray[np.float64]

# Of LogME's iteration, which has settled after a few steps on most layers.
STEPS = 100
SETTLED = 1e-6


EXACT = np.dtype(np.float64)


@dataclass(frozen=True)
class Spectrum:
    """X = U sqrt(levels) V' of rows X (n, D), around `center` (D,) where there is one.

    `levels` (E,) are those above 0, falling. Of U and V, `basis` is the smaller one, (n, E) or
    (D, E): the rows are read again where the larger one is needed, and never copied as a whole.
    """

    rows: Any
    center: Floats | None
    levels: Floats
    basis: Floats

    @classmethod
    def of(cls, rows: Any, centred: bool) -> "Spectrum":
        """Of some rows; NotFiniteError where they hold NaN or infinity."""
        count, width = rows.shape
        mean = mean_of(rows, None, count).astype(np.float64)
        center = mean if centred else None
        parts = (chunk for _, chunk in chunks(rows, None, center, EXACT))
        if count > width:
            gram = sum((part.T @ part for part in parts), np.zeros((width, width)))
        else:
            whole = np.concatenate([*parts])
            gram = whole @ whole.T
        levels, basis = np.linalg.eigh(gram)
        # What rounding leaves of a direction that is empty is not there.
        some = levels > max(levels[-1], 0) * max(count, width) * np.finfo(EXACT).eps
        return cls(rows, center, levels[some][::-1], basis[:, some][:, ::-1])

    def onto(self, columns: Floats) -> Floats:
        """U' columns, (E, C) of (n, C)."""
        count, width = self.rows.shape
        if count <= width:
            return np.asarray(self.basis.T @ columns)
        cross = np.zeros((width, columns.shape[1]))
        for here, chunk in chunks(self.rows, None, self.center, EXACT):
            cross += chunk.T @ columns[here]
        return np.asarray(self.basis.T @ cross / np.sqrt(self.levels)[:, None])

    def norms(self) -> Floats:
        """(n,) the squared norm of each row."""
        parts = chunks(self.rows, None, self.center, EXACT)
        return np.concatenate([np.square(chunk).sum(axis=1) for _, chunk in parts])


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
    def plain(self) -> Spectrum:
        """The spectrum of the rows as they are."""
        return Spectrum.of(self.rows, centred=False)

    @cached_property
    def centred(self) -> Spectrum:
        """The spectrum of the rows around their mean."""
        return Spectrum.of(self.rows, centred=True)

    @cached_property
    def targets(self) -> Floats:
        """(n, C) 1 for the class of a row, else 0, of the classes that occur."""
        return np.asarray(self.labels[:, None] == np.unique(self.labels), np.float64)

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
        predicted, accuracies, errors = path.judge(rows, truth)
        return np.asarray(predicted[best(accuracies, errors)] == truth)


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
    count, levels = len(sample.rows), sample.plain.levels
    onto = np.square(sample.plain.onto(sample.targets))  # (E, C)
    beyond = np.maximum(sample.targets.sum(axis=0) - onto.sum(axis=0), 0)  # (C,)
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
    levels = sample.centred.levels
    if not len(levels):  # all rows are the same
        return 0.0
    shrink = shrinkage(sample.centred)
    mean = levels.sum() / (count * width)
    along = (1 - shrink) * levels / count + shrink * mean  # eigenvalues of S_a, (E,)
    sizes = sample.targets.sum(axis=0)
    means = sample.centred.onto(sample.targets) * np.sqrt(levels)[:, None] / sizes  # (E, C)
    between = np.square(means) @ sizes / (count - 1)  # (E,)
    return float((1 - shrink) * (between / along).sum())


def shrinkage(centred: Spectrum) -> float:
    """The share that Ledoit and Wolf (2004) take of the mean variance.

    All that it needs are the norms of S, which the spectrum has, and of each row.
    """
    count, width = centred.rows.shape
    levels = centred.levels / count  # eigenvalues of S
    square = np.square(levels).sum()  # ||S||^2
    fourth = np.square(centred.norms()).mean()
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
    total, count = np.zeros(sample.rows.shape[1]), 0
    for _, chunk in chunks(sample.rows, None, None, EXACT):
        norms = np.linalg.norm(chunk, axis=1)
        total += (chunk[norms > 0] / norms[norms > 0, None]).sum(axis=0)
        count += int(np.count_nonzero(norms))
    if count < 2:
        return 1.0
    return float((np.square(total).sum() - count) / (count * (count - 1)))


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
