"""How deep features lie in their models."""

import math
from collections.abc import Sequence

from lefcache.feature import Feature


def depth_of(feature: Feature) -> float:
    """How deep a feature lies, in blocks: the mean of its layers; `last` is below them all."""
    numbers = [part if isinstance(part, int) else math.inf for part in feature.parts]
    return sum(numbers) / len(numbers)


def deepest(features: Sequence[Feature]) -> tuple[str, ...]:
    """The deepest features of each model."""
    depths: dict[str, float] = {}
    for feature in features:
        depths[feature.model] = max(depth_of(feature), depths.get(feature.model, -math.inf))
    return tuple(str(each) for each in features if depth_of(each) == depths[each.model])


def reaches(features: Sequence[Feature], depth: int | None) -> bool:
    """Whether the deepest of these is the last layer of a model of so many blocks; None: surely."""
    return depth is None or any(depth_of(each) >= depth for each in features)


def nearest_to(features: Sequence[Feature], share: float, depth: int | None = None) -> Feature:
    """The feature that lies nearest to this share of a model's depth, ties to the shallower.

    `depth` is the model's, in blocks; without it the deepest numbered layer tells.
    """
    numbers = [each for each in map(depth_of, features) if math.isfinite(each)]
    whole = max(numbers, default=0.0) if depth is None else depth
    wanted = round(share * whole)
    return min(features, key=lambda each: (abs(depth_of(each) - wanted), depth_of(each)))
