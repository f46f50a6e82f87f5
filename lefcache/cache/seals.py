"""Is metadata what was written, and where it was written? And what damage to it costs."""

from pathlib import Path

from lefcache.errors import DamagedError
from lefcache.feature import POOLS
from lefcache.spec import SPEC_DIGEST
from lefcache.stores import Home
from lefcache.stores.disk import joined
from lefcache.stores.journal import journal_of, pending
from lefcache.stores.mixed import SUFFIX
from lefcache.stores.seal import Seal

CACHE = "the cache's own folder"
FLIPPED = "repair turns a flipped bit back"  # which mends no file of HDF5
ASTRAY = "move that back"
GONE = ""  # there is nothing to turn back


class Seals:
    """What the seals of a cache tell, of one node after the other, from the top down."""

    def __init__(self, store: Home) -> None:
        self.store = store
        self.unsealed: list[str] = []
        self._unplaced: dict[str, None] = {}
        self._astray: dict[str, str] = {}  # where what lies at a path belongs
        try:
            self._all = bool(store.attrs("").get("sealed"))
        except DamagedError:
            self._all = True

    @property
    def unplaced(self) -> list[str]:
        """The topmost nodes from before metadata said where it belongs."""
        found = self._unplaced
        return [path or "." for path in found if not path or _split(path)[0] not in found]

    def damage(self, path: str) -> tuple[str, str] | None:
        """What is wrong with the metadata of a node and the way to mend it; None if nothing is."""
        try:
            seal = self.store.seal(path)
        except DamagedError as error:
            return told(self.store, path, str(error), GONE if self._gone(path) else FLIPPED)
        if seal.holds is False or (seal.holds is None and self._all):
            return told(self.store, path, "it is not what was written")
        if seal.holds is None:
            self.unsealed.append(path or ".")
        elif seal.place is None:
            self._unplaced[path] = None
        elif seal.astray and not self._came_along(seal):
            return told(self.store, path, f"it is that of {seal.place or CACHE}", ASTRAY)
        return None

    def _gone(self, path: str) -> bool:
        """Whether a node below the cache's own has no metadata at all."""
        above, name = _split(path)
        try:
            return bool(path) and name not in self.store.children(above)
        except DamagedError:
            return False

    def _came_along(self, seal: Seal) -> bool:
        """Whether a node lies where it does only because the group that it is in does."""
        assert seal.place is not None
        self._astray[seal.path] = seal.place
        above, name = _split(seal.path)
        return above in self._astray and seal.place == joined(self._astray[above], name)


def told(store: Home, path: str, what: str, mend: str = FLIPPED) -> tuple[str, str]:
    """Damage to metadata, and what may mend it, with the way out where that is not enough."""
    return f"metadata of {path or CACHE}: {what}", _way(store, path, mend)


def key_of(path: str) -> str:
    """The corpus, model or split that a node belongs to."""
    names = path.split("/")
    return "/".join(names[: 1 if names[1:2] in (["labels"], ["rows"]) else 3])


def is_array(path: str) -> bool:
    """Whether a node is an array of vectors, tokens or magnitudes, which a repair makes again."""
    names = path.split("/")
    return names[3:] == ["tokens"] or (len(names) == 5 and names[3] != "ledger")


def is_bare_group(path: str) -> bool:
    """Whether a node is a group that says nothing of its own, and can be written again."""
    names = path.split("/")
    below = {*POOLS, "ledger", "magnitudes"}
    return names[1:] in (["labels"], ["rows"]) or (len(names) == 4 and names[3] in below)


def junk_journal(store: Home, split: str) -> Path | None:
    """The journal beside a split's file, where it is damaged or none of ours."""
    if store.format_of(split) != "hdf5":
        return None
    assert isinstance(store.root, Path)
    file = store.root / f"{split}{SUFFIX}"
    try:
        pending(file)
    except DamagedError:
        return journal_of(file)
    return None


def _way(store: Home, path: str, mend: str) -> str:
    if not path:
        return f"{mend}, and writes it again where it is gone" if mend == FLIPPED else mend
    try:
        in_file = path.count("/") >= 2 and store.format_of(path) == "hdf5"
    except DamagedError:  # a link, which its own message tells what to do about
        return "until then nothing of it is read"
    whole = key_of(path)
    if in_file and junk_journal(store, whole):
        return "repair deletes it if the file is whole without it"
    if is_array(path):
        return "repair makes the array again, and nothing else"
    again = f"take it away with `lef rm {whole}` and extract it again"
    if mend == ASTRAY:
        return f"{mend}; if more is wrong, {again}"
    return again if in_file else _way_in_folder(store, path, mend, again)


def _way_in_folder(store: Home, path: str, mend: str, again: str) -> str:
    """What mends a document of its own that is no array of a split."""
    if is_bare_group(path):
        return "repair writes it again"
    if path.split("/")[1:2] in (["labels"], ["rows"]):
        if mend == GONE:
            return "repair reads it again from the data"
        return f"{mend}, or reads it again from the data; if more is wrong, {again}"
    if _known_below(store, path):
        delete = "" if mend == GONE else "delete that file: "
        again = f"{delete}the extraction that made it, run again, writes it anew; or {again}"
    return again if mend == GONE else f"{mend}; if more is wrong, {again}"


def _known_below(store: Home, path: str) -> bool:
    """Whether a node is a corpus or model that is known by what lies below it (`cache.lost`)."""
    try:
        below = [f"{path}/{name}" for name in store.children(path)]
        if "/" not in path:
            return f"{path}/rows" in below
        return path.count("/") == 1 and all(SPEC_DIGEST in store.attrs(each) for each in below)
    except DamagedError:
        return False


def _split(path: str) -> tuple[str, str]:
    above, _, name = path.rpartition("/")
    return above, name
