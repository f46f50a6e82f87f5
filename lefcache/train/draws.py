"""What is drawn at random while heads train: a function of seed and step, and of nothing else.

Whatever is trained beside a head, on however many threads, it sees the same order of rows and the
same dropout. Masks of one seed are drawn once for all the heads that share it.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from lefcache.train.layers import dropouts

LEVELS = 1 << 16  # a share is kept to 1 / 65,536, which 16 random bits decide


def order_of(seed: int, epoch: int, rows: int) -> Tensor:
    """The rows (N,) in the order of this epoch, which counts from 1."""
    return torch.from_numpy(np.random.default_rng((seed, epoch)).permutation(rows))


class Masks:
    """The masks of every dropout inside a module, for S seeds; set `drawn` and run the module.

    Rows are multiplied by 0 or 1 / (1 - rate). A mask is (S, B, D); `places` (M,) says which of the
    seeds each of M stacked heads has, None that rows are (B, D) of a single head.
    """

    def __init__(
        self, module: nn.Module, seeds: Sequence[int], places: Tensor | None, where: torch.device
    ) -> None:
        self.seeds, self.places = tuple(seeds), None if places is None else places.to(where)
        self.where = where
        # Not every device draws 64 random bits: what is neither a CPU nor a CUDA GPU is given them.
        self.generator = torch.Generator(where if where.type == "cuda" else "cpu")
        self.sizes: list[tuple[int, float]] = []  # width and rate, in the order they are asked for
        self.drawn: list[Tensor] = []
        self.asked = 0
        for each in dropouts(module):
            each.draw = self._next

    def measure(self, run: Callable[[], object]) -> None:
        """Find out how wide the masks are by a trial run in training mode."""
        self.sizes, self.drawn, self.asked = [], [], 0
        run()

    def draw(self, step: int, rows: int) -> list[Tensor]:
        """The masks of this step, which counts from 0 over all epochs."""
        widths = [width for width, _ in self.sizes]
        drawn = [self._bits(seed, step, rows * sum(widths)) for seed in self.seeds]
        if not widths:
            return []
        parts = torch.split(torch.stack(drawn), [rows * width for width in widths], dim=1)
        return [
            _mask(part.view(len(self.seeds), rows, width), rate)
            for part, (width, rate) in zip(parts, self.sizes, strict=True)
        ]

    def use(self, drawn: list[Tensor]) -> None:
        """Answer the module's dropouts with these masks, from the first one on."""
        self.drawn, self.asked = drawn, 0

    def _bits(self, seed: int, step: int, count: int) -> Tensor:
        """Random int16 (count,), four of each draw: a tenth of what torch's dropout costs."""
        state = np.random.SeedSequence((seed, step)).generate_state(1, np.uint64)
        self.generator.manual_seed(int(state[0] >> np.uint64(1)))
        whole = torch.empty(-(-count // 4), dtype=torch.int64, device=self.generator.device)
        whole.random_(-(1 << 63), None, generator=self.generator)
        return whole.view(torch.int16)[:count].to(self.where)

    def _next(self, rows: Tensor, rate: float) -> Tensor:
        if self.asked == len(self.drawn):  # a trial run
            self.sizes.append((rows.shape[-1], rate))
            return torch.ones_like(rows)
        mask = self.drawn[self.asked]
        self.asked += 1
        if self.places is None or len(self.seeds) == 1:
            return mask[0]
        return mask[self.places]


def _mask(bits: Tensor, rate: float) -> Tensor:
    dropped = round(rate * LEVELS)
    kept = bits >= dropped - LEVELS // 2
    return kept.float().mul_(LEVELS / (LEVELS - dropped))
