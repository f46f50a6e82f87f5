"""The corpus of another cache, whose texts do not come along: they are known by their hashes."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lefcache.cache.documents import described
from lefcache.cache.ledger import checksum
from lefcache.cache.pages import Pages
from lefcache.cache.register import CHANGING, register
from lefcache.corpus import UNLABELLED, Corpus, Split
from lefcache.errors import DamagedError, IncompleteError, MismatchError
from lefcache.stores import Home, Store
from lefcache.wording import command_line, count


class _Hashed(Split):
    """A split of which only hashes are known, as its vectors come without the texts."""

    def __init__(self, hashes: NDArray[np.uint64], labels: NDArray[np.int32]) -> None:
        super().__init__(range(len(hashes)), labels)  # type: ignore[arg-type]
        self.__dict__["hashes"] = hashes


def check_texts(store: Home, source: Pages, corpus: str) -> None:
    """Raise MismatchError, with the row, where a corpus here is of other texts."""
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
