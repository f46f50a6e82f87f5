"""Multinomial logistic regression, to convergence, over a path of regularisations.

The solver is torch's L-BFGS with a strong Wolfe line search. It works in coordinates in which
the loss is about equally curved in all directions: those of the scatter's eigenvectors, each
divided by the root of what its curvature can be. A path of six regularisations, each begun where
the stronger one ended, then takes less time than one fit in the rows' own coordinates.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import one_hot

from lefcache.train.passes import Floats, chunks, mean_of
from lefcache.train.protocol import Index, Labels, Part

# Relative to the mean eigenvalue of the rows' covariance. On standardised columns scikit-learn's
# default, C = 1, is 1 / N here.
PENALTIES = tuple(10.0**power for power in range(-5, 1))

STEPS = 1000  # far more than it takes: convergence ends a fit, not this
GRADIENT = 1e-6  # the largest entry of the mean loss's gradient that counts as none
CHANGE = 1e-9  # of loss or weights, below which float32 rows have no more to say
MEMORY = 20  # earlier steps that L-BFGS looks at

# The softmax's curvature is at most this share of the scatter (Böhning 1992, binary case).
CURVATURE = 0.25
BIAS = CURVATURE**-0.5  # what stretches the intercept: its curvature is that of a column of ones


@dataclass(frozen=True)
class Logistic:
    """A path of A classifiers of width D and C classes, one for each regularisation.

    `penalties` (A,) are relative to the mean eigenvalue; `coef` is (A, D, C), `center` (D,),
    `intercept` (A, C) and `steps` (A,) what each took to converge. Every class has a column: of
    two classes, the difference of the columns is what scikit-learn gives at half the penalty.
    """

    penalties: Floats
    coef: Floats
    center: Floats
    intercept: Floats
    steps: tuple[int, ...]

    def decide(self, rows: Any, index: Index | None = None) -> Floats:
        """The logits (A, N, C) of `rows` (N, D), or of those that `index` names."""
        count = len(rows) if index is None else len(index)
        values = np.empty((len(self.penalties), count, self.coef.shape[2]), np.float32)
        for here, chunk in chunks(rows, index, self.center, np.dtype(np.float32)):
            values[:, here] = chunk @ self.coef
        return values + self.intercept[:, None].astype(np.float32)

    def only(self, choice: int) -> "Logistic":
        """The path cut down to one regularisation, which needs an A-th of the memory."""
        one = slice(choice, choice + 1)
        return replace(
            self,
            penalties=self.penalties[one],
            coef=self.coef[one].copy(),
            intercept=self.intercept[one],
            steps=self.steps[one],
        )


def fit_logistic(
    rows: Any,
    labels: Labels,
    classes: int,
    *,
    index: Index | None = None,
    penalties: Sequence[float] = PENALTIES,
) -> Logistic:
    """Fit the whole path to `rows` (N, D), or to those that `index` names.

    Minimises the mean cross-entropy + penalty * mean eigenvalue / 2 * |W|^2, the intercept free.
    One float32 copy of the rows is in memory.

    Args:
        rows: array-like or Rows.
        labels: (M,) integers from 0 to C - 1 of the rows used.
        classes: C.
        index: (M,) the rows used; None for all.
        penalties: rising; each fit begins where the next stronger one ended.

    Raises:
        NotFiniteError: the rows hold NaN or infinity.
    """
    count = len(labels)
    center = mean_of(rows, index, count)
    data = np.empty((count, len(center)), np.float32)
    for here, chunk in chunks(rows, index, center, data.dtype):
        data[here] = chunk
    levels, basis = _axes(data)
    curved = levels / count  # eigenvalues of the covariance, (E,)
    scale = float(curved.sum()) / max(1, min(count - 1, len(center))) or 1.0
    problem = _Problem(
        torch.from_numpy(data),
        one_hot(torch.from_numpy(np.asarray(labels, np.int64)), classes).float(),
        torch.from_numpy(basis.astype(np.float32)),
    )
    # It begins at the classes' shares, which is where an endless penalty ends.
    intercept = np.log(np.bincount(labels, minlength=classes) / count + 1e-9)
    coef = np.zeros((classes, len(center)))
    path = []
    for penalty in np.asarray(penalties)[::-1] * scale:
        stretch = 1 / np.sqrt(CURVATURE * curved + penalty)  # (E,)
        begun = np.column_stack([coef @ basis / stretch, intercept / BIAS])
        found, steps = problem.solve(begun, penalty, np.append(stretch, BIAS))
        coef, intercept = (found[:, :-1] * stretch) @ basis.T, found[:, -1] * BIAS
        path.append((coef.T, intercept, steps))
    coefs, intercepts, taken = zip(*path[::-1], strict=True)
    return Logistic(
        np.asarray(penalties),
        np.stack(coefs).astype(np.float32),
        center,
        np.stack(intercepts),
        taken,
    )


def fit_part(part: Part) -> Logistic:
    """The path for a table of one feature."""
    (rows,), classes = part.table.rows, len(part.table.classes)
    return fit_logistic(rows, part.labels, classes, index=part.index)


def _axes(data: NDArray[np.float32]) -> tuple[Floats, Floats]:
    """Eigenvalues (E,) of the scatter X'X and their directions (D, E), from the smaller side."""
    if len(data) > data.shape[1]:
        levels, basis = np.linalg.eigh((data.T @ data).astype(np.float64))
        return np.maximum(levels, 0), basis
    levels, left = np.linalg.eigh((data @ data.T).astype(np.float64))
    some = levels > levels[-1] * max(data.shape) * np.finfo(np.float32).eps
    return levels[some], data.T @ (left[:, some] / np.sqrt(levels[some]))


@dataclass(frozen=True)
class _Problem:
    """The mean cross-entropy of `data` (N, D), in the coordinates of `basis` (D, E).

    Weights are (C, E) here: multiplied from that side, the few classes cost a tenth.
    """

    data: Tensor
    targets: Tensor  # (N, C), 1 for a row's class
    basis: Tensor

    def solve(
        self, begun: NDArray[np.float64], penalty: float, stretch: Floats
    ) -> tuple[NDArray[np.float64], int]:
        """Weights (C, E + 1), the intercept in the last column, and the steps that it took."""
        # Rows of float32, everything else of float64: sums of many small steps stay exact.
        weights, scale = torch.from_numpy(begun).requires_grad_(), torch.from_numpy(stretch)
        optimiser = torch.optim.LBFGS(
            [weights],
            max_iter=STEPS,
            max_eval=2 * STEPS,
            tolerance_grad=GRADIENT,
            tolerance_change=CHANGE,
            history_size=MEMORY,
            line_search_fn="strong_wolfe",
        )

        @torch.no_grad()
        def closure() -> Tensor:
            scaled = weights * scale
            loss, slope = self._loss(scaled)
            loss += penalty / 2 * scaled[:, :-1].square().sum()
            slope[:, :-1] += penalty * scaled[:, :-1]
            weights.grad = slope * scale
            return loss

        optimiser.step(closure)  # type: ignore[no-untyped-call]
        return weights.detach().numpy(), int(optimiser.state[weights]["n_iter"])

    def _loss(self, scaled: Tensor) -> tuple[Tensor, Tensor]:
        """The loss and its gradient (C, E + 1); written out, since autograd takes twice as long."""
        coef = scaled[:, :-1].float() @ self.basis.T  # (C, D)
        said = torch.addmm(scaled[:, -1].float(), self.data, coef.T).log_softmax(dim=1)
        loss = -(said * self.targets).sum(dtype=torch.float64) / len(said)
        wrong = said.exp_().sub_(self.targets).div_(len(said))
        slope = wrong.T @ self.data @ self.basis
        bias = wrong.sum(dim=0, dtype=torch.float64)
        return loss, torch.column_stack([slope.double(), bias])
