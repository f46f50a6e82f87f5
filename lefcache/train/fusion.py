"""How K projected features become one: the operators of the method's paper.

Source: arXiv 2504.05764, section on embedding fusion. Features first go through a projection to
one width (`lefcache.train.projection`); an operator takes the K results e1', ..., eK', each
(..., B, W), and returns one tensor (..., B, any). The paper defines its operators for two features
and only concatenates more; here each is stated for any K >= 1, products folded from the left.

To add one, write its function, or a module made of the K widths and W where it learns something,
and name it in FUSIONS and in `lefcache.presets.FUSED`; the width of its output is found by a trial.
"""

import math
from collections.abc import Callable, Sequence
from functools import reduce

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from lefcache.errors import RecipeError
from lefcache.feature import Feature
from lefcache.presets import MIX, check_width
from lefcache.recipe import Recipe
from lefcache.train.layers import Dropout, Linear

Operator = Callable[[Sequence[Tensor]], Tensor]

EXPERTS = 5
# How much further a mix's weights move than others: at the paper's learning rate they would stay
# where they begin, since the rest of the head has learnt all it can before they have moved by 1.
PACE = 30


def concat(features: Sequence[Tensor]) -> Tensor:
    """[e1'; ...; eK'], K W wide: the operator that scales best with K (arXiv 2504.05764)."""
    return torch.cat(tuple(features), dim=-1)


def add(features: Sequence[Tensor]) -> Tensor:
    """e1' + ... + eK', W wide."""
    return reduce(torch.add, features)


def hadamard(features: Sequence[Tensor]) -> Tensor:
    """e1' * ... * eK', elementwise, W wide (arXiv 2504.05764, section on fusion)."""
    return reduce(torch.mul, features)


def multiplication(features: Sequence[Tensor]) -> Tensor:
    """E1 @ ... @ EK, where E is e' row by row as a square matrix; flattened again, W wide."""
    width = features[0].shape[-1]
    check_width("multiplication", width)
    side = math.isqrt(width)
    return reduce(torch.matmul, [_cut(each, side) for each in features]).flatten(-2)


def normed_multiplication(features: Sequence[Tensor]) -> Tensor:
    """The product as the authors' code has it: divided by its L2 norm."""
    return normalize(multiplication(features), dim=-1)


def quaternion(features: Sequence[Tensor]) -> Tensor:
    """The Hamilton products of e's groups of 4 consecutive numbers a + bi + cj + dk, W wide."""
    check_width("quaternion", features[0].shape[-1])
    return reduce(_hamilton, [_cut(each, 4) for each in features]).flatten(-2)


def _cut(rows: Tensor, size: int) -> Tensor:
    """(..., W) to (..., W / size, size), of consecutive numbers."""
    return rows.reshape(*rows.shape[:-1], -1, size)


def _hamilton(one: Tensor, other: Tensor) -> Tensor:
    a1, b1, c1, d1 = one.unbind(-1)
    a2, b2, c2, d2 = other.unbind(-1)
    product = (
        a1 * a2 - b1 * b2 - c1 * c2 - d1 * d2,
        a1 * b2 + b1 * a2 + c1 * d2 - d1 * c2,
        a1 * c2 - b1 * d2 + c1 * a2 + d1 * b2,
        a1 * d2 + b1 * c2 - c1 * b2 + d1 * a2,
    )
    return torch.stack(product, dim=-1)


class Experts(nn.Module):
    """g1 ReLU(W1 z + b1) + ... + g5 ReLU(W5 z + b5), W wide: a dense mixture of experts.

    z = [e1' / |e1'|; ...; eK' / |eK'|], and the gate g = softmax(perceptron(z)), as the authors'
    code has it: no expert is left out, and no loss balances them.
    """

    def __init__(self, widths: Sequence[int], width: int) -> None:
        super().__init__()
        self.width = width
        self.experts = Linear(sum(widths), EXPERTS * width)
        self.gate = nn.Sequential(
            *(Linear(sum(widths), 512), nn.ReLU(), Dropout(0.3)),
            *(Linear(512, 256), nn.ReLU(), Dropout(0.3)),
            Linear(256, EXPERTS),
        )

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """K of (..., B, any) to (..., B, W)."""
        joined = torch.cat([normalize(each, dim=-1) for each in features], dim=-1)
        said = _cut(self.experts(joined).relu(), self.width)  # (..., B, 5, W)
        trusted: Tensor = self.gate(joined).softmax(dim=-1)  # (..., B, 5)
        return (trusted.unsqueeze(-2) @ said).squeeze(-2)


class Mix(nn.Module):
    """s1 e1 + ... + sK eK with learnt s = softmax(30 w): many layers of one model as one feature.

    It begins as their mean, w = 0. Source: the scalar mix of ELMo (arXiv 1802.05365, equation 1).
    """

    def __init__(self, widths: Sequence[int], width: int) -> None:
        super().__init__()
        if len(set(widths)) > 1:
            found = ", ".join(map(str, sorted(set(widths))))
            raise RecipeError(
                f"mix adds up layers of one model, and these features are {found} wide: give "
                "layers of one model, or another op"
            )
        self.weights = nn.Parameter(torch.zeros(len(widths)))

    @property
    def shares(self) -> Tensor:
        """What each layer counts for: (..., K), positive, together 1."""
        return (PACE * self.weights).softmax(dim=-1)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """K of (..., B, D) to (..., B, D)."""
        shares = self.shares[..., None, None].unbind(-3)  # K of (..., 1, 1)
        return add([share * each for share, each in zip(shares, features, strict=True)])


# Functions, and modules made of the K widths and W.
FUSIONS: dict[str, Operator | type[Experts | Mix]] = {
    "concat": concat,
    "sum": add,
    "hadamard": hadamard,
    "multiplication": multiplication,
    "quaternion": quaternion,
    "moe": Experts,
    "mix": Mix,
}


def check_features(recipe: Recipe, features: Sequence[Feature]) -> None:
    """Refuse to mix layers of different models: their numbers mean different things."""
    models = sorted({feature.model for feature in features})
    if recipe.fusion == MIX and len(models) > 1:
        raise RecipeError(
            f"mix adds up layers of one model, and these are of {' and '.join(models)}: give "
            f"layers of one (such as {models[0]}:all), or another op"
        )


def operator_of(recipe: Recipe, widths: Sequence[int]) -> Operator:
    """What a recipe's `op` names, or is, for features of these widths; without the residual."""
    if not isinstance(recipe.op, str):
        return recipe.op
    if recipe.preset == "released" and recipe.fusion == "multiplication":
        return normed_multiplication
    found = FUSIONS[recipe.fusion]
    return found(widths, recipe.width) if isinstance(found, type) else found


def fused_width(operator: Operator, widths: Sequence[int]) -> int:
    """How wide the operator's output is for K features of these widths.

    Raises RecipeError where it does not give one row per text.
    """
    with torch.no_grad():
        fused = operator([torch.zeros(2, width) for width in widths])
    if fused.ndim != 2 or len(fused) != 2:
        given = ", ".join(f"(2, {width})" for width in widths)
        raise RecipeError(
            f"the operator made {tuple(fused.shape)} of tensors {given}: "
            "it must return one row per text"
        )
    return fused.shape[1]
