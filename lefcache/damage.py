"""What can be wrong with a cache, in words: where, and what it costs."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from lefcache.cache import Pages


@dataclass(frozen=True)
class Damage:
    """One thing that is not as it was written, and what that costs."""

    path: str  # such as sst2/mistral/train
    kind: str  # block, ledger, magnitudes, labels, metadata or missing
    message: str
    generation: int | None = None
    block: int | None = None


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
        return asdict(self)


def damaged_block(pages: Pages, kind: str, what: str, names: Any, at: tuple[int, int]) -> Damage:
    """The finding about some arrays of a block; `at` is the number of their set, and the block."""
    generation, block = at
    message = f"{_named(pages, block, names)}: {what}; {_cost(pages, block)}"
    return Damage(pages.path, kind, message, generation, block)


def damaged_magnitudes(pages: Pages, names: Any, at: tuple[int, int]) -> Damage:
    """The finding that the largest magnitudes of a block are other ones."""
    what = "its largest magnitudes are not those written; repair finds them again"
    return Damage(pages.path, "magnitudes", f"{_named(pages, at[1], names)}: {what}", *at)


def without_splits(path: str) -> Damage:
    """The finding that of a model nothing is there but what it was made with."""
    way = f"extract it again, or take away what is left with `lef rm {path}`"
    return Damage(path, "missing", f"{path}: none of its splits is there; {way}")


def _named(pages: Pages, block: int, arrays: Sequence[str]) -> str:
    names = [name for name in arrays if "/" in name] or list(arrays)
    shown = names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"
    return f"{pages.path}: block {block} of {shown}"


def _cost(pages: Pages, block: int) -> str:
    start = block * pages.block_rows
    stop = min(start + pages.block_rows, pages.rows)
    again = "imports" if pages.spec.imported else "computes"
    return f"rows {start:,}..{stop - 1:,}; repair {again} them again"
