"""What the flags of an extraction mean for one model and corpus, and what it will take."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from lefcache.cache import TOKENS, Cache, Request, Task
from lefcache.corpus import Corpus, split_name
from lefcache.dtypes import dtype_of
from lefcache.errors import CorpusError, FeatureError
from lefcache.extract.backbone import Backbone
from lefcache.extract.pooling import POOLINGS
from lefcache.extract.shallow import check_depth
from lefcache.feature import Layer, describe_layers, parse_layers, parse_pool
from lefcache.registry import MODELS
from lefcache.spec import FORMATS, STORED

BLOCK_ROWS = {True: 8192, False: 1024}  # on a GPU, or not
BATCH_TOKENS = {True: 16384, False: 1024}
BUFFER_BYTES = 4 << 30  # of one block; two may be alive, one computed and one being written


@dataclass(frozen=True)
class Order:
    """The arrays that are wanted of each split, and how the work is cut."""

    arrays: tuple[str, ...]  # such as "mean/24"
    rows: Mapping[str, int]  # of each split, in order
    block_rows: int
    batch_tokens: int
    store_dtype: str
    format: str | None = None  # zarr or hdf5; None: as a split is, or zarr
    fsync: bool = True


def place_order(
    backbone: Backbone,
    corpus: Corpus,
    *,
    splits: Sequence[str] | None = None,
    layers: str = "all",
    pools: Sequence[str] | None = None,
    limit: int | None = None,
    store_dtype: str = "auto",
    block_rows: int | None = None,
    batch_tokens: int | None = None,
    format: str | None = None,
    fsync: bool = True,
) -> Order:
    """Settle layers, poolings, splits, rows and the cut into blocks and batches.

    Without `pools`, they are the mean and what the model's authors use: another pooling of every
    layer, or the model's own one of `last`. A block has fewer rows than asked for where all its
    arrays would take more than BUFFER_BYTES. Two blocks may be alive at once: the next one is
    computed while one is being written. `fsync`: each block is on the disk itself, and not only in
    the system's memory, before it counts as done.

    Raises FeatureError for a layer or pooling that the model does not have, CorpusError for a
    split that the corpus does not have.
    """
    wanted = tuple(split_name(each.strip()) for each in splits or corpus.splits)
    if missing := [split for split in wanted if split not in corpus.splits]:
        raise CorpusError(
            f"{corpus.name} has no split {', '.join(missing)}: it has {', '.join(corpus.splits)}"
        )
    aliases = [name for name, layer in backbone.aliases.items() if layer in backbone.layers]
    chosen = parse_layers(layers, backbone.depth, [*backbone.layers, *aliases])
    stored = dict.fromkeys(backbone.aliases.get(str(layer), layer) for layer in chosen)
    arrays = tuple(
        f"{pool}/{layer}"
        for pool in _pools(backbone, pools, stored)
        for layer in stored
        if pool != "own" or layer == "last"
    )
    if store_dtype not in ("auto", *STORED):
        raise FeatureError(f"--store-dtype {store_dtype} is none of auto, {', '.join(STORED)}")
    block = block_rows or BLOCK_ROWS[backbone.on_gpu]
    if block & (block - 1):
        raise FeatureError(f"--block-rows {block} is not a power of two")
    item = _held(store_dtype)
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
    if format not in (None, *FORMATS):
        raise FeatureError(f"--format {format} is none of {', '.join(FORMATS)}")
    return Order(arrays, rows, block, tokens, store_dtype, format, fsync)


def _pools(
    backbone: Backbone, wanted: Sequence[str] | None, layers: Collection[Layer]
) -> dict[str, None]:
    """The poolings wanted, each once; FeatureError for one that these layers do not have."""
    offered = [*POOLINGS, *(["own"] if backbone.own else [])]
    if not wanted:
        entry = MODELS.get(backbone.source)
        theirs = [entry.pool] if entry and entry.pool in POOLINGS else []
        own = ["own"] if backbone.own and "last" in layers else []
        return dict.fromkeys(["mean", *theirs, *own])
    pools = dict.fromkeys(parse_pool(pool) for pool in wanted)
    if unknown := [pool for pool in pools if pool not in offered]:
        raise FeatureError(
            f"{backbone.name} has no pool {', '.join(unknown)}: it has {', '.join(offered)}"
        )
    if "own" in pools and "last" not in layers:
        raise FeatureError(
            f"the pool own of {backbone.name} is of its layer last: ask for it with --layers "
            f"{describe_layers([*layers, 'last']).replace(' ', '')}"
        )
    return pools


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
        flags=own_flags(backbone),
        format=order.format,
        fsync=order.fsync,
        split_rows=len(corpus.splits[split]),
    )


def _held(store_dtype: str) -> int:
    """Bytes of a number in memory: the first block is float32 under `auto`, which settles by it."""
    return 4 if store_dtype == "auto" else dtype_of(store_dtype).itemsize


def own_flags(backbone: Backbone) -> tuple[str, ...]:
    """The flags that a Spec cannot tell: its empty prompt may be one that was taken away."""
    entry = MODELS.get(backbone.source)
    return tuple(
        word
        for name in ("prompt", "instruction")
        if entry and getattr(entry, name) and not getattr(backbone.spec, name)
        for word in (f"--{name}", "")
    )


def check_buffer(backbone: Backbone, corpus: Corpus, cache: Cache, order: Order) -> None:
    """Refuse more arrays than fit in memory with the blocks of a cache, which keep their rows.

    Raises FeatureError that says how many arrays one run may add, or which layer is not loaded.
    """
    unsettled = _held(order.store_dtype)
    for task, row_bytes in missing_tasks(backbone, corpus, cache, order, unsettled):
        check_depth(backbone, task)
        rows, arrays = task.stop - task.start, len({*task.arrays} - {TOKENS})
        if (held := rows * row_bytes) > BUFFER_BYTES:
            raise FeatureError(
                f"the blocks of {corpus.name}/{backbone.name} have {rows:,} rows since it was "
                f"begun; with {arrays} arrays one would take {held / 1e9:.1f} GB of memory, more "
                f"than {BUFFER_BYTES / 1e9:.1f}: extract at most "
                f"{max(1, arrays * BUFFER_BYTES // held)} of them in one run, the others in "
                "further runs (--layers, --pool)"
            )


def missing_tasks(
    backbone: Backbone, corpus: Corpus, cache: Cache, order: Order, unsettled: int
) -> Iterator[tuple[Task, int]]:
    """Each block that the cache lacks, and the bytes of one row of all its vectors.

    `unsettled` is the bytes of a number in an array that is not there yet.
    """
    for split in order.rows:
        request = request_for(backbone, corpus, order, split)
        sizes = {TOKENS: 0}  # next to nothing
        for task in cache.missing(request):
            for name in {*task.arrays} - {*sizes}:
                info = cache.store.info(f"{corpus.name}/{backbone.name}/{split}/{name}")
                sizes[name] = backbone.width * (info.dtype.itemsize if info else unsettled)
            yield task, sum(sizes[name] for name in task.arrays)
