"""The only hand that writes pages: arrays first, and then, as its last act, the ledger row."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from lefcache.cache.begin import begin_split
from lefcache.cache.crew import hand_of
from lefcache.cache.documents import described
from lefcache.cache.identity import check_model, describe_model
from lefcache.cache.ledger import Generation, checksum, seal
from lefcache.cache.lock import exclusive
from lefcache.cache.magnitudes import create_magnitudes, write_magnitudes
from lefcache.cache.pages import CUT, TOKENS, Pages
from lefcache.cache.request import Kind, Request, Task
from lefcache.dtypes import dtype_of, largest, raw
from lefcache.errors import DamagedError
from lefcache.stores import Home, Store

# Above this, float16 (which ends at 65,504) is too close for comfort: later rows may be larger.
FLOAT16_COMFORT = 16_384.0


class Writer:
    """Hands out the missing blocks of a split and commits them; made by `reserve`."""

    def __init__(self, store: Home, request: Request, pages: Pages) -> None:
        self.store, self.request = store, request
        self.path = pages.path
        self.rows, self.block_rows = pages.rows, pages.block_rows
        self.batch_tokens = int(pages.attrs["batch_tokens"])
        self.chunk_rows = int(pages.attrs["chunk_rows"])
        tokens = store.info(f"{self.path}/{TOKENS}")
        if tokens is not None and tokens.dtype != np.uint32:
            raise DamagedError(f"{self.path}/{TOKENS}: {tokens.dtype} is no number of tokens")
        self.generations = self._wanted(pages)
        self._finished = {each.number: pages.finished(each) for each in pages.generations}
        asked = request.store_dtype
        # What each array is or will be stored as, where that is known before its first block.
        self.dtypes = {} if asked == "auto" else dict.fromkeys(request.arrays, dtype_of(asked))
        self.dtypes |= {
            name: info.dtype
            for generation in pages.generations
            for name in generation.arrays
            if (info := store.info(f"{self.path}/{name}"))
        }
        # Arrays that a repair has taken away, and what they were stored as.
        self._lost: dict[str, np.dtype[Any]] = {
            name: dtype_of(dtype)
            for generation in pages.generations
            for name, dtype in described(store, f"{self.path}/ledger/{generation.number}")
            .get("dtypes", {})
            .items()
            if store.info(f"{self.path}/{name}") is None
        }
        self.dtypes |= self._lost

    @property
    def blocks(self) -> int:
        """How many blocks the rows asked for lie in."""
        return -(-min(self.request.rows, self.rows) // self.block_rows)

    @property
    def notes(self) -> list[str]:
        """What was asked for and cannot be: an array keeps the dtype that its first block got."""
        asked = self.request.store_dtype
        kept = [name for name in self.request.arrays if str(self.dtypes.get(name, asked)) != asked]
        if asked == "auto" or not kept:
            return []
        others = f", as {len(kept) - 1} more keep theirs" if len(kept) > 1 else ""
        return [
            f"{self.path}/{kept[0]} keeps the {self.dtypes[kept[0]]} it was begun in{others}; "
            f"to have {asked} beside it, add --as NAME"
        ]

    def look_again(self) -> None:
        """Take in what other processes have finished in the meantime."""
        pages = Pages(self.store, self.request.corpus, self.request.model, self.request.split)
        self._finished = {each.number: pages.finished(each) for each in pages.generations}

    @property
    def begun(self) -> bool:
        """Whether all wanted arrays exist, so that several processes may write blocks of them."""
        wanted = {name for each in self.generations for name in each.arrays}
        known = all(each.number in self._finished for each in self.generations)
        return known and not wanted & self._lost.keys()

    def missing(self, window: range | None = None) -> list[Task]:
        """The blocks that some wanted array lacks, in order; of a `window` of them, or of all."""
        tasks = []
        for block in range(self.blocks) if window is None else window:
            lacking = [each for each in self.generations if not self._has(each, block)]
            if lacking:
                start = block * self.block_rows
                arrays = tuple(dict.fromkeys(name for each in lacking for name in each.arrays))
                stop = min(start + self.block_rows, self.rows)
                room = -(-(stop - start) // self.chunk_rows) * self.chunk_rows
                tasks.append(Task(block, start, stop, arrays, room))
        return tasks

    def commit(self, task: Task, values: Mapping[str, NDArray[Any]]) -> list[int]:
        """Write one block: the rows of each array, then the ledger row that vouches for them.

        The first block of arrays that are new settles their dtype and creates them. Rows are on the
        disk itself before their ledger row is written: a power cut, too, leaves only whole blocks.
        Returns the CRC-32C of each array's rows.
        """
        written: list[int] = []
        if not self.begun:
            self.create(self.kinds(values))
        for generation in self.generations:
            if self._has(generation, task.block):
                continue
            sums, magnitudes = [], []
            for name in generation.arrays:
                rows = values[name].astype(self.dtypes[name], copy=False)
                if not self._kept(name, task.block):
                    self.store.write(f"{self.path}/{name}", task.start, rows)
                sums.append(checksum(raw(rows)))
                magnitudes.append(largest(rows & ~CUT if name == TOKENS else rows))
            write_magnitudes(self.store, self.path, generation, task.block, magnitudes)
            if self.request.fsync:
                self.store.sync()
            row = seal(task.stop - task.start, sums)
            self.store.write(f"{self.path}/ledger/{generation.number}", task.block, row)
            self._finished[generation.number][task.block] = True
            written += sums
        return written

    def record_halved(self, batches: int) -> None:
        """Remember that batches did not fit in memory: their last bits depend on where it was."""
        if batches:
            attrs = described(self.store, self.path)
            known = int(attrs.get("halved_batches", 0))
            self.store.set_attrs(self.path, attrs | {"halved_batches": known + batches})

    def record_work(self, rows: int, tokens: int, seconds: float) -> None:
        """Remember what went through the model, and in which time: provenance, never compared.

        It lies with the model's, so that a split has the same bytes whenever it was made. Rows of
        an extraction that adds layers count again; a kill loses the count of its run.
        """
        if not rows:
            return
        corpus, model, split = self.path.split("/")
        with exclusive(self.store.root, f"{corpus}+{model}", wait=60.0):
            attrs = described(self.store, f"{corpus}/{model}")
            known = attrs.get("work", {})
            done = {"rows": rows, "tokens": tokens, "seconds": seconds}
            total = {name: known.get(split, {}).get(name, 0) + each for name, each in done.items()}
            self.store.set_attrs(f"{corpus}/{model}", attrs | {"work": {**known, split: total}})

    def kinds(self, values: Mapping[str, NDArray[Any]]) -> dict[str, Kind]:
        """What arrays are made for, by their first block."""
        return {name: self._kind(name, rows) for name, rows in values.items()}

    def create(self, kinds: Mapping[str, Kind]) -> None:
        """Create the arrays that are new or lost, where there is a kind of them; others stay."""
        for generation in self.generations:
            if generation.number not in self._finished:
                self._create(generation, kinds)
        for name in kinds.keys() & self._lost.keys():
            self._create_array(name, self._lost.pop(name), kinds[name][1])

    def _has(self, generation: Generation, block: int) -> bool:
        done = self._finished.get(generation.number)
        return done is not None and bool(done[block])

    def _kept(self, name: str, block: int) -> bool:
        """Whether an array that every set shares has this block from another set already."""
        return name == TOKENS and any(done[block] for done in self._finished.values())

    def _wanted(self, pages: Pages) -> list[Generation]:
        """The sets of arrays that hold a wanted one, and a new set for those that none holds.

        Every set vouches for the tokens of its own rows: it may come to have more than the others.
        """
        old = [each for each in pages.generations if {*self.request.arrays} & {*each.arrays}]
        known = set(pages.arrays)
        if fresh := [name for name in self.request.arrays if name not in known]:
            fresh += [] if self.request.spec.imported else [TOKENS]
            number = max((each.number for each in pages.generations), default=-1) + 1
            nothing = np.zeros((0, 2 + len(fresh)), np.uint32)
            old.append(Generation(number, tuple(fresh), nothing))
        return old

    def _create(self, generation: Generation, kinds: Mapping[str, Kind]) -> None:
        check_model(self.store, self.request)  # another split may have begun in the meantime
        for name in generation.arrays:
            if name == TOKENS and name in self.dtypes:
                continue  # an earlier set of arrays made it
            self._create_array(name, *kinds[name])
        ledger = f"{self.path}/ledger/{generation.number}"
        columns = 2 + len(generation.arrays)
        blocks = -(-self.rows // self.block_rows)
        create_magnitudes(self.store, self.path, generation, blocks)
        self.store.create(ledger, (blocks, columns), np.uint32, 1, ("block", "entry"))
        # Naming the arrays is what makes the generation exist: a kill before this leaves strays
        # that the next writer overwrites.
        dtypes = {name: self.dtypes[name].name for name in generation.arrays}
        self.store.set_attrs(ledger, {"arrays": list(generation.arrays), "dtypes": dtypes})
        self._finished[generation.number] = np.zeros(blocks, bool)

    def _create_array(self, name: str, dtype: DTypeLike, below: tuple[int, ...]) -> None:
        axes = ("row", "feature")[: 1 + len(below)]
        path = f"{self.path}/{name}"
        self.store.create(path, (self.rows, *below), dtype, self.chunk_rows, axes)
        self.dtypes[name] = np.dtype(dtype)

    def _kind(self, name: str, rows: NDArray[Any]) -> Kind:
        if name == TOKENS:
            return np.uint32, rows.shape[1:]
        if self.request.store_dtype != "auto":
            return dtype_of(self.request.store_dtype), rows.shape[1:]
        return np.float32 if largest(rows) > FLOAT16_COMFORT else np.float16, rows.shape[1:]


@contextmanager
def reserve(store: Home, request: Request, wait: float = 0.0) -> Iterator[Writer]:
    """Be the one writer of a split: lock it, check its identity, make room for new rows.

    Waits at most `wait` seconds for who has it. Raises BusyError, or MismatchError that spells out
    how the settings differ.
    """
    with exclusive(store.root, request.lock, wait):
        path = request.path
        store.sweep(path)
        # Two splits may start at once: the second must see what the first wrote down.
        with exclusive(store.root, f"{request.corpus}+{request.model}", wait=60.0):
            store.sweep(f"{request.corpus}/{request.model}", deep=False)
            check_model(store, request)
            describe_model(store, request)
        begin_split(store, path, request)
        pages = Pages(store, request.corpus, request.model, request.split)
        _make_room(store, pages)
        writer = Writer(store, request, pages)
        # What was asked for is known even if the first block is never finished.
        wanted = [name for each in writer.generations for name in each.arrays]
        asked: dict[str, Any] = {"arrays": list(dict.fromkeys([*pages.asked, *wanted]))}
        if not {*wanted} <= {*pages.arrays}:
            asked["store_dtype"] = request.store_dtype
        if request.files:
            asked["files"] = pages.files | dict(request.files)
        if request.pulled:
            asked["pulled"] = pages.attrs.get("pulled", {}) | dict(request.pulled)
            asked["key_there"] = request.key_there
        if (attrs := pages.attrs | asked) != pages.attrs:
            store.set_attrs(path, attrs)
        yield writer
        if request.fsync:
            store.sync()


@contextmanager
def join(store: Home, request: Request, key: str, hand: str, window: range) -> Iterator[Writer]:
    """Write blocks of a window for the leader that published this key; its arrays exist, or will.

    Raises what `hand_of` does, and MismatchError where this process's model is another one.
    """
    with hand_of(store.root, request.lock, key, hand):
        check_model(store, request)
        yield of_window(store, request, window)
        if request.fsync:
            store.sync()


def of_window(store: Home, request: Request, window: range) -> Writer:
    """A writer that knows what is finished of these blocks, as it is now."""
    pages = Pages(store, request.corpus, request.model, request.split)
    pages.window = window
    return Writer(store, request, pages)


def _make_room(store: Store, pages: Pages) -> None:
    """Give every array as many rows as the split has, also after a kill half-way through this."""
    blocks = -(-pages.rows // pages.block_rows)
    for generation in pages.generations:
        lengths = dict.fromkeys(generation.arrays, pages.rows)
        beside = (f"magnitudes/{generation.number}", f"ledger/{generation.number}")
        for name, rows in (lengths | dict.fromkeys(beside, blocks)).items():
            info = store.info(f"{pages.path}/{name}")
            if info is not None and info.shape[0] != rows:
                store.resize(f"{pages.path}/{name}", rows)
