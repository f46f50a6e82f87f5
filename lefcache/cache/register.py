"""Which texts and labels a cache is about: changed texts are refused, changed labels taken over."""

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lefcache.cache.lock import exclusive
from lefcache.corpus import UNLABELLED, Corpus
from lefcache.errors import MismatchError
from lefcache.stores import Store

FORMAT = 1  # of the folder; a higher number is refused by versions that do not know it


def register(store: Store, corpus: Corpus) -> list[str]:
    """Write a corpus's labels and row hashes, or check them against what is there.

    Texts may be appended; any other change raises MismatchError naming the first changed row.
    Returns notes on what was taken over, one line each.
    """
    with exclusive(store.root, corpus.name, wait=60.0):
        if not store.attrs(""):
            store.set_attrs("", {"format": "lefcache", "version": FORMAT})
        attrs = store.attrs(corpus.name)
        for split, content in corpus.splits.items():
            _check_texts(store, corpus.name, split, content.hashes)
        notes = _take_labels(store, corpus, attrs) if attrs else []
        _write(store, corpus, attrs)
    return notes


def _check_texts(store: Store, corpus: str, split: str, hashes: NDArray[np.uint64]) -> None:
    path = f"{corpus}/rows/{split}"
    if store.info(path) is None:
        return
    known = store.read(path)
    shared = min(len(known), len(hashes))
    changed = np.flatnonzero(known[:shared] != hashes[:shared])
    if len(changed) or len(hashes) < len(known):
        if len(changed):
            what = f"row {changed[0]} (counted from 0) is another text; {len(changed):,} differ"
        else:
            what = f"the cache has {len(known):,} rows, the data {len(hashes):,}"
        raise MismatchError(
            f"{corpus}/{split} is not the text that the cache was made from: {what}; "
            "keep both with --data NAME=FOLDER"
        )


def _take_labels(store: Store, corpus: Corpus, attrs: Mapping[str, Any]) -> list[str]:
    """Which stored labels the new ones differ from; `_write` then takes the new ones."""
    notes = []
    old = list(attrs["classes"])
    for split, content in corpus.splits.items():
        path = f"{corpus.name}/labels/{split}"
        if content.labels is None or store.info(path) is None:
            continue
        known = store.read(path)
        renamed = _recode(known, old, corpus.classes)
        shared = min(len(known), len(content.labels))
        if changed := int((renamed[:shared] != content.labels[:shared]).sum()):
            notes.append(
                f"{corpus.name}/{split}: {changed:,} corrected labels taken over; results of the "
                "old ones are computed again when asked for"
            )
    return notes


def _write(store: Store, corpus: Corpus, attrs: Mapping[str, Any]) -> None:
    """Lay down labels, hashes and attributes; splits that the new data lacks stay."""
    gone = set(attrs.get("splits", {})) - set(corpus.splits)
    classes = list(corpus.classes) + [
        name for name in attrs.get("classes", []) if gone and name not in corpus.classes
    ]
    labels = {
        split: _labels(content.labels, len(content)) for split, content in corpus.splits.items()
    }
    for split in gone:
        labels[split] = _recode(
            store.read(f"{corpus.name}/labels/{split}"), attrs["classes"], classes
        )
    hashes = {split: content.hashes for split, content in corpus.splits.items()}
    for split, codes in labels.items():
        _replace(store, f"{corpus.name}/labels/{split}", codes)
        if split in hashes:
            _replace(store, f"{corpus.name}/rows/{split}", hashes[split])
    described = {
        "classes": classes,
        "source": corpus.source,
        "options": dict(corpus.options),
        "splits": {split: len(codes) for split, codes in labels.items()},
        "digest": hashlib.sha256(
            b"".join(hashes[split].tobytes() for split in sorted(hashes))
        ).hexdigest(),
    }
    if described != dict(attrs):
        store.set_attrs(corpus.name, described)


def _labels(labels: NDArray[np.int32] | None, rows: int) -> NDArray[np.int32]:
    return np.full(rows, UNLABELLED, np.int32) if labels is None else labels


def _recode(labels: NDArray[Any], old: list[str], new: Any) -> NDArray[np.int32]:
    """The same labels as numbers in another list of classes; -1 where it lacks one."""
    index = {name: number for number, name in enumerate(new)}
    table = np.array([*(index.get(name, UNLABELLED) for name in old), UNLABELLED], np.int32)
    recoded: NDArray[np.int32] = table[labels]
    return recoded


def _replace(store: Store, path: str, values: NDArray[Any]) -> None:
    info = store.info(path)
    if info is not None and info.shape == values.shape and np.array_equal(store.read(path), values):
        return
    store.create(path, values.shape, values.dtype, len(values), ("row",))
    store.write(path, 0, values)
