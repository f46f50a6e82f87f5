"""How well probabilities are meant: log-loss and calibration error, with their intervals."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lefcache.train.stats import Floats, Interval, Ints, draws_for, interval, resampled

BINS = 15  # of equal mass, for the calibration error
FLOOR = float(np.finfo(np.float32).eps)  # of a probability: log-loss has no infinity

Probabilities = NDArray[np.floating[Any]]


def log_losses(truth: Ints, probabilities: Probabilities) -> Floats:
    """(S, N) minus the log of the probability that each row's own class was given.

    Args:
        truth: (N,).
        probabilities: (S, N, C), one block per seed; none counts as less than FLOOR, so that one
            row that a head was wrongly sure of does not decide the whole.
    """
    given = np.take_along_axis(probabilities, truth[None, :, None], axis=2)[:, :, 0]
    return -np.log(np.clip(given.astype(np.float64), FLOOR, 1.0))


def log_loss_interval(losses: Floats, seed: int = 0) -> Interval:
    """The 95 % interval of the mean of (S, N) losses, seeds and rows both drawn again."""
    rows = losses.shape[1]

    def replicate(drawn: Ints, seeds: Floats) -> Floats:
        mean: Floats = np.einsum("rs,rs->r", drawn @ losses.T / rows, seeds)
        return mean

    ones = np.ones(rows, np.intp)
    draws = draws_for(rows)
    return interval(resampled(replicate, ones, len(losses), losses.nbytes, draws, seed))


def calibration_errors(truth: Ints, probabilities: Probabilities) -> Floats:
    """(S,) the expected calibration error of each seed: top label, BINS bins of equal mass.

    Rows are ordered by the probability of their likeliest class and cut into bins of equally many
    (Nguyen & O'Connor 2015); the error is the mean, over bins, of how far accuracy and mean
    probability are apart. 0 is perfect; a perfect head of few rows is some way above it.
    """
    gaps, bins = _gaps(truth, probabilities)
    return np.array([_binned(gap, each).sum() for gap, each in zip(gaps, bins, strict=True)])


def calibration_interval(truth: Ints, probabilities: Probabilities, seed: int = 0) -> Interval:
    """The 95 % interval of the mean calibration error, seeds and rows both drawn again.

    An error that is a sum of absolute values grows by drawing again; so the interval is the one
    that is mirrored at the figure itself (Davison & Hinkley's basic bootstrap), cut off at 0.
    """
    gaps, bins = _gaps(truth, probabilities)
    figure = float(calibration_errors(truth, probabilities).mean())
    rows, masks = gaps.shape[1], np.eye(BINS)
    spread = [masks[each] * gap[:, None] for gap, each in zip(gaps, bins, strict=True)]  # (N, 15)

    def replicate(drawn: Ints, seeds: Floats) -> Floats:
        weights = drawn.astype(np.float64)
        errors = [np.abs(weights @ one).sum(axis=1) / rows for one in spread]
        mean: Floats = np.einsum("sr,rs->r", np.stack(errors), seeds)
        return mean

    ones = np.ones(rows, np.intp)
    draws = draws_for(rows)
    low, high = interval(resampled(replicate, ones, len(gaps), gaps.nbytes, draws, seed))
    return max(0.0, min(figure, 2 * figure - high)), max(figure, 2 * figure - low)


def _gaps(truth: Ints, probabilities: Probabilities) -> tuple[Floats, Ints]:
    """(S, N) probability of the top label minus whether it is right; and each row's bin."""
    top = probabilities.max(axis=2).astype(np.float64)
    right = probabilities.argmax(axis=2) == truth
    order = np.argsort(top, axis=1, kind="stable")
    ranks = np.argsort(order, axis=1, kind="stable")
    return top - right, ranks * BINS // top.shape[1]


def _binned(gap: Floats, bins: Ints) -> Floats:
    """What each bin adds to the error."""
    return np.abs(np.bincount(bins, weights=gap, minlength=BINS)) / len(gap)
