"""What can be mended without a model, and the commands that mend the rest."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from lefcache.cache import Cache, Pages
from lefcache.cache.documents import described
from lefcache.cache.ledger import ledgers, withdraw
from lefcache.cache.lock import exclusive
from lefcache.cache.magnitudes import make_magnitudes, write_magnitudes
from lefcache.cache.order import find_magnitudes
from lefcache.cache.register import create_root
from lefcache.cache.seals import is_array, is_bare_group, junk_journal, key_of
from lefcache.cache.walk import UNREADABLE, nodes_below, splits_below
from lefcache.damage import Damage, Report
from lefcache.dtypes import BFLOAT16
from lefcache.errors import DamagedError
from lefcache.stores import BITS_OF, Home, disk
from lefcache.verify import Blocks, still_damaged, verify


def clear(cache: Cache, report: Report) -> list[list[str]]:
    """Take damaged blocks out of the ledger, so that an extraction computes just them again.

    Metadata is mended before. A report may be older than what it tells of, so each block is looked
    at again once nobody else may write there, and only what is damaged still is taken out. Each row
    is cleared in one write, and a block is damaged whether its row is there or not: a kill costs
    nothing more. Returns the words of the commands that make what is missing.

    Raises BusyError while a split is being extracted, StorageError where nothing can be written.
    """
    commands = []
    for path, blocks in _suspects(cache, report).items():
        with exclusive(cache.path, _lock(path)):
            _clear(cache, path, _look_again(cache, path, blocks))
        commands += _commands(cache, path)
    return commands


def _suspects(cache: Cache, report: Report) -> dict[str, Blocks | None]:
    """The blocks of each split to look at again; None for all, where metadata has been mended.

    A split is left as it is where an array stays so damaged that no extraction could write it: its
    other vectors would be lost for nothing.
    """
    found: dict[str, set[tuple[int, int]]] = {}
    for each in [*report.damaged, *report.missing]:
        if each.generation is not None and each.block is not None:
            found.setdefault(each.path, set()).add((each.generation, each.block))
        elif each.kind == "missing" and each.by_repair:  # arrays of which nothing is there
            found.setdefault(each.path, set())
    suspects: dict[str, Blocks | None] = {**found}
    beyond = set()
    for path in [each.path for each in report.damaged if each.kind == "metadata"]:
        if _mend(cache, path):
            suspects |= dict.fromkeys(_read_by_way_of(cache, path))
        elif is_array(path):
            beyond.add(key_of(path))
    return {path: blocks for path, blocks in suspects.items() if path not in beyond}


def _read_by_way_of(cache: Cache, path: str) -> Iterable[str]:
    """The splits that could not be read while a node was damaged."""
    if not path or path.split("/")[1:2] in (["labels"], ["rows"]):
        return ()
    return splits_below(cache, key_of(path))


def _look_again(cache: Cache, path: str, blocks: Blocks | None) -> Sequence[Damage]:
    try:
        cache.store.sweep(path)
        return still_damaged(cache, path, blocks)
    except (DamagedError, *disk.UNREADABLE):  # nothing can be told of it, so nothing is taken out
        return ()


def _clear(cache: Cache, path: str, damages: Sequence[Damage]) -> None:
    """Withdraw blocks, and find the magnitudes of those that stay."""
    lost = {(each.generation, each.block) for each in damages if each.kind != "magnitudes"}
    for each in damages:
        assert each.generation is not None
        assert each.block is not None
        if (each.generation, each.block) in lost:
            withdraw(cache.store, path, each.generation, each.block)
        else:
            _find_magnitudes(cache, path, each.generation, each.block)


def _find_magnitudes(cache: Cache, path: str, number: int, block: int) -> None:
    pages = Pages(cache.store, *path.split("/"))
    [generation] = [each for each in pages.generations if each.number == number]
    values = find_magnitudes(pages, generation, block)
    make_magnitudes(cache.store, path, generation)
    write_magnitudes(cache.store, path, generation, block, values)


def _commands(cache: Cache, path: str) -> list[list[str]]:
    """The commands that compute what a split lacks, if it lacks anything and still knows how."""
    try:
        pages = Pages(cache.store, *path.split("/"))
        return pages.resume_words() if pages.missing else []
    except UNREADABLE:  # the metadata is beyond repair: the report says so
        return []


# Metadata


def _mend(cache: Cache, path: str) -> bool:
    """Make metadata whole, or take away an array that has none, to be made afresh.

    False for what stays damaged.
    """
    if not path:
        return _mend_root(cache)
    try:
        with exclusive(cache.path, _lock(path)):
            return _whole(cache, path) or cache.store.mend(path) or _make_anew(cache, path)
    except DamagedError:  # a link, or a file that cannot be opened
        return False


def _whole(cache: Cache, path: str) -> bool:
    """Whether metadata is what was written: it may have been mended since it was reported."""
    try:
        seal = cache.store.seal(path)
    except DamagedError:
        return False
    known = seal.holds is not None or bool(cache.store.attrs("").get("sealed"))
    return not known or (bool(seal.holds) and not seal.broken)


def _astray(cache: Cache, path: str) -> bool:
    """Whether a node is another's, with all below it perhaps, which is better moved back."""
    try:
        return cache.store.seal(path).astray
    except DamagedError:
        return False


def _make_anew(cache: Cache, path: str) -> bool:
    """Seal an array that says what its ledger says, or take it away; what is no array stays."""
    if is_array(path):
        if _tells_the_truth(cache.store, path):
            cache.store.set_attrs(path, _attrs_of(cache.store, path))
        else:
            cache.store.delete(path)
        return True
    if is_bare_group(path):
        return not _astray(cache, path) and cache.store.mend(path, bare=True)
    if journal := junk_journal(cache.store, path):
        return _without(cache, path, journal)
    return False


def _attrs_of(store: Home, path: str) -> dict[str, str]:
    """What the attributes of an array are; those that lie there may have come with another's."""
    info = store.info(path)
    return {BITS_OF: BFLOAT16} if info is not None and info.dtype.name == BFLOAT16 else {}


def _tells_the_truth(store: Home, path: str) -> bool:
    """Whether an array is what its split and its ledger say, but for its width.

    The checksums of its blocks notice a width that is another one.
    """
    split, name = key_of(path), path.removeprefix(f"{key_of(path)}/")
    try:
        info, attrs = store.info(path), described(store, split)
        said = [described(store, f"{split}/ledger/{each}") for each in ledgers(store, split)]
    except (DamagedError, *disk.UNREADABLE):
        return False
    kinds = {each["dtypes"][name] for each in said if name in each.get("dtypes", {})}
    return info is not None and (
        (info.shape[0], info.chunk_rows) == (attrs["rows"], attrs["chunk_rows"])
        and {str(info.dtype)} == kinds
        and info.axes == ("row", "feature")[: len(info.shape)]
    )


def _without(cache: Cache, split: str, journal: Path) -> bool:
    """Delete the journal of a split's file, unless the file is damaged without it."""
    aside = journal.with_name(f".{journal.name}.tmp")  # which the next writer takes away
    with disk.on_disk(journal):
        journal.replace(aside)
        whole = not any(key_of(each.path) == split for each in verify(cache, split).damaged)
        if whole:
            aside.unlink()
        else:
            aside.replace(journal)
    return whole


def _mend_root(cache: Cache) -> bool:
    """Turn a bit of the cache's own metadata back, or write all of it where it is gone."""
    with exclusive(cache.path, "+"):
        if _whole(cache, "") or cache.store.mend(""):
            return True
    # In a cache from before there were seals, a node without one is not damaged.
    create_root(cache.store, all(_has_seal(cache, each) for each in nodes_below(cache, "") if each))
    return True


def _has_seal(cache: Cache, path: str) -> bool:
    try:
        return cache.store.seal(path).holds is not None
    except DamagedError:
        return True


def _lock(path: str) -> str:
    """The lock of who may write a node: a corpus with its labels, a model, or a split."""
    return key_of(path).replace("/", "+")
