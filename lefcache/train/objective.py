"""What a head minimises, and in which arithmetic."""

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from lefcache.recipe import Recipe


class Objective:
    """Cross-entropy, with the recipe's label smoothing and class weights.

    Args:
        recipe: `label_smoothing` and `class_weights`.
        labels: (N,) of all rows to learn from, which class weights are made of.
        classes: C.
    """

    def __init__(self, recipe: Recipe, labels: Tensor, classes: int) -> None:
        self.smoothing = recipe.label_smoothing
        self.weights = balanced(labels, classes) if recipe.class_weights == "balanced" else None

    def __call__(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The mean loss of logits (B, C) by labels (B,); of (M, B, C), that of each member, (M,).

        Rows count for as much as their class does.
        """
        if logits.ndim == 2:
            return cross_entropy(
                logits, labels, weight=self.weights, label_smoothing=self.smoothing
            )
        labels = labels.expand(logits.shape[:-1])  # (M, B)
        losses = cross_entropy(
            logits.mT,
            labels,
            weight=self.weights,
            label_smoothing=self.smoothing,
            reduction="none",
        )
        if self.weights is None:
            return losses.mean(dim=-1)
        return losses.sum(dim=-1) / self.weights[labels].sum(dim=-1)


def balanced(labels: Tensor, classes: int) -> Tensor:
    """(C,) N / (C n_c), as scikit-learn's "balanced": every class counts as much as any other.

    C are the classes that occur in the labels (N,); of the others there is nothing to learn.
    """
    counts = torch.bincount(labels, minlength=classes)
    seen = counts > 0
    weights = len(labels) / (seen.sum() * counts.clamp(min=1))
    return torch.where(seen, weights, 0.0).float()


def arithmetic(recipe: Recipe, where: torch.device) -> torch.autocast:
    """A context in which products are computed as the recipe's `precision` says.

    The weights stay float32, and so does the loss; heads are judged and used in float32.
    """
    narrow = recipe.precision == "bfloat16"
    return torch.autocast(where.type, dtype=torch.bfloat16, enabled=narrow)
