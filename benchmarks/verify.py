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
import random
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np

import lefcache
from lefcache.cache import Cache, Request
from lefcache.corpus import Corpus, Split
from lefcache.errors import LefError
from lefcache.spec import Spec
from lefcache.verify import verify

MODELS, SPLITS = ("model", "other"), ("train", "test")  # of as many rows each
SPLIT_PATHS = [f"bench/{model}/{split}" for model, split in product(MODELS, SPLITS)]


def make(folder: Path, format: str, rows: int, width: int, layers: int, block_rows: int) -> Cache:
    """A cache of random vectors of two models and splits, with last blocks that are padded."""
    dice = np.random.default_rng(0)
    cache = lefcache.open(folder)
    labels = np.arange(rows, dtype=np.int32) % 2
    splits = {
        split: Split([f"{split} {row}" for row in range(rows)], np.roll(labels, turn))
        for turn, split in enumerate(SPLITS)
    }
    cache.register(Corpus("bench", ("no", "yes"), splits, "demo"))
    arrays = tuple(f"mean/{layer}" for layer in range(layers))
    # Two sets, which share tokens.
    for model, split, chosen in product(
        MODELS, SPLITS, (arrays[: layers // 2], arrays[layers // 2 :])
    ):
        request = Request(
            corpus="bench", model=model, split=split, rows=rows, arrays=chosen,
            spec=Spec(prompt=f"{model}: "), depth=layers, width=width, block_rows=block_rows,
            batch_tokens=1024, format=format, fsync=False,
        )  # fmt: skip
        with cache.reserve(request) as writer:
            for task in writer.missing():
                count = task.stop - task.start
                drawn = dice.standard_normal((count, width), np.float32).astype(np.float16)
                values = {name: np.roll(drawn, turn, 1) for turn, name in enumerate(chosen)}
                tokens = np.arange(task.start, task.stop, dtype=np.uint32) + 1
                writer.commit(task, values | {"tokens": tokens})
    return cache


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


def arrays_of(cache: Cache) -> dict[str, list[str]]:
    """Of each kind of array, all paths."""
    layers = cache.pages("model", "train", "bench").layers("mean")
    names = {"vectors": [f"mean/{layer}" for layer in layers], "tokens": ["tokens"]}
    names |= {kind: [f"{kind}/0", f"{kind}/1"] for kind in ("ledger", "magnitudes")}
    paths = {
        kind: [f"{above}/{name}" for above, name in product(SPLIT_PATHS, each)]
        for kind, each in names.items()
    }
    return paths | {
        kind: [f"bench/{kind}/{split}" for split in SPLITS] for kind in ("labels", "rows")
    }


def places(cache: Cache) -> dict[str, list[tuple[Path, int, int]]]:
    """Of each kind of thing, where it lies: file, offset, bytes."""
    found: dict[str, list[tuple[Path, int, int]]] = {}
    store = cache.store
    paths = arrays_of(cache)
    for kind, each in paths.items():
        for path in each:
            info = store.info(path)
            assert info is not None
            row = int(np.prod(info.shape[1:], dtype=int)) * info.dtype.itemsize
            found.setdefault(kind, []).extend(
                (Path(chunk.path), chunk.offset, chunk.rows * row)
                for chunk in store.chunks(path)
                if chunk is not None
            )
    files = [file for file in cache.path.rglob("zarr.json") if "results" not in file.parts]
    found["metadata"] = [(file, 0, file.stat().st_size) for file in files]
    return found


def swapped(cache: Cache, dice: random.Random) -> Iterator[tuple[str, Callable[[], None]]]:
    """Whole folders and files in each other's place, without end: what each is, its undoing."""
    nodes = {
        "model": [f"bench/{model}" for model in MODELS],
        "split": SPLIT_PATHS,
        **arrays_of(cache),
    }
    found = {
        kind: [place for path in each if (place := place_of(cache, path))]
        for kind, each in nodes.items()
    }
    while True:
        kind = dice.choice([kind for kind, each in found.items() if each])
        one, other = dice.sample(found[kind], 2)
        exchange(one, other)
        yield f"{kind} in another's place", partial(exchange, one, other)


def place_of(cache: Cache, path: str) -> Path | None:
    """The folder or file that a node is; None for one within a file."""
    places = cache.path / path, cache.path / f"{path}.h5"
    return next((place for place in places if place.exists()), None)


def exchange(one: Path, other: Path) -> None:
    """Have two folders or files change places."""
    aside = one.with_name(".aside")
    one.rename(aside)
    other.rename(one)
    aside.rename(other)


def injured(
    dice: random.Random, known: dict[str, list[tuple[Path, int, int]]]
) -> Iterator[tuple[str, Callable[[], None]]]:
    """Injuries to bytes without end: what each is, and what undoes it."""
    while True:
        kind = dice.choice(list(known))
        (file, start, size), (other, place, length) = dice.choices(known[kind], k=2)
        how = dice.choice(["flip", "byte", "zero", "truncate", "delete", "swap"])
        before = {each: each.read_bytes() for each in (file, other)}
        after: dict[Path, bytes | None] = {}
        content = before[file]
        if how == "swap" and kind == "metadata":
            after = {file: before[other], other: content}
        elif how == "swap" and length == size:
            pieces = content[start : start + size], before[other][place : place + size]
            after = dict(before)
            for where, at, piece in ((file, start, pieces[1]), (other, place, pieces[0])):
                after[where] = _with(after[where] or b"", at, piece)
        elif how == "delete" and size == len(content):
            after = {file: None}
        elif how not in ("swap", "delete"):
            after = {file: _spoilt(dice, content, start, size, how)}
        changed = {each: new for each, new in after.items() if new != before[each]}
        for each, new in changed.items():
            each.unlink() if new is None else each.write_bytes(new)
        if changed:
            yield f"{kind} {how}", partial(write_back, before)


def write_back(before: dict[Path, bytes]) -> None:
    """Undo what was done to some files."""
    for file, content in before.items():
        file.write_bytes(content)


def _with(content: bytes, start: int, piece: bytes) -> bytes:
    return content[:start] + piece + content[start + len(piece) :]


def _spoilt(dice: random.Random, content: bytes, start: int, size: int, how: str) -> bytes:
    place = start + dice.randrange(size)
    if how == "truncate":
        return content[:place]
    if how == "zero":
        return _with(content, start, bytes(size))
    old = content[place]
    new = old ^ 1 << dice.randrange(8) if how == "flip" else dice.randrange(256)
    return _with(content, place, bytes([new]))


def noticed(folder: Path) -> bool:
    """Whether anything is found; a cache whose own metadata is damaged may not even open."""
    try:
        return not verify(lefcache.open(folder)).whole
    except LefError:
        return True


def injuries(format: str, count: int, seed: int) -> dict[str, object]:
    """How many of so many injuries were found, and what was found where there was none."""
    dice, kinds, missed, invented = random.Random(seed), Counter[str](), [], 0  # noqa: S311
    with tempfile.TemporaryDirectory() as folder:
        cache = make(Path(folder), format, 150, 8, 4, 64)
        sources = injured(dice, places(cache)), swapped(cache, dice)
        while kinds.total() < count:
            what, undo = next(dice.choices(sources, (3, 1))[0])
            if not noticed(cache.path):
                missed.append(what)
            undo()
            kinds[what] += 1
            if kinds.total() % 20 == 0:
                invented += noticed(cache.path)
    return {"injuries": count, "missed": missed, "invented": invented, "kinds": dict(kinds)}


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
