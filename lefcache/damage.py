"""What can be wrong with a cache, in words: where, and what it costs."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from lefcache.cache import Pages
from lefcache.cache.identity import MADE_OTHERWISE

_REPAIR = "repair "  # how the way begins that `lef verify --repair` goes
_DONE = {
    "computes": "computed",
    "imports": "imported",
    "finds": "found",
    "reads": "read",
    "writes": "written",
}


@dataclass(frozen=True)
class Damage:
    """One thing that is not as it was written, with what that costs, and the way to mend it."""

    path: str  # such as sst2/mistral/train
    kind: str  # block, ledger, magnitudes, labels, metadata or missing
    what: str
    way: str
    generation: int | None = None
    block: int | None = None

    @property
    def message(self) -> str:
        """All of it as a line."""
        return f"{self.what}; {self.way}"

    @property
    def by_repair(self) -> bool:
        """Whether a repair may mend it; otherwise only what the message says helps."""
        return self.way.startswith(_REPAIR)

    @property
    def mended(self) -> str:
        """The line that says what a repair has done about it."""
        verb, _, *rest = self.way.removeprefix(_REPAIR).split()
        done = [_DONE[verb], *rest] if verb in _DONE else ["mended"]
        return f"{self.what}; {' '.join(done)}"

    def to_json(self) -> dict[str, Any]:
        """Plain values: what it is, and whether `lef verify --repair` may mend it."""
        told = {"path": self.path, "kind": self.kind, "message": self.message}
        return told | {
            "by_repair": self.by_repair,
            "generation": self.generation,
            "block": self.block,
        }


@dataclass(frozen=True)
class Report:
    """What `verify` found; `missing` is what is not there, or not yet."""

    checked_blocks: int = 0
    damaged: list[Damage] = field(default_factory=list)
    missing: list[Damage] = field(default_factory=list)
    strays: list[str] = field(default_factory=list)
    unsealed: list[str] = field(default_factory=list)
    unplaced: list[str] = field(default_factory=list)

    @property
    def whole(self) -> bool:
        """Whether nothing was found but strays, which cost nothing."""
        return not (self.damaged or self.missing)

    def to_json(self) -> dict[str, Any]:
        """The fields as plain values."""
        found = {
            name: [each.to_json() for each in getattr(self, name)]
            for name in ("damaged", "missing")
        }
        return vars(self) | found


def damaged_block(pages: Pages, kind: str, what: str, names: Any, at: tuple[int, int]) -> Damage:
    """The finding about some arrays of a block; `at` is the number of their set, and the block."""
    start = at[1] * pages.block_rows
    stop = min(start + pages.block_rows, pages.rows)
    found = f"{_named(pages, at[1], names)}: {what}; rows {start:,}..{stop - 1:,}"
    return Damage(pages.path, kind, found, f"repair {_makes(pages)} them again", *at)


def not_begun(pages: Pages, name: str) -> Damage:
    """The finding that of an array which was asked for nothing is there."""
    what = f"{pages.path}/{name}: not begun"
    return Damage(pages.path, "missing", what, f"repair {_makes(pages)} it")


def damaged_magnitudes(pages: Pages, names: Any, at: tuple[int, int]) -> Damage:
    """The finding that the largest magnitudes of a block are other ones."""
    what = f"{_named(pages, at[1], names)}: its largest magnitudes are not those written"
    return Damage(pages.path, "magnitudes", what, "repair finds them again", *at)


def without_splits(path: str) -> Damage:
    """The finding that of a model nothing is there but what it was made with."""
    way = f"extract it again, or take away what is left with `lef rm {path}`"
    return Damage(path, "missing", f"{path}: none of its splits is there", way)


def without_split(path: str, command: str) -> Damage:
    """The finding that of a split which was begun nothing is there, not even its metadata."""
    way = f"get it back with: {command}; or have it forgotten with: lef rm {path}"
    return Damage(path, "missing", f"{path}: it was begun, and nothing of it is there", way)


def made_elsewhere(path: str) -> Damage:
    """The finding that a split was made with another Spec than its model's."""
    way = (
        "put back what it, or its model, took the place of; otherwise take it away with "
        f"`lef rm {path}` and extract it again"
    )
    return Damage(path, "metadata", f"{path}: {MADE_OTHERWISE}", way)


def _named(pages: Pages, block: int, arrays: Sequence[str]) -> str:
    names = [name for name in arrays if "/" in name] or list(arrays)
    shown = names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"
    return f"{pages.path}: block {block} of {shown}"


def _makes(pages: Pages) -> str:
    imported = pages.files or (pages.model_attrs and pages.spec.imported)
    return "imports" if imported else "computes"
