"""What a head does to a feature before anything is learnt of it."""

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor, nn

CHUNK_ROWS = 4096
ROUNDING = 1e-6  # relative deviations below are those of float32 arithmetic, and say nothing


class Standardise(nn.Module):
    """(x - mean) / deviation, each number of a feature by its own, as measured on train rows.

    Both are buffers, saved with the head: a text is read as the rows were. A number that never
    changes, such as any of BERT's [CLS] at layer 0, is only centred.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("scale", torch.ones(width))

    def forward(self, rows: Tensor) -> Tensor:
        """(..., B, D) to the same, float32."""
        return (rows - self.mean.unsqueeze(-2)) * self.scale.unsqueeze(-2)

    def measure(self, rows: Tensor, index: Tensor) -> None:
        """Take mean and deviation from the rows (N, D) at an index (M,), of any precision."""
        # Twice over the rows, since squares of large means would hide small deviations.
        mean = _sum(rows, index, lambda chunk: chunk) / len(index)
        deviation = (_sum(rows, index, lambda chunk: (chunk - mean).square()) / len(index)).sqrt()
        self.mean.copy_(mean)
        changes = deviation > ROUNDING * mean.abs()
        self.scale.copy_(torch.where(changes, 1 / deviation, 1.0))


def measure(inputs: Iterable[nn.Module], features: Sequence[Tensor], index: Tensor) -> None:
    """Let every input of a head that has something to measure do so; see `Standardise.measure`."""
    for each, rows in zip(inputs, features, strict=True):
        if isinstance(each, Standardise):
            each.measure(rows, index)


def _sum(rows: Tensor, index: Tensor, of: Callable[[Tensor], Tensor]) -> Tensor:
    """The sum (D,) over rows in float64, on the CPU: not every device has it."""
    total = torch.zeros(rows.shape[1], dtype=torch.float64)
    for some in torch.split(index, CHUNK_ROWS):
        total += of(rows.index_select(0, some).cpu().double()).sum(dim=0)
    return total
