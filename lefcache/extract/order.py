"""What the flags of an extraction mean for one model and corpus, and what it will take."""

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from shutil import disk_usage
from typing import Any

from lefcache.cache import Cache, Request
from lefcache.corpus import Corpus
from lefcache.errors import CorpusError, FeatureError
from lefcache.extract.backbone import Backbone
from lefcache.extract.batching import plan_batches
from lefcache.extract.embed import embed_batch
from lefcache.extract.pooling import POOLINGS
from lefcache.feature import parse_layers

BLOCK_ROWS = {True: 8192, False: 1024}  # on a GPU, or not
BATCH_TOKENS = {True: 16384, False: 1024}
BUFFER_BYTES = 4 << 30
STORE_DTYPES = ("auto", "float16", "float32")
SAMPLE = 512  # texts tokenised to guess how many tokens there are
TIMED = 64  # of them, run through the model to guess how fast it is


@dataclass(frozen=True)
class Order:
    """The arrays that are wanted of each split, and how the work is cut."""

    arrays: tuple[str, ...]  # such as "mean/24"
    rows: Mapping[str, int]  # of each split, in order
    block_rows: int
    batch_tokens: int
    store_dtype: str


@dataclass(frozen=True)
class Estimate:
    """What an extraction is about to take, from a sample of its texts."""

    rows: int  # still to be computed
    rows_in_all: int
    tokens: int
    seconds: float
    arrays: int
    bytes_per_array: int
    bytes: int
    free_bytes: int

    def to_json(self) -> dict[str, Any]:
        """The fields as plain values."""
        return asdict(self)


def place_order(
    backbone: Backbone,
    corpus: Corpus,
    *,
    splits: Sequence[str] | None = None,
    layers: str = "all",
    pools: Sequence[str] = ("mean",),
    limit: int | None = None,
    store_dtype: str = "auto",
    block_rows: int | None = None,
    batch_tokens: int | None = None,
) -> Order:
    """Settle layers, poolings, splits, rows and the cut into blocks and batches.

    Raises FeatureError for a layer or pooling that the model does not have, CorpusError for a
    split that the corpus does not have.
    """
    wanted = tuple(splits or corpus.splits)
    if missing := [split for split in wanted if split not in corpus.splits]:
        raise CorpusError(
            f"{corpus.name} has no split {', '.join(missing)}: it has {', '.join(corpus.splits)}"
        )
    if unknown := [pool for pool in pools if pool not in POOLINGS]:
        raise FeatureError(
            f"{backbone.name} has no pool {', '.join(unknown)}: it has {', '.join(POOLINGS)}"
        )
    chosen = parse_layers(layers, backbone.depth, [*backbone.layers, *backbone.aliases])
    stored = dict.fromkeys(backbone.aliases.get(str(layer), layer) for layer in chosen)
    arrays = tuple(f"{pool}/{layer}" for pool in dict.fromkeys(pools) for layer in stored)
    if store_dtype not in STORE_DTYPES:
        raise FeatureError(f"--store-dtype {store_dtype} is not one of {', '.join(STORE_DTYPES)}")
    block = block_rows or BLOCK_ROWS[backbone.on_gpu]
    if block & (block - 1):
        raise FeatureError(f"--block-rows {block} is not a power of two")
    item = 4 if store_dtype == "float32" else 2
    while block > 1 and block * backbone.width * item * len(arrays) > BUFFER_BYTES:
        block //= 2
    rows = {split: len(corpus.splits[split]) for split in wanted}
    if limit is not None:
        if limit < 1:
            raise CorpusError(
                f"--limit {limit} leaves no rows: it is how many of each split to take"
            )
        rows = {split: min(limit, count) for split, count in rows.items()}
    tokens = batch_tokens or BATCH_TOKENS[backbone.on_gpu]
    return Order(arrays, rows, block, tokens, store_dtype)


def request_for(backbone: Backbone, corpus: Corpus, order: Order, split: str) -> Request:
    """What the cache is asked to reserve for one split."""
    return Request(
        corpus=corpus.name,
        model=backbone.name,
        split=split,
        rows=order.rows[split],
        arrays=order.arrays,
        spec=backbone.spec,
        depth=backbone.depth,
        width=backbone.width,
        block_rows=order.block_rows,
        batch_tokens=order.batch_tokens,
        store_dtype=order.store_dtype,
        aliases=backbone.aliases,
        source=backbone.source,
        provenance=backbone.provenance,
    )


def estimate(backbone: Backbone, corpus: Corpus, cache: Cache, order: Order) -> Estimate:
    """Rows, tokens, seconds and bytes of what the cache still lacks of an order.

    Tokenises a sample of the texts and times the model on a few of them.
    """
    left = {
        split: cache.missing_rows(request_for(backbone, corpus, order, split))
        for split in order.rows
    }
    rows, in_all = sum(left.values()), sum(order.rows.values())
    texts = [
        text for split, count in order.rows.items() for text in corpus.splits[split].texts[:count]
    ]
    sample = texts[:: max(1, len(texts) // SAMPLE)]
    tokens = sum(len(each) for each in backbone.tokenize(sample)) / len(sample) * rows
    seconds = tokens / _tokens_per_second(backbone, sample, order) if rows else 0.0
    each = rows * backbone.width * (4 if order.store_dtype == "float32" else 2)
    return Estimate(
        rows=rows,
        rows_in_all=in_all,
        tokens=round(tokens),
        seconds=seconds,
        arrays=len(order.arrays),
        bytes_per_array=each,
        bytes=each * len(order.arrays),
        free_bytes=disk_usage(_existing(cache.path)).free,
    )


def _tokens_per_second(backbone: Backbone, sample: Sequence[str], order: Order) -> float:
    few = backbone.tokenize(sample[:: max(1, len(sample) // TIMED)])
    batches = plan_batches([len(each) for each in few], order.batch_tokens)
    seconds = 0.0
    for _ in range(2):  # the first pass over a shape is slow, the second is as all later ones
        started = time.perf_counter()
        for batch in batches:
            embed_batch(backbone, [few[i] for i in batch], order.arrays)
        seconds = time.perf_counter() - started
    return sum(len(each) for each in few) / seconds


def _existing(path: Path) -> Path:
    """The nearest folder that is there already: its disk is the one that will be written."""
    path = Path(os.path.realpath(path))
    while not path.exists():
        path = path.parent
    return path
