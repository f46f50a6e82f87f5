"""Blocks of one split: read, computed and committed, by whichever process they fell to."""

import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from lefcache.cache import Request, Task, Writer
from lefcache.extract.backbone import Backbone
from lefcache.extract.embed import OnBatch, OnSplit, Tokenized, embed_block, tokenize_block
from lefcache.extract.memory import give_back
from lefcache.extract.order import Order
from lefcache.extract.overflow import named_rows
from lefcache.files import Url

TextsOf = Callable[[Task], Sequence[str]]


@dataclass(frozen=True)
class Assignment:
    """One split of an extraction, in all but its texts and its model: what a worker is told.

    `lengths` are the rows of every split of the corpus, in order.
    """

    cache: Path | Url
    order: Order
    request: Request
    corpus_source: str
    corpus_options: Mapping[str, Any]
    lengths: Mapping[str, int]


@dataclass(frozen=True)
class Done:
    """The receipt of one block that is in the cache, its ledger row last.

    `rows` and `tokens` went through the model, `halved` are the sizes of batches that did not fit
    in its memory, `sums` the CRC-32C of each array that was written, `worker` who did it. Of the
    blocks that one worker did, `seconds` add up to what it took, but for writing the last one.
    """

    block: int
    rows: int
    tokens: int
    seconds: float
    sums: tuple[int, ...] = ()
    halved: tuple[int, ...] = ()
    worker: str = ""


def _nothing(*_: Any) -> None:
    """For who does not watch."""


@dataclass(frozen=True)
class Watch:
    """Who is told what happens while it happens, wherever it does.

    Of rows and tokens that went through the model, of the texts in a batch that did not fit in its
    memory, and of what a user should know in a line.
    """

    on_batch: OnBatch = _nothing
    on_halved: OnSplit = _nothing
    on_note: Callable[[str], None] = _nothing

    def done(self, receipt: Done) -> None:
        """A block of another process, all at once."""
        self.on_batch(receipt.rows, receipt.tokens)
        for texts in receipt.halved:
            self.on_halved(texts)


class Meter:
    """What goes through the model for one block, since `started`; passed on to who watches."""

    def __init__(self, watch: Watch, started: float) -> None:
        self.watch, self.started = watch, started
        self.rows = self.tokens = 0
        self.ended = started
        self.halved: list[int] = []

    def __call__(self, rows: int, tokens: int) -> None:
        """One batch more."""
        self.rows, self.tokens = self.rows + rows, self.tokens + tokens
        self.ended = time.perf_counter()
        self.watch.on_batch(rows, tokens)

    def halve(self, texts: int) -> None:
        """A batch of so many texts did not fit."""
        self.halved.append(texts)
        self.watch.on_halved(texts)

    def receipt(self, block: int, sums: Sequence[int]) -> Done:
        """That the block is in the cache."""
        seconds, halved = self.ended - self.started, tuple(self.halved)
        return Done(block, self.rows, self.tokens, seconds, tuple(sums), halved)


def compute(
    backbone: Backbone,
    assignment: Assignment,
    texts_of: TextsOf,
    tasks: Sequence[Task],
    writer: Writer,
    watch: Watch,
) -> Generator[Done, None, None]:
    """Compute one block while the next is tokenised and the one before it is written.

    So the model waits for neither tokenizer nor disk. The vectors of at most two blocks are in
    memory. The first block of new arrays settles their dtype, so it is on disk before the second
    one is computed. Whoever stops early closes this, and the block being written is finished.
    """
    with (
        ThreadPoolExecutor(1, thread_name_prefix="lef-writer") as writing_thread,
        ThreadPoolExecutor(1, thread_name_prefix="lef-reader") as reading_thread,
    ):
        writing: Future[Done] | None = None
        before = time.perf_counter()
        for task, block in _tokenized(backbone, texts_of, tasks, reading_thread):
            meter = Meter(watch, before)
            values = embed(backbone, assignment, task, block, writer, meter)
            before = meter.ended
            if writing:
                yield writing.result()
            settled = set(task.arrays) <= set(writer.dtypes)
            writing = writing_thread.submit(_commit, writer, task, values, meter)
            if not settled:
                yield writing.result()
                writing = None
        if writing:
            yield writing.result()


def embed(
    backbone: Backbone,
    assignment: Assignment,
    task: Task,
    block: Tokenized,
    writer: Writer,
    meter: Meter,
) -> dict[str, NDArray[Any]]:
    """The vectors of a block; a row that cannot be stored is named."""
    with named_rows(backbone, assignment, task, block.texts):
        return embed_block(
            backbone,
            block,
            task.arrays,
            writer.dtypes,
            writer.batch_tokens,
            meter,
            meter.halve,
        )


def _tokenized(
    backbone: Backbone, texts_of: TextsOf, tasks: Sequence[Task], thread: ThreadPoolExecutor
) -> Iterator[tuple[Task, Tokenized]]:
    """Each block with its tokens, which a thread makes one block ahead."""

    def begin(task: Task) -> Future[Tokenized]:
        return thread.submit(tokenize_block, backbone, texts_of(task))

    ahead = [begin(task) for task in tasks[:1]]
    for number, task in enumerate(tasks, 1):
        block = ahead.pop().result()
        ahead += [begin(following) for following in tasks[number : number + 1]]
        yield task, block


def _commit(writer: Writer, task: Task, values: dict[str, NDArray[Any]], meter: Meter) -> Done:
    sums = writer.commit(task, values)
    give_back()
    return meter.receipt(task.block, sums)


def texts_in(texts: Sequence[str], first: int = 0) -> TextsOf:
    """The texts of a task, of a list whose first one is row `first` of the split."""
    return partial(_some, texts, first)


def _some(texts: Sequence[str], first: int, task: Task) -> Sequence[str]:
    return texts[task.start - first : task.stop - first]
