"""What every feature goes through before the operator: the two published ways."""

from collections.abc import Sequence

from torch import nn

from lefcache.recipe import Recipe
from lefcache.train.layers import ACTIVATIONS, Linear, Normalise

Projections = tuple[list[nn.Module], list[int]]  # K modules, and the widths of what they give


def projections(widths: Sequence[int], recipe: Recipe) -> Projections:
    """A module for each feature, D_k wide, and how wide its output is.

    Layers that are mixed go through one projection together, after the operator.
    """
    if recipe.fusion == "mix":
        return _untouched(widths)
    if recipe.preset == "released":
        return _released(widths, recipe)
    # e' = ReLU(W e + b), as the paper's text has it.
    made: list[nn.Module] = [projection(width, recipe) for width in widths]
    return made, [recipe.width] * len(widths)


def projection(width: int, recipe: Recipe) -> nn.Sequential:
    """The paper's own, from this width to the recipe's."""
    return nn.Sequential(Linear(width, recipe.width), ACTIVATIONS[recipe.activation]())


def _released(widths: Sequence[int], recipe: Recipe) -> Projections:
    """As the authors' code does it: never a ReLU, and only where the operator needs one width."""
    if recipe.fusion in ("concat", "moe"):
        return _untouched(widths)
    least = min(widths)
    if recipe.fusion == "sum":
        return [_normed(width, least) for width in widths], [least] * len(widths)
    if recipe.fusion == "hadamard":
        made = [nn.Identity() if width == least else _normed(width, least) for width in widths]
        return made, [least] * len(widths)
    return [Linear(width, recipe.width) for width in widths], [recipe.width] * len(widths)


def _untouched(widths: Sequence[int]) -> Projections:
    return [nn.Identity() for _ in widths], [*widths]


def _normed(width: int, narrower: int) -> nn.Module:
    return nn.Sequential(Linear(width, narrower), Normalise())
