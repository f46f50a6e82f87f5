"""Splits of a cache to the hub: looked through first, sent in one commit, and only what is new."""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from lefcache.cache import Cache, Pages
from lefcache.cache.lock import exclusive
from lefcache.errors import DamagedError, FeatureError, IncompleteError, MismatchError
from lefcache.share.card import card
from lefcache.share.described import Described, describe
from lefcache.share.hub import Hub, OnBytes, Place, RemoteFile, Snapshot
from lefcache.share.places import Listing
from lefcache.share.there import compare, look_at, lost
from lefcache.share.tree import files_of, folder_of
from lefcache.stores.mixed import MixedStore
from lefcache.verify import OnBlocks, verify
from lefcache.wording import command_line, count

README = "README.md"
File = Path | bytes


@dataclass(frozen=True)
class Plan:
    """What a push would do: `changed` of all `files` are uploaded, `gone` ones are deleted."""

    place: Place
    files: Mapping[str, File] = field(repr=False)
    changed: tuple[str, ...]
    gone: tuple[str, ...]
    splits: tuple[Described, ...]
    private: bool
    labelled: bool
    parent: str | None  # the commit that was there; None where there is no repository yet
    bytes: int  # of all files
    changed_bytes: int  # of those that are uploaded


@contextmanager
def planned(
    cache: Cache,
    key: str,
    place: Place,
    *,
    private: bool = False,
    labels: bool = True,
    licence: str = "",
    prune: bool = False,
    on_split: OnBlocks | None = None,
) -> Iterator[Plan]:
    """Look through what a key names, and through what the hub has; nothing is sent yet.

    The splits are locked, and files of theirs kept in a folder, for as long as the plan is used;
    their corpora are copied at the start, so that others may go on with them.
    Raises IncompleteError for rows that an extraction has yet to write and DamagedError for bytes
    that are not those written, with the command that helps; MismatchError for a repository with
    other texts or settings under the same names, or with layers that it would lose unless `prune`.
    """
    folder = folder_of(cache)
    paths = [pages.path for pages in cache.below(key)]
    if not paths:
        raise FeatureError(f"{key} has nothing to push: see `lef ls`")
    with ExitStack() as held:
        for path in paths:
            held.enter_context(exclusive(folder, path.replace("/", "+")))
        # Read once nobody can change them: another run may have gone on until then.
        splits = [Pages(cache.store, *path.split("/")) for path in paths]
        draft = folder / f".push+{key.strip('/').replace('/', '+')}.partial"
        held.callback(shutil.rmtree, draft, ignore_errors=True)
        shutil.rmtree(draft, ignore_errors=True)  # of a push that was killed
        snapshot = Hub(place).find()  # a hub that says no should say so before hours of reading
        if snapshot is not None and private and not snapshot.private:
            raise MismatchError(
                f"{place} is public already: leave out --private, or make it private on the hub"
            )
        for pages in splits:
            check_whole(cache, pages, on_split)
        yield _plan(splits, place, snapshot, draft, (private, labels, prune), licence)


def push(plan: Plan, on_bytes: OnBytes | None = None) -> tuple[str, str]:
    """Do what was planned: the hash and the address of the commit; ("", "") if nothing is new.

    Stopped half-way it leaves the repository as it was, and what was uploaded is not sent again.
    Raises StorageError that names the fix, MismatchError if somebody else was quicker.
    """
    if not (plan.changed or plan.gone):
        return "", ""
    hub = Hub(plan.place)
    parent = plan.parent
    if parent is None:
        hub.create(plan.private)
    keys = ", ".join(each.path for each in plan.splits)
    message = (
        f"lef push {keys}" if len(keys) < 200 else f"lef push {count(len(plan.splits), 'split')}"
    )
    files = {path: plan.files[path] for path in plan.changed}
    return hub.commit(files, plan.gone, message, parent, on_bytes)


def check_whole(cache: Cache, pages: Pages, on_split: OnBlocks | None = None) -> None:
    """Raise what keeps a split from being shared, with the command that mends it."""
    if pages.missing or not pages.arrays:
        raise IncompleteError(
            f"{pages!r} is not finished: nothing is pushed; finish it with: "
            f"{pages.resume_command()}"
        )
    report = verify(cache, pages.path, on_split)
    for each in report.missing:
        if each.kind == "labels":
            raise IncompleteError(f"{each.message}; nothing is pushed")
    for each in [*report.damaged, *report.missing]:
        repair = command_line(["lef", "verify", pages.path, "--repair", "--cache", cache.path])
        mend = f"; mend it with: {repair}" if each.by_repair else ""
        raise DamagedError(f"{each.message}; nothing is pushed{mend}")


def _plan(
    splits: Sequence[Pages],
    place: Place,
    snapshot: Snapshot | None,
    draft: Path,
    wishes: tuple[bool, bool, bool],
    licence: str,
) -> Plan:
    private, labels, prune = wishes
    files: dict[str, File] = {**files_of(splits, labels, draft / "new")}
    there: Mapping[str, RemoteFile] = snapshot.files if snapshot else {}
    corpora, others, gone = {}, [], []
    if snapshot is not None and (listing := Listing(snapshot)).splits:
        known = look_at(listing, listing.splits, draft / "there")
        compare(place, splits, known)
        others = [describe(each) for each in known if each.path not in {s.path for s in splits}]
        corpora = {each.corpus: each.store.attrs(each.corpus) for each in known}
        gone = lost(listing, splits, files, prune)
    mine = [describe(pages) for pages in splits]
    corpora |= {each.corpus: MixedStore(draft / "new").attrs(each.corpus) for each in splits}
    shown = sorted([*mine, *others], key=lambda each: each.path)
    files[README] = card(place, shown, corpora, labels, licence).encode()
    changed = tuple(path for path, file in files.items() if not _is_there(there, path, file))
    return Plan(
        place=place,
        files=files,
        changed=changed,
        gone=tuple(gone),
        splits=tuple(mine),
        private=snapshot.private if snapshot else private,
        labelled=labels,
        parent=snapshot.place.revision if snapshot else None,
        bytes=sum(map(_size, files.values())),
        changed_bytes=sum(_size(files[path]) for path in changed),
    )


def _is_there(there: Mapping[str, RemoteFile], path: str, file: File) -> bool:
    return path in there and there[path].is_like(file)


def _size(file: File) -> int:
    return len(file) if isinstance(file, bytes) else file.stat().st_size
