"""Whether vectors may stand beside those of the same name: only if they were made alike."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lefcache.cache.documents import below, described
from lefcache.cache.documents import known as known_attrs
from lefcache.cache.lost import BEGUN, known_by_splits
from lefcache.corpus import SPLITS
from lefcache.errors import DamagedError, MismatchError
from lefcache.spec import SPEC_DIGEST, Spec
from lefcache.stores import Store

if TYPE_CHECKING:
    from lefcache.cache.request import Request

MADE_OTHERWISE = "its vectors were made with other weights or settings than those of its model"


def check_model(store: Store, request: "Request") -> None:
    """Refuse a model that was made with other settings; the message is the difference."""
    path = f"{request.corpus}/{request.model}"
    attrs = described(store, path)
    if _bare(store, path) or (not attrs and known_by_splits(store, request)):
        return
    known, imports = Spec.from_json(known_attrs(store, path)["spec"]), request.spec.imported
    fix = "import these under another NAME" if imports else "keep both with --as NAME"
    if known.imported != imports:
        made = ("was extracted from a model", "holds vectors that were made elsewhere and imported")
        raise MismatchError(f"{path} {made[known.imported]}: {fix}")
    difference = known.difference(request.spec)
    if attrs["width"] != request.width:
        difference.append(f"width: {attrs['width']} in the cache, {request.width} now")
    if attrs["depth"] != request.depth and not _deeper(attrs, request):
        difference.append(f"depth: {attrs['depth']} in the cache, {request.depth} now")
    if difference:
        lines = "".join(f"\n  {line}" for line in difference)
        how = "imported" if imports else "extracted"
        raise MismatchError(
            f"{path} was {how} with other settings:{lines}\n"
            f"{fix}, or give the settings of the cache"
        )


def check_made_alike(
    store: Store, path: str, split: Mapping[str, Any], model: Mapping[str, Any]
) -> None:
    """Refuse a split with vectors that its model's Spec did not make."""
    if is_made_otherwise(store, path, split, model):
        raise DamagedError(f"{path}: {MADE_OTHERWISE}; see: lef verify {path}")


def is_made_otherwise(
    store: Store, path: str, split: Mapping[str, Any], model: Mapping[str, Any]
) -> bool:
    """Whether a split of these attributes has vectors that its model's Spec did not make.

    It was copied from another cache then, where its model has other weights or settings. A split
    without vectors is bound by nothing: its model may have been described anew since it was begun.
    Of one from before it knew its Spec, and where the model's is gone, nothing can be told.
    """
    known = split.get(SPEC_DIGEST)
    try:
        if known is None or not model or known == Spec.from_json(model["spec"]).digest:
            return False
    except MismatchError:  # of a newer lefcache, as is said where the Spec is used
        return False
    return bool(below(store, f"{path}/ledger"))


def _deeper(attrs: Mapping[str, Any], request: "Request") -> bool:
    """Whether an import adds deeper layers: how many a model has is known from those alone."""
    return request.spec.imported and request.depth > attrs["depth"]


def describe_model(store: Store, request: "Request") -> None:
    """Write down what a model is, unless there are vectors that this was written for.

    Which splits it has begun is written down before they are: one that is gone leaves a trace.
    """
    path = f"{request.corpus}/{request.model}"
    attrs, bare = described(store, path), _bare(store, path)
    now = attrs if attrs and not bare else _described(request, lost=not bare)
    if _deeper(now, request):
        now = now | {"depth": request.depth}
    if (request.provenance or {}).get("remote_code"):
        now = now | {"provenance": {**now.get("provenance", {}), "remote_code": True}}
    begun = {*attrs.get(BEGUN, ()), *below(store, path), request.split}
    now = now | {BEGUN: [split for split in SPLITS if split in begun]}
    if now != attrs:
        store.set_attrs(path, now)


def _described(request: "Request", lost: bool) -> dict[str, Any]:
    """What a model is that is not described yet, or that `lost` its description."""
    made = dict(request.provenance or {})
    if lost:
        made["written_anew"] = "its first provenance was lost"
    known = {"spec": request.spec.to_json(), "depth": request.depth, "width": request.width}
    told = {"source": request.source, "flags": list(request.flags)}
    return known | told | {"provenance": made}


def _bare(store: Store, model: str) -> bool:
    """Whether no split of a model has a single vector: its settings bind nobody yet."""
    return not any(below(store, f"{model}/{split}/ledger") for split in store.children(model))
