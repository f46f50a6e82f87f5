"""Ridge classification in closed form, with exact leave-one-out over a path of regularisations.

One eigendecomposition of the centred rows' scatter serves every regularisation and, through the
diagonal of the hat matrix, every fold of leave-one-out.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lefcache.errors import NotFiniteError
from lefcache.train.protocol import Index, Labels, Part

# Relative to the mean eigenvalue of the scatter, so that they fit features of any scale.
ALPHAS = tuple(10.0**power for power in range(-5, 4))

CHUNK_BYTES = 64 << 20

# Multiplications of one pass over the rows: below, float64 costs less than a second. Above,
# products of a chunk are float32 and summed in float64, which halves the time of a wide layer.
EXACT_WORK = 2e10

Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Ridge:
    """A path of A ridge classifiers of width D and C classes, one for each regularisation.

    `alphas` (A,) are relative to the mean eigenvalue; `coef` is (A, D, C), `center` (D,) and
    `intercept` (C,). `loo_predicted` (A, N) is the class that each training row gets when it,
    and every row of the same text, is left out; `loo_accuracy` and `loo_error` (the mean squared
    error over rows and classes, targets -1 and 1) are (A,).
    """

    alphas: Floats
    coef: Floats
    center: Floats
    intercept: Floats
    loo_predicted: NDArray[np.int32]
    loo_accuracy: NDArray[np.float64]
    loo_error: NDArray[np.float64]

    def decide(self, rows: Any, index: Index | None = None) -> Floats:
        """The decision values (A, N, C) of `rows` (N, D), or of those that `index` names."""
        flat = self.coef.transpose(1, 0, 2).reshape(self.coef.shape[1], -1)  # (D, A * C)
        count = len(rows) if index is None else len(index)
        values = np.empty((count, flat.shape[1]), flat.dtype)
        for here, chunk in _chunks(rows, index, self.center, flat.dtype):
            values[here] = chunk @ flat
        shaped = values.reshape(count, len(self.alphas), -1).transpose(1, 0, 2)
        return shaped + self.intercept

    def only(self, choice: int) -> "Ridge":
        """The path cut down to one regularisation, which needs an A-th of the memory."""
        one = slice(choice, choice + 1)
        return replace(
            self,
            alphas=self.alphas[one],
            coef=self.coef[one].copy(),
            loo_predicted=self.loo_predicted[one].copy(),
            loo_accuracy=self.loo_accuracy[one],
            loo_error=self.loo_error[one],
        )


def best(accuracy: NDArray[np.float64], error: NDArray[np.float64]) -> int:
    """Position of the highest accuracy; ties by the lower error, then the stronger alpha.

    The alphas behind both must rise.
    """
    return int(np.lexsort((-np.arange(len(error)), error, -accuracy))[0])


def fit_ridge(
    rows: Any,
    labels: Labels,
    classes: int,
    *,
    texts: NDArray[np.uint64] | None = None,
    index: Index | None = None,
    alphas: Sequence[float] = ALPHAS,
) -> Ridge:
    """Fit the whole path; the intercept is not penalised.

    Rows are read in chunks, so that a float16 layer of (67,349, 4,096) needs about 2 GB beside it.

    Leaving one row out while its twin stays is no test at all. Rows of one text hold one vector,
    which gives leaving out all m of them at once the closed form of leaving out one, with m times
    the leverage: so twins leave together, at no cost. Overlapping texts that are not equal still
    make leave-one-out optimistic; a validation split of the corpus's own does not have that.

    Args:
        rows: (N, D), anything with a shape and numpy indexing.
        labels: (M,), of the rows used, each in 0..classes-1.
        classes: C.
        texts: (M,) one hash per row used; None treats all texts as different.
        index: (M,) the rows used; None for all.
        alphas: regularisations, relative to the mean eigenvalue of the centred scatter.

    Raises:
        NotFiniteError: the rows hold NaN or infinity.
    """
    count, width = len(labels), rows.shape[1]
    exact = count * width * min(count, width) <= EXACT_WORK
    dtype = np.dtype(np.float64 if exact else np.float32)
    targets = np.full((count, classes), -1.0)
    targets[np.arange(count), labels] = 1.0
    center = _mean(rows, index, count)
    intercept = targets.mean(axis=0)
    solve = _solve_wide if count <= width else _solve_tall
    levels, basis, onto = solve(rows, index, center, targets - intercept, dtype)
    mean_level = levels.sum() / max(1, min(count - 1, width))
    path = np.asarray(alphas) * (mean_level or 1.0)  # constant rows: any scale does
    shrink = 1 / (levels + path[:, None])  # (A, E)
    weights = shrink[:, :, None] * onto  # (A, E, C)
    left_out = _LeftOut(labels, targets, intercept, texts, len(path))
    flat = weights.transpose(1, 0, 2).astype(dtype)  # (E, A, C)
    flat = flat.reshape(len(levels), len(path) * classes)  # (E, A * C)
    for here, chunk in _chunks(rows, index, center, dtype):
        parts = chunk @ basis  # (B, E)
        left_out.add(here, (parts**2) @ shrink.T.astype(dtype), parts @ flat)
    predicted, right, error = left_out.finish()
    coef = (basis @ flat).reshape(width, len(path), classes).transpose(1, 0, 2)
    return Ridge(np.asarray(alphas), coef, center, intercept, predicted, right, error)


def fit_part(part: Part, alphas: Sequence[float] = ALPHAS) -> Ridge:
    """The path for a table of one feature."""
    (rows,), classes = part.table.rows, len(part.table.classes)
    texts = part.table.texts[part.index]
    return fit_ridge(rows, part.labels, classes, texts=texts, index=part.index, alphas=alphas)


class _LeftOut:
    """Adds up leave-one-out as chunks of rows pass by: no (N, A, C) array ever exists."""

    def __init__(
        self,
        labels: Labels,
        targets: Floats,
        intercept: Floats,
        texts: NDArray[np.uint64] | None,
        paths: int,
    ) -> None:
        self.labels, self.targets, self.intercept = labels, targets, intercept
        self.twins: NDArray[Any] = np.ones(len(labels))
        self.means = targets
        if texts is not None and len(unique := np.unique(texts)) < len(texts):
            home = np.searchsorted(unique, texts)
            size = np.bincount(home)
            sums = np.zeros((len(unique), targets.shape[1]))
            np.add.at(sums, home, targets)
            self.twins, self.means = size[home], (sums / size[:, None])[home]
        self.predicted = np.empty((paths, len(labels)), np.int32)
        self.squares = np.zeros(paths)

    def add(self, here: slice, leverage: Floats, fitted: Floats) -> None:
        """Take in a chunk: leverages (B, A) without the intercept's, fits (B, A * C) centred."""
        count, classes = self.targets.shape
        fits = fitted.reshape(len(leverage), -1, classes) + self.intercept  # (B, A, C)
        # m twins of leverage h and mean target y, fitted as f, left out together: the fit becomes
        # (f - m h y) / (1 - m h). With m = 1 this is the textbook's leave-one-out.
        own = self.twins[here, None] * (leverage + 1 / count)  # (B, A)
        own = np.minimum(own, 1 - 1e-9)[..., None]  # rounding must not reach 1
        fits = (fits - own * self.means[here, None]) / (1 - own)
        self.predicted[:, here] = fits.argmax(axis=2).T
        self.squares += np.square(fits - self.targets[here, None]).sum(axis=(0, 2))

    def finish(self) -> tuple[NDArray[np.int32], NDArray[np.float64], NDArray[np.float64]]:
        """Classes (A, N), accuracies (A,) and mean squared errors (A,)."""
        right = (self.predicted == self.labels).mean(axis=1)
        return self.predicted, right, self.squares / self.targets.size


def _solve_tall(
    rows: Any, index: Index | None, center: Floats, targets: Floats, dtype: np.dtype[Any]
) -> tuple[Floats, Floats, Floats]:
    """Eigenvalues (D,) of the scatter X'X, eigenvectors V (D, D), and V'X'Y (D, C)."""
    width = len(center)
    scatter = np.zeros((width, width))
    cross = np.zeros((width, targets.shape[1]))
    for here, chunk in _chunks(rows, index, center, dtype):
        scatter += chunk.T @ chunk
        cross += chunk.T @ targets[here].astype(dtype)
    levels, basis = np.linalg.eigh(scatter)
    return np.maximum(levels, 0), basis.astype(dtype, copy=False), basis.T @ cross


def _solve_wide(
    rows: Any, index: Index | None, center: Floats, targets: Floats, dtype: np.dtype[Any]
) -> tuple[Floats, Floats, Floats]:
    """The same from the smaller X X' (N, N): its N eigenvalues are the scatter's that are not 0.

    The basis V = X'U / sqrt(level) is (D, N); directions without any spread are left out.
    """
    count, width = targets.shape[0], len(center)
    centred = np.empty((count, width), dtype)
    for here, chunk in _chunks(rows, index, center, dtype):
        centred[here] = chunk
    levels, left = np.linalg.eigh((centred @ centred.T).astype(np.float64))
    # Centring leaves one direction empty for certain; rounding makes it a little more than 0.
    some = levels > max(levels[-1], 0) * max(count, width) * np.finfo(dtype).eps
    root = np.sqrt(levels[some])
    basis = centred.T @ (left[:, some] / root).astype(dtype)
    return levels[some], basis, root[:, None] * (left[:, some].T @ targets)


def _mean(rows: Any, index: Index | None, count: int) -> Floats:
    total = np.zeros(rows.shape[1])
    for _, chunk in _chunks(rows, index, None, np.dtype(np.float64)):
        total += chunk.sum(axis=0)
    if not np.isfinite(total).all():
        raise NotFiniteError(
            "the rows hold NaN or infinity: extract this layer again, with --store-dtype float32"
        )
    center: Floats = total / count
    return center


def _chunks(
    rows: Any, index: Index | None, center: Floats | None, dtype: np.dtype[Any]
) -> Iterator[tuple[slice, Floats]]:
    """Consecutive rows, as `dtype` and centred, with their places among the rows used."""
    count, width = len(rows) if index is None else len(index), rows.shape[1]
    step = max(1, CHUNK_BYTES // (width * dtype.itemsize))
    # A run without gaps is read as slices, which of mapped rows are views.
    whole = index is None or bool(count and index[-1] - index[0] == count - 1 and _rising(index))
    start = 0 if index is None or not count else int(index[0])
    for low in range(0, count, step):
        here = slice(low, min(low + step, count))
        source = slice(start + here.start, start + here.stop) if whole else index[here]  # type: ignore[index]
        chunk = np.asarray(rows[source]).astype(dtype)
        if center is not None:
            chunk -= center.astype(dtype)
        yield here, chunk


def _rising(index: Index) -> bool:
    return bool((np.diff(index) == 1).all())
