"""How two lists of numbers go together, and how sure: Pearson and Spearman with a bootstrap."""

from collections.abc import Sequence

import numpy as np

from lefcache.train.stats import Floats, Interval, interval

DRAWS = 10_000
FEWEST = 3  # of fewer, any two lists go together


def correlated(
    one: Sequence[float], other: Sequence[float], ranks: bool
) -> tuple[float | None, Interval | None]:
    """The correlation of two lists and its 95 % interval, over items drawn again.

    Both are None of fewer than FEWEST items and where all values of a list are the same. Samples
    that are so by chance, in the bootstrap, are left out. Of a perfect correlation every sample is
    perfect, however few items there are: that is no interval, and None.

    Args:
        one: (M,)
        other: (M,)
        ranks: Spearman's, of the ranks, instead of Pearson's.
    """
    if len(one) < FEWEST:
        return None, None
    pairs = np.array([one, other], np.float64)  # (2, M)
    (found,) = _pearson(_ranked(pairs[:, None], ranks))
    if np.isnan(found):
        return None, None
    if np.isclose(abs(found), 1):
        return float(found), None
    many = pairs.shape[1]
    drawn = np.random.default_rng(0).integers(0, many, (DRAWS, many))
    scores = _pearson(_ranked(pairs[:, drawn], ranks))
    return float(found), interval(scores[~np.isnan(scores)])


def _ranked(pairs: Floats, ranks: bool) -> Floats:
    if not ranks:
        return pairs
    from scipy.stats import rankdata

    values: Floats = rankdata(pairs, axis=-1)
    return values


def _pearson(pairs: Floats) -> Floats:
    """Of (2, R, M) the correlations (R,); NaN where a list is constant."""
    one, other = pairs - pairs.mean(axis=-1, keepdims=True)
    most = np.sqrt(np.square(one).sum(axis=-1) * np.square(other).sum(axis=-1))
    shared = (one * other).sum(axis=-1)
    varied = (np.ptp(pairs, axis=-1) > 0).all(axis=0)
    made: Floats = np.divide(shared, most, out=np.full(most.shape, np.nan), where=varied)
    return made
