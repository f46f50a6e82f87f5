"""A few texts that have been through a model in several ways, for checks to compare."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt

import torch
from torch import Tensor

from lefcache.extract.backbone import Backbone, Encoded
from lefcache.extract.huggingface import HuggingFaceBackbone
from lefcache.feature import Layer

# Of several lengths and scripts, the longest neither first nor last; nothing at all is a text too.
TEXTS = (
    "No.",
    "A cat sat on the mat.",
    "The parcel came a day early, in the rain, and nobody was at home to take it: the neighbour "
    "did, who told us about it at length on Sunday, and again on Monday.",
    "",
    "这部电影非常好看。",
    "Is this it? 42 😀",
    "لم يصل الطرد بعد",
    "not one of the two was bad, and both of them were longer than they had to be",
)
# Rounding alone moves a state by less than this, relative to the largest value of its token,
# times the root of the number of blocks: its errors add up as the steps of a drunkard do.
TOLERANCE = {"float32": 4e-4, "float16": 8e-3, "bfloat16": 4e-2}

States = dict[Layer, Tensor]  # of one text: (T, D) float32 on the CPU


@dataclass(frozen=True)
class Probe:
    """The texts as tokens, and their states: each one alone, and all in one batch."""

    backbone: HuggingFaceBackbone
    encoded: Sequence[Encoded]
    alone: Sequence[States]
    together: Sequence[States]

    @classmethod
    def of(cls, backbone: HuggingFaceBackbone, texts: Sequence[str] | None = None) -> "Probe":
        """Run the texts through the model, each alone and then all at once."""
        encoded = backbone.tokenize(list(texts or TEXTS))
        alone = [states for each in encoded for states in states_of(backbone, [each])]
        return cls(backbone, encoded, alone, states_of(backbone, encoded))

    @property
    def tolerance(self) -> float:
        """How far two ways of computing the same states may be apart."""
        return tolerance(self.backbone)

    @property
    def longest(self) -> Encoded:
        """The text with the most tokens."""
        return max(self.encoded, key=len)

    def another(self, token: int) -> int:
        """A token of the texts that is not this one."""
        others = (each for encoded in self.encoded for each in encoded.ids if each != token)
        return next(others, token + 1)


def tolerance(backbone: Backbone) -> float:
    """How far rounding alone may move a state of this model."""
    return TOLERANCE[backbone.spec.dtype] * sqrt(max(1, backbone.depth))


def states_of(backbone: Backbone, batch: Sequence[Encoded]) -> list[States]:
    """Of each text of a batch, every layer's states of its own tokens."""
    found: list[States] = [{} for _ in batch]

    def deliver(layer: Layer, states: Tensor) -> None:
        copied = states.to("cpu", torch.float32, copy=True)  # it is valid during the call only
        for row, encoded in enumerate(batch):
            # A model's own pooled vector is (B, D): one state for the whole text.
            own = copied[row, : len(encoded)] if copied.ndim == 3 else copied[row : row + 1]
            found[row][layer] = own

    backbone.forward(batch, backbone.layers, deliver)
    return found


def distance(one: Tensor, other: Tensor) -> float:
    """The largest difference of two (T, D) states, relative to the largest value of its token.

    Infinite where the shapes differ or a value is NaN.
    """
    if one.shape != other.shape:
        return float("inf")
    largest = other.abs().amax(1)
    # A token whose state is all but zero is measured against the others.
    scale = torch.maximum(largest, 1e-3 * largest.max()).clamp_min(1e-12)
    apart = (one - other).abs().amax(1) / scale
    return float(apart.nan_to_num(nan=float("inf")).max())


def distances(some: Iterable[States], others: Iterable[States]) -> dict[str, float]:
    """The largest distance in each layer between the states of the same texts."""
    found: dict[str, float] = {}
    for one, other in zip(some, others, strict=True):
        for layer in one.keys() & other.keys():
            apart = distance(one[layer], other[layer])
            found[str(layer)] = max(apart, found.get(str(layer), 0.0))
    return {layer: found[layer] for layer in sorted(found, key=_in_order)}


def _in_order(layer: str) -> tuple[bool, int]:
    return (True, 0) if layer == "last" else (False, int(layer))


def worst(figures: Mapping[str, float], what: str = "layer") -> str:
    """`3.1e-07 in layer 4`: the largest of the figures of each layer, and where it is."""
    place = max(figures, key=lambda each: figures[each])
    return f"{figures[place]:.1e} in {what} {place}"


def agreement(figures: Mapping[str, float], what: str = "layer") -> str:
    """How well what should be equal agrees: `bit for bit` or `up to 3.1e-07 in layer 4`."""
    return f"up to {worst(figures, what)}" if any(figures.values()) else "bit for bit"
