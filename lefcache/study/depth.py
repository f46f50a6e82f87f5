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
