"""From token states to one vector a text, always in float32 and never over padding."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Span:
    """Which positions of a right-padded batch belong to the texts; made once a batch.

    `first` and `length` are (B,) positions: a text's pooled tokens are first..length-1, after an
    instruction that is attended to only. `start` is (B,) the first token that is no BOS.
    """

    first: Tensor
    start: Tensor
    length: Tensor
    pooled: Tensor  # (B, T) bool
    mean: Tensor  # (B, T) float32, each row sums to 1
    mean_nobos: Tensor  # (B, T) float32, each row sums to 1

    @classmethod
    def of(cls, first: Tensor, start: Tensor, length: Tensor, width: int) -> "Span":
        """The span of texts whose (B,) boundaries are known, in a batch of T = width tokens."""
        position = torch.arange(width, device=length.device)
        inside = (position >= first[:, None]) & (position < length[:, None])  # (B, T)
        bare = (position >= start[:, None]) & inside
        # A text that is nothing but BOS keeps it: a mean over nothing would be NaN.
        bare = torch.where(bare.any(1, keepdim=True), bare, inside)
        return cls(first, start, length, inside, _weights(inside), _weights(bare))


def _weights(mask: Tensor) -> Tensor:
    return mask.float() / mask.sum(1, keepdim=True)


def _mean(states: Tensor, weights: Tensor) -> Tensor:
    # A weight of zero does not leave out a NaN or an infinity, which padding and BOS may hold.
    # On a CPU masking takes 15 times the product, so it is done when it must; on a GPU looking
    # at the result first would stall the queue.
    if states.device.type != "cpu":
        return _mean_of(states, weights != 0)
    wide = states.float()
    mean = _weighted(wide, weights)
    if mean.isfinite().all():
        return mean
    return _weighted(wide.masked_fill((weights == 0)[..., None], 0.0), weights)


def _mean_of(states: Tensor, inside: Tensor) -> Tensor:
    """The mean with the fewest bytes moved: states are read twice and never widened in memory."""
    kept = torch.where(inside[..., None], states, 0)
    return kept.sum(1, dtype=torch.float32) / inside.sum(1, keepdim=True)


def _weighted(states: Tensor, weights: Tensor) -> Tensor:
    return torch.bmm(weights[:, None], states)[:, 0]  # (B, 1, T) @ (B, T, D)


def _max(states: Tensor, span: Span) -> Tensor:
    return states.float().masked_fill(~span.pooled[..., None], float("-inf")).amax(1)


def _at(states: Tensor, position: Tensor) -> Tensor:
    return states[torch.arange(len(states), device=states.device), position].float()


# Takes states (B, T, D) of any dtype and gives (B, D) float32.
Pooling = Callable[[Tensor, Span], Tensor]

POOLINGS: dict[str, Pooling] = {
    "mean": lambda states, span: _mean(states, span.mean),
    "mean_nobos": lambda states, span: _mean(states, span.mean_nobos),
    "last": lambda states, span: _at(states, span.length - 1),
    "first": lambda states, span: _at(states, torch.zeros_like(span.first)),
    "max": _max,
}
