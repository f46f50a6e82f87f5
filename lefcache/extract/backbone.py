"""A frozen model as a stack of blocks that hands over each layer's states as they appear."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor

from lefcache.extract.pooling import Pooling
from lefcache.feature import Layer
from lefcache.spec import Spec


@dataclass(frozen=True)
class Encoded:
    """One text as a model reads it.

    `skip` tokens in front (an instruction, with what precedes it) are attended to and not
    pooled; `bos` says that a token which begins every text comes first; `cut` that the text was
    longer than the model may read. A long text that is read in windows is its first one, with
    the others in `rest`.
    """

    ids: Sequence[int]
    skip: int = 0
    bos: bool = False
    cut: bool = False
    rest: tuple["Encoded", ...] = ()

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def windows(self) -> "tuple[Encoded, ...]":
        """What goes through the model, each as a text of its own."""
        return (self, *self.rest)

    @property
    def count(self) -> int:
        """How many windows there are."""
        return 1 + len(self.rest)

    def pooled(self, bare: bool = False) -> int:
        """How many tokens of this window are pooled; without BOS if `bare`. Never none."""
        first = min(self.skip, len(self) - 1)
        start = max(first, self.bos) if bare else first
        return len(self) - start or len(self) - first


Deliver = Callable[[Layer, Tensor], None]


class Backbone(Protocol):
    """What extraction needs of a model; it knows nothing of pooling, files or corpora."""

    name: str
    source: str
    spec: Spec
    provenance: dict[str, Any]
    notes: list[str]
    depth: int  # blocks n
    width: int  # D
    layers: tuple[Layer, ...]  # 0..n, and "last" where a norm makes it another thing than n
    aliases: dict[str, Layer]  # {"last": n} where it does not
    on_gpu: bool
    own: Pooling | None  # the model's own pooling, of its layer `last` alone; None for most

    def tokenize(self, texts: Sequence[str]) -> list[Encoded]:
        """Texts to tokens; never empty, so that no pooling divides by zero."""

    def forward(
        self, batch: Sequence[Encoded], layers: Collection[Layer], deliver: Deliver
    ) -> None:
        """Run right-padded texts once, calling `deliver(layer, states)` for each wanted layer.

        States are (B, T, D) in the model's dtype on its device, valid during the call only. The
        pass ends as soon as the deepest wanted layer has been delivered.
        """
