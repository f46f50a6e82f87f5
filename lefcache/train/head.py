"""The trained part: project each feature, fuse, classify."""

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from lefcache.recipe import Recipe
from lefcache.train.fusion import fused_width, operator_of


class Head(nn.Module):
    """K features in, C logits out, as the method's paper describes it (arXiv 2504.05764).

    `project[k]` is e' = ReLU(W e + b) to the recipe's width, `fuse` the recipe's operator,
    `classify` linear layers with ReLU and dropout between them. The result is logits: no softmax
    before cross-entropy.

    Args:
        widths: D_k of each feature, K of them.
        classes: C.
        recipe: op, width, hidden and dropout.
    """

    def __init__(self, widths: Sequence[int], classes: int, recipe: Recipe) -> None:
        super().__init__()
        self.project = nn.ModuleList(
            nn.Sequential(nn.Linear(width, recipe.width), nn.ReLU()) for width in widths
        )
        self.fuse = operator_of(recipe)
        layers: list[nn.Module] = []
        sizes = [fused_width(self.fuse, len(widths), recipe.width), *recipe.hidden]
        for (size, following), rate in zip(pairwise(sizes), recipe.dropout, strict=True):
            layers += [nn.Linear(size, following), nn.ReLU(), nn.Dropout(rate)]
        self.classify = nn.Sequential(*layers, nn.Linear(sizes[-1], classes))

    def forward(self, *features: Tensor) -> Tensor:
        """(B, D_k) for each of the K features to logits (B, C)."""
        projected = [layer(each) for layer, each in zip(self.project, features, strict=True)]
        logits: Tensor = self.classify(self.fuse(projected))
        return logits
