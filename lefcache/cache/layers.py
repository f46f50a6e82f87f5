"""The layers of one pooling of one split, by any name that a layer has."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from lefcache.errors import FeatureError, IncompleteError
from lefcache.feature import Feature, Layer, describe_layers
from lefcache.rows import Matrix

if TYPE_CHECKING:
    from lefcache.cache.pages import Pages


class Layers(Mapping[Layer, Matrix]):
    """What `pages["mean"]` is: `[24]`, `["24"]`, `[-1]` and `["last"]` are (N, D) matrices on disk.

    Iterating gives the stored layers as they are called on disk. Raises what `Pages.matrix` does.
    """

    def __init__(self, pages: "Pages", pool: str) -> None:
        self.pages, self.pool = pages, pool

    def __getitem__(self, layer: Layer) -> Matrix:
        return self.pages.matrix(Feature.parse(f"{self.pages.model}:{layer}@{self.pool}"))

    def __contains__(self, layer: object) -> bool:
        try:
            return isinstance(layer, Layer) and self[layer] is not None
        except IncompleteError:
            return True
        except FeatureError:
            return False

    def __iter__(self) -> Iterator[str]:
        return iter(str(layer) for layer in self.pages.layers(self.pool))

    def __len__(self) -> int:
        return len(self.pages.layers(self.pool))

    def __repr__(self) -> str:
        layers = describe_layers(self.pages.layers(self.pool))
        return f"<{self.pages.path}/{self.pool}: layers {layers}>"


def array_name(pages: "Pages", feature: Feature, layer: Layer) -> str:
    """The array that holds a layer of a feature, such as `mean/24`, be it stored or not."""
    pool = feature.pool or ("own" if "last" in pages.layers("own") else "mean")
    return f"{pool}/{pages.aliases.get(str(layer), layer)}"
