"""Extraction: each text once through the model, block by block, into the cache."""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

from numpy.typing import NDArray

from lefcache.cache import Cache, Task, Writer
from lefcache.corpus import Corpus
from lefcache.errors import BusyError
from lefcache.extract.backbone import Backbone
from lefcache.extract.embed import OnBatch, OnSplit, Tokenized, embed_block, tokenize_block
from lefcache.extract.memory import give_back
from lefcache.extract.order import Order, check_buffer, place_order, request_for
from lefcache.extract.overflow import named_rows
from lefcache.registry import training_notes
from lefcache.wording import count


@dataclass(frozen=True)
class Receipt:
    """What an extraction did; the fields of `lef extract --json`."""

    model: str
    corpus: str
    rows: int  # of the splits asked for, whether computed now or before
    blocks: int
    computed_blocks: int
    skipped_blocks: int
    tokens: int  # pooled, of those rows
    truncated: int
    seconds: float  # from the first tokenised text to the last ledger row
    load_seconds: float
    bytes: int  # on disk, of the splits asked for
    path: str
    halved_batches: int = 0  # that did not fit in the device's memory
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The fields as plain values."""
        return asdict(self)


@dataclass(frozen=True)
class Progress:
    """One batch has been through the model."""

    split: str
    rows: int  # that are done: identical texts of a block are one text to the model
    tokens: int  # that went through it


OnProgress = Callable[[Progress], None]


class Meter:
    """What has gone through the model for one split since it was made, and in which time."""

    def __init__(self, split: str, on_progress: OnProgress | None) -> None:
        self.split, self.on_progress = split, on_progress
        self.rows = self.tokens = 0
        self._started = time.perf_counter()

    def __call__(self, rows: int, tokens: int) -> None:
        """One batch more."""
        self.rows, self.tokens = self.rows + rows, self.tokens + tokens
        if self.on_progress:
            self.on_progress(Progress(self.split, rows, tokens))

    @property
    def seconds(self) -> float:
        """Since the start, with tokenising and writing, which go on beside the model."""
        return time.perf_counter() - self._started


def extract(
    backbone: Backbone,
    corpus: Corpus,
    cache: Cache,
    *,
    order: Order | None = None,
    load_seconds: float = 0.0,
    on_progress: OnProgress | None = None,
    **choices: Any,
) -> Receipt:
    """Run the model over what the cache still lacks, and write every wanted layer.

    `choices` are those of `place_order`: splits, layers ("all", "16..32,last"), pools, limit,
    store_dtype, block_rows, batch_tokens, format, fsync. Blocks that are whole are skipped, so an
    interrupted extraction goes on where it was, with the same bytes in the end.

    Raises MismatchError for other texts or settings than the cache was made from, FeatureError for
    more arrays than its blocks leave memory for, BusyError if another process is at it,
    NotFiniteError if the model overflows, ModelError for a text that the device has no room for,
    StorageError for a full disk.
    """
    order = order or place_order(backbone, corpus, **choices)
    check_buffer(backbone, corpus, cache, order)
    seen = training_notes(backbone.source, (corpus.name, corpus.source))
    notes = [*backbone.notes, *seen, *cache.register(corpus)]
    moved = _moved(backbone, corpus, cache)
    halved: list[int] = []  # texts in each batch that did not fit in memory
    computed = blocks = 0
    started = time.perf_counter()
    _book(backbone, corpus, cache, order)
    for split in order.rows:
        with cache.reserve(request_for(backbone, corpus, order, split)) as writer:
            before, meter = len(halved), Meter(split, on_progress)
            try:
                computed += _run(backbone, corpus, cache, order, writer, meter, halved.append)
            finally:
                writer.record_halved(len(halved) - before)
                writer.record_work(meter.rows, meter.tokens, meter.seconds)
            blocks += writer.blocks
            notes += writer.notes
    seconds = time.perf_counter() - started
    if computed:
        notes += [*moved, *_halved(halved)]
    pages = {split: cache.pages(backbone.name, split, corpus.name) for split in order.rows}
    counted = [
        (tokens[: order.rows[split]], cut[: order.rows[split]])
        for split, (tokens, cut) in ((split, each.tokens()) for split, each in pages.items())
    ]
    return Receipt(
        model=backbone.name,
        corpus=corpus.name,
        rows=sum(order.rows.values()),
        blocks=blocks,
        computed_blocks=computed,
        skipped_blocks=blocks - computed,
        tokens=sum(int(tokens.sum()) for tokens, _ in counted),
        truncated=sum(int(cut.sum()) for _, cut in counted),
        seconds=seconds,
        load_seconds=load_seconds,
        bytes=sum(each.describe()["bytes"] for each in pages.values()),
        path=str(cache.path / corpus.name / backbone.name),
        halved_batches=len(halved),
        notes=tuple(notes),
    )


def _book(backbone: Backbone, corpus: Corpus, cache: Cache, order: Order) -> None:
    """Write down what is wanted of every split, of those too that a kill leaves without a block."""
    for split in order.rows:
        # Whoever is at work on a split has booked it; we come to it later.
        with suppress(BusyError), cache.reserve(request_for(backbone, corpus, order, split)):
            pass


def _moved(backbone: Backbone, corpus: Corpus, cache: Cache) -> list[str]:
    """Notes on a cache that was begun elsewhere: same settings, but the last bits may differ."""
    before = cache.provenance(backbone.name, corpus.name)
    now = backbone.provenance
    differ = [
        f"{name} {before[name]} then, {now[name]} now"
        for name in ("torch", "transformers", "device")
        if name in before and name in now and before[name] != now[name]
    ]
    blame = "; blocks computed now may differ from the old ones in their last bits"
    return [f"this cache was begun with {', '.join(differ)}{blame}"] if differ else []


def _halved(texts: list[int]) -> list[str]:
    if not texts:
        return []
    return [
        f"{count(len(texts), 'batch', 'batches')} (the largest of {count(max(texts), 'text')}) "
        "did not fit in memory; halved, and new caches are made faster with a lower --batch-tokens"
    ]


def _run(
    backbone: Backbone,
    corpus: Corpus,
    cache: Cache,
    order: Order,
    writer: Writer,
    on_batch: OnBatch,
    on_split: OnSplit,
) -> int:
    """Compute one block while the next is tokenised and the one before it is written.

    So the model waits for neither tokenizer nor disk. The vectors of at most two blocks are in
    memory. The first block of new arrays settles their dtype, so it is on disk before the second
    one is computed. Returns how many blocks were computed.
    """
    split = writer.request.split
    texts, tasks = corpus.splits[split].texts, writer.missing()
    with (
        ThreadPoolExecutor(1, thread_name_prefix="lef-writer") as writing_thread,
        ThreadPoolExecutor(1, thread_name_prefix="lef-reader") as reading_thread,
    ):
        writing: Future[None] | None = None
        for task, block in _tokenized(backbone, texts, tasks, reading_thread):
            with named_rows(backbone, corpus, cache, order, split, task):
                values = embed_block(
                    backbone,
                    block,
                    task.arrays,
                    writer.dtypes,
                    writer.batch_tokens,
                    on_batch,
                    on_split,
                )
            if writing:
                writing.result()
            settled = set(task.arrays) <= set(writer.dtypes)
            writing = writing_thread.submit(_commit, writer, task, values)
            if not settled:
                writing.result()
        if writing:
            writing.result()
    return len(tasks)


def _tokenized(
    backbone: Backbone, texts: Sequence[str], tasks: Sequence[Task], thread: ThreadPoolExecutor
) -> Iterator[tuple[Task, Tokenized]]:
    """Each block with its tokens, which a thread makes one block ahead."""

    def begin(task: Task) -> Future[Tokenized]:
        return thread.submit(tokenize_block, backbone, texts[task.start : task.stop])

    ahead = [begin(task) for task in tasks[:1]]
    for number, task in enumerate(tasks, 1):
        block = ahead.pop().result()
        ahead += [begin(following) for following in tasks[number : number + 1]]
        yield task, block


def _commit(writer: Writer, task: Task, values: dict[str, NDArray[Any]]) -> None:
    writer.commit(task, values)
    give_back()
