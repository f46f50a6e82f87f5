"""What an extraction is about to take: rows, tokens, seconds and bytes."""

import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from shutil import disk_usage
from typing import Any

from lefcache.cache import TOKENS, Cache
from lefcache.corpus import Corpus
from lefcache.extract.backbone import Backbone, Encoded
from lefcache.extract.batching import plan_batches
from lefcache.extract.embed import embed_in_memory
from lefcache.extract.order import Order, check_buffer, missing_tasks
from lefcache.files import Url

SAMPLE = 512  # texts tokenised to guess how many tokens there are
TIMED_SECONDS = 2.0
TIMED = 64  # of their lengths, at which the model is timed
# What the model is timed on: it is to see each text of the corpus once, and not here.
NO_TEXT = "The quick brown fox jumps over the lazy dog."


@dataclass(frozen=True)
class Estimate:
    """What an extraction is about to take, from a sample of its texts."""

    rows: int  # still to be computed
    rows_in_all: int
    tokens: int
    seconds: float
    arrays: int  # that lack rows
    bytes_per_array: int  # on average
    bytes: int  # of the chunks, which are stored whole, of the rows that arrays lack
    free_bytes: int | None  # None: an object store has no end

    def to_json(self) -> dict[str, Any]:
        """The fields as plain values."""
        return asdict(self)


def estimate(
    backbone: Backbone, corpus: Corpus, cache: Cache, order: Order, timed: bool = True
) -> Estimate:
    """Rows, tokens, seconds and bytes of what the cache still lacks of an order.

    Tokenises a sample of the texts, and times the model on made-up ones of the same lengths; not
    `timed`, as where the model is elsewhere, tokens and seconds are 0.
    Raises MismatchError or FeatureError where `extract` would.
    """
    check_buffer(backbone, corpus, cache, order)
    unsettled = 4 if order.store_dtype == "float32" else 2
    missing = [*missing_tasks(backbone, corpus, cache, order, unsettled)]
    rows = sum(task.stop - task.start for task, _ in missing)
    size = sum(task.room * row_bytes for task, row_bytes in missing)
    arrays = len({name for task, _ in missing for name in task.arrays} - {TOKENS})
    timed = timed and rows > 0
    lengths, texts = _lengths(backbone, corpus, order) if timed else ([0], 1)
    tokens = sum(lengths) / texts * rows
    return Estimate(
        rows=rows,
        rows_in_all=sum(order.rows.values()),
        tokens=round(tokens),
        seconds=tokens / _tokens_per_second(backbone, lengths, order) if timed else 0.0,
        arrays=arrays,
        bytes_per_array=size // max(1, arrays),
        bytes=size,
        free_bytes=_free(cache.path),
    )


def _lengths(backbone: Backbone, corpus: Corpus, order: Order) -> tuple[list[int], int]:
    """The tokens of what a sample of the texts puts through the model, and how many texts it is."""
    texts = [
        text for split, count in order.rows.items() for text in corpus.splits[split].texts[:count]
    ]
    sample = backbone.tokenize(texts[:: max(1, len(texts) // SAMPLE)])
    return [len(window) for each in sample for window in each.windows], len(sample)


def _tokens_per_second(backbone: Backbone, lengths: Sequence[int], order: Order) -> float:
    """How fast made-up texts of such lengths go through the model, found out in a few seconds."""
    [pattern] = backbone.tokenize([NO_TEXT])
    few = lengths[:: max(1, len(lengths) // TIMED)]
    batches = plan_batches(few, order.batch_tokens)[::-1]  # the shortest texts first
    # Ever larger parts of the first batch warm the model up, and no step takes much longer than
    # twice the one before: a model that is slow on this machine is found out early.
    doubling = range((len(batches[0]) - 1).bit_length() or 1)
    rising = [batches[0][: 1 << power] for power in doubling]
    deadline = time.perf_counter() + TIMED_SECONDS
    tokens, seconds = 0, 0.0
    for number, batch in enumerate([*rising, *batches]):
        if number <= len(rising):  # what came before was slower than the rest will be
            tokens, seconds = 0, 0.0
        made_up = [_repeated(pattern, few[i]) for i in batch]
        started = time.perf_counter()
        embed_in_memory(backbone, made_up, order.arrays)  # on the CPU in the end: really done
        now = time.perf_counter()
        tokens, seconds = tokens + sum(few[i] for i in batch), seconds + now - started
        if now > deadline:
            break
    return tokens / seconds


def _repeated(pattern: Encoded, length: int) -> Encoded:
    ids = [*pattern.ids]
    return replace(pattern, ids=(ids * -(-length // len(ids)))[:length], cut=False, rest=())


def _free(path: Path | Url) -> int | None:
    return None if isinstance(path, Url) else disk_usage(_existing(path)).free


def _existing(path: Path) -> Path:
    """The nearest folder that is there already: its disk is the one that will be written."""
    path = Path(os.path.realpath(path))
    while not path.exists():
        path = path.parent
    return path
