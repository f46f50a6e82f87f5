"""What a cluster survives: kills while it extracts, and whether any byte is another one then."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ray
from cluster import Nodes, corpus_of, nodes, texts_of

import lefcache
from lefcache.cluster import Cluster
from lefcache.errors import BusyError
from lefcache.extract import Spread, extract
from lefcache.testing import FakeBackbone

ROWS, BLOCK_ROWS = 2000, 4
SETTINGS: dict[str, Any] = {"block_rows": BLOCK_ROWS, "batch_tokens": 64}


class Slow(FakeBackbone):
    """A fake model that takes a while, so that a kill finds it at work."""

    def tokenize(self, texts: Any) -> Any:
        """As the fake's, and a moment later."""
        time.sleep(0.02)
        return super().tokenize(texts)


def faults(folder: str) -> dict[str, float]:
    """How many kills of each kind there were, and how many caches differed (0)."""
    texts = texts_of(ROWS)
    whole = Path(folder) / "whole"
    extract(FakeBackbone(), corpus_of(texts), lefcache.open(whole), **SETTINGS)
    made = nodes()
    found = {"differing": 0.0, "blocks": ROWS / BLOCK_ROWS}
    try:
        for kind, disturb in (("workers", _kill_workers), ("nodes", _lose_nodes)):
            place = Path(folder) / kind
            kills, computed = _disturbed(made, place, texts, disturb)
            found[f"kills of {kind}"], found[f"computed, {kind}"] = kills, computed
            found["differing"] += _arrays(place) != _arrays(whole)
        place = Path(folder) / "driver"
        found["kills of the driver"] = _kill_drivers(made, place)
        found["differing"] += _arrays(place) != _arrays(whole)
    finally:
        ray.shutdown()
        made.shutdown()
    return found


def _disturbed(
    made: Nodes, place: Path, texts: list[str], disturb: Callable[[Nodes, int, str], int]
) -> tuple[int, int]:
    """Extract while something is killed now and then; how often, and how many blocks came in."""
    kills = blocks = 0

    def on_progress(done: Any) -> None:
        nonlocal kills, blocks
        if done.workers:
            blocks += 1
            kills += disturb(made, blocks, random.choice([*done.workers]))  # noqa: S311

    with Cluster(workers=2, cpus_per_worker=1) as cluster:
        engine = Spread(cluster, Slow)
        cache = lefcache.open(place)
        more = {"engine": engine, "on_progress": on_progress}
        extract(engine.backbone(), corpus_of(texts), cache, **more, **SETTINGS)
    return kills, blocks


def _kill_workers(_: Nodes, blocks: int, worker: str) -> int:
    if blocks % 50:
        return 0
    try:
        os.kill(int(worker.rpartition(":")[2]), signal.SIGKILL)
    except ProcessLookupError:  # one that is gone already
        return 0
    return 1


def _lose_nodes(made: Nodes, blocks: int, _: str) -> int:
    if blocks % 150:
        return 0
    made.remove_node(made.worker_nodes.copy().pop(), allow_graceful=False)
    made.add_node(num_cpus=1, object_store_memory=80 << 20)
    return 1


def _kill_drivers(made: Nodes, place: Path) -> int:
    """Kill the driver after every 100 blocks or so, and begin it again, until it is done."""
    words = [sys.executable, __file__, made.address, str(place)]
    kills = 0
    while True:
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as driver:
            assert driver.stdout is not None
            lines = sum(1 for _, line in zip(range(100), driver.stdout, strict=False) if line)
            if lines < 100 and driver.wait() == 0:
                return kills
            kills += driver.poll() is None
            driver.kill()


def _drive(address: str, place: str) -> None:
    """The driver that is killed."""
    ray.init(address, log_to_driver=False, logging_level="CRITICAL")
    with Cluster(workers=2, cpus_per_worker=1) as cluster:
        engine = Spread(cluster, Slow)
        backbone, more = engine.backbone(), {"engine": engine}
        deadline = time.monotonic() + 60
        while True:
            try:
                extract(
                    backbone,
                    corpus_of(texts_of(ROWS)),
                    lefcache.open(place),
                    on_progress=lambda each: print(each.rows, flush=True) if each.workers else None,
                    **more,
                    **SETTINGS,
                )
                return
            except BusyError:  # workers of the driver that was killed end by themselves
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.5)


def _arrays(place: Path) -> dict[str, bytes]:
    """Every chunk of every array."""
    return {
        str(file.relative_to(place)): file.read_bytes()
        for file in place.rglob("*")
        if file.is_file() and "c" in file.parts and ".locks" not in file.parts
    }


if __name__ == "__main__":
    _drive(*sys.argv[1:])
