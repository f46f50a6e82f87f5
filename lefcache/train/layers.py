"""The layers that heads are built of: they train one head, or M stacked ones at once.

Rows are (..., B, D). With parameters that have M in front (`torch.func.functional_call` puts them
there) a layer computes M heads on rows (M, B, D).
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

# What rows (..., B, D) are multiplied by when this share of them is dropped: 0 or 1 / (1 - share).
Draw = Callable[[Tensor, float], Tensor]

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
}


class Linear(nn.Linear):
    """rows W' + b, with W (out, in) or (M, out, in)."""

    def forward(self, input: Tensor) -> Tensor:
        """(..., B, in) to (..., B, out)."""
        if self.weight.ndim == 2:
            return super().forward(input)
        rows = input.expand(len(self.weight), *input.shape[-2:])
        return torch.baddbmm(self.bias.unsqueeze(-2), rows, self.weight.mT)


class Dropout(nn.Dropout):
    """Dropout by torch's own random numbers, or by masks that `draw` makes, where that is set."""

    draw: Draw | None = None

    def forward(self, input: Tensor) -> Tensor:
        """(..., B, D) to the same; outside of training nothing is dropped."""
        if self.draw is None or not self.training or not self.p:
            return super().forward(input)
        return input * self.draw(input, self.p)


class Normalise(nn.Module):
    """Every row divided by its L2 norm; a row of zeros stays one."""

    def forward(self, rows: Tensor) -> Tensor:
        """(..., B, D) to the same."""
        return normalize(rows, dim=-1)


def dropouts(module: nn.Module) -> list[Dropout]:
    """The dropouts inside a module, in the order in which they were put there."""
    return [each for each in module.modules() if isinstance(each, Dropout)]
