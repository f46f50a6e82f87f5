"""Vectors of another cache, taken over: each block is held against its checksum, and written.

The ledger of a split here is written by its own writer, block by block, so a kill costs nothing and
layers that are extracted later stand beside those that were taken over. The other cache may lie in
any store that can be read: of it only `attrs`, `children`, `info`, `read` and `root` are used.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lefcache.cache.documents import described
from lefcache.cache.identity import check_model
from lefcache.cache.ledger import checksum
from lefcache.cache.pages import TOKENS, Pages
from lefcache.cache.register import CHANGING, register
from lefcache.cache.sums import repair_command
from lefcache.cache.writer import Kind, Request, Task, reserve
from lefcache.corpus import UNLABELLED, Corpus, Split
from lefcache.dtypes import raw
from lefcache.errors import DamagedError, IncompleteError, MismatchError
from lefcache.stores import ArrayInfo, Home, Store
from lefcache.wording import command_line, count

OnRows = Callable[[int], None]


class _Hashed(Split):
    """A split of which only hashes are known, as its vectors come without the texts."""

    def __init__(self, hashes: NDArray[np.uint64], labels: NDArray[np.int32]) -> None:
        super().__init__(range(len(hashes)), labels)  # type: ignore[arg-type]
        self.__dict__["hashes"] = hashes


def check_adoptable(store: Home, source: Pages, corpus: str, model: str) -> None:
    """Raise MismatchError where vectors of another cache cannot stand under this name.

    They can if the texts, the settings and the number of rows are those that are here already.
    """
    _check_texts(store, source, corpus)
    check_model(store, _request(source, (), corpus, model, "auto", {}))
    here = Pages(store, corpus, model, source.split)
    if here.attrs and here.generations and here.rows != source.rows:
        raise MismatchError(
            f"{here.path} has {count(here.rows, 'row')} here, and {source.rows:,} there: keep both "
            "with --as NAME"
        )


def wanting(store: Home, source: Pages, arrays: Sequence[str], path: str) -> list[str]:
    """Those of some arrays that a split here has not, or not all rows of."""
    here = Pages(store, *path.split("/"))
    done = here.done if here.attrs else {}
    return [name for name in arrays if done.get(name, 0) < source.rows]


def adopt_corpus(store: Home, source: Pages, corpus: str) -> list[str]:
    """Write down the texts' hashes and the labels that come with vectors; notes for the user.

    Labels that are here already stay, whatever comes with the vectors.
    """
    attrs, here = described(source.store, source.corpus), described(store, corpus)
    classes = [*here.get("classes", ())]
    classes += [name for name in attrs["classes"] if name not in classes]
    code = np.array([*map(classes.index, attrs["classes"]), UNLABELLED], np.int32)
    splits: dict[str, Split] = {}
    notes: list[str] = []
    for split, rows in attrs["splits"].items():
        labels, texts = (
            rows_of_corpus(source.store, source.corpus, what, split) for what in ("labels", "rows")
        )
        labels, kept = code[labels], np.empty(0, np.int32)
        if split in here.get("splits", {}):
            kept = store.read(f"{corpus}/labels/{split}", here["splits"][split])
        if (kept != UNLABELLED).any():
            if different := int((kept[:rows] != labels[: len(kept)]).sum()):
                notes.append(
                    f"{corpus}/{split}: {count(different, 'label')} that came with the vectors "
                    "would be other ones; those here are kept"
                )
            labels = np.concatenate([kept, labels[len(kept) :]])
        elif len(kept) <= rows and (labels != UNLABELLED).any():
            kept = kept[:0]  # there is nothing to keep
        if rows > len(kept):
            splits[split] = _Hashed(texts, labels[:rows])
    if splits:
        found = here or attrs
        made = Corpus(corpus, tuple(classes), splits, found["source"], found.get("options", {}))
        notes += register(store, made)
    return notes


def adopt(
    store: Home,
    source: Pages,
    arrays: Sequence[str],
    path: str,
    origin: str,
    on_rows: OnRows | None = None,
) -> None:
    """Write arrays of a split of another cache into the split `path` of this one, block by block.

    Blocks that are here already are not read again, and those that the other cache has yet to
    finish are left out. `origin` says where they come from, and is recorded; `on_rows` is told of
    each block how many rows of vectors it was. Raises BusyError, MismatchError as
    `check_adoptable`, DamagedError for rows that are not those written, and IncompleteError where
    some of the arrays were begun here together with others.
    """
    corpus, model, _ = path.split("/")
    _check_tokens(store, source, path)
    for kind, names in _alike(source, arrays).items():
        made = {**source.model_attrs.get("provenance", {}), "pulled_from": origin}
        request = _request(source, names, corpus, model, kind[1], made)
        with reserve(store, request) as writer:
            _record(store, path, dict.fromkeys(names, origin))
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


def _alike(source: Pages, arrays: Sequence[str]) -> dict[tuple[int, str], tuple[str, ...]]:
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


def _kinds(source: Pages, names: Sequence[str]) -> dict[str, Kind]:
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
    dtype: str,
    provenance: Mapping[str, Any],
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
        provenance=provenance,
        flags=tuple(made.get("flags", ())),
        files={name: each for name, each in source.files.items() if name in arrays},
    )


def _record(store: Home, path: str, pulled: Mapping[str, str]) -> None:
    """Write down where arrays came from: a model's provenance tells only of its first ones."""
    attrs = described(store, path)
    store.set_attrs(path, attrs | {"pulled": {**attrs.get("pulled", {}), **pulled}})


def _check_texts(store: Home, source: Pages, corpus: str) -> None:
    here = described(store, corpus).get("splits", {})
    for split, rows in described(source.store, source.corpus)["splits"].items():
        if split not in here:
            continue
        known = store.read(f"{corpus}/rows/{split}", here[split])
        texts = source.store.read(f"{source.corpus}/rows/{split}", rows)
        shared = min(len(known), len(texts))
        changed = np.flatnonzero(known[:shared] != texts[:shared])
        if len(changed):
            raise MismatchError(
                f"{corpus}/{split} is of other texts here: row {changed[0]} (counted from 0) is "
                f"another one; {count(len(changed), 'row')} of {shared:,} differ; keep both with "
                "--as CORPUS/NAME"
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


def corpus_of(store: Store, corpus: str) -> Corpus:
    """A corpus as another cache knows it: hashes for texts. IncompleteError while labels change."""
    attrs = described(store, corpus)
    if attrs.get(CHANGING):
        raise IncompleteError(
            f"the labels of {corpus} are being replaced in {store.root}, or were when a run was "
            "stopped: run it again there"
        )
    splits: dict[str, Split] = {
        split: _Hashed(*(rows_of_corpus(store, corpus, what, split) for what in ("rows", "labels")))
        for split in attrs["splits"]
    }
    classes, source = tuple(attrs["classes"]), attrs["source"]
    return Corpus(corpus, classes, splits, source, attrs.get("options", {}))


def rows_of_corpus(store: Store, corpus: str, what: str, split: str) -> NDArray[Any]:
    """The labels or text hashes of a split, as their checksum says; DamagedError if not."""
    attrs = described(store, corpus)
    name = f"{what}/{split}"
    rows: NDArray[Any] = store.read(f"{corpus}/{name}", attrs["splits"][split])
    known = attrs.get("checksums", {}).get(name)
    if known is not None and checksum(rows) != known:
        repair = command_line(["lef", "verify", corpus, "--repair", "--cache", store.root])
        raise DamagedError(f"{store.root}: {corpus}/{name} is not what was written: {repair}")
    return rows
