"""Which texts and labels a cache is about: changed texts are refused, changed labels taken over."""

import hashlib
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lefcache.cache.documents import FORMAT, check_labels, described, read_rows
from lefcache.cache.labels import any_known, labels_of, recode
from lefcache.cache.ledger import checksum
from lefcache.cache.lock import exclusive
from lefcache.cache.lost import lost_splits
from lefcache.cache.reading import read_unlike
from lefcache.corpus import SPLITS, UNLABELLED, Corpus, place_of
from lefcache.errors import DamagedError, IncompleteError, MismatchError
from lefcache.stores import Store
from lefcache.wording import command_line, count

CHANGING = "changing"  # the mark in a corpus's attributes: splits whose labels are being replaced
CHUNK_ROWS = 4096


def register(store: Store, corpus: Corpus) -> list[str]:
    """Write a corpus's labels and row hashes, or check them against what is there.

    Texts may be appended; any other change raises MismatchError naming the first changed row. A
    corpus that has lost its metadata, but not its hashes, is written down anew. Returns notes on
    what was taken over, one line each.
    """
    create_root(store)
    with exclusive(store.root, corpus.name, wait=60.0):
        for group in ("labels", "rows"):
            store.sweep(f"{corpus.name}/{group}")
        store.sweep(corpus.name, deep=False)
        attrs = described(store, corpus.name)
        here = attrs.get("splits", {}) if attrs else lost_splits(store, corpus.name, corpus.splits)
        for split, rows in here.items():
            if split in corpus.splits:
                known = read_rows(store, f"{corpus.name}/rows/{split}", np.uint64, rows)
                _check_texts(store, corpus, split, known)
        _check_mark(corpus, attrs)
        kept = _kept_labels(store, corpus, attrs)
        notes = _notes(store, corpus, attrs, kept)
        _write(store, corpus, attrs, kept)
    return notes


def read_labels(
    store: Store, corpus: str, split: str, rows: int
) -> tuple[NDArray[np.int32], NDArray[np.uint64], tuple[str, ...]] | None:
    """The first labels and text hashes of a split, and the classes; None while they change.

    Numbers of one writing with classes of another would be other labels, so the classes are read
    before and after.
    """
    for _ in range(2):  # one writer may have come in between; a second one is a kill's mark
        attrs = described(store, corpus)
        labels = _known_labels(store, corpus, split, rows)
        texts = read_rows(store, f"{corpus}/rows/{split}", np.uint64, rows)
        if not attrs.get(CHANGING) and described(store, corpus) == attrs:
            check_labels(labels, len(attrs["classes"]), f"{corpus}/labels/{split}")
            return labels, texts, tuple(attrs["classes"])
    return None


def labelled_splits(store: Store, corpus: str) -> list[str]:
    """The splits of a corpus in which any row has a label, in the order of SPLITS."""
    known = described(store, corpus).get("splits", {})
    return [
        split
        for split in SPLITS
        if split in known and any_known(_known_labels(store, corpus, split, known[split]))
    ]


def create_root(store: Store, sealed: bool = True) -> None:
    """Say what the folder is; corpora have a lock each, so their first extractions may meet."""
    if not store.attrs(""):
        with exclusive(store.root, "+", wait=60.0):
            if not store.attrs(""):
                store.sweep("", deep=False)
                store.set_attrs("", {"format": "lefcache", "version": FORMAT, "sealed": sealed})


def _check_texts(store: Store, corpus: Corpus, split: str, known: NDArray[np.uint64]) -> None:
    hashes = corpus.splits[split].hashes
    shared = min(len(known), len(hashes))
    changed = np.flatnonzero(known[:shared] != hashes[:shared])
    if len(changed) or len(hashes) < len(known):
        if len(changed):
            what = f"row {changed[0]} (counted from 0) is another text; {len(changed):,} differ"
        else:
            what = f"the cache has {len(known):,} rows, the data {len(hashes):,}"
        place = place_of(corpus.source) or "FOLDER"
        remove = command_line(["lef", "rm", corpus.name, "--cache", store.root])
        what += read_unlike(store, corpus)
        raise MismatchError(
            f"{corpus.name}/{split} is not the text that the cache was made from: {what}; keep "
            f"both with --data NAME={place}, or give up the vectors of the old texts with: {remove}"
        )


def _check_mark(corpus: Corpus, attrs: Mapping[str, Any]) -> None:
    """Refuse data that cannot replace the labels which a killed run began to replace.

    They may be numbers of the old classes or of the new ones, so nothing can be kept of them.
    """
    lacking = [
        split
        for split in attrs.get(CHANGING, ())
        if split not in corpus.splits or not any_known(labels_of(corpus.splits[split]))
    ]
    if lacking:
        raise IncompleteError(
            f"the labels of {corpus.name}/{', '.join(lacking)} were being replaced when a run was "
            "stopped: run it again on data that has them"
        )


def _kept_labels(
    store: Store, corpus: Corpus, attrs: Mapping[str, Any]
) -> dict[str, NDArray[np.int32]]:
    """The labels of the splits that have some in the cache and none in the new data."""
    kept = {}
    for split, rows in attrs.get("splits", {}).items():
        if split in corpus.splits and not any_known(labels_of(corpus.splits[split])):
            known = _known_labels(store, corpus.name, split, rows)
            if any_known(known):
                appended = len(corpus.splits[split]) - rows
                kept[split] = np.append(known, np.full(appended, UNLABELLED, np.int32))
    return kept


def _notes(
    store: Store, corpus: Corpus, attrs: Mapping[str, Any], kept: Mapping[str, Any]
) -> list[str]:
    """What a user should know of the labels that `_write` takes over, or keeps."""
    notes = []
    if kept:
        notes.append(
            f"{corpus.name}: this data has no labels for {', '.join(kept)}; those in the cache "
            "are kept"
        )
    if attrs.get(CHANGING):
        return notes  # half of the stored labels are new already: there is nothing to compare
    old, new = list(attrs.get("classes", ())), list(corpus.classes)
    both = list(dict.fromkeys([*old, *new]))
    for split, rows in attrs.get("splits", {}).items():
        if split not in corpus.splits or split in kept:
            continue
        known = _known_labels(store, corpus.name, split, rows)
        check_labels(known, len(old), f"{corpus.name}/labels/{split}")
        known = recode(known, old, both)
        labels = recode(labels_of(corpus.splits[split])[:rows], new, both)
        if changed := int((known != labels).sum()):
            notes.append(
                f"{corpus.name}/{split}: {count(changed, 'corrected label')} taken over; results "
                "of the old ones are stale (see `lef results`), and computed again when asked for"
                if any_known(known)
                else f"{corpus.name}/{split}: {count(changed, 'label')} taken over"
            )
    return notes


def _write(
    store: Store,
    corpus: Corpus,
    attrs: Mapping[str, Any],
    kept: Mapping[str, NDArray[np.int32]],
) -> None:
    """Lay down labels, hashes and attributes; splits that the new data lacks stay as they are.

    Labels mean nothing without the classes in the attributes, and the two are different files: a
    mark says that one is being changed, and a kill leaves it there for readers to see.
    """
    described = _described(corpus, attrs, kept)
    values = _values(corpus, described["classes"]) | {f"labels/{s}": kept[s] for s in kept}
    described["checksums"] = {
        **attrs.get("checksums", {}),
        **{path: checksum(new) for path, new in sorted(values.items())},
    }
    values = {
        path: new
        for path, new in values.items()
        if not attrs or _differs(store, f"{corpus.name}/{path}", new)
    }
    replaced = [
        split
        for split in attrs.get("splits", ())
        if f"labels/{split}" in values and any_known(values[f"labels/{split}"])
    ]
    if replaced:
        # The command that a reader is told must be the one that finishes this.
        found = {name: described[name] for name in ("source", "options")}
        mark = sorted({*attrs.get(CHANGING, ()), *replaced})
        store.set_attrs(corpus.name, {**attrs, **found, CHANGING: mark})
    for path, new in values.items():
        _replace(store, f"{corpus.name}/{path}", new)
    if values or described != dict(attrs):
        store.set_attrs(corpus.name, described)


def _values(corpus: Corpus, classes: list[str]) -> dict[str, NDArray[Any]]:
    """Labels, as numbers of these classes, and hashes by their place below the corpus."""
    found: dict[str, NDArray[Any]] = {}
    for split, content in corpus.splits.items():
        found[f"labels/{split}"] = recode(labels_of(content), list(corpus.classes), classes)
        found[f"rows/{split}"] = content.hashes
    return found


def restore(store: Store, corpus: Corpus, damaged: Collection[str]) -> list[str]:
    """Write these labels and row hashes again, where the texts are those of the checksums.

    Returns their paths. Nothing else is changed: a text or label that is another one now stays what
    it was, and damaged.
    """
    with exclusive(store.root, corpus.name, wait=60.0):
        attrs = described(store, corpus.name)
        known, restored = attrs.get("checksums", {}), []
        for path, values in _values(corpus, attrs["classes"]).items():
            rows, here = attrs["splits"].get(path.partition("/")[2]), f"{corpus.name}/{path}"
            if here in damaged and checksum(values[:rows]) == known.get(path):
                if not _is_array(store, here):
                    store.delete(here)
                _replace(store, here, values[:rows])
                restored.append(here)
    return restored


def _is_array(store: Store, path: str) -> bool:
    """Whether there is such an array, its metadata what was written."""
    try:
        return not store.seal(path).broken and store.info(path) is not None
    except DamagedError:
        return False


def _described(corpus: Corpus, attrs: Mapping[str, Any], kept: Mapping[str, Any]) -> dict[str, Any]:
    """The attributes of the corpus once it is written."""
    gone = {name: n for name, n in attrs.get("splits", {}).items() if name not in corpus.splits}
    # The numbers in labels that stay keep their meaning, so their classes come first.
    classes = list(attrs["classes"]) if gone or kept else []
    options = dict(corpus.options)
    if not kept or any(any_known(labels_of(split)) for split in corpus.splits.values()):
        classes += [name for name in corpus.classes if name not in classes]
    elif corpus.source == attrs.get("source"):
        options = attrs.get("options", {})  # they name the column that the labels were in
    return {
        "classes": classes,
        "source": corpus.source,
        "options": options,
        "splits": {name: len(content) for name, content in corpus.splits.items()} | gone,
        "digest": _digest(corpus),
    }


def _digest(corpus: Corpus) -> str:
    texts = b"".join(corpus.splits[split].hashes.tobytes() for split in sorted(corpus.splits))
    return hashlib.sha256(texts).hexdigest()


def _known_labels(store: Store, corpus: str, split: str, rows: int) -> NDArray[np.int32]:
    return read_rows(store, f"{corpus}/labels/{split}", np.int32, rows)


def _differs(store: Store, path: str, values: NDArray[Any]) -> bool:
    info = store.info(path)
    if info is None or info.shape != values.shape:
        return True
    try:
        return not np.array_equal(store.read(path), values)
    except DamagedError:  # a kill made it longer and came before the new rows
        return True


def _replace(store: Store, path: str, values: NDArray[Any]) -> None:
    """Write over what is there, chunk by chunk: it is never gone, not even for a moment."""
    info = store.info(path)
    if info is None:
        chunk = max(len(values), CHUNK_ROWS)
        store.create(path, values.shape, values.dtype, chunk, ("row",))
    elif info.shape != values.shape:
        store.resize(path, len(values))
    store.write(path, 0, values)
