"""What a layer is judged by: a small classifier, fitted to one feature at a time."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from lefcache.recipe import Recipe
from lefcache.rows import Table
from lefcache.study.identity import BY_LEFT_OUT
from lefcache.train import Head, logits, train
from lefcache.train.protocol import BY_CARVED, BY_SPLIT, labelled
from lefcache.train.ridge import best, fit_part


@dataclass(frozen=True)
class Setup:
    """What a probe may need to know: ridge needs none of it."""

    recipe: Recipe = Recipe()  # noqa: RUF009  frozen
    seeds: tuple[int, ...] = (0,)
    device: str | torch.device = "auto"


@dataclass(frozen=True)
class Probed:
    """A fitted probe: how it did without the test, and how to ask it about the test.

    `predict` gives classes (S, N), one row per seed, for all rows of a table of the same feature.
    """

    val_accuracy: float
    selected_by: str
    n_train: int
    n_val: int
    predict: Callable[[Table], NDArray[np.int32]]


Probe = Callable[[Table, Table | None, Setup], Probed]


def ridge_probe(table: Table, validation: Table | None, setup: Setup) -> Probed:
    """Ridge classification: closed form, so that seeds and recipe do not matter.

    The regularisation is chosen by validation accuracy, without a validation split by exact
    leave-one-out over train, equal texts leaving together. Where train holds overlapping texts
    (SST-2's phrases) leave-one-out is optimistic: give such a corpus a validation split.
    """
    learned = labelled(table)
    path = fit_part(learned)
    if validation is None:
        figures, errors, held_out = path.loo_accuracy, path.loo_error, 0
    else:
        judged = labelled(validation)
        decided = path.decide(validation.rows[0], judged.index)  # (A, N, C)
        targets = 2.0 * np.eye(decided.shape[2])[judged.labels] - 1
        figures = (decided.argmax(axis=2) == judged.labels).mean(axis=1)
        errors = np.square(decided - targets).mean(axis=(1, 2), dtype=np.float64)
        held_out = len(judged)
    choice = best(figures, errors)
    chosen = path.only(choice)

    def predict(table: Table) -> NDArray[np.int32]:
        classes: NDArray[np.int32] = chosen.decide(table.rows[0]).argmax(axis=2).astype(np.int32)
        return classes  # (1, N)

    by = BY_LEFT_OUT if validation is None else BY_SPLIT
    return Probed(float(figures[choice]), by, len(learned), held_out, predict)


def mlp_probe(table: Table, validation: Table | None, setup: Setup) -> Probed:
    """The recipe's own head on one feature, once for each seed; accuracies are their mean."""
    heads: list[Head] = []
    figures: list[float] = []
    for seed in setup.seeds:
        head, trained = train(
            table, setup.recipe, validation=validation, seed=seed, device=setup.device
        )
        heads.append(head)
        figures.append(trained.val_accuracy)

    def predict(table: Table) -> NDArray[np.int32]:
        return np.stack([logits(head, table).argmax(axis=1) for head in heads]).astype(np.int32)

    by = BY_CARVED if validation is None else BY_SPLIT
    return Probed(float(np.mean(figures)), by, trained.n_train, trained.n_val, predict)


PROBES: dict[str, Probe] = {"ridge": ridge_probe, "mlp": mlp_probe}

# Closed forms give the same whatever the recipe and the seed.
SEEDLESS = ("ridge",)

# Without a validation split these need no rows held out: each row is left out in turn.
LEAVING_OUT = ("ridge",)
