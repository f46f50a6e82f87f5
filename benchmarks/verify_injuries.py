"""Caches of random vectors, and all that can happen to one: injuries, each of which is undone."""

import random
import tempfile
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
