"""The layers of one pooling of one split, by any name that a layer has."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from lefcache.cache.documents import check_array_place
from lefcache.errors import DamagedError, FeatureError, IncompleteError
from lefcache.feature import Feature, Layer, describe_layers
from lefcache.rows import Matrix
from lefcache.spec import STORED
from lefcache.stores import ArrayInfo

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


def stored_as(pages: "Pages", name: str) -> tuple[ArrayInfo, str]:
    """What an array is, and the checksums of one that was imported; DamagedError if it is none."""
    path = f"{pages.path}/{name}"
    info = pages.store.info(path)
    if info is None or info.shape[0] != pages.rows or info.dtype.name not in STORED:
        raise DamagedError(f"{path} is not the array that the ledger speaks of")
    check_array_place(pages.store, path)
    # A Spec tells two extractions apart; of two imports only the bytes do.
    return info, repr(pages.checksums(name)) if pages.spec.imported else ""
