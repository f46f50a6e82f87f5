"""Heads that vote: each is trained alone, on its own feature."""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from lefcache.recipe import Recipe
from lefcache.train.head import Head, Vote
from lefcache.train.protocol import Part
from lefcache.train.scoring import logits
from lefcache.train.trained import Epoch

OnEpoch = Callable[[Epoch], None]
# A head, the number of its best epoch, all its epochs, and what it has right of the rows chosen by.
Fitted = tuple[Head, int, list[Epoch], NDArray[np.bool_]]
Fit = Callable[[Recipe, Part, Part, int, torch.device, OnEpoch | None], Fitted]


def fit_members(
    fit: Fit,
    recipe: Recipe,
    learned: Part,
    chosen: Part,
    seed: int,
    where: torch.device,
    on_epoch: OnEpoch | None,
) -> Fitted:
    """Each member of a vote by `fit`, one after the other, each at its own best epoch."""
    table = learned.table
    vote = Vote(table.widths, len(table.classes), recipe)
    history: list[Epoch] = []
    latest = 0
    for place in range(len(table.features)):
        parts = (learned.alone(place), chosen.alone(place))
        member, best_epoch, epochs, _ = fit(recipe.alone(), *parts, seed, where, on_epoch)
        vote.members[place] = member
        latest = max(latest, best_epoch)
        history += epochs
    correct = logits(vote, chosen.table)[chosen.index].argmax(axis=1) == chosen.labels
    return vote, latest, history, correct
