"""Whether vectors may stand beside those of the same name: only if they were made alike."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lefcache.errors import MismatchError
from lefcache.spec import Spec
from lefcache.stores import Store

if TYPE_CHECKING:
    from lefcache.cache.writer import Request


def check_model(store: Store, request: "Request") -> None:
    """Refuse a model that was made with other settings; the message is the difference."""
    path = f"{request.corpus}/{request.model}"
    attrs = store.attrs(path)
    if _bare(store, path):
        return
    known, imports = Spec.from_json(attrs["spec"]), request.spec.imported
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
    attrs = store.attrs(path)
    if attrs and _deeper(attrs, request):
        store.set_attrs(path, attrs | {"depth": request.depth})
    if _bare(store, path):
        known = {"spec": request.spec.to_json(), "depth": request.depth, "width": request.width}
        made = {"source": request.source, "flags": list(request.flags)}
        store.set_attrs(path, known | made | {"provenance": dict(request.provenance or {})})


def _bare(store: Store, model: str) -> bool:
    """Whether no split of a model has a single vector: its settings bind nobody yet."""
    return not any(store.children(f"{model}/{split}/ledger") for split in store.children(model))
