"""What a head minimises, and in which arithmetic."""

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from lefcache.errors import RecipeError
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


def check_arithmetic(recipe: Recipe, where: torch.device) -> None:
    """Refuse, with a RecipeError, narrow products on a device that has to imitate them.

    A processor without bfloat16 took 13 times as long with it as with float32.
    """
    if recipe.precision == "bfloat16" and not has_bfloat16(where):
        what = "GPU" if where.type == "cuda" else "processor"
        raise RecipeError(
            f"this {what} has no bfloat16 of its own, and would take many times as long with it as "
            "with float32: leave out precision (--precision)"
        )


def has_bfloat16(where: torch.device) -> bool:
    """Whether a device multiplies in bfloat16 itself; where torch cannot tell, it may."""
    if where.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if where.type == "cpu" and hasattr(torch.cpu, "get_capabilities"):
        facts = torch.cpu.get_capabilities()
        return any(facts.get(name, False) for name in ("amx_bf16", "avx512_bf16", "bf16"))
    return True
