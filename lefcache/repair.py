"""What can be mended without a model, and the commands that mend the rest."""

from lefcache.cache import CUT, TOKENS, Cache, Pages
from lefcache.cache.ledger import withdraw
from lefcache.cache.lock import exclusive
from lefcache.cache.magnitudes import write_magnitudes
from lefcache.cache.walk import UNREADABLE
from lefcache.dtypes import largest
from lefcache.verify import Damage, Report


def clear(cache: Cache, report: Report) -> list[list[str]]:
    """Take damaged blocks out of the ledger, so that an extraction computes just them again.

    Each row is cleared in one write, and a block is damaged whether its row is there or not: a kill
    costs nothing more. Metadata in which one bit was flipped gets it back. Returns the words
    of the commands that make what is missing.

    Raises BusyError while a split is being extracted, StorageError where nothing can be written.
    """
    for each in report.damaged:
        if each.kind == "metadata":
            _mend(cache, each.path)
    blocks: dict[str, list[Damage]] = {}
    for each in [*report.damaged, *report.missing]:
        if each.generation is not None:
            blocks.setdefault(each.path, []).append(each)
    commands = []
    for path, found in blocks.items():
        with exclusive(cache.path, path.replace("/", "+")):
            cache.store.sweep(path)
            for each in found:
                _clear(cache, path, each)
        commands += _commands(cache, path)
    return commands


def _mend(cache: Cache, path: str) -> None:
    """Give metadata its bit back; an array that stays damaged is taken away, to be made afresh."""
    parts = path.split("/")
    with exclusive(cache.path, "+".join(parts[:3])):
        if not cache.store.mend(path) and len(parts) == 5 and parts[3] not in ("ledger", "rows"):
            cache.store.delete(path)


def _clear(cache: Cache, path: str, damage: Damage) -> None:
    assert damage.generation is not None
    assert damage.block is not None
    if damage.kind == "magnitudes":
        _find_magnitudes(cache, path, damage.generation, damage.block)
        return
    withdraw(cache.store, path, damage.generation, damage.block)


def _find_magnitudes(cache: Cache, path: str, number: int, block: int) -> None:
    pages = Pages(cache.store, *path.split("/"))
    [generation] = [each for each in pages.generations if each.number == number]
    values = []
    for name in generation.arrays:
        [rows] = [rows for at, rows, _ in generation.checksums(name) if at == block]
        start = block * pages.block_rows
        read = cache.store.read(f"{path}/{name}", start + rows, start=start)
        values.append(largest(read & ~CUT if name == TOKENS else read))
    write_magnitudes(cache.store, path, generation, block, values)


def _commands(cache: Cache, path: str) -> list[list[str]]:
    """The commands that compute what a split lacks, if it lacks anything and still knows how."""
    try:
        pages = Pages(cache.store, *path.split("/"))
        return pages.resume_words() if pages.missing else []
    except UNREADABLE:  # the metadata is beyond repair: the report says so
        return []
