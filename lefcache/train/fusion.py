"""How K projected features become one: the operators of the method's paper.

Source: arXiv 2504.05764, section on embedding fusion. Every feature first goes through
e' = ReLU(W e + b) to one width (that is the head's part); an operator takes the K results
e1', ..., eK', each (B, W), and returns one tensor (B, any). The paper defines its operators for
two features; here each is stated for any K >= 1.

To add one, write its function and name it below; the width of its output is found by a trial.
"""

from collections.abc import Callable, Sequence
from functools import partial, reduce

import torch
from torch import Tensor

from lefcache.errors import RecipeError
from lefcache.recipe import Recipe

Operator = Callable[[Sequence[Tensor]], Tensor]


def concat(features: Sequence[Tensor]) -> Tensor:
    """[e1'; ...; eK'], K W wide: the operator that scales best with K (arXiv 2504.05764)."""
    return torch.cat(tuple(features), dim=-1)


def hadamard(features: Sequence[Tensor]) -> Tensor:
    """e1' * ... * eK', elementwise, W wide (arXiv 2504.05764, section on fusion)."""
    return reduce(torch.mul, features)


def residual(operator: Operator) -> Operator:
    """[e1'; ...; eK'; op(e1', ..., eK')]: the paper's residual.

    The inputs stand beside the operator's output; nothing is added up.
    """
    return partial(_beside, operator)  # which pickle knows by name, unlike a function in here


def _beside(operator: Operator, features: Sequence[Tensor]) -> Tensor:
    return torch.cat([*features, operator(features)], dim=-1)


FUSIONS: dict[str, Operator] = {
    "concat": concat,
    "concat-res": concat,  # it holds its inputs already
    "hadamard": hadamard,
    "hadamard-res": residual(hadamard),
}


def operator_of(recipe: Recipe) -> Operator:
    """The function that a recipe's `op` names, or is."""
    return FUSIONS[recipe.op] if isinstance(recipe.op, str) else recipe.op


def fused_width(operator: Operator, features: int, width: int) -> int:
    """How wide the operator's output is for K features of one width.

    Raises RecipeError where it does not give one row per text.
    """
    with torch.no_grad():
        fused = operator([torch.zeros(2, width) for _ in range(features)])
    if fused.ndim != 2 or len(fused) != 2:
        raise RecipeError(
            f"the operator made {tuple(fused.shape)} of {features} tensors (2, {width}): "
            "it must return one row per text"
        )
    return fused.shape[1]
