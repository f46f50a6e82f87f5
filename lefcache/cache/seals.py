"""Is metadata what was written, and where it was written? And what damage to it costs."""

from lefcache.errors import DamagedError
from lefcache.stores import Home
from lefcache.stores.disk import joined
from lefcache.stores.seal import Seal

CACHE = "the cache's own folder"
FLIPPED = "repair turns a flipped bit back"  # which mends no file of HDF5
ASTRAY = "move that back"


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

    def damage(self, path: str) -> str | None:
        """What is wrong with the metadata of a node and what that costs; None if nothing is."""
        try:
            seal = self.store.seal(path)
        except DamagedError as error:
            return told(self.store, path, str(error))
        if seal.holds is False or (seal.holds is None and self._all):
            return told(self.store, path, "it is not what was written")
        if seal.holds is None:
            self.unsealed.append(path or ".")
        elif seal.place is None:
            self._unplaced[path] = None
        elif seal.astray and not self._came_along(seal):
            return told(self.store, path, f"it is that of {seal.place or CACHE}", ASTRAY)
        return None

    def _came_along(self, seal: Seal) -> bool:
        """Whether a node lies where it does only because the group that it is in does."""
        assert seal.place is not None
        self._astray[seal.path] = seal.place
        above, name = _split(seal.path)
        return above in self._astray and seal.place == joined(self._astray[above], name)


def told(store: Home, path: str, what: str, mend: str = FLIPPED) -> str:
    """Damage to metadata, with what may mend it, and the way out where that is not enough."""
    return f"metadata of {path or CACHE}: {what}; {_cost(store, path, mend)}"


def _cost(store: Home, path: str, mend: str) -> str:
    names = path.split("/")
    if len(names) == 5 and names[3] != "ledger":
        return "repair makes the array again, and nothing else"
    if not path:
        return mend
    whole = "/".join(names[: 1 if names[1:2] in (["labels"], ["rows"]) else 3])
    again = f"take it away with `lef rm {whole}` and extract it again"
    in_file = whole.count("/") == 2 and store.format_of(whole) == "hdf5"
    return again if in_file and mend == FLIPPED else f"{mend}; if more is wrong, {again}"


def _split(path: str) -> tuple[str, str]:
    above, _, name = path.rpartition("/")
    return above, name
