"""Ridge classification in closed form, with exact leave-one-out over a path of regularisations.

One eigendecomposition of the centred rows' scatter serves every regularisation and, through the
diagonal of the hat matrix, every fold of leave-one-out.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lefcache.train.passes import Floats, chunks, mean_of
from lefcache.train.protocol import Index, Labels, Part

# Relative to the mean eigenvalue of the scatter, so that they fit features of any scale.
ALPHAS = tuple(10.0**power for power in range(-5, 4))

# Multiplications of one pass over the rows: below, float64 costs a few milliseconds. Above,
# products of a chunk are float32 and summed in float64, which halves the time: on a layer of
# 7,108 x 384 every accuracy of the path was the same, and the errors were to 5e-8 of themselves.
EXACT_WORK = 2e8


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
        for here, chunk in chunks(rows, index, self.center, flat.dtype):
            values[here] = chunk @ flat
        shaped = values.reshape(count, len(self.alphas), -1).transpose(1, 0, 2)
        return shaped + self.intercept

    def judge(
        self, rows: Any, labels: Labels, index: Index | None = None
    ) -> tuple[NDArray[np.int32], NDArray[np.float64], NDArray[np.float64]]:
        """What it makes of other rows with these labels: `loo_*` of rows that are held out."""
        decided = self.decide(rows, index)  # (A, N, C)
        targets = 2.0 * np.eye(decided.shape[2])[labels] - 1
        predicted = decided.argmax(axis=2).astype(np.int32)
        errors = np.square(decided - targets).mean(axis=(1, 2), dtype=np.float64)
        return predicted, (predicted == labels).mean(axis=1), errors

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


@dataclass(frozen=True)
class Moments:
    """What a ridge is fitted from, without the rows X (N, D) and their targets Y (N, C).

    `center` (D,) is the rows' mean; of rows centred on it `scatter` is X'X (D, D), `cross` is X'Y
    (D, C). Those of two features side by side are made of blocks: only the products between the
    two are new.
    """

    center: Floats
    scatter: Floats
    cross: Floats


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
    leave_out: bool = True,
    moments: Moments | None = None,
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
        leave_out: whether leave-one-out is wanted: it takes half of the time.
        moments: of the rows used, where they are known.

    Raises:
        NotFiniteError: the rows hold NaN or infinity.
    """
    count, width = len(labels), rows.shape[1]
    dtype = _precision(count, width)
    targets = _targets(labels, classes)
    intercept = targets.mean(axis=0)
    if moments is None and count > width:
        moments = moments_of(rows, labels, classes, index)
    if moments is not None:
        center = moments.center
        levels, basis, onto = _solve_tall(moments, dtype)
    else:
        center = mean_of(rows, index, count)
        levels, basis, onto = _solve_wide(rows, index, center, targets - intercept, dtype)
    mean_level = levels.sum() / max(1, min(count - 1, width))
    path = np.asarray(alphas) * (mean_level or 1.0)  # constant rows: any scale does
    shrink = 1 / (levels + path[:, None])  # (A, E)
    weights = shrink[:, :, None] * onto  # (A, E, C)
    flat = weights.transpose(1, 0, 2).astype(dtype)  # (E, A, C)
    flat = flat.reshape(len(levels), len(path) * classes)  # (E, A * C)
    left_out = _LeftOut(labels, targets, intercept, texts, len(path))
    if leave_out:
        for here, chunk in chunks(rows, index, center, dtype):
            parts = chunk @ basis  # (B, E)
            fits = parts @ flat
            left_out.add(here, np.square(parts, out=parts) @ shrink.T.astype(dtype), fits)
    coef = (basis @ flat).reshape(width, len(path), classes).transpose(1, 0, 2)
    return Ridge(np.asarray(alphas), coef, center, intercept, *left_out.finish())


def moments_of(rows: Any, labels: Labels, classes: int, index: Index | None = None) -> Moments:
    """The moments of rows (N, D), in two passes; NotFiniteError as of `fit_ridge`."""
    count, width = len(labels), rows.shape[1]
    dtype, targets = _precision(count, width), _targets(labels, classes)
    center = mean_of(rows, index, count)
    scatter = np.zeros((width, width))
    cross = np.zeros((width, classes))
    targets -= targets.mean(axis=0)
    for here, chunk in chunks(rows, index, center, dtype):
        scatter += chunk.T @ chunk
        cross += chunk.T @ targets[here].astype(dtype)
    return Moments(center, scatter, cross)


def _precision(count: int, width: int) -> np.dtype[Any]:
    exact = count * width * min(count, width) <= EXACT_WORK
    return np.dtype(np.float64 if exact else np.float32)


def _targets(labels: Labels, classes: int) -> NDArray[np.float64]:
    targets = np.full((len(labels), classes), -1.0)
    targets[np.arange(len(labels)), labels] = 1.0
    return targets


def fit_part(part: Part, leave_out: bool = True) -> Ridge:
    """The path for a table of one feature."""
    (rows,), classes = part.table.rows, len(part.table.classes)
    texts = part.table.texts[part.index]
    return fit_ridge(rows, part.labels, classes, texts=texts, index=part.index, leave_out=leave_out)


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
        self.seen = 0

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
        self.seen += len(fits)

    def finish(self) -> tuple[NDArray[np.int32], NDArray[np.float64], NDArray[np.float64]]:
        """Classes (A, N), accuracies (A,) and mean squared errors (A,), of no rows if none came."""
        if not self.seen:
            nothing = np.full(len(self.squares), np.nan)
            return self.predicted[:, :0], nothing, nothing
        right = (self.predicted == self.labels).mean(axis=1)
        return self.predicted, right, self.squares / self.targets.size


def _solve_tall(moments: Moments, dtype: np.dtype[Any]) -> tuple[Floats, Floats, Floats]:
    """Eigenvalues (D,) of the scatter X'X, eigenvectors V (D, D), and V'X'Y (D, C)."""
    levels, basis = np.linalg.eigh(moments.scatter)
    return np.maximum(levels, 0), basis.astype(dtype, copy=False), basis.T @ moments.cross


def _solve_wide(
    rows: Any, index: Index | None, center: Floats, targets: Floats, dtype: np.dtype[Any]
) -> tuple[Floats, Floats, Floats]:
    """The same from the smaller X X' (N, N): its N eigenvalues are the scatter's that are not 0.

    The basis V = X'U / sqrt(level) is (D, N); directions without any spread are left out.
    """
    count, width = targets.shape[0], len(center)
    centred = np.empty((count, width), dtype)
    for here, chunk in chunks(rows, index, center, dtype):
        centred[here] = chunk
    levels, left = np.linalg.eigh((centred @ centred.T).astype(np.float64))
    # Centring leaves one direction empty for certain; rounding makes it a little more than 0.
    some = levels > max(levels[-1], 0) * max(count, width) * np.finfo(dtype).eps
    root = np.sqrt(levels[some])
    basis = centred.T @ (left[:, some] / root).astype(dtype)
    return levels[some], basis, root[:, None] * (left[:, some].T @ targets)
