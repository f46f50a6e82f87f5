"""Layers from the hub: looked at first, then fetched aside, checked, and only then taken over."""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from lefcache.cache import Cache, Pages
from lefcache.cache.adopt import adopt, check_adoptable, wanting
from lefcache.cache.corpora import adopt_corpus
from lefcache.cache.documents import FORMAT
from lefcache.cache.keys import Key
from lefcache.cache.lock import exclusive
from lefcache.cache.pages import TOKENS
from lefcache.cache.pull import choose, path_here
from lefcache.cache.sums import torn_rows
from lefcache.errors import DamagedError, MismatchError, StorageError
from lefcache.share.described import Described, describe
from lefcache.share.hub import Hub, OnBytes, Place, Snapshot
from lefcache.share.places import Listing
from lefcache.share.there import look_at, read_from
from lefcache.share.tree import folder_of
from lefcache.wording import shown


@dataclass(frozen=True)
class Part:
    """The arrays of one split that are to be pulled, and where they go."""

    source: Pages
    arrays: tuple[str, ...]
    path: str  # in this cache
    described: Described
    files: tuple[str, ...] = field(repr=False)


@dataclass(frozen=True)
class Offer:
    """What a snapshot has of what was asked for; nothing of it is in the cache yet."""

    snapshot: Snapshot
    folder: Path = field(repr=False)  # what was fetched of it so far
    parts: tuple[Part, ...]
    here: tuple[str, ...]  # splits of which everything asked for is in the cache already
    bytes: int  # to be fetched

    @property
    def files(self) -> list[str]:
        """The files to be fetched."""
        return [name for part in self.parts for name in part.files]


@contextmanager
def looked(
    cache: Cache,
    place: Place,
    key: str = "",
    layers: str = "",
    pools: Sequence[str] = (),
    name: str = "",
) -> Iterator[Offer]:
    """What would be pulled, found without a single vector; if no pull follows, nothing is left.

    `key` is a corpus, model or split of the snapshot, `layers` is `16..32,last` and `name` what the
    model is to be called here, `NAME` or `CORPUS/NAME`. Raises FeatureError for what the snapshot
    has not, DamagedError for metadata that is not what was written, and MismatchError where other
    texts or settings have that name here.
    """
    home = folder_of(cache)
    snapshot = Hub(place).look()
    folder = home / f".pull+{place.id.replace('/', '+')}+{snapshot.place.revision}.partial"
    listing = Listing(snapshot)
    splits = listing.below(Key.parse(key).whole().path)
    # Held to the end: another pull of the same place would clear away what this one has fetched.
    with _alone(cache, place):
        for stray in home.glob(f".pull+{place.id.replace('/', '+')}+*.partial"):
            if stray != folder:  # of a commit that is no longer wanted
                shutil.rmtree(stray)
        try:
            found = look_at(listing, splits, folder)
            with read_from(snapshot.place):
                offer = _offer(cache, listing, found, (layers, pools, name), folder)
            yield offer
        finally:
            if not any((folder / name).is_file() for name in listing.vectors()):
                shutil.rmtree(folder, ignore_errors=True)


def _offer(
    cache: Cache,
    listing: Listing,
    found: Sequence[Pages],
    wanted: tuple[str, Sequence[str], str],
    folder: Path,
) -> Offer:
    layers, pools, name = wanted
    version = found[0].store.attrs("").get("version", FORMAT)
    if not isinstance(version, int) or version > FORMAT:
        raise MismatchError(
            f"it was pushed by a newer lefcache (format {shown(version)}): upgrade lefcache"
        )
    parts, here = [], []
    for pages in found:
        path = path_here(pages, name, found)
        check_adoptable(cache.store, pages, *path.split("/")[:2])
        chosen = wanting(cache.store, pages, choose(pages, layers, pools), path)
        if chosen:
            parts.append(_part(pages, listing, [*chosen], path))
        else:
            here.append(path)
    files = {name: listing.snapshot.files[name].size for part in parts for name in part.files}
    size = sum(count for name, count in files.items() if not (folder / name).is_file())
    return Offer(listing.snapshot, folder, tuple(parts), tuple(here), size)


def pull(
    cache: Cache,
    offer: Offer,
    on_bytes: OnBytes | None = None,
) -> list[str]:
    """Fetch what was offered, check every byte, and take it over, inside `looked`; returns notes.

    Nothing is in the cache before all of it was checked. Stopped half-way, what was fetched stays
    aside for the next time. Raises DamagedError for bytes that are not those written, StorageError
    that names the fix, BusyError while somebody else writes one of the splits.
    """
    notes: list[str] = []
    origin = str(offer.snapshot.place)
    _check_room(cache, offer)
    Hub(offer.snapshot.place).fetch(offer.files, offer.folder, on_bytes)
    for part in offer.parts:
        _check(part, origin)
    for part in offer.parts:
        corpus = part.path.split("/")[0]
        notes += adopt_corpus(cache.store, part.source, corpus)
        adopt(cache.store, part.source, part.arrays, part.path, origin)
        part.source.store.delete(part.source.path)  # large splits should not be there twice
    shutil.rmtree(offer.folder)
    return notes


@contextmanager
def _alone(cache: Cache, place: Place) -> Iterator[None]:
    with exclusive(cache.path, f"hub+{place.id.replace('/', '+')}"):
        yield


def _part(pages: Pages, listing: Listing, arrays: Sequence[str], path: str) -> Part:
    """The files that some arrays take; DamagedError if the ledger does not vouch for all."""
    files = []
    for name in [*arrays, *([] if pages.spec.imported else [TOKENS])]:
        node = f"{pages.path}/{name}"
        info = pages.store.info(node)
        if info is None or info.shape[0] != pages.rows or pages.done.get(name, 0) < pages.rows:
            raise DamagedError(f"{node} is not whole there")
        files += listing.chunks(node, info)
    return Part(pages, tuple(arrays), path, describe(pages, arrays), tuple(files))


def _check_room(cache: Cache, offer: Offer) -> None:
    """Refuse what the disk cannot hold: a split is there twice, until it is taken over."""
    wanted = offer.bytes + max((part.described.bytes for part in offer.parts), default=0)
    free = _free(folder_of(cache))
    if wanted > free:
        raise StorageError(
            f"{cache.path}: the disk has {free:,} bytes free, and this takes {wanted:,}: free some "
            "space, pull fewer --layers, or choose another folder with --cache"
        )


def _free(folder: Path) -> int:
    return shutil.disk_usage(folder).free


def _check(part: Part, origin: str) -> None:
    """Compare what was fetched with its checksums; what is damaged is fetched anew next time."""
    pages = part.source
    for name in [*part.arrays, *([] if pages.spec.imported else [TOKENS])]:
        node = f"{pages.path}/{name}"
        if torn := torn_rows(pages.store, pages.path, name, pages.generations, pages.block_rows):
            pages.store.delete(node)
            raise DamagedError(
                f"{origin}: rows {torn[0]} of {node} are not those that were written: nothing is "
                "taken over; pull again, and if that is no better its owner has to push it again"
            )
