"""One split of an import: what is there already, whether it is the same, and what is missing."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lefcache.cache import Cache, Pages, Request, Task
from lefcache.cache.ledger import checksum
from lefcache.errors import BusyError, IncompleteError, MismatchError
from lefcache.feature import Feature
from lefcache.vectors.files import Vectors
from lefcache.wording import command_line

BLOCK_ROWS = 8192


@dataclass(frozen=True)
class Progress:
    """One block of a split is in the cache."""

    split: str
    rows: int


OnProgress = Callable[[Progress], None]


@dataclass(frozen=True)
class Work:
    """What one split still needs: the blocks to write, and what they are written from."""

    request: Request
    vectors: Mapping[str, Vectors]  # by array
    dtypes: Mapping[str, np.dtype[Any]]  # that the arrays have, or will have
    tasks: list[Task]

    @classmethod
    def of(cls, cache: Cache, template: Request, vectors: Mapping[str, Vectors]) -> "Work":
        """Compare what is given with what is there; raises what cannot go together."""
        first = next(iter(vectors.values()))
        request = replace(template, split=first.split, rows=len(first), arrays=tuple(vectors))
        tasks = cache.missing(request)
        pages = _pages(cache, request)
        lacking = dict.fromkeys(name for task in tasks for name in task.arrays)
        if strange := [name for name in lacking if name not in vectors]:
            raise IncompleteError(
                f"{pages.path}: {', '.join(vectors)} came in one import with "
                f"{', '.join(strange)}, and all of them lack rows: give them together, with: "
                f"{pages.resume_command()}"
            )
        files = {name: _described(vectors[name], pages.files.get(name, {})) for name in lacking}
        dtypes = {}
        for name in vectors:
            info = cache.store.info(f"{pages.path}/{name}") if name in pages.arrays else None
            dtypes[name] = info.dtype if info else np.dtype(request.store_dtype)
        return cls(replace(request, files=files), vectors, dtypes, tasks)

    def check(self, cache: Cache) -> list[str]:
        """Read every value once; notes on what is odd.

        Raises NotFiniteError for one that cannot be stored, MismatchError where other vectors are
        there.
        """
        pages, notes = _pages(cache, self.request), []
        block = int(pages.attrs.get("block_rows", BLOCK_ROWS))
        for name, each in self.vectors.items():
            there = {start: (rows, crc) for start, rows, crc in pages.checksums(name)}
            zeros: list[int] = []
            for start in range(0, len(each), block):
                rows = each.read(start, start + block, self.dtypes[name])
                done, crc = there.get(start, (0, 0))
                if done and checksum(rows[:done]) != crc:
                    raise MismatchError(_difference(cache, pages, each, start, rows[:done]))
                zeros += (start + np.flatnonzero(~rows.any(axis=1))).tolist()
            if zeros:
                what = f"{len(zeros):,} rows are" if len(zeros) > 1 else "1 row is"
                notes.append(f"{each.file}: {what} all zeros, the first of them row {zeros[0]}")
            if there and self.dtypes[name] != np.dtype(self.request.store_dtype):
                notes.append(f"{pages.path}/{name} stays {self.dtypes[name]}, as it was imported")
        return notes

    def write(self, cache: Cache, on_progress: OnProgress | None) -> None:
        """Write the blocks that are missing; what is there was compared."""
        report = on_progress or (lambda _: None)
        split = self.request.split
        with cache.reserve(self.request) as writer:
            if writer.missing() != self.tasks:
                raise BusyError(
                    f"another process has written {writer.path} in the meantime: run this again"
                )
            report(Progress(split, self.request.rows - sum(t.stop - t.start for t in self.tasks)))
            for task in self.tasks:
                # Views of the mapped files: the writer reads one array after the other.
                rows = {
                    name: np.asarray(self.vectors[name].rows[task.start : task.stop])
                    for name in task.arrays
                }
                writer.commit(task, rows)
                report(Progress(split, task.stop - task.start))


def _pages(cache: Cache, request: Request) -> Pages:
    return Pages(cache.store, request.corpus, request.model, request.split)


def _described(each: Vectors, before: Mapping[str, str]) -> dict[str, str]:
    """Which file an array is read from, and since when that is known."""
    with each.file.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    made = {"file": str(each.file.resolve()), "given": str(each.given), "sha256": digest}
    read = before["read"] if before.get("sha256") == digest else now()
    return made | {"read": read}


def _difference(cache: Cache, pages: Pages, each: Vectors, start: int, rows: NDArray[Any]) -> str:
    """Which row it is that is another one than in the cache, and what to do."""
    what = f"rows {start}..{start + len(rows) - 1} (counted from 0) differ"
    if pages.done[each.array] == pages.rows:
        there = pages.matrix(feature_of(pages.model, each.array))[start : start + len(rows)]
        differs = (there.view(np.uint8) != rows.view(np.uint8)).any(axis=1)
        what = f"row {start + int(differs.argmax())} (counted from 0) is the first that differs"
    return (
        f"{pages.path} holds other vectors for {each.array} than {each.file}: {what}. Import these "
        "under another NAME, or first run: "
        + command_line(["lef", "rm", f"{pages.corpus}/{pages.model}", "--cache", cache.path])
    )


def feature_of(name: str, array: str) -> Feature:
    """The feature of an array, in the shortest spelling that finds it."""
    pool, _, layer = array.partition("/")
    if layer == "last":
        return Feature(name, layer, None if pool == "own" else pool)
    return Feature(name, int(layer), pool)


def now() -> str:
    """The time, for the record."""
    return datetime.now(UTC).isoformat(timespec="seconds")
