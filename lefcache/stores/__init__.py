"""Where the bytes are. A store knows arrays and attributes, and nothing of models or layers."""

import math
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import DTypeLike, NDArray

from lefcache.files import Url
from lefcache.rows import Extent
from lefcache.stores.seal import Seal

# Of an array of uint16: the type whose bits these are, since neither format has a bfloat16 that
# every reader knows.
BITS_OF = "bits_of"


@dataclass(frozen=True)
class ArrayInfo:
    """What an array is made of; its first axis is cut into chunks of `chunk_rows`."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    chunk_rows: int
    axes: tuple[str, ...] = ()  # their names, where the array was made with any

    @property
    def chunks(self) -> int:
        """How many chunks the rows are cut into."""
        return -(-self.shape[0] // self.chunk_rows)

    @property
    def row_bytes(self) -> int:
        """The bytes of a row."""
        return math.prod(self.shape[1:]) * self.dtype.itemsize

    @property
    def chunk_bytes(self) -> int:
        """The bytes of every chunk: the last one is stored whole too."""
        return self.chunk_rows * self.row_bytes


class Store(Protocol):
    """A tree of groups and arrays under one root; paths are written `a/b/c`.

    Every method that touches the disk raises StorageError when it is full, read-only or no
    store, and DamagedError when metadata cannot be read.
    """

    @property
    def root(self) -> Path | Url:
        """The folder, file or address that all paths are below."""

    def children(self, path: str) -> list[str]:
        """The names of the groups and arrays directly below a group, sorted; [] if it is absent."""

    def attrs(self, path: str) -> dict[str, Any]:
        """The attributes of a group or array; {} if it is absent.

        DamagedError for those of another node, which was swapped with this one.
        """

    def set_attrs(self, path: str, values: Mapping[str, Any]) -> None:
        """Replace the attributes of a group or array; a group that is absent is created."""

    def seal(self, path: str) -> Seal:
        """Whether the metadata of a node is what was written, and where that was.

        Each node of ours has had a seal since seals were invented.
        """

    def info(self, path: str) -> ArrayInfo | None:
        """What the array is made of, or None if there is no such array."""

    def create(
        self,
        path: str,
        shape: Sequence[int],
        dtype: DTypeLike,
        chunk_rows: int,
        axes: Sequence[str],
    ) -> None:
        """Create an uncompressed array filled with zeros, in place of whatever was there.

        bfloat16 is stored as uint16 with the attribute `bits_of`: any program opens it.
        """

    def resize(self, path: str, rows: int) -> None:
        """Make the first axis longer or shorter."""

    def write(self, path: str, start: int, values: NDArray[Any]) -> None:
        """Write rows from `start`, which must begin a chunk."""

    def sweep(self, path: str, deep: bool = True) -> None:
        """Delete what a killed writer left half-written of a group and, if `deep`, below it.

        Who sweeps must be the only one to write there: of a group in which others may be writing,
        the metadata alone.
        """

    def sync(self) -> None:
        """Put all that was written since the last call on the disk: a power cut leaves it there."""

    def size(self, path: str) -> int:
        """The bytes that a node and all below it take on disk."""

    def delete(self, path: str) -> None:
        """Take a node away with all below it; nothing happens if it is absent."""

    def read(
        self, path: str, stop: int | None = None, sparse: bool = False, start: int = 0
    ) -> NDArray[Any]:
        """The rows start..stop of an array, in memory; all of a small one.

        A chunk that is not there is DamagedError, or zeros if the array is `sparse`: one that a
        writer fills as it goes. A format that has a place for each chunk from the start gives
        zeros always: the ledger knows what was written.
        """

    def extents(self, path: str) -> list[Extent]:
        """Where the rows of an array lie, in order; DamagedError if there is no such place."""

    def chunks(self, path: str) -> list[Extent | None]:
        """Where each whole chunk lies, padding and all; None for one that is missing or torn."""


class Home(Store, Protocol):
    """A store that a whole cache is kept in, which knows the format of each group."""

    def format_of(self, path: str) -> str:
        """The format that a node is kept in: `zarr`, also where there is none yet, or `hdf5`."""

    def begin(self, path: str, format: str, values: Mapping[str, Any]) -> None:
        """Make a group of a format with these attributes, in place of whatever was there."""

    def folders(self, path: str) -> list[str]:
        """What should be a node directly below a group, also where its metadata is gone."""

    def mend(self, path: str, bare: bool = False) -> bool:
        """Give metadata the one bit back that was flipped; False if it was not that.

        That of a `bare` group, which says nothing of its own, is written again otherwise.
        """

    def held(self) -> AbstractContextManager[None]:
        """Keep open what is looked at again and again, for who looks at all there is."""
