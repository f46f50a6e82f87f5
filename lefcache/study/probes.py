"""What a layer is judged by: a small classifier, fitted to one feature at a time."""

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from lefcache.errors import RecipeError
from lefcache.recipe import Recipe
from lefcache.rows import Table
from lefcache.study.identity import BY_LEFT_OUT
from lefcache.train import Head, Trained, logistic, logits, ridge
from lefcache.train.fit import Job, train_all
from lefcache.train.logistic import Logistic
from lefcache.train.protocol import BY_CARVED, BY_SPLIT, labelled, training_parts
from lefcache.train.ridge import Ridge, best


@dataclass(frozen=True)
class Setup:
    """What a probe may need to know: ridge and logistic need none of it."""

    recipe: Recipe = Recipe()  # noqa: RUF009  frozen
    seeds: tuple[int, ...] = (0,)
    device: str | torch.device = "auto"
    memory: int | None = None


Answer = Callable[[Table], NDArray[np.int32]]


@dataclass(frozen=True)
class Probed:
    """A fitted probe: how it did without the test, and how to ask it about the test.

    `predict` gives classes (S, N), one row per seed, for all rows of a table of the same feature.
    """

    val_accuracy: float
    selected_by: str
    n_train: int
    n_val: int
    predict: Answer


Probe = Callable[[Table, Table | None, Setup], Probed]


def ridge_probe(table: Table, validation: Table | None, setup: Setup) -> Probed:
    """Ridge classification: closed form, so that seeds and recipe do not matter.

    The regularisation is chosen by validation accuracy, without a validation split by exact
    leave-one-out over train, equal texts leaving together. Where train holds overlapping texts
    (SST-2's phrases) leave-one-out is optimistic: give such a corpus a validation split.
    """
    learned = labelled(table)
    path = ridge.fit_part(learned, leave_out=validation is None)
    if validation is None:
        figures, errors, held_out = path.loo_accuracy, path.loo_error, 0
    else:
        judged = labelled(validation)
        _, figures, errors = path.judge(validation.rows[0], judged.labels, judged.index)
        held_out = len(judged)
    choice = best(figures, errors)
    by = BY_LEFT_OUT if validation is None else BY_SPLIT
    answer = _answer(path.only(choice))
    return Probed(float(figures[choice]), by, len(learned), held_out, answer)


def logistic_probe(table: Table, validation: Table | None, setup: Setup) -> Probed:
    """Multinomial logistic regression to convergence: one minimum, whatever the seed.

    The regularisation is chosen by accuracy on validation, or on rows carved from train, ties by
    log-loss.
    """
    learned, judged = training_parts(table, validation)
    path = logistic.fit_part(learned)
    decided = path.decide(judged.table.rows[0], judged.index)  # (A, N, C)
    figures = (decided.argmax(axis=2) == judged.labels).mean(axis=1)
    said = torch.from_numpy(decided).log_softmax(dim=2).numpy()
    losses = -said[:, np.arange(len(judged)), judged.labels].mean(axis=1, dtype=np.float64)
    choice = best(figures, losses)
    by = BY_CARVED if validation is None else BY_SPLIT
    answer = _answer(path.only(choice))
    return Probed(float(figures[choice]), by, len(learned), len(judged), answer)


def _answer(chosen: Ridge | Logistic) -> Answer:
    """The classes (1, N) that a path of one regularisation gives the rows of a table."""
    return partial(_classes, chosen)


def _classes(chosen: Ridge | Logistic, table: Table) -> NDArray[np.int32]:
    classes: NDArray[np.int32] = chosen.decide(table.rows[0]).argmax(axis=2).astype(np.int32)
    return classes


def mlp_probe(table: Table, validation: Table | None, setup: Setup) -> Probed:
    """The recipe's own head on one feature, once for each seed; accuracies are their mean."""
    jobs = [Job(table, validation, seed=seed) for seed in setup.seeds]
    trained = train_all(jobs, setup.recipe, device=setup.device, memory=setup.memory)
    return probed_of([*trained], validation is not None)


def probed_of(trained: Sequence[tuple[Head, Trained]], validated: bool) -> Probed:
    """What the heads of one layer come to, one for each seed."""
    by = BY_SPLIT if validated else BY_CARVED
    return together(
        [Probed(one.val_accuracy, by, one.n_train, one.n_val, _Says(head)) for head, one in trained]
    )


class _Says:
    """What a head makes of a table; on its way to another process the head is on the CPU."""

    def __init__(self, head: Head) -> None:
        self.head = head

    def __call__(self, table: Table) -> NDArray[np.int32]:
        """Classes (1, N)."""
        classes: NDArray[np.int32] = logits(self.head, table)[None].argmax(axis=2).astype(np.int32)
        return classes

    def __getstate__(self) -> dict[str, Head]:
        return {"head": deepcopy(self.head).cpu()}


def together(probes: Sequence[Probed]) -> Probed:
    """The same layer probed with several seeds, as one: accuracies are their mean."""
    if len(probes) == 1:
        return probes[0]
    first = probes[0]
    figure = float(np.mean([each.val_accuracy for each in probes]))

    def predict(table: Table) -> NDArray[np.int32]:
        return np.concatenate([each.predict(table) for each in probes])

    return Probed(figure, first.selected_by, first.n_train, first.n_val, predict)


PROBES: dict[str, Probe] = {"ridge": ridge_probe, "logistic": logistic_probe, "mlp": mlp_probe}

# A single minimum is the same whatever the recipe and the seed.
SEEDLESS = ("ridge", "logistic")

# Without a validation split these need no rows held out: each row is left out in turn.
LEAVING_OUT = ("ridge",)


def probe_of(probe: str | Probe) -> tuple[Probe, str]:
    """A probe and its name, from either; RecipeError for a name that there is not."""
    if not isinstance(probe, str):
        return probe, getattr(probe, "__name__", type(probe).__name__)
    if probe not in PROBES:
        raise RecipeError(f"no probe '{probe}': it is one of {', '.join(PROBES)}")
    return PROBES[probe], probe
