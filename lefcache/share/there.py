"""What a repository holds already, held against what is about to be pushed or pulled."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from lefcache.cache import Pages
from lefcache.cache.documents import described, known
from lefcache.cache.sums import Stored
from lefcache.cache.walk import UNREADABLE
from lefcache.corpus import UNLABELLED
from lefcache.errors import DamagedError, LefError, MismatchError
from lefcache.share.hub import Hub, Place
from lefcache.share.places import METADATA, Listing, node_of
from lefcache.stores.mixed import MixedStore
from lefcache.wording import count, shown


def look_at(listing: Listing, splits: Sequence[str], folder: Path) -> list[Pages]:
    """What some splits of a snapshot say of themselves, downloaded into a folder.

    Labels and hashes of texts come too, vectors do not. Raises DamagedError for metadata that is
    not what was written.
    """
    hub = Hub(listing.snapshot.place)
    files = listing.metadata(list(splits))
    hub.fetch(files, folder)
    store = MixedStore(folder)
    with read_from(hub.place):
        _check_seals(store, [file for file in files if file.endswith(METADATA)])
        for corpus in dict.fromkeys(path.split("/")[0] for path in splits):
            known(store, corpus)
            hub.fetch(list(_rows(listing, store, corpus)), folder)
            _check_rows(store, corpus)
        found = [Pages(store, *path.split("/")) for path in splits]
        for pages in found:
            _ = pages.spec, pages.generations  # which are held against what they must be
    return found


def _check_seals(store: MixedStore, files: Iterable[str]) -> None:
    """What is not as it was written is deleted here, to be fetched anew the next time."""
    all_sealed = store.attrs("").get("sealed")
    for file in files:
        seal = store.seal(file.removesuffix(METADATA).rstrip("/"))
        if seal.broken or (seal.holds is None and all_sealed):
            (store.root / file).unlink()
            raise DamagedError(f"{file} is not what was written")


@contextmanager
def read_from(place: Place) -> Iterator[None]:
    """Say where damaged or senseless metadata came from, and who can mend it."""
    try:
        yield
    except DamagedError as error:
        raise DamagedError(f"{place}: {error}: its owner has to push it again") from error
    except LefError:
        raise
    except UNREADABLE as error:
        raise DamagedError(
            f"{place}: its metadata cannot be read ({shown(error, 200)}): its owner has to push "
            "it again"
        ) from error


def _rows(listing: Listing, store: MixedStore, corpus: str) -> Iterator[str]:
    """The files with the labels and the hashes of texts of a corpus."""
    for node, rows, dtype in _arrays(described(store, corpus), corpus):
        info = store.info(node)
        if info is None or info.shape != (rows,) or info.dtype != dtype:
            raise DamagedError(f"{node} is no array of {count(rows, 'row')}")
        yield from listing.chunks(node, info)


def _check_rows(store: MixedStore, corpus: str) -> None:
    attrs = described(store, corpus)
    for node, rows, _ in _arrays(attrs, corpus):
        crc = attrs.get("checksums", {}).get(node.partition("/")[2])
        stored = Stored.of(store, node)
        if crc is not None and not (
            stored.checksums(0, [rows]).get(rows) == crc and stored.clean()
        ):
            store.delete(node)
            raise DamagedError(f"{node} is not what was written")
        if "/labels/" in node:
            labels = store.read(node)
            if labels.min() < UNLABELLED or labels.max() >= len(attrs["classes"]):
                raise DamagedError(f"{node} has labels that are none of the classes")


def _arrays(attrs: Mapping[str, Any], corpus: str) -> Iterator[tuple[str, int, str]]:
    for split, rows in attrs["splits"].items():
        yield f"{corpus}/labels/{split}", rows, "int32"
        yield f"{corpus}/rows/{split}", rows, "uint64"


def compare(place: Place, splits: Sequence[Pages], there: Sequence[Pages]) -> None:
    """Raise MismatchError where a repository has other texts or settings under the same names."""
    known = {(each.corpus, each.model): each for each in there}
    for pages in splits:
        for each in there:
            if each.corpus == pages.corpus:
                _compare_texts(place, pages, each)
                break  # a corpus has one list of texts
        other = known.get((pages.corpus, pages.model))
        if other and (difference := other.spec.difference(pages.spec, "repository")):
            lines = "".join(f"\n  {line}" for line in difference)
            raise MismatchError(
                f"{pages.corpus}/{pages.model} in {place} was made with other settings:{lines}\n"
                "push it to another repository"
            )


def _compare_texts(place: Place, pages: Pages, other: Pages) -> None:
    mine, theirs = (described(each.store, each.corpus)["splits"] for each in (pages, other))
    for split, rows in theirs.items():
        where = f"{pages.corpus}/rows/{split}"
        known = other.store.read(where, rows)
        here = pages.store.read(where, rows) if split in mine else known[:0]
        shared = min(len(known), len(here))
        changed = np.flatnonzero(known[:shared] != here[:shared])
        if len(changed) or len(here) < len(known):
            what = (
                f"row {changed[0]} (counted from 0) is another text"
                if len(changed)
                else f"it has {count(len(known), 'row')}, this cache {len(here):,}"
            )
            raise MismatchError(
                f"{pages.corpus}/{split} in {place} is not of the same texts: {what}; push it to "
                "another repository"
            )


def lost(
    listing: Listing, splits: Sequence[Pages], files: Collection[str], prune: bool
) -> list[str]:
    """The files of these splits that a push would delete; MismatchError for layers among them."""
    gone = [
        name
        for pages in splits
        for node in (pages.path, *listing.children(pages.path))
        for name in listing.nodes.get(node, ())
        if name not in files
    ]
    arrays = {str(node_of(name)) for name in gone if "/ledger/" not in name}
    vectors = sorted(each for each in arrays if each.count("/") == 4 and "/magnitudes/" not in each)
    if vectors and not prune:
        raise MismatchError(
            f"{listing.snapshot.place} has {count(len(vectors), 'layer')} that this cache has not "
            f"({vectors[0]} is one): pull them first, or take them out of it with --prune"
        )
    return gone
