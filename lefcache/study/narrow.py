"""Features narrow enough to hold against each other: centred, of one spread, side by side."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lefcache.rows import Matrix
from lefcache.study.arrange import Taken
from lefcache.train.passes import Floats, chunks, copied, mean_of
from lefcache.train.protocol import Part
from lefcache.train.ridge import Moments, moments_of

WIDEST = 512  # numbers of a feature; of a wider one as many principal components
SPARE = 48  # further directions that are looked for, so that the last of those is a good one

FLOAT32 = np.dtype(np.float32)


@dataclass(frozen=True)
class Narrow:
    """One feature, P numbers a row: `rows` (N, P) to learn from, `held_out` (V, P) to judge by.

    Both are scaled so that all numbers of a row together have a variance of 1: beside another
    feature neither drowns the other. `moments` are of these rows. `share` is the part of the
    feature's variance that is left, 1 unless it was projected.
    """

    rows: Matrix
    held_out: Matrix | None
    moments: Moments
    share: float


class Scaled(Matrix):
    """A matrix times a number, float32, read when it is asked for."""

    dtype = stored = FLOAT32

    def __init__(self, rows: Any, factor: float) -> None:
        self.rows, self.factor = rows, np.float32(factor)
        self.shape = rows.shape

    def _read(self, start: int, stop: int) -> NDArray[Any]:
        return copied(self.rows[start:stop], FLOAT32) * self.factor

    def _gather(self, chosen: NDArray[np.intp]) -> NDArray[Any]:
        return copied(self.rows[chosen], FLOAT32) * self.factor


class Beside(Matrix):
    """Matrices side by side, (N, P_1 + ... + P_K), read when they are asked for."""

    dtype = stored = FLOAT32

    def __init__(self, parts: Sequence[Matrix]) -> None:
        self.parts = tuple(parts)
        self.shape = len(parts[0]), sum(part.shape[1] for part in parts)

    def _read(self, start: int, stop: int) -> NDArray[Any]:
        return np.concatenate([part[start:stop] for part in self.parts], axis=1)

    def _gather(self, chosen: NDArray[np.intp]) -> NDArray[Any]:
        return np.concatenate([part[chosen] for part in self.parts], axis=1)


def narrowed(learned: Part, judged: Part | None) -> Narrow:
    """The one feature of these parts, made narrow; NotFiniteError for rows with NaN or infinity.

    What is narrow already stays in its files; of what is not, the projected rows are in memory.
    """
    rows: Any = Taken(learned.table.rows[0], learned.index)
    held_out: Any = Taken(judged.table.rows[0], judged.index) if judged else None
    share = 1.0
    if rows.shape[1] > WIDEST:
        rows, project, share = _principal(rows, WIDEST)
        held_out = None if held_out is None else project(held_out)
    moments = moments_of(rows, learned.labels, len(learned.table.classes))
    factor = float(np.sqrt(len(rows) / (np.trace(moments.scatter) or len(rows))))
    return Narrow(
        rows=Scaled(rows, factor),
        held_out=None if held_out is None else Scaled(held_out, factor),
        moments=Moments(
            moments.center * factor, moments.scatter * factor**2, moments.cross * factor
        ),
        share=share,
    )


def between(one: Narrow, other: Narrow) -> Floats:
    """The products X'Y (P, Q) of two features, each centred."""
    edge = one.rows.shape[1]
    center = np.concatenate([one.moments.center, other.moments.center])
    products = np.zeros((edge, other.rows.shape[1]))
    for _, chunk in chunks(Beside([one.rows, other.rows]), None, center, FLOAT32):
        products += chunk[:, :edge].T @ chunk[:, edge:]
    return products


def side_by_side(one: Moments, other: Moments, products: Floats) -> Moments:
    """The moments of two features together, from those of each and the products between them."""
    return Moments(
        np.concatenate([one.center, other.center]),
        np.block([[one.scatter, products], [products.T, other.scatter]]),
        np.concatenate([one.cross, other.cross]),
    )


def cka(one: Floats, other: Floats, products: Floats) -> float:
    """Linear CKA of two features: how alike they are, 0 to 1, whatever turns or scales them.

    Of centred X and Y it is |X'Y|^2 / (|X'X| |Y'Y|), in Frobenius norms (Kornblith et al., 2019);
    a feature without any variance is like none.
    """
    most = np.linalg.norm(one) * np.linalg.norm(other)
    return float(np.square(products).sum() / most) if most else 0.0


Components = NDArray[np.float32]


def _principal(rows: Any, most: int) -> tuple[Components, Callable[[Any], Components], float]:
    """The first principal components (N, P), a projection to them, the share of variance they keep.

    By randomised subspace iteration (Halko, Martinsson and Tropp, 2011, algorithm 4.4): three
    passes over the rows and no (D, D) matrix. The components are the rows' own, labels apart.
    """
    count, width = rows.shape
    center = mean_of(rows, None, count)
    drawn = np.random.default_rng(0).standard_normal((width, min(most + SPARE, width)))
    found = drawn.astype(np.float32)
    for _ in range(2):
        spread = np.zeros(found.shape)
        total = 0.0
        for _, chunk in chunks(rows, None, center, FLOAT32):
            spread += chunk.T @ (chunk @ found)
            total += float(np.vdot(chunk, chunk))
        found = np.linalg.qr(spread)[0].astype(np.float32)
    parts = np.empty((count, found.shape[1]), np.float32)
    for here, chunk in chunks(rows, None, center, FLOAT32):
        parts[here] = chunk @ found
    levels, turned = np.linalg.eigh((parts.T @ parts).astype(np.float64))
    some = min(most, count - 1)  # more than that many have no variance
    turned = turned[:, ::-1][:, :some].astype(np.float32)
    basis = found @ turned

    def project(those: Any) -> Components:
        made = np.empty((len(those), some), np.float32)
        for here, chunk in chunks(those, None, center, FLOAT32):
            made[here] = chunk @ basis
        return made

    return parts @ turned, project, float(levels[::-1][:some].sum() / (total or 1.0))
