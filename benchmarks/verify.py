"""Does `lef verify` find every injury, and how long does it take beside reading the files at all?

    python benchmarks/verify.py --injuries 1000 --megabytes 512
    python benchmarks/verify.py --cache lef-cache --injuries 0      # the speed on a cache of yours

Speed: whole passes of `verify` over those of plain reading (every file of the cache, 256 KB at a
time, which is faster than in larger or smaller pieces), in turns and in one process that has all it
needs imported. Cold: from the disk, no file in the page cache, as a cache is that fills a disk.
Warm: all in the page cache, where the checksum cannot hide behind the disk. Each as seconds on the
clock and as processor time, which other work on the machine disturbs less.
Injuries: one at a time, undone afterwards, in both formats: to bytes, and of what is whole and lies
in another's place, be it metadata, an array, a split or a model.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from verify_injuries import MODELS, SPLITS, injuries, make

import lefcache
from lefcache.verify import verify


def files_of(folder: Path) -> Iterator[Path]:
    """Every file below a folder."""
    for here, _, names in os.walk(folder):
        yield from (Path(here, name) for name in names)


def plain(folder: Path) -> None:
    """Read every file and do nothing with it."""
    buffer = memoryview(bytearray(1 << 18))
    for file in files_of(folder):
        with file.open("rb", buffering=0) as stream:
            while stream.readinto(buffer):
                pass


def forget(folder: Path) -> None:
    """Have nothing of these files in the page cache."""
    for file in files_of(folder):
        with file.open("rb") as stream:
            os.fsync(stream.fileno())
            os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def seconds(what: Callable[[], object]) -> dict[str, float]:
    """How long something takes, on the clock and of the processor."""
    clock, processor = time.perf_counter(), time.process_time()
    what()
    return {
        "clock": time.perf_counter() - clock,
        "processor": time.process_time() - processor,
    }


def speed(folder: Path, rounds: int, cold: bool) -> dict[str, dict[str, float]]:
    """Verify's time divided by that of plain reading: median and extremes of the rounds."""
    passes = {"reading": lambda: plain(folder), "verify": lambda: verify(lefcache.open(folder))}
    taken: dict[str, list[dict[str, float]]] = {name: [] for name in passes}
    for name in [*passes, *passes] * rounds:
        if cold:
            forget(folder)
        taken[name].append(seconds(passes[name]))
    taken = {name: each[1:] for name, each in taken.items()}  # the first imports, and fills caches
    found = {}
    for kind in ("clock", "processor"):
        both = list(zip(taken["reading"], taken["verify"], strict=True))
        ratios = [slow[kind] / bare[kind] for bare, slow in both]
        found[kind] = {
            "reading_seconds": statistics.median(bare[kind] for bare, _ in both),
            "verify_seconds": statistics.median(slow[kind] for _, slow in both),
            "ratio": statistics.median(ratios),
            "lowest": min(ratios),
            "highest": max(ratios),
        }
    return found


def speeds(folder: Path, rounds: int) -> dict[str, object]:
    """From the disk and from memory, and how much of what."""
    sizes = [file.stat().st_size for file in files_of(folder)]
    found: dict[str, object] = {"megabytes": sum(sizes) >> 20, "files": len(sizes)}
    if hasattr(os, "posix_fadvise"):
        found["cold"] = speed(folder, rounds, cold=True)
    return found | {"warm": speed(folder, rounds, cold=False)}


def speed_of_new(format: str, megabytes: int, rounds: int) -> dict[str, object]:
    """The speed on a cache of random vectors."""
    with tempfile.TemporaryDirectory() as folder:
        width, layers = 1024, 8
        rows = max(2048, (megabytes << 20) // (2 * width * layers * len(MODELS) * len(SPLITS)))
        make(Path(folder), format, rows, width, layers, 8192)
        return speeds(Path(folder), rounds)


def main() -> None:
    """Print one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--injuries", type=int, default=1000, help="in all, half in each format")
    parser.add_argument("--megabytes", type=int, default=512, help="of a cache to be read")
    parser.add_argument("--cache", type=Path, help="read this cache instead, which is not changed")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    found: dict[str, object] = {}
    if chosen.cache:
        found["speed"] = speeds(chosen.cache, chosen.rounds)
    for format in ("zarr", "hdf5"):
        each: dict[str, object] = {}
        if not chosen.cache:
            each["speed"] = speed_of_new(format, chosen.megabytes, chosen.rounds)
        if chosen.injuries:
            each |= injuries(format, chosen.injuries // 2, chosen.seed)
        if each:
            found[format] = each
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
