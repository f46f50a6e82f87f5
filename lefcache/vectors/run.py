"""Importing: matrices that were made elsewhere, checked, tied to their texts and written down."""

import platform
import socket
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lefcache.cache import Cache, Request
from lefcache.cache.documents import described
from lefcache.corpus import Corpus
from lefcache.errors import VectorsError
from lefcache.feature import NAME, NAMES, RESERVED, name_like
from lefcache.spec import Spec
from lefcache.vectors.files import Vectors, find_vectors
from lefcache.vectors.work import BLOCK_ROWS, OnProgress, Work, feature_of, now
from lefcache.version import __version__

STORE_DTYPES = ("auto", "float16", "float32")


@dataclass(frozen=True)
class Imported:
    """What an import did; the fields of `lef import --json`."""

    model: str
    corpus: str
    features: tuple[str, ...]  # such as "openai:last"
    rows: int  # of the splits that vectors were given of
    width: int
    dtype: str  # of the numbers on disk
    blocks: int
    written_blocks: int
    skipped_blocks: int  # there before, with the same bytes
    seconds: float
    bytes: int  # on disk, of those splits
    path: str
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The fields as plain values."""
        return asdict(self)


def import_vectors(
    name: str,
    paths: Sequence[str | Path],
    corpus: Corpus,
    cache: Cache,
    *,
    split: str | None = None,
    pool: str | None = None,
    depth: int | None = None,
    note: str | None = None,
    store_dtype: str = "auto",
    on_progress: OnProgress | None = None,
) -> Imported:
    """Put matrices that were made elsewhere into the cache, as the vectors of a model `name`.

    Row i of a matrix must be the vector of text i of its split, in the order of the corpus's own
    file: nothing in the numbers can prove it. Files are read in blocks, and every value is checked
    before anything is written. The same vectors again change nothing; other layers and splits may
    be added later; an import that was killed goes on where it was.

    Args:
        name: what the model is called in features, `name:last`.
        paths: files and folders, as `find_vectors` reads them.
        corpus: whose texts they are the vectors of.
        cache: where they go.
        split: see `find_vectors`.
        pool: see `find_vectors`.
        depth: blocks n of the model, which `name:-1` counts from; by default its deepest layer.
        note: what made the vectors, such as "text-embedding-3-large, 2026-11". It is part of
            their identity: another note is another model.
        store_dtype: of the numbers on disk; `auto` keeps float16 and float32 as they are and
            rounds float64 to float32, the arithmetic of every head.
        on_progress: called after each block.

    Raises:
        VectorsError: vectors that cannot be read or do not fit the texts.
        NotFiniteError: NaN, infinity, or a value too large for its dtype.
        MismatchError: other texts than the cache's, another note or width, or other vectors than
            those that are there.
        IncompleteError: an earlier import of more layers has to be finished first.
        BusyError, StorageError: what an extraction raises.
    """
    started = time.perf_counter()
    _check_choices(name, store_dtype)
    found = find_vectors(paths, corpus, split=split, pool=pool)
    template = _template(name, found, corpus, cache, depth, note, store_dtype)
    # Other texts have other vectors: where texts are known, they are what is compared first.
    known = corpus.name in cache
    notes = cache.register(corpus) if known else []
    works = [Work.of(cache, template, mine) for mine in _by_split(found)]
    for work in works:
        notes += work.check(cache)
    notes += [] if known else cache.register(corpus)
    for work in works:
        work.write(cache, on_progress)
    pages = [cache.pages(name, work.request.split, corpus.name) for work in works]
    blocks = sum(-(-each.rows // each.block_rows) for each in pages)
    written = sum(len(work.tasks) for work in works)
    return Imported(
        model=name,
        corpus=corpus.name,
        features=_features(name, found),
        rows=sum(each.rows for each in pages),
        width=template.width,
        dtype="/".join(sorted({str(dtype) for work in works for dtype in work.dtypes.values()})),
        blocks=blocks,
        written_blocks=written,
        skipped_blocks=blocks - written,
        seconds=time.perf_counter() - started,
        bytes=sum(each.describe()["bytes"] for each in pages),
        path=str(cache.path / corpus.name / name),
        notes=tuple(notes),
    )


def _check_choices(name: str, store_dtype: str) -> None:
    if not NAME.fullmatch(name) or name in RESERVED:
        near = f": call it {name_like(name)}" if name_like(name) else ""
        raise VectorsError(
            f"'{name}' cannot name a model ({NAMES}; not {', '.join(RESERVED)}){near}"
        )
    if store_dtype not in STORE_DTYPES:
        raise VectorsError(f"--store-dtype {store_dtype} is not one of {', '.join(STORE_DTYPES)}")


def _template(
    name: str,
    found: Sequence[Vectors],
    corpus: Corpus,
    cache: Cache,
    depth: int | None,
    note: str | None,
    store_dtype: str,
) -> Request:
    """What all splits of an import have in common; split, rows and arrays are still to be told."""
    known = cache.spec(name, corpus.name)
    same = known if known is not None and known.imported else Spec.of_imported()
    return Request(
        corpus=corpus.name,
        model=name,
        split="",
        rows=0,
        arrays=(),
        spec=same if note is None else Spec.of_imported(" ".join(note.split())),
        depth=_depth(found, depth, described(cache.store, f"{corpus.name}/{name}").get("depth", 0)),
        width=found[0].rows.shape[1],
        block_rows=BLOCK_ROWS,
        batch_tokens=0,
        store_dtype=_dtype(found) if store_dtype == "auto" else store_dtype,
        provenance=_provenance(),
    )


def _depth(found: Sequence[Vectors], told: int | None, known: int) -> int:
    """The blocks of the model: as told, else as many as the deepest layer that was ever given."""
    layers = [each.array.partition("/")[2] for each in found]
    deepest = max((int(layer) for layer in layers if layer != "last"), default=0)
    if told is not None and told < deepest:
        raise VectorsError(f"--depth {told} is less than layer {deepest}, which is given here")
    return max(deepest, known) if told is None else told


def _dtype(found: Sequence[Vectors]) -> str:
    """float16 where all vectors came as that; else float32, which keeps more than any head uses."""
    return "float16" if all(each.rows.dtype.itemsize == 2 for each in found) else "float32"


def _by_split(found: Sequence[Vectors]) -> list[dict[str, Vectors]]:
    splits = dict.fromkeys(each.split for each in found)
    return [{each.array: each for each in found if each.split == split} for split in splits]


def _features(name: str, found: Sequence[Vectors]) -> tuple[str, ...]:
    arrays = dict.fromkeys(each.array for each in found)
    return tuple(str(feature_of(name, array)) for array in arrays)


def _provenance() -> dict[str, str]:
    return {
        "lefcache": __version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "host": socket.gethostname(),
        "started": now(),
    }
