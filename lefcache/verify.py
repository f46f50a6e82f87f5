"""Is a cache whole? Every byte against its checksum, and what each damage costs."""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import numpy as np

from lefcache.cache import Cache, Pages
from lefcache.cache.documents import described
from lefcache.cache.identity import is_made_otherwise
from lefcache.cache.keys import Key
from lefcache.cache.ledger import Generation, blocks_of, check_ledger, ledgers, vouched
from lefcache.cache.magnitudes import spoilt_magnitudes
from lefcache.cache.order import disordered
from lefcache.cache.register import CHANGING
from lefcache.cache.seals import Seals, told
from lefcache.cache.sums import Stored, torn_blocks
from lefcache.cache.walk import (
    UNREADABLE,
    models_without_splits,
    nodes_below,
    splits_below,
    splits_gone_below,
    strays_below,
)
from lefcache.corpus import SPLITS
from lefcache.damage import (
    Damage,
    Report,
    damaged_block,
    damaged_magnitudes,
    made_elsewhere,
    not_begun,
    without_split,
    without_splits,
)
from lefcache.errors import DamagedError
from lefcache.feature import NAME
from lefcache.wording import count, shown

OnBlocks = Callable[[str, int], None]
Blocks = Collection[tuple[int, int]]  # number of a set of arrays, and block


def verify(cache: Cache, key: str = "", on_split: OnBlocks | None = None) -> Report:
    """Read all that lies below a key (a corpus, model or split; all without one), and compare.

    Of an array, the bytes of each block are compared with their CRC-32C in the ledger; labels,
    row hashes and metadata with checksums of their own, which a cache from before they were kept
    does not have: those are `unsealed`, and not damaged. Metadata of before it said where it
    belongs is `unplaced`: nothing tells whether it was swapped. Nothing is written.
    """
    report = _Checked(cache)
    wanted = Key.parse(key).whole().path if key.strip("/") else ""
    if wanted and not _known(cache, wanted):
        cache.below(wanted)  # which says what was meant
    with cache.store.held():
        report.metadata(wanted)
        corpora = [wanted.split("/")[0]] if wanted else list(cache)
        for corpus in corpora:
            report.guarded(corpus, partial(report.labels, corpus))
        for path in splits_below(cache, wanted):
            before = report.blocks
            report.guarded(path, partial(report.split, path))
            if on_split:
                on_split(path, report.blocks - before)
        for path in models_without_splits(cache, wanted):
            report.missing.append(without_splits(path))
        for path in splits_gone_below(cache, wanted):
            report.guarded(path, partial(report.gone, path))
        strays = sorted(strays_below(cache, wanted))
    return report.finished(strays)


def still_damaged(cache: Cache, path: str, blocks: Blocks | None) -> list[Damage]:
    """The blocks of a split that are damaged or missing now; of some only, which alone are read.

    Raises what metadata that is not ours raises (`cache.walk.UNREADABLE`).
    """
    report = _Checked(cache)
    with cache.store.held():
        report.split(path, blocks)
    found = [each for each in [*report.damaged, *report.missing] if each.block is not None]
    return [each for each in found if blocks is None or (each.generation, each.block) in blocks]


def _known(cache: Cache, key: str) -> bool:
    """Whether there is such a corpus, model or split, with its metadata or without."""
    names, split = key.split("/")[:2], key.split("/")[2:]
    named = all(NAME.fullmatch(name) for name in names) and split in ([], *([s] for s in SPLITS))
    above, _, name = key.rpartition("/")
    return named and (name in cache.store.folders(above) or cache.store.format_of(key) == "hdf5")


class _Checked:
    """What has been found so far."""

    def __init__(self, cache: Cache) -> None:
        self.cache, self.store = cache, cache.store
        self.blocks = 0
        self.damaged: list[Damage] = []
        self.missing: list[Damage] = []
        self.unsealed: list[str] = []
        self.seals = Seals(self.store)

    def finished(self, strays: list[str]) -> Report:
        """All of it, beside what was left behind."""
        seals, unsealed = self.seals, [*self.seals.unsealed, *self.unsealed]
        return Report(self.blocks, self.damaged, self.missing, strays, unsealed, seals.unplaced)

    def guarded(self, path: str, check: Callable[[], None]) -> None:
        """Check something whose metadata may be any nonsense: that is damage, and not our end."""
        try:
            check()
        except UNREADABLE as error:
            if not any(_on_one_way(each.path, path) for each in self.damaged):
                told_of = told(self.store, path, shown(str(error), 400))
                self.damaged.append(Damage(path, "metadata", *told_of))

    def metadata(self, key: str) -> None:
        """Compare every group and array with its seal."""
        for path in nodes_below(self.cache, key):
            if told_of := self.seals.damage(path):
                self.damaged.append(Damage(path, "metadata", *told_of))

    def gone(self, path: str) -> None:
        """Tell of a split that was begun, and is not there."""
        corpus, model, split = path.split("/")
        command = self.cache.split_command(corpus, model, [split])
        self.missing.append(without_split(path, command))

    def labels(self, corpus: str) -> None:
        """Compare labels and row hashes with the checksums among a corpus's attributes."""
        attrs = described(self.store, corpus)
        known = attrs.get("checksums", {})
        for split, rows in attrs["splits"].items():
            for what in ("labels", "rows"):
                name = f"{what}/{split}"
                path = f"{corpus}/{name}"
                if what == "labels" and split in attrs.get(CHANGING, ()):
                    message = f"{path} is being replaced, or was when a run was stopped"
                    self.missing.append(Damage(path, "labels", message, "run it again"))
                elif name not in known:
                    self.unsealed.append(path)
                elif not _labels_hold(self.store, path, rows, known[name]):
                    message = f"{path}: {rows:,} {_CALLED[what]} are not those written"
                    way = "repair reads them again from the data"
                    self.damaged.append(Damage(path, "labels", message, way))

    def split(self, path: str, blocks: Blocks | None = None) -> None:
        """Compare every block of every array of a split with its row in the ledger.

        With `blocks`, the bytes of these alone are read. A block that has rows to come is missing
        as it is: the rows that it has may be written anew just now, or were when an extraction was
        killed, and nothing reads them.
        """
        pages = Pages(self.store, *path.split("/"), alone=True)
        with suppress(*UNREADABLE):  # which `metadata` has told
            pages.model_attrs = described(self.store, path.rpartition("/")[0])
        if is_made_otherwise(self.store, path, pages.attrs, pages.model_attrs):
            self.damaged.append(made_elsewhere(path))
            return
        generations = list(self._generations(pages))
        pages.__dict__["generations"] = generations  # read here as far as they can be
        arrays: dict[str, list[tuple[Generation, tuple[int, int, int]]]] = {}
        for generation in generations:
            self._ledger(pages, generation)
            whole = {*map(int, np.flatnonzero(pages.finished(generation)))}
            if blocks is not None:
                whole &= {block for number, block in blocks if number == generation.number}
            for name in generation.arrays:
                sums = (each for each in generation.checksums(name) if each[0] in whole)
                arrays.setdefault(name, []).extend((generation, each) for each in sums)
            self.blocks += int(np.count_nonzero(vouched(generation.ledger)))
        for name, wanted in arrays.items():
            self._array(pages, name, wanted)
        for generation in generations:
            self._magnitudes(pages, generation, blocks)
        for name in pages.asked:
            if name not in arrays:
                self.missing.append(not_begun(pages, name))

    def _generations(self, pages: Pages) -> Iterator[Generation]:
        for number in ledgers(self.store, pages.path):
            here = f"{pages.path}/ledger/{number}"
            if arrays := tuple(described(self.store, here).get("arrays", ())):
                yield Generation(number, arrays, _rows_of_ledger(self.store, here, arrays, pages))

    def _ledger(self, pages: Pages, generation: Generation) -> None:
        rows, finished = vouched(generation.ledger), pages.finished(generation)
        for block in range(len(finished)):
            if finished[block]:
                continue
            before = int(rows[block]) if block < len(rows) else 0
            torn = block < len(rows) and bool(generation.ledger[block].any()) and not before
            kind, found = ("ledger", self.damaged) if torn else ("missing", self.missing)
            what = "its ledger row is damaged" if torn else "not there, or not yet"
            if before:
                what = f"finished when it had {count(before, 'row')}; others were appended"
            at = (generation.number, block)
            found.append(damaged_block(pages, kind, what, generation.arrays, at))

    def _magnitudes(self, pages: Pages, generation: Generation, blocks: Blocks | None) -> None:
        """Compare magnitudes with their sums, and with what they tell of the order of blocks."""
        found = [*self.damaged, *self.missing]
        told = {(each.generation, each.block) for each in found if each.path == pages.path}
        moved: list[int] = []
        with suppress(*UNREADABLE):  # as `_array` has told
            moved = disordered(pages, generation)
        for block in sorted({*spoilt_magnitudes(self.store, pages.path, generation), *moved}):
            at = (generation.number, block)
            if block not in moved:
                self.damaged.append(damaged_magnitudes(pages, generation.arrays, at))
            elif at not in told and (blocks is None or at in blocks):
                what = "its rows are those of another block, with all that vouches for them"
                self.damaged.append(damaged_block(pages, "block", what, generation.arrays, at))

    def _array(
        self, pages: Pages, name: str, wanted: list[tuple[Generation, tuple[int, int, int]]]
    ) -> None:
        torn: list[tuple[int, int, int]] = []
        try:
            stored = Stored.of(self.store, f"{pages.path}/{name}")
            torn = torn_blocks(stored, (each for _, each in wanted), pages.block_rows)
        except UNREADABLE:
            stored, torn = None, [each for _, each in wanted]
        for generation, each in wanted:
            if each not in torn:
                continue
            gone = stored is None or not _there(stored, pages, each[0])
            kind, found = ("missing", self.missing) if gone else ("block", self.damaged)
            what = (
                "chunks of it are missing or cut short"
                if gone
                else "its bytes are not those written"
            )
            at = (generation.number, each[0])
            found.append(damaged_block(pages, kind, what, [name], at))


def _on_one_way(one: str, other: str) -> bool:
    """Whether one of two nodes is below the other, or is the other."""
    return f"{one}/".startswith(f"{other}/") or f"{other}/".startswith(f"{one}/")


_CALLED = {"labels": "labels", "rows": "hashes of texts"}


def _there(stored: Stored, pages: Pages, block: int) -> bool:
    first = block * pages.block_rows // stored.info.chunk_rows
    beyond = -(-(block + 1) * pages.block_rows // stored.info.chunk_rows)
    return all(each is not None for each in stored.chunks[first:beyond])


def _rows_of_ledger(store: Any, path: str, arrays: Sequence[str], pages: Pages) -> Any:
    """The ledger, with rows that cannot be read as rows that no block can have."""
    check_ledger(store, path, arrays, blocks_of(pages.attrs))
    try:
        return store.read(path, sparse=True)
    except DamagedError:
        info = store.info(path)
        ledger = np.zeros(info.shape, np.uint32)
        for block in range(info.shape[0]):
            try:
                ledger[block] = store.read(path, block + 1, sparse=True, start=block)[0]
            except DamagedError:
                ledger[block] = np.uint32(2**32 - 1)
        return ledger


def _labels_hold(store: Any, path: str, rows: int, crc: int) -> bool:
    try:
        stored = Stored.of(store, path)
    except DamagedError:
        return False
    clean = stored.info.shape[0] != rows or stored.clean()
    return clean and stored.checksums(0, [rows]).get(rows) == crc
