"""Which texts and labels a cache is about: changed texts are refused, changed labels taken over."""

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lefcache.cache.lock import exclusive
from lefcache.corpus import UNLABELLED, Corpus, Split
from lefcache.errors import MismatchError
from lefcache.stores import Store

CHANGING = "changing"  # the mark in a corpus's attributes
CHUNK_ROWS = 4096
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
        for split, rows in attrs.get("splits", {}).items():
            if split in corpus.splits:
                known = store.read(f"{corpus.name}/rows/{split}")[:rows]
                _check_texts(f"{corpus.name}/{split}", known, corpus.splits[split].hashes)
        notes = _take_labels(store, corpus, attrs) if attrs else []
        _write(store, corpus, attrs)
    return notes


def _check_texts(where: str, known: NDArray[np.uint64], hashes: NDArray[np.uint64]) -> None:
    shared = min(len(known), len(hashes))
    changed = np.flatnonzero(known[:shared] != hashes[:shared])
    if len(changed) or len(hashes) < len(known):
        if len(changed):
            what = f"row {changed[0]} (counted from 0) is another text; {len(changed):,} differ"
        else:
            what = f"the cache has {len(known):,} rows, the data {len(hashes):,}"
        raise MismatchError(
            f"{where} is not the text that the cache was made from: {what}; "
            "keep both with --data NAME=FOLDER"
        )


def _take_labels(store: Store, corpus: Corpus, attrs: Mapping[str, Any]) -> list[str]:
    """Which stored labels the new ones differ from; `_write` then takes the new ones."""
    notes = []
    old, new = list(attrs["classes"]), list(corpus.classes)
    both = list(dict.fromkeys([*old, *new]))
    for split, rows in attrs["splits"].items():
        if split not in corpus.splits:
            continue
        known = _recode(store.read(f"{corpus.name}/labels/{split}")[:rows], old, both)
        labels = _recode(_labels(corpus.splits[split])[:rows], new, both)
        if changed := int((known != labels).sum()):
            notes.append(
                f"{corpus.name}/{split}: {changed:,} corrected labels taken over; results of the "
                "old ones are computed again when asked for"
            )
    return notes


def _write(store: Store, corpus: Corpus, attrs: Mapping[str, Any]) -> None:
    """Lay down labels, hashes and attributes; splits that the new data lacks stay as they are.

    Labels mean nothing without the classes in the attributes, and the two are different files: a
    mark says that one is being changed, and a kill leaves it there for readers to see.
    """
    gone = {name: n for name, n in attrs.get("splits", {}).items() if name not in corpus.splits}
    # The numbers in a split that stays keep their meaning, so its classes come first.
    kept = list(attrs["classes"]) if gone else []
    classes = kept + [name for name in corpus.classes if name not in kept]
    described = {
        "classes": classes,
        "source": corpus.source,
        "options": dict(corpus.options),
        "splits": {name: len(content) for name, content in corpus.splits.items()} | gone,
        "digest": _digest(corpus),
    }
    values: dict[str, NDArray[Any]] = {}
    for split, content in corpus.splits.items():
        labels = _recode(_labels(content), list(corpus.classes), classes)
        values |= {f"labels/{split}": labels, f"rows/{split}": content.hashes}
    if attrs:
        values = {
            path: new
            for path, new in values.items()
            if _differs(store, f"{corpus.name}/{path}", new)
        }
        if not values and described == dict(attrs):
            return
        store.set_attrs(corpus.name, {**attrs, CHANGING: True})
    for path, new in values.items():
        _replace(store, f"{corpus.name}/{path}", new)
    store.set_attrs(corpus.name, described)


def _digest(corpus: Corpus) -> str:
    texts = b"".join(corpus.splits[split].hashes.tobytes() for split in sorted(corpus.splits))
    return hashlib.sha256(texts).hexdigest()


def _labels(split: Split) -> NDArray[np.int32]:
    return np.full(len(split), UNLABELLED, np.int32) if split.labels is None else split.labels


def _recode(labels: NDArray[Any], old: list[str], new: Any) -> NDArray[np.int32]:
    """The same labels as numbers in another list of classes; -1 where it lacks one."""
    index = {name: number for number, name in enumerate(new)}
    table = np.array([*(index.get(name, UNLABELLED) for name in old), UNLABELLED], np.int32)
    recoded: NDArray[np.int32] = table[labels]
    return recoded


def _differs(store: Store, path: str, values: NDArray[Any]) -> bool:
    info = store.info(path)
    known = info is not None and info.shape == values.shape
    return not (known and np.array_equal(store.read(path), values))


def _replace(store: Store, path: str, values: NDArray[Any]) -> None:
    """Write over what is there, chunk by chunk: it is never gone, not even for a moment."""
    info = store.info(path)
    if info is None:
        chunk = max(len(values), CHUNK_ROWS)
        store.create(path, values.shape, values.dtype, chunk, ("row",))
    elif info.shape != values.shape:
        store.resize(path, len(values))
    store.write(path, 0, values)
