"""What distributing an extraction costs, and what it survives.

    python benchmarks/cluster.py            # the leader, then two nodes on this machine
    python benchmarks/cluster.py --faults   # kills of workers, a node and the driver, as well

`overhead` is one Ray worker against the local engine at equal threads, `two` is two workers against
two processes that know nothing of each other, each with half of the texts: whole extractions by
MiniLM taking turns, from the first text to the last ledger row, the model loaded before. `ray` is
what Ray takes of the leader's processor for a block, in microseconds, with its texts on the way to
a worker and a receipt on the way back. `driver` is the leader's own part, fed by an engine that
computes nothing, at so many receipts a second and with so many of them outstanding: its processor
time and its memory. `--faults` kills workers, nodes and drivers while a cluster of two nodes
extracts, and compares every byte with a run that nobody disturbed.
"""

import argparse
import json
import multiprocessing
import os
import random
import resource
import tempfile
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager
from functools import partial
from statistics import median
from typing import Any

import ray
from ray.cluster_utils import Cluster as Nodes

import lefcache
from lefcache.cache import Request, Writer
from lefcache.cluster import Cluster
from lefcache.corpus import Corpus, Split
from lefcache.extract import Spread, extract, load_backbone
from lefcache.extract.compute import Assignment, Done, TextsOf, Watch
from lefcache.extract.spread import BLOCKS_MOST
from lefcache.testing import FakeBackbone

WORDS = ["the", "a", "film", "was", "good", "bad", "not", "very", "cat", "mat", "plot", "slow"]
BLOCK_ROWS = 256
RATES = ("overhead", "two", "ray")
WIDTH, DEPTH = 4096, 32


def texts_of(rows: int, seed: int = 0) -> list[str]:
    """Different texts of 3 to 40 words."""
    draw = random.Random(seed)  # noqa: S311  texts are no secrets
    return [
        " ".join([*draw.choices(WORDS, k=draw.randint(3, 40)), str(number)])
        for number in range(rows)
    ]


def corpus_of(texts: list[str]) -> Corpus:
    """One split of them."""
    return Corpus("texts", ("no", "yes"), {"train": Split(texts)}, "benchmark")


def load(threads: int = 1) -> Any:
    """The model that all contenders run."""
    import torch

    torch.set_num_threads(threads)
    return load_backbone("minilm", device="cpu")


def local(texts: list[str], folder: str, ready: Any = None, began: Any = None) -> float:
    """Seconds of one extraction in this process."""
    backbone = load()
    if ready is not None:
        ready.release()
        began.wait()
    with tempfile.TemporaryDirectory(dir=folder) as place:
        cache = lefcache.open(place)
        return extract(backbone, corpus_of(texts), cache, block_rows=BLOCK_ROWS).seconds


def apart(texts: list[str], folder: str, processes: int) -> float:
    """Seconds until the last of some processes is done, each with its part of the texts."""
    context = multiprocessing.get_context("spawn")
    ready, began = context.Semaphore(0), context.Event()
    parts = [texts[place::processes] for place in range(processes)]
    started = [context.Process(target=local, args=(part, folder, ready, began)) for part in parts]
    for each in started:
        each.start()
    for _ in started:
        ready.acquire()
    start = time.perf_counter()
    began.set()
    for each in started:
        each.join()
        assert each.exitcode == 0
    return time.perf_counter() - start


def spread(texts: list[str], folder: str, workers: int) -> float:
    """Seconds of the same on workers that have loaded the model."""
    with tempfile.TemporaryDirectory(dir=folder) as place, Cluster(workers=workers) as cluster:
        engine = Spread(cluster, load)
        backbone = engine.backbone()
        warm = corpus_of(texts_of(BLOCK_ROWS * 2 * workers, seed=1))
        with tempfile.TemporaryDirectory(dir=folder) as other:
            extract(backbone, warm, lefcache.open(other), engine=engine, block_rows=BLOCK_ROWS)
        cache = lefcache.open(place)
        found = extract(backbone, corpus_of(texts), cache, engine=engine, block_rows=BLOCK_ROWS)
        return found.seconds


def ratios(run: Callable[[], float], other: Callable[[], float], rounds: int) -> dict[str, float]:
    """How many times as long the first one takes, by rounds in which both take turns."""
    found = []
    for number in range(rounds):
        pair = (run, other) if number % 2 else (other, run)
        taken = {each: each() for each in pair}
        found.append(taken[run] / taken[other])
    return {"median": median(found), "lowest": min(found), "highest": max(found)}


class Idle:
    """An engine that computes nothing: receipts at a rate, some of them always outstanding."""

    leads, writers = True, ""

    def __init__(self, blocks: int, rate: float, outstanding: int) -> None:
        self.blocks, self.rate, self.outstanding = blocks, rate, outstanding
        self.marks: list[tuple[float, float, int]] = []

    def reserve(self, cache: lefcache.Cache, request: Request) -> AbstractContextManager[Writer]:
        """As any leader does."""
        return cache.reserve(request)

    def run(
        self,
        backbone: Any,
        assignment: Assignment,
        texts_of: TextsOf,
        writer: Writer,
        watch: Watch,
    ) -> Generator[Done, None, None]:
        """Make jobs of what is missing, as `Spread` does, and answer them when their time comes."""
        jobs = self._jobs(Spread(_Workers(), load), assignment, writer, texts_of)
        waiting: deque[Any] = deque()
        start = time.perf_counter()
        for number in range(self.blocks):
            while len(waiting) < self.outstanding and (job := next(jobs, None)) is not None:
                waiting.extend((job, block) for block in job.blocks)
            _, block = waiting.popleft()
            sums = tuple(range(DEPTH + 2))
            done = Done(block, 1, 20, 0.01, sums, (), f"node{block % 64}:1")
            watch.done(done)
            yield done
            if number % (self.blocks // 10) == 0:
                self.marks.append((time.process_time(), time.perf_counter() - start, _memory()))
            time.sleep(max(0.0, start + (number + 1) / self.rate - time.perf_counter()))

    def _jobs(
        self, spread: Spread, assignment: Assignment, writer: Writer, texts_of: TextsOf
    ) -> Iterator[Any]:
        from lefcache.cache.crew import Crew

        job_of = partial(spread._job, assignment, Crew("run", "key"), texts_of)
        return spread._ranges(writer.missing(), (), job_of)


class _Workers:
    """64 workers, as far as the size of a job asks."""

    workers = type("Workers", (), {"number": 64})()

    def pickled(self, _: Any) -> bytes:
        """Of what nobody will load."""
        return b""


def driver(blocks: int, rate: float, outstanding: int, folder: str) -> dict[str, float]:
    """Processor time and memory of the leader, for each block and as a share of a core."""
    backbone = FakeBackbone(depth=DEPTH, width=2)
    texts = [f"text {number}" for number in range(blocks)]
    engine = Idle(blocks, rate, outstanding)
    with tempfile.TemporaryDirectory(dir=folder) as place:
        seen: list[int] = []
        extract(
            backbone,
            corpus_of(texts),
            lefcache.open(place),
            engine=engine,
            block_rows=1,
            store_dtype="float16",
            on_progress=lambda each: seen.append(each.rows) if not each.workers else None,
        )
    (cpu0, wall0, memory0), (cpu1, wall1, memory1) = engine.marks[0], engine.marks[-1]
    return {
        "blocks": blocks,
        "outstanding": outstanding,
        "blocks_per_second": 0.9 * blocks / (wall1 - wall0),
        "share_of_a_core": (cpu1 - cpu0) / (wall1 - wall0),
        "microseconds_a_block": 1e6 * (cpu1 - cpu0) / (0.9 * blocks),
        "grown_megabytes": (memory1 - memory0) / 1e6,
        "peak_megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3,
    }


def answering(job: tuple[str, ...]) -> Iterator[Done]:
    """A worker's receipts without its work: one for each eighth of its texts."""
    for block in range(BLOCKS_MOST):
        yield Done(block, len(job) // BLOCKS_MOST, 0, 0.01, tuple(range(DEPTH + 2)))


def receipts(blocks: int, texts: int) -> float:
    """Microseconds of the leader's processor that Ray takes for a block of so many texts."""
    job = tuple(texts_of(texts * BLOCKS_MOST))
    with Cluster(workers=2) as cluster:
        [*cluster.run(answering, iter([job, job]), lambda job: job)]
        start = time.process_time()
        [*cluster.run(answering, iter([job] * (blocks // BLOCKS_MOST)), lambda job: job)]
        return 1e6 * (time.process_time() - start) / blocks


def _memory() -> int:
    import psutil

    return int(psutil.Process().memory_info().rss)


def rates(options: argparse.Namespace, folder: str) -> dict[str, Any]:
    """What is measured on two nodes of this machine: all of RATES, or the one asked for."""
    made, texts = nodes(), texts_of(options.rows)
    one, two = partial(spread, texts, folder, 1), partial(spread, texts, folder, 2)
    alone, both = partial(local, texts, folder), partial(apart, texts, folder, 2)
    measures: dict[str, Callable[[], dict[str, float]]] = {
        "overhead": lambda: ratios(one, alone, options.rounds),
        "two": lambda: ratios(both, two, options.rounds),
        "ray": lambda: {f"{n:,} texts a block": receipts(400, n) for n in (1, 1024, 8192)},
    }
    try:
        return {name: measures[name]() for name in RATES if options.only in (None, name)}
    finally:
        ray.shutdown()
        made.shutdown()


def nodes() -> Nodes:
    """A cluster of two nodes with a core each, to which this process is connected."""
    room = {"num_cpus": 1, "object_store_memory": 80 << 20}
    made = Nodes(initialize_head=True, head_node_args=room)
    made.add_node(**room)
    ray.init(made.address, log_to_driver=False, logging_level="CRITICAL")
    return made


def main() -> None:
    """Parse, run, print; `--json` for the document alone."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--rows", type=int, default=6000, help="texts of each extraction")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--blocks", type=int, default=100_000, help="that the leader is fed")
    parser.add_argument("--rate", type=float, default=100.0, help="receipts a second")
    parser.add_argument("--outstanding", type=int, default=1000)
    parser.add_argument("--only", choices=["driver", *RATES, "faults"])
    parser.add_argument("--faults", action="store_true")
    parser.add_argument("--folder", help="where caches are written; the system's temporary one")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    # Ray's workers give way to other processes, and those are timed as well.
    os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112  it is spelt so
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        found: dict[str, Any] = {}
        if options.only in (None, "driver"):
            found["driver"] = driver(options.blocks, options.rate, options.outstanding, folder)
        if options.only in (None, *RATES):
            found |= rates(options, folder)
        if options.faults or options.only == "faults":
            from cluster_faults import faults

            found["faults"] = faults(folder)
    if options.json:
        print(json.dumps(found))
        return
    for name, figures in found.items():
        spoken = ", ".join(f"{key} {value:,.3g}" for key, value in figures.items())
        print(f"{name}: {spoken}")


if __name__ == "__main__":
    main()
