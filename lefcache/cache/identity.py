"""Whether vectors may stand beside those of the same name: only if they were made alike."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lefcache.cache.documents import below, described
from lefcache.cache.documents import known as known_attrs
from lefcache.errors import MismatchError
from lefcache.spec import Spec
from lefcache.stores import Store

if TYPE_CHECKING:
    from lefcache.cache.writer import Request


def check_model(store: Store, request: "Request") -> None:
    """Refuse a model that was made with other settings; the message is the difference."""
    path = f"{request.corpus}/{request.model}"
    attrs = described(store, path)
    if _bare(store, path):
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


def _deeper(attrs: Mapping[str, Any], request: "Request") -> bool:
    """Whether an import adds deeper layers: how many a model has is known from those alone."""
    return request.spec.imported and request.depth > attrs["depth"]


def describe_model(store: Store, request: "Request") -> None:
    """Write down what a model is, unless there are vectors that this was written for."""
    path = f"{request.corpus}/{request.model}"
    attrs = described(store, path)
    if attrs and _deeper(attrs, request):
        attrs |= {"depth": request.depth}
        store.set_attrs(path, attrs)
    made = dict(request.provenance or {})
    before = attrs.get("provenance", {})
    if attrs and made.get("remote_code") and not before.get("remote_code"):
        store.set_attrs(path, attrs | {"provenance": {**before, "remote_code": True}})
    if _bare(store, path):
        known = {"spec": request.spec.to_json(), "depth": request.depth, "width": request.width}
        told = {"source": request.source, "flags": list(request.flags)}
        store.set_attrs(path, known | told | {"provenance": made})


def _bare(store: Store, model: str) -> bool:
    """Whether no split of a model has a single vector: its settings bind nobody yet."""
    return not any(below(store, f"{model}/{split}/ledger") for split in store.children(model))
