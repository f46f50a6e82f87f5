"""What is asked of a split, and what is missing of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from numpy.typing import DTypeLike

from lefcache.feature import Layer
from lefcache.spec import Spec

Kind = tuple[DTypeLike, tuple[int, ...]]  # of an array: what its numbers are, and a row's shape


@dataclass(frozen=True)
class Request:
    """What an extraction wants of one split."""

    corpus: str
    model: str
    split: str
    rows: int
    arrays: tuple[str, ...]  # such as "mean/24"
    spec: Spec
    depth: int
    width: int
    block_rows: int
    batch_tokens: int
    store_dtype: str = "auto"
    aliases: Mapping[str, Layer] | None = None
    source: str | None = None
    provenance: Mapping[str, Any] | None = None
    flags: tuple[str, ...] = ()  # of the command, where Spec and provenance do not tell them
    files: Mapping[str, dict[str, str]] | None = None  # that imported arrays are read from
    format: str | None = None  # zarr or hdf5; None: as the split is, or zarr
    pulled: Mapping[str, str] | None = None  # where each array comes from that nothing computes
    key_there: str = ""  # what the split is called there
    fsync: bool = True
    split_rows: int = 0  # of the whole split, where `rows` is a limit
    writers: str = ""  # who writes it for this process, where that is not this process itself

    @property
    def path(self) -> str:
        """Where the split lies: `sst2/mistral/train`."""
        return f"{self.corpus}/{self.model}/{self.split}"

    @property
    def lock(self) -> str:
        """The name of the lock of the split."""
        return f"{self.corpus}+{self.model}+{self.split}"


@dataclass(frozen=True)
class Task:
    """Rows start..stop of a split, and the arrays that miss them.

    On disk they take the place of `room` rows, since chunks are stored whole.
    """

    block: int
    start: int
    stop: int
    arrays: tuple[str, ...]
    room: int
