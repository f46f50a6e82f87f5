"""Extraction: each text once through the model, block by block, into the cache."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lefcache.cache import Cache, Task, Writer
from lefcache.cache.hints import corpus_flags, extract_command, spec_flags
from lefcache.corpus import Corpus
from lefcache.extract.backbone import Backbone
from lefcache.extract.embed import NotFiniteRow, embed_block, not_finite
from lefcache.extract.order import Order, place_order, request_for


@dataclass(frozen=True)
class Receipt:
    """What an extraction did; the fields of `lef extract --json`."""

    model: str
    corpus: str
    rows: int  # of the splits asked for, whether computed now or before
    blocks: int
    computed_blocks: int
    skipped_blocks: int
    tokens: int
    truncated: int
    seconds: float  # from the first tokenised text to the last ledger row
    load_seconds: float
    bytes: int  # on disk, of the splits asked for
    path: str
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The fields as plain values."""
        return asdict(self)


@dataclass(frozen=True)
class Progress:
    """One batch has been through the model."""

    split: str
    rows: int
    tokens: int


OnProgress = Callable[[Progress], None]


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
    store_dtype, block_rows, batch_tokens. Blocks that are whole are skipped, so an interrupted
    extraction goes on where it was, with the same bytes in the end.

    Raises MismatchError for other texts or settings than the cache was made from, BusyError if
    another process is at it, NotFiniteError if the model overflows, StorageError for a full disk.
    """
    order = order or place_order(backbone, corpus, **choices)
    notes = [*backbone.notes, *cache.register(corpus), *_moved(backbone, corpus, cache)]
    computed = blocks = 0
    started = time.perf_counter()
    for split in order.rows:
        with cache.reserve(request_for(backbone, corpus, order, split)) as writer:
            tasks = writer.missing()
            _run(backbone, corpus, writer, tasks, split, on_progress)
            blocks += writer.blocks
            computed += len(tasks)
    seconds = time.perf_counter() - started
    pages = [cache.pages(backbone.name, split, corpus.name) for split in order.rows]
    counted = [each.tokens() for each in pages]
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
        bytes=sum(each.describe()["bytes"] for each in pages),
        path=str(cache.path / corpus.name / backbone.name),
        notes=tuple(notes),
    )


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


def _run(
    backbone: Backbone,
    corpus: Corpus,
    writer: Writer,
    tasks: list[Task],
    split: str,
    on_progress: OnProgress | None,
) -> None:
    """Compute one block while the one before it is written: the model never waits for the disk.

    At most two blocks are in memory. The first block of new arrays settles their dtype, so it is
    on disk before the second one is computed.
    """

    def on_batch(rows: int, tokens: int) -> None:
        if on_progress:
            on_progress(Progress(split, rows, tokens))

    texts = corpus.splits[split].texts
    with ThreadPoolExecutor(1, thread_name_prefix="lef-writer") as thread:
        writing: Future[None] | None = None
        for task in tasks:
            with _named_rows(backbone, corpus, writer.store.root, split, task):
                values = embed_block(
                    backbone,
                    texts[task.start : task.stop],
                    task.arrays,
                    writer.dtypes,
                    writer.batch_tokens,
                    on_batch,
                )
            if writing:
                writing.result()
            settled = set(task.arrays) <= set(writer.dtypes)
            writing = thread.submit(writer.commit, task, values)
            if not settled:
                writing.result()
        if writing:
            writing.result()


@contextmanager
def _named_rows(
    backbone: Backbone, corpus: Corpus, cache: Path, split: str, task: Task
) -> Iterator[None]:
    """Say which row of the split it was that could not be stored."""
    try:
        yield
    except NotFiniteRow as error:
        texts = corpus.splits[split].texts[task.start : task.stop]
        text = list(dict.fromkeys(texts))[error.row]
        more = ["--store-dtype", "float32", "--as", f"{backbone.name}-f32"]
        command = extract_command(
            cache,
            corpus.source,
            backbone.source,
            [error.array.partition("/")[2]],
            [error.array.partition("/")[0]],
            [*more, *corpus_flags({"options": corpus.options}), *spec_flags(backbone.spec)],
        )
        where = f"{corpus.name}/{backbone.name}/{split}"
        raise not_finite(error, where, task.start + texts.index(text), text, command) from None
