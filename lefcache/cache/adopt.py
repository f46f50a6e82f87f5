"""Vectors of another cache, taken over: each block is held against its checksum, and written.

The ledger of a split here is written by its own writer, block by block, so a kill costs nothing and
layers that are extracted later stand beside those that were taken over. The other cache may lie in
any store that can be read: of it only `attrs`, `children`, `info`, `read` and `root` are used.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lefcache.cache.corpora import check_texts
from lefcache.cache.identity import check_model
from lefcache.cache.ledger import checksum
from lefcache.cache.pages import TOKENS, Pages
from lefcache.cache.request import Kind, Request, Task
from lefcache.cache.sums import repair_command
from lefcache.cache.writer import reserve
from lefcache.dtypes import raw
from lefcache.errors import DamagedError, IncompleteError, MismatchError
from lefcache.stores import ArrayInfo, Home
from lefcache.wording import count

OnRows = Callable[[int], None]


def check_adoptable(store: Home, source: Pages, corpus: str, model: str) -> None:
    """Raise MismatchError where vectors of another cache cannot stand under this name.

    They can if the texts and settings are those that are here already, and no rows fewer: rows that
    were appended there are taken over as an extraction would compute them.
    """
    check_texts(store, source, corpus)
    check_model(store, _request(source, (), corpus, model))
    here = Pages(store, corpus, model, source.split)
    if here.attrs and here.generations and here.rows > source.rows:
        raise MismatchError(
            f"{here.path} has {count(here.rows, 'row')} here, and only {source.rows:,} there: "
            "extract the others there first, or keep both with --as NAME"
        )


def wanting(store: Home, source: Pages, arrays: Iterable[str], path: str) -> dict[str, int]:
    """Those of some arrays that a split here has not, or not all rows of; how many each lacks."""
    here = Pages(store, *path.split("/"))
    if here.attrs:  # of rows that were appended, the last block here comes anew
        here.attrs["rows"] = max(here.rows, source.rows)
    done = here.done if here.attrs else {}
    lacking = {name: source.rows - done.get(name, 0) for name in arrays}
    return {name: rows for name, rows in lacking.items() if rows > 0}


def adopt(
    store: Home,
    source: Pages,
    arrays: Iterable[str],
    path: str,
    origin: str,
    on_rows: OnRows | None = None,
) -> None:
    """Write arrays of a split of another cache into the split `path` of this one, block by block.

    Blocks that are here already are not read again, and those that the other cache has yet to
    finish are left out. `origin` says where they come from, and is recorded, for the command that
    goes on with it; `on_rows` is told of each block how many rows of vectors it was. Raises
    BusyError, MismatchError as `check_adoptable`, DamagedError for rows that are not those written,
    and IncompleteError where some of the arrays were begun here together with others.
    """
    corpus, model, _ = path.split("/")
    _check_tokens(store, source, path)
    for kind, names in _alike(source, arrays).items():
        request = _request(source, names, corpus, model, kind[1], origin)
        with reserve(store, request) as writer:
            writer.create(_kinds(source, (*names, TOKENS)))
            for task in writer.missing():
                if others := [n for n in task.arrays if n not in (*names, TOKENS)]:
                    here = Pages(store, *path.split("/"))
                    raise IncompleteError(
                        f"{path}/{others[0]} was begun together with what is pulled; finish it "
                        f"first with: {here.resume_command()}"
                    )
                block = _Block(source, task)
                if block.whole:
                    writer.commit(task, block)
                    if on_rows:
                        on_rows((task.stop - task.start) * len(names))


def _alike(source: Pages, arrays: Iterable[str]) -> dict[tuple[int, str], tuple[str, ...]]:
    """The arrays that have a ledger and a type in common: they are written together here too."""
    alike: dict[tuple[int, str], tuple[str, ...]] = {}
    found: set[str] = set()
    for generation in source.generations:
        for name in generation.arrays:
            if name in arrays and name not in found:
                found.add(name)
                key = (generation.number, _info(source, name).dtype.name)
                alike[key] = (*alike.get(key, ()), name)
    return alike


def _kinds(source: Pages, names: Iterable[str]) -> dict[str, Kind]:
    """What arrays are made of, found without reading a row."""
    infos = {name: _info(source, name) for name in names if name in source.arrays}
    return {name: (info.dtype, info.shape[1:]) for name, info in infos.items()}


def _info(source: Pages, name: str) -> ArrayInfo:
    info = source.store.info(f"{source.path}/{name}")
    if info is None:
        raise DamagedError(f"{source.path}/{name} is not there, though its ledger speaks of it")
    return info


class _Block(Mapping[str, NDArray[Any]]):
    """The rows of a block, each array read and checked when it is asked for: all would be large."""

    def __init__(self, source: Pages, task: Task) -> None:
        self.source, self.task = source, task

    @property
    def whole(self) -> bool:
        """Whether the ledger there vouches for these rows of every array."""
        return all(
            sum(rows for _, rows, _ in self._there(name)) >= self.task.stop - self.task.start
            for name in self.task.arrays
        )

    def _there(self, name: str) -> list[tuple[int, int, int]]:
        """The blocks there, with their checksums, in which these rows lie."""
        known: dict[int, tuple[int, int, int]] = {}
        for start, rows, crc in self.source.checksums(name):
            # Of tokens, which every set of arrays vouches for, one may be of fewer rows.
            inside = start < self.task.stop and start + rows >= min(
                self.task.stop, start + self.source.block_rows
            )
            if inside and start + rows > self.task.start:
                known[start] = max((start, rows, crc), known.get(start, (start, 0, 0)))
        return [known[start] for start in sorted(known)]

    def __getitem__(self, name: str) -> NDArray[Any]:
        pieces = [self._checked(name, *block) for block in self._there(name)]
        whole = pieces[0] if len(pieces) == 1 else np.concatenate(pieces)
        first = self.task.start - self._there(name)[0][0]
        return whole[first : first + self.task.stop - self.task.start]

    def _checked(self, name: str, start: int, rows: int, crc: int) -> NDArray[Any]:
        store, path = self.source.store, f"{self.source.path}/{name}"
        found = store.read(path, start + rows, start=start)
        if checksum(raw(found)) != crc:
            raise DamagedError(
                f"{store.root}: rows {start:,}..{start + rows - 1:,} of {path} are not those that "
                f"were written: {repair_command(store, self.source.path)}"
            )
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(self.task.arrays)

    def __len__(self) -> int:
        return len(self.task.arrays)


def _request(
    source: Pages,
    arrays: tuple[str, ...],
    corpus: str,
    model: str,
    dtype: str = "auto",
    origin: str = "",
) -> Request:
    made = source.model_attrs
    return Request(
        corpus=corpus,
        model=model,
        split=source.split,
        rows=source.rows,
        arrays=arrays,
        spec=source.spec,
        depth=source.depth,
        width=int(made["width"]),
        block_rows=source.block_rows,
        batch_tokens=int(source.attrs["batch_tokens"]),
        store_dtype=dtype,
        aliases=source.aliases,
        source=made.get("source"),
        provenance={**made.get("provenance", {}), "pulled_from": origin},
        flags=tuple(made.get("flags", ())),
        files={name: each for name, each in source.files.items() if name in arrays},
        pulled=dict.fromkeys(arrays, origin),
        key_there=source.path,
    )


def _check_tokens(store: Home, source: Pages, path: str) -> None:
    """Refuse a second opinion of how many tokens each text has: every set vouches for one array."""
    here = Pages(store, *path.split("/"))
    if not here.attrs or TOKENS not in here.arrays:
        return
    known = store.read(f"{path}/{TOKENS}", sparse=True)
    differ = (known != 0) & (known != source.store.read(f"{source.path}/{TOKENS}", len(known)))
    if differ.any():
        raise MismatchError(
            f"{path} counts other tokens here than there, in row {differ.argmax()} first: keep "
            "both with --as NAME"
        )
