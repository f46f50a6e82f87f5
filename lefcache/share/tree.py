"""The files of a cache that make a snapshot of it, and nothing that tells of this machine."""

import re
import shutil
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path, PureWindowsPath
from typing import Any

import numpy as np

from lefcache.cache import Cache, Pages
from lefcache.cache.convert import copy_split
from lefcache.cache.corpora import corpus_of
from lefcache.cache.ledger import checksum
from lefcache.cache.lock import exclusive
from lefcache.cache.lost import BEGUN
from lefcache.corpus import UNLABELLED, place_of
from lefcache.errors import StorageError
from lefcache.files import lies_there, path_of
from lefcache.share.places import METADATA
from lefcache.stores.mixed import MixedStore
from lefcache.stores.zarr_store import ZarrStore

PRIVATE = ("host", "pulled", "pulled_from", "key_there")  # attributes that stay at home
PATHS = ("file", "given")  # what is known of a file that vectors were imported from
PATIENCE = 60.0  # for another process that is writing labels down
# What others know too: a model or data set of the hub, or a short name.
_PUBLIC = re.compile(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)?", re.ASCII)


def folder_of(cache: Cache) -> Path:
    """The folder that a cache is; StorageError for one on an object store, which has no files."""
    if isinstance(cache.path, Path):
        return cache.path
    raise StorageError(
        f"{cache.path}: between the hub and a cache there are files on this disk: bring it to a "
        "folder first with `lef pull`, or name a folder with --cache"
    )


def files_of(splits: Sequence[Pages], labelled: bool, draft: Path) -> dict[str, Path]:
    """The files of a snapshot by their paths in it, some as they lie in the cache.

    What is not to be shown as it is, is written anew below `draft`: metadata that names places of
    its owner, labels unless `labelled`, and splits in HDF5, of which no layer could be fetched
    alone. Labels and hashes of texts are copied there, as they all were at one moment, since they
    may be corrected while the files are used. Raises DamagedError where any of it is damaged,
    IncompleteError while labels are being replaced.
    """
    store, anew = splits[0].store, MixedStore(draft)
    assert isinstance(store, MixedStore)  # `folder_of` saw to it
    anew.set_attrs("", store.attrs(""))
    nodes = [""]
    for corpus in dict.fromkeys(each.corpus for each in splits):
        with exclusive(store.root, corpus, wait=PATIENCE):
            nodes += _write_corpus(store, anew, corpus, labelled)
    for pages in splits:
        model = f"{pages.corpus}/{pages.model}"
        sent = [each.split for each in splits if each.path.startswith(f"{model}/")]
        anew.set_attrs(model, _model_attrs(pages.model_attrs, sent))
        if store.format_of(pages.path) == "hdf5":
            copy_split(pages, ZarrStore(draft / pages.path, pages.path))
        anew.set_attrs(pages.path, _split_attrs(pages.attrs))
        nodes += [model, *_split_nodes(pages)]
    return {
        file.relative_to(home.root).as_posix(): file
        for node in dict.fromkeys(nodes)
        for home in [anew if (draft / node / METADATA).is_file() else store]
        for file in _files(home, node)
    }


def _files(store: MixedStore, node: str) -> Iterator[Path]:
    """The metadata of a node and, of an array, the chunks that are there."""
    yield store.root / node / METADATA
    if store.info(node) is not None:
        yield from (Path(chunk.path) for chunk in store.chunks(node) if chunk is not None)


def _split_nodes(pages: Pages) -> Iterator[str]:
    yield pages.path
    for name in pages.arrays:
        if "/" in name:
            yield f"{pages.path}/{name.partition('/')[0]}"
        yield f"{pages.path}/{name}"
    for beside in ("ledger", "magnitudes"):
        numbers = pages.store.children(f"{pages.path}/{beside}")
        known = [each.number for each in pages.generations if str(each.number) in numbers]
        if known:
            yield from (f"{pages.path}/{beside}", *(f"{pages.path}/{beside}/{n}" for n in known))


def _write_corpus(
    store: MixedStore, anew: MixedStore, corpus: str, labelled: bool
) -> Iterator[str]:
    """Write what a snapshot says of a corpus; its nodes."""
    corpus_of(store, corpus)  # which holds every byte of it against its checksum
    attrs = store.attrs(corpus)
    public = _is_public(place_of(attrs["source"]))
    shown = attrs | {"source": attrs["source"] if public else corpus}
    if not labelled:
        shown = shown | {"classes": [], "checksums": dict(attrs.get("checksums", {}))}
        for split, rows in attrs["splits"].items():
            none = np.full(rows, UNLABELLED, np.int32)
            info = store.info(f"{corpus}/labels/{split}")
            chunk = info.chunk_rows if info else rows
            anew.create(f"{corpus}/labels/{split}", none.shape, none.dtype, chunk, ("row",))
            anew.write(f"{corpus}/labels/{split}", 0, none)
            shown["checksums"][f"labels/{split}"] = checksum(none)
    anew.set_attrs(corpus, shown)
    yield corpus
    for beside in ("labels", "rows"):
        yield f"{corpus}/{beside}"
        for node in (f"{corpus}/{beside}/{split}" for split in attrs["splits"]):
            if anew.info(node) is None:
                shutil.copytree(store.root / node, anew.root / node)
            yield node


def _model_attrs(attrs: Mapping[str, Any], sent: Collection[str]) -> dict[str, Any]:
    """A model without the name of the machine that ran it, or of the place that it came from.

    Of the splits that it has begun, it knows those that are sent.
    """
    known = {name: value for name, value in attrs["provenance"].items() if name not in PRIVATE}
    begun = {BEGUN: [each for each in attrs[BEGUN] if each in sent]} if BEGUN in attrs else {}
    return {**attrs, **begun, "source": source_shown(attrs), "provenance": known}


def _split_attrs(attrs: Mapping[str, Any]) -> dict[str, Any]:
    """A split without the places that its files were read from, or its layers pulled."""
    shown = {name: value for name, value in attrs.items() if name not in PRIVATE}
    if "files" in shown:
        shown["files"] = {
            name: {key: _last_name(value) if key in PATHS else value for key, value in each.items()}
            for name, each in attrs["files"].items()
        }
    return shown


def source_shown(attrs: Mapping[str, Any]) -> str | None:
    """A model's hub id or short name; of a folder, as of any place of one's own, the last name."""
    source, provenance = attrs.get("source"), attrs.get("provenance") or {}
    if not source:
        return None
    # Only what came from the hub has a revision: `models/mine` may be a folder of anybody's.
    from_hub = provenance.get("revision", True) or "/" not in source
    return str(source) if from_hub and _is_public(source) else _last_name(source)


def _is_public(place: str) -> bool:
    return _PUBLIC.fullmatch(place) is not None and not lies_there(path_of(place))


def _last_name(place: str) -> str:
    return PureWindowsPath(place).name
