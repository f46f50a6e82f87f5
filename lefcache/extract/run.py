"""Extraction: each text once through the model, block by block, into the cache."""

import sys
import time
from collections.abc import Callable, Mapping
from contextlib import closing, nullcontext, suppress
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from lefcache.cache import Cache, Writer
from lefcache.corpus import Corpus
from lefcache.errors import BusyError, LefError
from lefcache.extract.backbone import Backbone
from lefcache.extract.compute import Assignment, Done, Watch, texts_in
from lefcache.extract.engines import Engine, engine_here
from lefcache.extract.order import Order, check_buffer, place_order, request_for
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
    workers: Mapping[str, float] = field(default_factory=dict)  # rows/s of each, if several

    def to_json(self) -> dict[str, Any]:
        """The fields as plain values."""
        return asdict(self)


@dataclass(frozen=True)
class Progress:
    """A batch, or a worker's block, has been through the model."""

    split: str
    rows: int  # that are done: identical texts of a block are one text to the model
    tokens: int  # that went through it
    workers: Mapping[str, float] = field(default_factory=dict)  # rows/s of each, if several


OnProgress = Callable[[Progress], None]
OnNote = Callable[[str], None]


@dataclass
class Tally:
    """What receipts come to; of each worker the rows and the seconds."""

    blocks: int = 0
    rows: int = 0
    tokens: int = 0
    seconds: float = 0.0
    halved: list[int] = field(default_factory=list)  # texts in each batch that did not fit
    workers: dict[str, tuple[int, float]] = field(default_factory=dict)

    def add(self, done: Done) -> None:
        """One block more; its rows, tokens and batches were counted as they came."""
        worker = {done.worker: (done.rows, done.seconds)} if done.worker else {}
        self += Tally(blocks=1, seconds=done.seconds, workers=worker)

    def __iadd__(self, other: "Tally") -> "Tally":
        self.blocks, self.rows = self.blocks + other.blocks, self.rows + other.rows
        self.tokens, self.seconds = self.tokens + other.tokens, self.seconds + other.seconds
        self.halved += other.halved
        for worker, (rows, seconds) in other.workers.items():
            known = self.workers.get(worker, (0, 0.0))
            self.workers[worker] = known[0] + rows, known[1] + seconds
        return self

    @property
    def rates(self) -> dict[str, float]:
        """Rows a second of each worker."""
        return {
            worker: rows / seconds
            for worker, (rows, seconds) in sorted(self.workers.items())
            if seconds
        }


def extract(
    backbone: Backbone,
    corpus: Corpus,
    cache: Cache,
    *,
    order: Order | None = None,
    load_seconds: float = 0.0,
    on_progress: OnProgress | None = None,
    on_note: OnNote = lambda _: None,
    engine: Engine | None = None,
    **choices: Any,
) -> Receipt:
    """Run the model over what the cache still lacks, and write every wanted layer.

    `choices` are those of `place_order`: splits, layers ("all", "16..32,last"), pools, limit,
    store_dtype, block_rows, batch_tokens, format, fsync. Blocks that are whole are skipped, so an
    interrupted extraction goes on where it was, with the same bytes in the end.

    `engine` says who computes: None for this process alone, or, if torchrun started it, as one rank
    of several; `Spread` for the workers of a Ray cluster, with `Spread.backbone()` as the model.
    `on_note` is told of workers that were lost, as it happens.

    Raises MismatchError for other texts or settings than the cache was made from, FeatureError for
    more arrays than its blocks leave memory for, BusyError if another process is at it,
    NotFiniteError if the model overflows, ModelError for a text that the device has no room for,
    StorageError for a full disk, EngineError for a cluster that cannot go on.
    """
    order = order or place_order(backbone, corpus, **choices)
    engine = engine or engine_here()
    check_buffer(backbone, corpus, cache, order)
    seen = training_notes(backbone.source, (corpus.name, corpus.source))
    notes = [*backbone.notes, *seen]
    moved = _moved(backbone, corpus, cache)
    done = Tally()
    started = time.perf_counter()
    if engine.leads:
        notes += cache.register(corpus)
        _book(engine, backbone, corpus, cache, order)
    for split in order.rows:
        assignment = _assignment(engine, backbone, corpus, cache, order, split)
        with engine.reserve(cache, assignment.request) as writer:
            done += _run(engine, backbone, corpus, assignment, writer, on_progress, on_note)
            notes += writer.notes
    seconds = time.perf_counter() - started
    if done.blocks:
        notes += [*moved, *_halved(done.halved)]
    pages = {split: cache.pages(backbone.name, split, corpus.name) for split in order.rows}
    blocks = sum(-(-order.rows[split] // each.block_rows) for split, each in pages.items())
    counted = [
        (tokens[: order.rows[split]], cut[: order.rows[split]])
        for split, (tokens, cut) in ((split, each.tokens()) for split, each in pages.items())
    ]
    return Receipt(
        model=backbone.name,
        corpus=corpus.name,
        rows=sum(order.rows.values()),
        blocks=blocks,
        computed_blocks=done.blocks,
        skipped_blocks=blocks - done.blocks,
        tokens=sum(int(tokens.sum()) for tokens, _ in counted),
        truncated=sum(int(cut.sum()) for _, cut in counted),
        seconds=seconds,
        load_seconds=load_seconds,
        bytes=sum(each.describe()["bytes"] for each in pages.values()),
        path=str(cache.path / corpus.name / backbone.name),
        halved_batches=len(done.halved),
        notes=tuple(notes),
        workers=done.rates,
    )


def _assignment(
    engine: Engine, backbone: Backbone, corpus: Corpus, cache: Cache, order: Order, split: str
) -> Assignment:
    return Assignment(
        cache=cache.path,
        order=order,
        request=replace(request_for(backbone, corpus, order, split), writers=engine.writers),
        corpus_source=corpus.source,
        corpus_options=corpus.options,
        lengths={name: len(content) for name, content in corpus.splits.items()},
    )


def _run(
    engine: Engine,
    backbone: Backbone,
    corpus: Corpus,
    assignment: Assignment,
    writer: Writer,
    on_progress: OnProgress | None,
    on_note: OnNote,
) -> Tally:
    """Compute the blocks that one split lacks; what it took is written down."""
    split, tally = assignment.request.split, Tally()
    missing = len(writer.missing()) if engine.leads else 0

    def on_batch(rows: int, tokens: int) -> None:
        tally.rows, tally.tokens = tally.rows + rows, tally.tokens + tokens
        if on_progress:
            on_progress(Progress(split, rows, tokens))

    texts_of = texts_in(corpus.splits[split].texts)
    watch = Watch(on_batch, tally.halved.append, on_note)
    try:
        with closing(engine.run(backbone, assignment, texts_of, writer, watch)) as receipts:
            for done in receipts:
                tally.add(done)
                if done.worker and on_progress:
                    on_progress(Progress(split, 0, 0, tally.rates))
        # All of them are there now: a worker may be lost between a block and its receipt.
        tally.blocks = missing or tally.blocks
    finally:
        # An error on the way here, of a full disk say, is not to be hidden by another one.
        with suppress(LefError) if sys.exc_info()[0] else nullcontext():
            if engine.leads:
                writer.record_halved(len(tally.halved))
                writer.record_work(tally.rows, tally.tokens, tally.seconds)
    return tally


def _book(engine: Engine, backbone: Backbone, corpus: Corpus, cache: Cache, order: Order) -> None:
    """Write down what is wanted of every split, of those too that a kill leaves without a block."""
    for split in order.rows:
        wanted = _assignment(engine, backbone, corpus, cache, order, split).request
        # Whoever is at work on a split has booked it; we come to it later.
        with suppress(BusyError), cache.reserve(wanted):
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
