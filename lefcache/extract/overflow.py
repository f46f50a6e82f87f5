"""A vector that cannot be stored: which row it is, and the command that keeps it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from lefcache.cache import Task
from lefcache.cache.hints import corpus_flags, extract_command, model_flags
from lefcache.errors import NotFiniteError
from lefcache.extract.backbone import Backbone
from lefcache.extract.embed import NotFiniteRow
from lefcache.extract.order import own_flags
from lefcache.spec import Spec

if TYPE_CHECKING:
    from lefcache.extract.compute import Assignment


@contextmanager
def named_rows(
    backbone: Backbone, assignment: "Assignment", task: Task, texts: Sequence[str]
) -> Iterator[None]:
    """Say which row of the split it was that could not be stored, and what to do."""
    try:
        yield
    except NotFiniteRow as error:
        text = list(dict.fromkeys(texts))[error.row]
        pool, _, layer = error.array.partition("/")
        raise NotFiniteError(
            f"{assignment.request.path}: layer {layer} ({pool}) of row "
            f"{task.start + texts.index(text)}, {text[:60]!r}, "
            + _what_to_do(error, backbone, assignment)
        ) from None


def _what_to_do(error: NotFiniteRow, backbone: Backbone, assignment: "Assignment") -> str:
    """What is wrong with the vector, whose doing it is, and the command that helps."""
    kept, computed = "finished blocks are kept", backbone.spec.dtype
    if np.isfinite(error.largest):
        command = _again(backbone, assignment, backbone.spec)
        other = " (or to 2 digits, in half the bytes: --store-dtype bfloat16 in its place)"
        return (
            f"has the value {error.largest:,.6g}, too large for {error.dtype}; {kept}. "
            f"Keep such values as float32{other * (error.dtype == 'float16')} with: {command}"
        )
    found = "is NaN" if np.isnan(error.largest) else "is infinite"
    made = f"{found}: that is what the model itself gives, computing in {computed}; {kept}"
    if computed == "float32":
        return (
            f"{made}. See that its weights are whole, or leave that layer out with --layers, "
            "beside what is there with --as NAME"
        )
    wide = replace(backbone.spec, dtype="float32")
    command = _again(backbone, assignment, wide)
    other = " (or, as fast as float16, --dtype bfloat16 in its place)"
    return f"{made}. Try a wider arithmetic{other * (computed == 'float16')} with: {command}"


def _again(backbone: Backbone, assignment: "Assignment", spec: Spec) -> str:
    """The command that extracts all that was asked for once more, as float32, beside the old.

    All of it: arrays that were asked for together are finished together, so without the one that
    overflows the others would never be.
    """
    order, lengths = assignment.order, assignment.lengths
    named = [name.partition("/") for name in order.arrays]
    layers = dict.fromkeys(layer if layer == "last" else int(layer) for _, _, layer in named)
    pools = dict.fromkeys(pool for pool, _, _ in named)
    more = ["--store-dtype", "float32", "--as", f"{backbone.name}-f32"]
    if tuple(order.rows) != tuple(lengths):
        more += ["--splits", ",".join(order.rows)]
    if any(count < lengths[split] for split, count in order.rows.items()):
        more += ["--limit", str(max(order.rows.values()))]
    more += corpus_flags({"options": assignment.corpus_options})
    # On its own cache, `auto` means what the cache was made with; here it is a new one.
    more += ["--dtype", spec.dtype, "--attention", spec.attention]
    more += model_flags(spec, backbone.provenance, own_flags(backbone))
    return extract_command(
        assignment.cache, assignment.corpus_source, backbone.source, layers, pools, more
    )
