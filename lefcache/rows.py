"""A matrix that stays in its files: (N, D) rows over raw byte extents, mapped when indexed."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import count
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from lefcache.columns import Reading
from lefcache.dtypes import BFLOAT16, widened
from lefcache.feature import Feature
from lefcache.spec import Origin, Spec


def _maps_allowed() -> int:
    """How many files may be mapped at once: each holds one of those that a process may open."""
    try:
        import resource
    except ImportError:  # Windows, which has no such limit
        return 256
    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 256 if allowed == resource.RLIM_INFINITY else max(1, min(256, allowed // 4))


MAPS_OPEN = _maps_allowed()


@dataclass(frozen=True)
class Extent:
    """Where some consecutive rows lie as raw bytes: three words make every file format one."""

    path: str
    offset: int
    rows: int


_owners = count()


@lru_cache(maxsize=MAPS_OPEN)
def _map(owner: int, path: str) -> NDArray[np.uint8]:
    """The bytes of one file, whole: all chunks of an HDF5 file are in one map.

    Each `Rows` has its own maps, so that a new one sees new files.
    """
    return np.memmap(path, np.uint8, mode="r")


class Matrix:
    """What `Rows` and `MeanRows` share: (N, D) values that numpy can read whole or in part."""

    dtype: np.dtype[Any]  # of the values that are read
    stored: np.dtype[Any]  # of the numbers on disk: bfloat16 is read as float32
    shape: tuple[int, int]
    contents: str = ""  # checksums, of rows that no Spec tells apart from others

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def ndim(self) -> int:
        """Always 2."""
        return 2

    @property
    def nbytes(self) -> int:
        """Bytes that the whole matrix takes in memory."""
        return self.shape[0] * self.shape[1] * self.dtype.itemsize

    def __getitem__(self, index: Any) -> NDArray[Any]:
        """`rows[i]` is (D,); `rows[a:b]` and `rows[index_array]` are (M, D)."""
        if isinstance(index, slice):
            start, stop, step = index.indices(len(self))
            return (
                self._read(start, stop) if step == 1 else self._gather(np.arange(len(self))[index])
            )
        if isinstance(index, int | np.integer) and not isinstance(index, bool):
            row = int(index)
            if not -len(self) <= row < len(self):
                raise IndexError(f"row {row} of {len(self)}")
            row %= len(self)
            vector: NDArray[Any] = self._read(row, row + 1)[0]
            return vector
        if isinstance(index, tuple):  # numpy would take it for a row and a column
            raise IndexError("rows are indexed by a number, a slice or a flat array")
        chosen = np.asarray(index)
        if chosen.dtype == bool:
            if chosen.shape != (len(self),):
                raise IndexError(f"a mask of shape {chosen.shape} over {len(self)} rows")
            chosen = np.flatnonzero(chosen)
        chosen = (
            chosen.astype(np.intp, casting="same_kind") if chosen.size else chosen.astype(np.intp)
        )
        if chosen.ndim != 1:
            raise IndexError("rows are indexed by a number, a slice or a flat array")
        if chosen.size and not (-len(self) <= chosen.min() and chosen.max() < len(self)):
            raise IndexError(f"an index outside 0..{len(self) - 1}")
        return self._gather(chosen % len(self) if chosen.size else chosen)

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        if copy is False:
            raise ValueError(
                "these rows may lie in several files: only a copy is one array of them"
            )
        whole = self._read(0, len(self))
        array = whole if dtype is None else whole.astype(dtype, copy=False)
        return array.copy() if copy and not array.flags.writeable else array

    def __repr__(self) -> str:
        rows, width = self.shape
        return f"<{type(self).__name__} {rows:,} x {width:,} {self.stored}>"

    def _read(self, start: int, stop: int) -> NDArray[Any]:
        raise NotImplementedError  # an abstract method, defined by both subclasses

    def _gather(self, chosen: NDArray[np.intp]) -> NDArray[Any]:
        raise NotImplementedError  # an abstract method, defined by both subclasses


class Rows(Matrix):
    """(N, D) rows over extents; nothing is read until it is indexed, and then only what is asked.

    A slice inside one extent is a read-only view of the mapped file; everything else is a copy, and
    so is all that is bfloat16, which is read as float32. `bits` gives that as uint16, as it lies
    there: torch takes it with `torch.from_numpy(rows.bits[:]).view(torch.bfloat16)`.
    """

    def __init__(
        self, extents: Sequence[Extent], dtype: DTypeLike, width: int, contents: str = ""
    ) -> None:
        self.extents = tuple(extents)
        self._owner = next(_owners)
        self.stored = np.dtype(dtype)
        self._narrow = self.stored.name == BFLOAT16
        self.dtype = np.dtype(np.float32) if self._narrow else self.stored
        self._starts = np.cumsum([0, *(extent.rows for extent in extents)])
        self.shape = (int(self._starts[-1]), width)
        self.contents = contents

    @property
    def bits(self) -> "Rows | None":
        """The same rows as uint16, of numbers that are bfloat16; None for all others."""
        return Rows(self.extents, np.uint16, self.shape[1]) if self._narrow else None

    def _read(self, start: int, stop: int) -> NDArray[Any]:
        cuts = self._cut(start, stop)
        if len(cuts) == 1:
            (number, low, high) = cuts[0]
            return widened(self._mapped(number)[low:high])
        out, done = np.empty((stop - start if cuts else 0, self.shape[1]), self.dtype), 0
        for number, low, high in cuts:
            # One after the other: views of all files at once would keep all of them mapped.
            out[done : done + high - low] = self._mapped(number)[low:high]
            done += high - low
        return out

    def _gather(self, chosen: NDArray[np.intp]) -> NDArray[Any]:
        out = np.empty((len(chosen), self.shape[1]), self.dtype)
        home = np.searchsorted(self._starts, chosen, side="right") - 1
        for number in np.unique(home):
            here = home == number
            out[here] = self._mapped(int(number))[chosen[here] - self._starts[number]]
        return out

    def _cut(self, start: int, stop: int) -> list[tuple[int, int, int]]:
        """The extents that hold rows start..stop, each with its own first and last row."""
        cuts = []
        for number in range(
            int(np.searchsorted(self._starts, start, side="right")) - 1, len(self.extents)
        ):
            first = int(self._starts[number])
            if first >= stop:
                break
            cuts.append(
                (number, max(start - first, 0), min(stop - first, self.extents[number].rows))
            )
        return cuts

    def _mapped(self, number: int) -> NDArray[Any]:
        written = "<u2" if self._narrow else self.stored.str
        extent, width = self.extents[number], self.shape[1]
        stop = extent.offset + extent.rows * width * self.stored.itemsize
        content = _map(self._owner, extent.path)[extent.offset : stop]
        return content.view(written).reshape(extent.rows, width).view(self.stored)


class MeanRows(Matrix):
    """The float32 mean of several layers, computed for the rows that are asked for."""

    def __init__(self, layers: Sequence[Matrix]) -> None:
        self.layers = tuple(layers)
        self.dtype = self.stored = np.dtype(np.float32)
        self.shape = layers[0].shape
        self.contents = " ".join(layer.contents for layer in layers).strip()

    def _read(self, start: int, stop: int) -> NDArray[Any]:
        return self._mean(slice(start, stop))

    def _gather(self, chosen: NDArray[np.intp]) -> NDArray[Any]:
        return self._mean(chosen)

    def _mean(self, index: slice | NDArray[np.intp]) -> NDArray[Any]:
        return mean_of(layer[index] for layer in self.layers)


def mean_of(layers: Iterable[NDArray[Any]]) -> NDArray[Any]:
    """The float32 mean of equally shaped arrays; of a single one, the array as it is."""
    first, *others = layers
    if not others:
        return first
    total = first.astype(np.float32)
    for layer in others:
        total += layer
    total /= np.float32(1 + len(others))
    return total


@dataclass(frozen=True)
class Table:
    """K aligned features of one split, ready to train on.

    `rows[k]` is (N, D_k); `labels` is (N,) int32 with -1 for none, or None for a split without
    labels; `specs[k]` and `origins[k]` say what feature k was made from and are passed through
    untouched. A table made by hand has no origins. `reading` says which columns the texts were
    made of, and `source` what finds the corpus again, as its `--data` did.
    """

    features: tuple[Feature, ...]
    rows: tuple[Matrix, ...]
    labels: NDArray[np.int32] | None
    classes: tuple[str, ...]
    specs: tuple[Spec, ...]
    texts: NDArray[np.uint64]
    corpus: str
    split: str
    origins: tuple[Origin, ...] = ()
    reading: Reading = field(default_factory=Reading)
    source: str = ""

    def __len__(self) -> int:
        return len(self.texts)

    def __repr__(self) -> str:
        features = ", ".join(map(str, self.features))
        return f"<Table {self.corpus}/{self.split}: {len(self):,} rows of {features}>"

    @property
    def widths(self) -> tuple[int, ...]:
        """D_k of each feature."""
        return tuple(rows.shape[1] for rows in self.rows)

    def xy(self) -> tuple[NDArray[np.float32], NDArray[np.str_]]:
        """X (M, D_1 + ... + D_K), the features side by side in memory, and y (M,) the class names.

        Only the M rows that have a label. This is what scikit-learn wants; `widths` say which
        columns are which feature.
        """
        labels = np.full(len(self), -1) if self.labels is None else self.labels
        chosen = np.flatnonzero(labels >= 0)
        whole = np.empty((len(chosen), sum(self.widths)), np.float32)
        edge = 0
        for rows, width in zip(self.rows, self.widths, strict=True):
            whole[:, edge : edge + width] = rows[chosen]
            edge += width
        return whole, np.array(self.classes, np.str_)[labels[chosen]]

    def alone(self, place: int) -> "Table":
        """The same rows with only the feature at this place."""
        return self.of([place])

    def of(self, places: Sequence[int]) -> "Table":
        """The same rows with the features at these places, in this order."""
        return replace(
            self,
            features=tuple(self.features[place] for place in places),
            rows=tuple(self.rows[place] for place in places),
            specs=tuple(self.specs[place] for place in places),
            origins=tuple(self.origins[place] for place in places if self.origins),
        )
