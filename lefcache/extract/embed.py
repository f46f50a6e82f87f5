"""Texts of one block to the pooled vectors of every wanted layer, in one pass."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lefcache.cache import CUT, TOKENS
from lefcache.dtypes import LARGEST
from lefcache.errors import ModelError
from lefcache.extract.backbone import Backbone, Encoded
from lefcache.extract.batching import plan_batches
from lefcache.extract.memory import out_of_memory
from lefcache.extract.pooling import POOLINGS, Span
from lefcache.feature import Layer

OnBatch = Callable[[int, int], None]  # rows that are done, and tokens that went through the model
OnSplit = Callable[[int], None]  # texts of a batch that did not fit in memory


class NotFiniteRow(Exception):  # noqa: N818 - a message to `named_rows`, which knows the row
    """A vector that cannot be stored: its array, its text's place in the block, its size."""

    def __init__(self, array: str, row: int, largest: float, dtype: str) -> None:
        super().__init__(array, row, largest, dtype)
        self.array, self.row, self.largest, self.dtype = array, row, largest, dtype


def embed_block(
    backbone: Backbone,
    texts: Sequence[str],
    arrays: Sequence[str],
    dtypes: Mapping[str, np.dtype[Any]],
    batch_tokens: int,
    on_batch: OnBatch | None = None,
    on_split: OnSplit | None = None,
) -> dict[str, NDArray[Any]]:
    """The (rows, D) values of each array such as `mean/24`, and the tokens of each row.

    Identical texts of the block are computed once. An array whose dtype is not settled yet comes
    as float32. Raises NotFiniteRow where a value is NaN, infinite or too large for its dtype,
    ModelError where a single text does not fit in memory.
    """
    rows = Counter(texts)
    unique = list(rows)
    encoded = backbone.tokenize(unique)
    names = [name for name in arrays if name != TOKENS]
    values: dict[str, NDArray[Any]] = {}
    for batch in plan_batches([len(each) for each in encoded], batch_tokens):
        parts = embed_in_memory(backbone, [encoded[i] for i in batch], names, on_split)
        for name, part in zip(names, parts, strict=True):
            dtype = dtypes.get(name, np.dtype(np.float32))
            _check(name, part, dtype, batch)
            if name not in values:
                values[name] = np.empty((len(unique), part.shape[1]), dtype)
            values[name][batch] = part.numpy()
        if on_batch:
            on_batch(sum(rows[unique[i]] for i in batch), sum(len(encoded[i]) for i in batch))
    values[TOKENS] = np.array([_tokens(each) for each in encoded], np.uint32)
    return values if len(unique) == len(texts) else _repeat(values, texts, unique)


def _repeat(
    values: dict[str, NDArray[Any]], texts: Sequence[str], unique: Sequence[str]
) -> dict[str, NDArray[Any]]:
    """A row for each text from a row for each different one, which is gone afterwards."""
    place = {text: number for number, text in enumerate(unique)}
    index = np.array([place[text] for text in texts])
    # One array at a time: both forms of all of them would take twice the memory.
    return {name: values.pop(name)[index] for name in list(values)}


def embed_in_memory(
    backbone: Backbone,
    batch: Sequence[Encoded],
    arrays: Sequence[str],
    on_split: OnSplit | None = None,
) -> list[Tensor]:
    """The pooled states (B, D) in float32 of each array, on the CPU.

    A batch that is too large for the device's memory is halved, in order, as often as it takes:
    a fixed rule, so that it gives the same batches again. Raises ModelError for a single text
    that does not fit.
    """
    try:
        pooled = embed_batch(backbone, batch, arrays)
        # A model that is spread has its layers on several devices.
        one = pooled[arrays[0]].device
        flat = torch.cat([pooled[name].to(one) for name in arrays], 1).cpu()  # (B, sum of D)
        return list(torch.split(flat, [pooled[name].shape[1] for name in arrays], 1))
    except RuntimeError as error:
        if not out_of_memory(error):
            raise
        if len(batch) == 1:
            raise ModelError(
                f"{backbone.name}: a single text of {len(batch[0]):,} tokens does not fit in the "
                "device's memory; finished blocks are kept. Cut texts with a lower --max-length "
                "(and --as NAME beside what is in the cache), or use a device with more memory"
            ) from error
    # Outside of `except`: there, the error would keep what the failed pass had allocated.
    if on_split:
        on_split(len(batch))
    half = (len(batch) + 1) // 2
    first = embed_in_memory(backbone, batch[:half], arrays, on_split)
    second = embed_in_memory(backbone, batch[half:], arrays, on_split)
    return [torch.cat(both) for both in zip(first, second, strict=True)]


def embed_batch(
    backbone: Backbone, batch: Sequence[Encoded], arrays: Sequence[str]
) -> dict[str, Tensor]:
    """The pooled states (B, D) in float32 of each array, from one forward pass.

    Every layer is pooled the moment its block has run, so no more than one layer's (B, T, D)
    states are ever alive.
    """
    wanted: dict[Layer, list[str]] = {}
    for name in arrays:
        pool, _, layer = name.partition("/")
        wanted.setdefault(layer if layer == "last" else int(layer), []).append(pool)
    poolings = POOLINGS | ({"own": backbone.own} if backbone.own else {})
    spans: dict[torch.device, Span] = {}
    pooled: dict[str, Tensor] = {}

    def deliver(layer: Layer, states: Tensor) -> None:
        span = spans.get(states.device)
        if span is None:
            span = spans[states.device] = span_of(batch, states)
        for pool in wanted.get(layer, ()):
            pooled[f"{pool}/{layer}"] = poolings[pool](states, span)

    backbone.forward(batch, wanted.keys(), deliver)
    return pooled


def span_of(batch: Sequence[Encoded], states: Tensor) -> Span:
    """Where each text's pooled tokens lie in states (B, T, D)."""
    lengths = [len(each) for each in batch]
    first = [min(each.skip, len(each) - 1) for each in batch]
    start = [max(begin, each.bos) for begin, each in zip(first, batch, strict=True)]
    boundaries = torch.tensor([first, start, lengths], device=states.device)
    return Span.of(boundaries[0], boundaries[1], boundaries[2], states.shape[1])


def _tokens(encoded: Encoded) -> int:
    pooled = max(1, len(encoded) - encoded.skip)
    return pooled | int(CUT) if encoded.cut else pooled


def _check(name: str, values: Tensor, dtype: np.dtype[Any], batch: Sequence[int]) -> None:
    """Raise NotFiniteRow where a value of (B, D) is NaN, infinite or too large for its dtype."""
    largest = float(values.abs().max())  # NaN is the largest of all
    if largest <= LARGEST[dtype.name]:
        return
    worst = values.abs().amax(1).nan_to_num(nan=float("inf"))
    raise NotFiniteRow(name, batch[int(worst.argmax())], largest, dtype.name)
