"""A backbone whose states can be checked in one's head, for tests here and elsewhere."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import Any

import torch

from lefcache.extract.backbone import Deliver, Encoded
from lefcache.extract.pooling import Pooling
from lefcache.feature import Layer
from lefcache.spec import Spec


class FakeBackbone:
    """State of layer l at token t: column 0 is `10 * l + t`, column 1 the text's token count.

    Tokens are the words between blanks; an empty text is fed one token. So the mean of layer l
    over a text of T words is `10 * l + (T - 1) / 2`, its last token `10 * l + T - 1`, its first
    `10 * l`. Layer `last` is layer n with 0.5 added. `on_forward` is called with each batch, to
    count passes or to fail on purpose.
    """

    on_gpu = False

    def __init__(
        self,
        depth: int = 3,
        width: int = 2,
        *,
        name: str = "fake",
        max_length: int = 512,
        long: str = "truncate",
        weights: str = "fake",
        own: Pooling | None = None,
        on_forward: Callable[[Sequence[Encoded]], None] | None = None,
    ) -> None:
        self.name, self.source = name, name
        self.depth, self.width = depth, width
        self.layers: tuple[Layer, ...] = (*range(depth + 1), "last")
        self.aliases: dict[str, Layer] = {}
        self.spec = Spec(weights, "words", max_length=max_length, long=long, dtype="float32")
        self.provenance: dict[str, Any] = {"device": "fake"}
        self.notes: list[str] = []
        self.own = own
        self.on_forward = on_forward

    def tokenize(self, texts: Sequence[str]) -> list[Encoded]:
        """One token a word; what a token is does not matter, only how many there are."""
        limit = self.spec.max_length
        counts = [len(text.split()) for text in texts]
        if self.spec.long == "windows":
            return [_windows(max(1, count), limit) for count in counts]
        return [Encoded([7] * max(1, min(n, limit)), cut=n > limit) for n in counts]

    def forward(
        self, batch: Sequence[Encoded], layers: Collection[Layer], deliver: Deliver
    ) -> None:
        """States by formula; padding holds -1000, so that pooling it would show."""
        if self.on_forward:
            self.on_forward(batch)
        lengths = torch.tensor([len(encoded) for encoded in batch])
        position = torch.arange(int(lengths.max()))  # (T,)
        inside = position < lengths[:, None]  # (B, T)
        for layer in sorted(layers, key=str):
            level = self.depth + 0.05 if layer == "last" else layer
            assert isinstance(level, int | float)
            states = torch.zeros(*inside.shape, self.width)
            states[..., 0] = 10 * level + position
            states[..., 1] = lengths[:, None]
            deliver(layer, states.masked_fill(~inside[..., None], -1000.0))


def _windows(tokens: int, limit: int) -> Encoded:
    first, *rest = (Encoded([7] * min(limit, tokens - at)) for at in range(0, tokens, limit))
    return replace(first, rest=tuple(rest))
