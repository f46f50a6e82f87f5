"""What a split holds, in the words of a list: for the card, and for who is about to pull it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from lefcache.cache import Pages
from lefcache.cache.hints import by_pool
from lefcache.feature import describe_layers
from lefcache.registry import MODELS
from lefcache.share.tree import source_shown
from lefcache.spec import Spec


@dataclass(frozen=True)
class Described:
    """Some arrays of one split, and the model that they are of."""

    corpus: str
    model: str
    split: str
    arrays: tuple[str, ...]  # such as "mean/24"
    rows: int
    width: int
    depth: int
    dtype: str
    bytes: int  # of the vectors
    spec: Spec
    source: str
    revision: str
    licence: str

    @property
    def path(self) -> str:
        """Its place in the tree."""
        return f"{self.corpus}/{self.model}/{self.split}"

    @property
    def layers(self) -> str:
        """`mean: 0..6, last; max: 6`."""
        pools = by_pool(self.arrays).items()
        return "; ".join(f"{pool}: {describe_layers(layers)}" for pool, layers in pools)

    def to_json(self) -> dict[str, Any]:
        """The fields as plain values."""
        return {
            "key": self.path,
            "arrays": list(self.arrays),
            "rows": self.rows,
            "width": self.width,
            "dtype": self.dtype,
            "bytes": self.bytes,
            "spec": self.spec.to_json(),
            "source": self.source,
            "revision": self.revision,
            "model_licence": self.licence,
        }


def describe(pages: Pages, arrays: Iterable[str] | None = None) -> Described:
    """A split with these of its arrays, or all of them; only metadata is read."""
    names = tuple(name for name in (arrays or pages.arrays) if "/" in name)
    infos = [info for name in names if (info := pages.store.info(f"{pages.path}/{name}"))]
    made = pages.model_attrs
    source = source_shown(made) or ""
    return Described(
        corpus=pages.corpus,
        model=pages.model,
        split=pages.split,
        arrays=names,
        rows=pages.rows,
        width=int(made["width"]),
        depth=pages.depth,
        dtype="/".join(sorted({str(info.dtype) for info in infos})),
        bytes=sum(info.chunks * info.chunk_bytes for info in infos),
        spec=pages.spec,
        source=source,
        revision=revision_of(pages.spec, made.get("provenance") or {}),
        licence=licence_of(pages.model, source),
    )


def licence_of(model: str, source: str) -> str:
    """The licence of a model that lefcache knows by its source; "" for all others."""
    known = [entry for name, entry in MODELS.items() if source in (name, entry.source)]
    known = known or ([MODELS[model]] if model in MODELS and not source else [])
    return known[0].licence if known else ""


def revision_of(spec: Spec, provenance: Mapping[str, Any]) -> str:
    """The commit that a model was read at or, where none is known, what its weights hash to."""
    return str(provenance.get("revision") or spec.weights)
