"""Texts of one block to the pooled vectors of every wanted layer, in one pass."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lefcache.cache import CUT, TOKENS
from lefcache.errors import NotFiniteError
from lefcache.extract.backbone import Backbone, Encoded
from lefcache.extract.batching import plan_batches
from lefcache.extract.pooling import POOLINGS, Span
from lefcache.feature import Layer

FLOAT16_MAX = 65_504.0

OnBatch = Callable[[int, int], None]  # rows and tokens that just went through the model


class NotFiniteRow(Exception):  # noqa: N818 - a message to `run`, which knows the row's number
    """A vector that cannot be stored: its array, its text's place in the block, its size."""

    def __init__(self, array: str, row: int, largest: float) -> None:
        super().__init__(array, row, largest)
        self.array, self.row, self.largest = array, row, largest


def embed_block(
    backbone: Backbone,
    texts: Sequence[str],
    arrays: Sequence[str],
    dtypes: Mapping[str, np.dtype[Any]],
    batch_tokens: int,
    on_batch: OnBatch | None = None,
) -> dict[str, NDArray[Any]]:
    """The (rows, D) values of each array such as `mean/24`, and the tokens of each row.

    Identical texts of the block are computed once. An array whose dtype is not settled yet comes
    as float32. Raises NotFiniteRow where a value is NaN, infinite or too large for its dtype.
    """
    unique = list(dict.fromkeys(texts))
    encoded = backbone.tokenize(unique)
    names = [name for name in arrays if name != TOKENS]
    values: dict[str, NDArray[Any]] = {}
    for batch in plan_batches([len(each) for each in encoded], batch_tokens):
        pooled = embed_batch(backbone, [encoded[i] for i in batch], names)
        flat = torch.cat([pooled[name] for name in names], 1).cpu()  # (B, sum of D)
        widths = [pooled[name].shape[1] for name in names]
        for name, part in zip(names, torch.split(flat, widths, 1), strict=True):
            dtype = dtypes.get(name, np.dtype(np.float32))
            _check(name, part, dtype, batch)
            if name not in values:
                values[name] = np.empty((len(unique), part.shape[1]), dtype)
            values[name][batch] = part.numpy()
        if on_batch:
            on_batch(len(batch), sum(len(encoded[i]) for i in batch))
    values[TOKENS] = np.array([_tokens(each) for each in encoded], np.uint32)
    if len(unique) == len(texts):
        return values
    place = {text: number for number, text in enumerate(unique)}
    index = np.array([place[text] for text in texts])
    return {name: rows[index] for name, rows in values.items()}


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
    spans: dict[torch.device, Span] = {}
    pooled: dict[str, Tensor] = {}

    def deliver(layer: Layer, states: Tensor) -> None:
        span = spans.get(states.device)
        if span is None:
            span = spans[states.device] = span_of(batch, states)
        for pool in wanted.get(layer, ()):
            pooled[f"{pool}/{layer}"] = POOLINGS[pool](states, span)

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
    largest = float(values.abs().max())  # NaN is the largest of all
    limit = FLOAT16_MAX if dtype == np.float16 else float("inf")
    if largest < limit or largest == limit == FLOAT16_MAX:
        return
    worst = values.abs().amax(1).nan_to_num(nan=float("inf"))
    raise NotFiniteRow(name, batch[int(worst.argmax())], largest)


def not_finite(
    error: NotFiniteRow, where: str, row: int, text: str, command: str
) -> NotFiniteError:
    """The error that a user reads, with the row and its text, and what to do."""
    pool, _, layer = error.array.partition("/")
    place = f"{where}: layer {layer} ({pool}) of row {row}, {text[:60]!r},"
    if np.isfinite(error.largest):
        return NotFiniteError(
            f"{place} has the value {error.largest:,.0f}, too large for float16; finished blocks "
            f"are kept. Keep that layer as float32 with: {command}"
        )
    return NotFiniteError(
        f"{place} is NaN or infinite: the model itself overflows; finished blocks are kept. "
        "Try a wider arithmetic, for example --dtype float32"
    )
