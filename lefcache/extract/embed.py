"""Texts of one block to the pooled vectors of every wanted layer, in one pass."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
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
from lefcache.extract.transfer import fetch, to_device
from lefcache.extract.windows import Windows
from lefcache.feature import Layer

OnBatch = Callable[[int, int], None]  # rows that are done, and tokens that went through the model
OnSplit = Callable[[int], None]  # texts of a batch that did not fit in memory
Arrival = Callable[[], list[Tensor]]  # waits for the values (B, D) of each array


class NotFiniteRow(Exception):  # noqa: N818 - a message to `named_rows`, which knows the row
    """A vector that cannot be stored: its array, its text's place in the block, its size."""

    def __init__(self, array: str, row: int, largest: float, dtype: str) -> None:
        super().__init__(array, row, largest, dtype)
        self.array, self.row, self.largest, self.dtype = array, row, largest, dtype


@dataclass(frozen=True)
class Tokenized:
    """The texts of a block, and the different ones among them as a model reads them."""

    texts: Sequence[str]
    unique: list[str]
    encoded: list[Encoded]


def tokenize_block(backbone: Backbone, texts: Sequence[str]) -> Tokenized:
    """What `embed_block` needs of texts; a thread may make it while the model is busy."""
    unique = list(dict.fromkeys(texts))
    return Tokenized(texts, unique, backbone.tokenize(unique))


def embed_block(
    backbone: Backbone,
    texts: Sequence[str] | Tokenized,
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
    block = texts if isinstance(texts, Tokenized) else tokenize_block(backbone, texts)
    rows, encoded = Counter(block.texts), block.encoded
    windows = Windows(encoded)
    names = [name for name in arrays if name != TOKENS]
    values: dict[str, NDArray[Any]] = {}
    plan = plan_batches([len(each) for each in windows.rows], batch_tokens)
    for batch, parts in _in_turn(backbone, windows.rows, plan, names, on_split):
        done, whole = windows.join(batch, names, parts)
        for name, part in zip(names, whole, strict=True) if done else ():
            dtype = dtypes.get(name, np.dtype(np.float32))
            _check(name, part, dtype, done)
            if name not in values:
                values[name] = np.empty((len(encoded), part.shape[1]), dtype)
            # Rounded apart: numpy takes five times as long to round while it scatters.
            values[name][done] = _rounded(part, dtype)
        if on_batch:
            tokens = sum(len(windows.rows[i]) for i in batch)
            on_batch(sum(rows[block.unique[i]] for i in done), tokens)
    values[TOKENS] = np.array([_tokens(each) for each in encoded], np.uint32)
    same = len(block.unique) == len(block.texts)
    return values if same else _repeat(values, block.texts, block.unique)


def _in_turn(
    backbone: Backbone,
    encoded: Sequence[Encoded],
    plan: Sequence[list[int]],
    arrays: Sequence[str],
    on_split: OnSplit | None,
) -> Iterator[tuple[list[int], list[Tensor]]]:
    """Each batch with its values, waited for only once the next one's pass has begun.

    So a GPU is at work while the values of a batch arrive and are rounded.
    """
    begun: tuple[list[int], Arrival] | None = None
    for batch in plan:
        arrival = begin(backbone, [encoded[i] for i in batch], arrays, on_split)
        if begun:
            yield begun[0], begun[1]()
        begun = batch, arrival
    if begun:
        yield begun[0], begun[1]()


def _rounded(part: Tensor, dtype: np.dtype[Any]) -> NDArray[Any]:
    # torch rounds to float16 faster than numpy, to the same bits; of bfloat16 it knows no array.
    values = part.half() if dtype == np.float16 else part
    return values.numpy().astype(dtype, copy=False)


def _repeat(
    values: dict[str, NDArray[Any]], texts: Sequence[str], unique: Sequence[str]
) -> dict[str, NDArray[Any]]:
    """A row for each text from a row for each different one, which is gone afterwards."""
    place = {text: number for number, text in enumerate(unique)}
    index = np.array([place[text] for text in texts])
    # One array at a time: both forms of all of them would take twice the memory.
    return {name: values.pop(name)[index] for name in list(values)}


def embed_in_memory(
    backbone: Backbone, batch: Sequence[Encoded], arrays: Sequence[str]
) -> list[Tensor]:
    """The pooled states (B, D) in float32 of each array, on the CPU."""
    return begin(backbone, batch, arrays)()


def embed_texts(
    backbone: Backbone, texts: Sequence[Encoded], arrays: Sequence[str]
) -> list[Tensor]:
    """What `embed_in_memory` gives, of texts that may be long ones in windows."""
    windows = Windows(texts)
    values = embed_in_memory(backbone, windows.rows, arrays)
    done, parts = windows.join(range(len(windows.rows)), arrays, values)
    order = sorted(range(len(done)), key=done.__getitem__)
    return [part[order] for part in parts]


def begin(
    backbone: Backbone,
    batch: Sequence[Encoded],
    arrays: Sequence[str],
    on_split: OnSplit | None = None,
) -> Arrival:
    """Begin a pass; what is returned waits for the states that `embed_in_memory` gives.

    A batch that is too large for the device's memory is halved, in order, as often as it takes:
    a fixed rule, so that it gives the same batches again. Raises ModelError for a single text
    that does not fit.
    """
    try:
        pooled = embed_batch(backbone, batch, arrays)
        return fetch([pooled[name] for name in arrays])
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
    first = begin(backbone, batch[:half], arrays, on_split)
    second = begin(backbone, batch[half:], arrays, on_split)
    return lambda: [torch.cat(both) for both in zip(first(), second(), strict=True)]


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
    boundaries = to_device(np.array([first, start, lengths]), states.device)
    return Span.of(boundaries[0], boundaries[1], boundaries[2], states.shape[1])


def _tokens(encoded: Encoded) -> int:
    pooled = sum(window.pooled() for window in encoded.windows)
    return pooled | int(CUT) if encoded.cut else pooled


def _check(name: str, values: Tensor, dtype: np.dtype[Any], batch: Sequence[int]) -> None:
    """Raise NotFiniteRow where a value of (B, D) is NaN, infinite or too large for its dtype."""
    largest = float(values.abs().max())  # NaN is the largest of all
    if largest <= LARGEST[dtype.name]:
        return
    worst = values.abs().amax(1).nan_to_num(nan=float("inf"))
    raise NotFiniteRow(name, batch[int(worst.argmax())], largest, dtype.name)
