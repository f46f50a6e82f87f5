"""An extraction on a cluster: stateless jobs over ranges of blocks, on workers that load the model.

A worker writes the blocks of a range, each with its own ledger row, straight to the cache. Only
receipts come back, so this process has next to nothing to do for a block.
"""

import pickle
import time
from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, NoReturn
from uuid import uuid4

from lefcache.cache import Cache, Request, Task, Writer, open
from lefcache.cache.crew import Crew, leading
from lefcache.cache.request import Kind
from lefcache.cache.writer import join, of_window
from lefcache.cluster import Cluster, here
from lefcache.errors import ModelError, StorageError
from lefcache.extract.backbone import Backbone, Deliver, Encoded
from lefcache.extract.compute import (
    Assignment,
    Done,
    Meter,
    TextsOf,
    Watch,
    compute,
    embed,
    texts_in,
)
from lefcache.extract.embed import tokenize_block
from lefcache.feature import Layer
from lefcache.spec import Spec

Load = Callable[[], Backbone]  # pickled to the workers, each of which loads its model once

BLOCKS_MOST = 8  # of one job: what a lost one costs is a block, but waits for a worker as a whole
ARRAYS_SECONDS = 60.0  # for the leader to make arrays, once it knows of which kind
HAND = f"worker-{uuid4().hex[:8]}"  # this process, as a hand of a leader


@dataclass
class Described:
    """A model that is loaded elsewhere: all of a `Backbone` but that it can be run."""

    name: str
    source: str
    spec: Spec
    provenance: dict[str, Any]
    notes: list[str]
    depth: int
    width: int
    layers: tuple[Layer, ...]
    aliases: dict[str, Layer]
    on_gpu: bool
    own: Any  # whether it has a pooling of its own

    def tokenize(self, texts: Sequence[str]) -> NoReturn:
        """It cannot."""
        raise AssertionError(f"{self.name} is loaded by workers alone")

    def forward(
        self, batch: Sequence[Encoded], layers: Collection[Layer], deliver: Deliver
    ) -> NoReturn:
        """It cannot."""
        raise AssertionError(f"{self.name} is loaded by workers alone")


@dataclass(frozen=True)
class Range:
    """A job: missing blocks of a split, with their texts, the first of which is row `first`."""

    load: bytes = field(repr=False)  # a pickled Load
    assignment: Assignment = field(repr=False)
    key: str
    blocks: tuple[int, ...]
    texts: Sequence[str] = field(repr=False)
    first: int

    def __str__(self) -> str:
        last = self.first + len(self.texts) - 1
        return f"rows {self.first:,} to {last:,} of {self.assignment.request.path}"

    @property
    def window(self) -> range:
        """The blocks around it."""
        return range(self.blocks[0], self.blocks[-1] + 1)


@dataclass(frozen=True)
class Kinds:
    """What new arrays are to be made for, by the first block of them, which waits for that."""

    kinds: Mapping[str, Kind]


class Spread:
    """Workers of a cluster compute the blocks; this process makes arrays and writes attributes.

    Args:
        cluster: whose workers.
        load: makes the model; it is pickled, and called once in each worker's process.
    """

    leads = True
    writers = "workers of a Ray cluster are to write it"

    def __init__(self, cluster: Cluster, load: Load) -> None:
        self.cluster, self.load = cluster, cluster.pickled(load)

    def backbone(self) -> Described:
        """The model, as a worker that has loaded it describes it; raises what loading it does."""
        (found,) = self.cluster.run(_describe, iter([self.load]), lambda load: load)
        return found

    def reserve(self, cache: Cache, request: Request) -> AbstractContextManager[Writer]:
        """Be the one writer of the split, for all workers."""
        return cache.reserve(request)

    def run(
        self,
        backbone: Backbone,
        assignment: Assignment,
        texts_of: TextsOf,
        writer: Writer,
        watch: Watch,
    ) -> Generator[Done, None, None]:
        """See `Engine`."""
        tasks = writer.missing()
        if not tasks:
            return
        with leading(writer.store.root, writer.request.lock, "ray") as crew:
            job_of = partial(self._job, assignment, crew, texts_of)
            first = [] if writer.begun else tasks[:1]
            for jobs in (map(job_of, [first] if first else []), self._ranges(tasks, first, job_of)):
                found = self.cluster.run(compute_range, jobs, partial(_left, writer), watch.on_note)
                with closing(found):
                    for each in found:
                        if isinstance(each, Kinds):
                            writer.create(each.kinds)
                            continue
                        watch.done(each)
                        yield each

    def _ranges(
        self,
        tasks: Sequence[Task],
        first: Sequence[Task],
        job_of: Callable[[Sequence[Task]], Range],
    ) -> Iterator[Range]:
        """Neighbouring blocks together; ever fewer towards the end, so that none waits long."""
        place, others = len(first), self.cluster.workers.number - 1
        while place < len(tasks):
            fair = (len(tasks) - place) // max(1, 2 * others)
            some = tasks[place : place + max(1, min(BLOCKS_MOST, fair))]
            together = [t for n, t in enumerate(some) if t.block == some[0].block + n]
            yield job_of(together)
            place += len(together)

    def _job(
        self, assignment: Assignment, crew: Crew, texts_of: TextsOf, tasks: Sequence[Task]
    ) -> Range:
        blocks = tuple(task.block for task in tasks)
        texts = [text for task in tasks for text in texts_of(task)]
        return Range(self.load, assignment, crew.key, blocks, texts, tasks[0].start)


def _left(writer: Writer, job: Range) -> Range | None:
    """What of a lost job is not in the cache yet."""
    now = of_window(writer.store, writer.request, job.window)
    if not now.begun:
        return job
    missing = [task for task in now.missing(job.window) if task.block in job.blocks]
    if not missing:
        return None
    low, high = missing[0].start - job.first, missing[-1].stop - job.first
    blocks = tuple(task.block for task in missing)
    return replace(job, blocks=blocks, texts=job.texts[low:high], first=missing[0].start)


# What follows is done by workers.

_loaded: dict[bytes, Backbone] = {}


def _describe(load: bytes) -> Iterator[Described]:
    """What a model is, from a worker that has it then."""
    model = _model(load)
    yield Described(
        name=model.name,
        source=model.source,
        spec=model.spec,
        provenance=model.provenance,
        notes=model.notes,
        depth=model.depth,
        width=model.width,
        layers=model.layers,
        aliases=model.aliases,
        on_gpu=model.on_gpu,
        own=model.own is not None,
    )


def compute_range(job: Range) -> Generator[Done | Kinds, None, None]:
    """Write the blocks of a range that are missing; a receipt for each."""
    model, request = _model(job.load), job.assignment.request
    if model.spec != request.spec:
        raise ModelError(
            f"the model on {here()} is another one than where this run began: "
            f"{'; '.join(request.spec.difference(model.spec, 'run'))}"
        )
    store = open(job.assignment.cache).store
    with join(store, request, job.key, HAND, job.window) as writer:
        tasks = [task for task in writer.missing(job.window) if task.block in job.blocks]
        texts_of = texts_in(job.texts, job.first)
        if tasks and not writer.begun:
            yield from _first(model, job.assignment, texts_of, tasks[0], writer)
            return
        with closing(compute(model, job.assignment, texts_of, tasks, writer, Watch())) as found:
            for done in found:
                yield replace(done, worker=here())


def _first(
    model: Backbone, assignment: Assignment, texts_of: TextsOf, task: Task, writer: Writer
) -> Generator[Done | Kinds, None, None]:
    """The first block of new arrays: the leader makes them once it knows what for."""
    meter = Meter(Watch(), time.perf_counter())
    block = tokenize_block(model, texts_of(task))
    values = embed(model, assignment, task, block, writer, meter)
    yield Kinds(writer.kinds(values))
    window, deadline = range(task.block, task.block + 1), time.monotonic() + ARRAYS_SECONDS
    while not (made := of_window(writer.store, writer.request, window)).begun:
        if time.monotonic() > deadline:
            raise StorageError(
                f"the arrays of {assignment.request.path} were made, and are not to be seen from "
                f"{here()} after {ARRAYS_SECONDS:g} s: run the same command again"
            )
        time.sleep(0.05)
    sums = made.commit(task, values)
    yield replace(meter.receipt(task.block, sums), worker=here())


def _model(load: bytes) -> Backbone:
    """The model of this process, loaded at the first job; another one takes its place."""
    if load not in _loaded:
        _loaded.clear()
        _loaded[load] = pickle.loads(load)()  # noqa: S301  by the process that leads
    return _loaded[load]
