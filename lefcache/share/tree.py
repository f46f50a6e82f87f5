"""The files of a cache that make a snapshot of it, and nothing that tells of this machine."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PureWindowsPath
from typing import Any

import numpy as np

from lefcache.cache import Cache, Pages
from lefcache.cache.convert import copy_split
from lefcache.cache.ledger import checksum
from lefcache.corpus import UNLABELLED, place_of
from lefcache.errors import StorageError
from lefcache.share.places import METADATA
from lefcache.stores.mixed import MixedStore
from lefcache.stores.zarr_store import ZarrStore


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

    What is not to be shown as it is, is written anew below `draft`: metadata that names folders
    of this machine, labels unless `labelled`, and splits in HDF5, of which no layer could be
    fetched alone. Raises DamagedError where such a split is damaged.
    """
    store, anew = splits[0].store, MixedStore(draft)
    assert isinstance(store, MixedStore)  # `folder_of` saw to it
    anew.set_attrs("", store.attrs(""))
    nodes = [""]
    for corpus in dict.fromkeys(each.corpus for each in splits):
        nodes += _write_corpus(store, anew, corpus, labelled)
    for pages in splits:
        model = f"{pages.corpus}/{pages.model}"
        anew.set_attrs(model, _model_attrs(pages.model_attrs))
        if store.format_of(pages.path) == "hdf5":
            copy_split(pages, ZarrStore(draft / pages.path))
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
    attrs = store.attrs(corpus)
    source = place_of(attrs["source"])
    shown = attrs | {"source": corpus if _is_folder(source) else attrs["source"]}
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
        yield from (f"{corpus}/{beside}/{split}" for split in attrs["splits"])


def _model_attrs(attrs: Mapping[str, Any]) -> dict[str, Any]:
    """A model without the name of the machine that ran it, or of the folder that it was in."""
    known = {name: value for name, value in attrs["provenance"].items() if name != "host"}
    return {**attrs, "source": without_folder(attrs.get("source")), "provenance": known}


def _split_attrs(attrs: Mapping[str, Any]) -> dict[str, Any]:
    """A split without the folders that imported files were read from."""
    if "files" not in attrs:
        return dict(attrs)
    files = {
        name: {key: without_folder(value) for key, value in each.items()}
        for name, each in attrs["files"].items()
    }
    return {**attrs, "files": files}


def without_folder(place: str | None) -> str | None:
    """The last name of a folder of this machine; a hub's id or a short name as it is."""
    return PureWindowsPath(place).name if place and _is_folder(place) else place


def _is_folder(place: str) -> bool:
    return place.startswith("~") or Path(place).is_absolute() or PureWindowsPath(place).drive != ""
