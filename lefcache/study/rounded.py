"""Features as another store would have them: the same numbers, rounded to another type."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lefcache.dtypes import BFLOAT16, LARGEST, dtype_of, widened
from lefcache.errors import RecipeError
from lefcache.finished import ROUNDED
from lefcache.rows import Matrix, Table
from lefcache.spec import STORED
from lefcache.train.scoring import EVAL_ROWS
from lefcache.wording import shown


class Rounded(Matrix):
    """A matrix whose numbers are rounded when they are read, bfloat16 ones given as float32."""

    def __init__(self, rows: Matrix, name: str) -> None:
        self.rows = rows
        self.stored = dtype_of(name)
        self.dtype = np.dtype(np.float32) if name == BFLOAT16 else self.stored
        self.shape = rows.shape
        # The same layer in a store of this type may have other numbers: it came from wider ones.
        self.contents = f"{rows.contents} {stored_of(rows)} {ROUNDED}{name}".strip()

    @property
    def bits(self) -> "Bits | None":
        """As `Rows.bits`: the same as uint16, of bfloat16; None for others."""
        return Bits(self) if self.stored.name == BFLOAT16 else None

    def narrow(self, index: Any) -> NDArray[Any]:
        """These rows in the type itself."""
        with np.errstate(over="ignore"):  # check_fits has refused what would overflow
            return np.asarray(self.rows[index]).astype(self.stored)

    def _read(self, start: int, stop: int) -> NDArray[Any]:
        return widened(self.narrow(slice(start, stop)))

    def _gather(self, chosen: NDArray[np.intp]) -> NDArray[Any]:
        return widened(self.narrow(chosen))


class Bits(Matrix):
    """The bits of rounded rows, uint16."""

    dtype = stored = np.dtype(np.uint16)

    def __init__(self, rounded: Rounded) -> None:
        self.rounded, self.shape = rounded, rounded.shape

    def _read(self, start: int, stop: int) -> NDArray[Any]:
        return self.rounded.narrow(slice(start, stop)).view(np.uint16)

    def _gather(self, chosen: NDArray[np.intp]) -> NDArray[Any]:
        return self.rounded.narrow(chosen).view(np.uint16)


def rounded(tables: Mapping[str, Table], name: str) -> dict[str, Table]:
    """The tables in a store of this type; features that it has already stay as they are."""
    return {
        split: replace(
            table,
            rows=tuple(
                rows if stored_of(rows) == name else Rounded(rows, name) for rows in table.rows
            ),
        )
        for split, table in tables.items()
    }


def check_fits(tables: Mapping[str, Table], names: tuple[str, ...]) -> None:
    """Refuse, before anything is trained, a type that there is not or that is too small."""
    if unknown := [each for each in names if each not in STORED]:
        raise RecipeError(
            f"no numbers are stored as '{shown(unknown[0])}': a store is one of {', '.join(STORED)}"
        )
    if "float16" not in names:
        return
    for table in tables.values():
        for feature, rows in zip(table.features, table.rows, strict=True):
            if stored_of(rows) != "float16" and _largest(rows) > LARGEST["float16"]:
                raise RecipeError(
                    f"{feature} has numbers above {LARGEST['float16']:,.0f}, which float16 does "
                    "not hold: leave it out of --store"
                )


def stored_of(rows: Any) -> str:
    """What the numbers of a matrix, or of a plain array, are stored as."""
    return str(np.dtype(getattr(rows, "stored", rows.dtype)).name)


def _largest(rows: Matrix) -> float:
    starts = range(0, len(rows), EVAL_ROWS)
    return max(
        (float(np.abs(rows[at : at + EVAL_ROWS]).max(initial=0)) for at in starts), default=0
    )
