"""One training step of a stack: eager, or on a GPU as a captured graph."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lefcache.recipe import Recipe
from lefcache.train.draws import Masks
from lefcache.train.objective import Objective, arithmetic
from lefcache.train.optim import lr_at, set_lr
from lefcache.train.stack import Stack

Runner = Callable[[Tensor, list[Tensor]], None]


@dataclass(frozen=True)
class Loaded:
    """A part in memory: features (N, D_k) as stored; `index` and `labels` (M,) of the rows used.

    `classes` is their number, whether they occur or not.
    """

    features: tuple[Tensor, ...]
    index: Tensor
    labels: Tensor
    classes: int


def gathered(
    data: Sequence[Loaded], chosen: Tensor, places: Sequence[int]
) -> tuple[list[Tensor], Tensor]:
    """K features (M, B, D_k) float32 and labels (M, B): each member's own rows.

    Member m's rows are at `chosen[places[m]]` (B,) among the rows used. What members share is
    looked up once: on a GPU a lookup takes microseconds, however few rows it is of.
    """
    known: dict[tuple[int, int], Tensor] = {}

    def looked_up(values: Tensor, place: int) -> Tensor:
        key = id(values), place
        if key not in known:
            known[key] = values[chosen[place]]
        return known[key]

    members = [*zip(data, places, strict=True)]
    labels = _stacked([looked_up(each.labels, place) for each, place in members])
    rows = [looked_up(each.index, place) for each, place in members]
    # Half the memory as float16 or bfloat16: only the batch is widened.
    features = [
        _stacked([values.index_select(0, of) for values, of in zip(feature, rows, strict=True)])
        for feature in zip(*(each.features for each in data), strict=True)
    ]
    return [each.float() for each in features], labels


def _stacked(parts: Sequence[Tensor]) -> Tensor:
    return parts[0].unsqueeze(0) if len(parts) == 1 else torch.stack([*parts])


@dataclass
class Step:
    """Forward, backward and update of M members on their next rows.

    `data[m]` is what member m learns from and `places[m]` which of the S seeds it has; `total`
    (M,) adds up the losses of the rows, on the device: reading it every step would wait for a GPU.
    """

    stack: Stack
    optimiser: torch.optim.Optimizer
    objective: Objective
    recipe: Recipe
    masks: Masks
    data: Sequence[Loaded]
    places: Sequence[int]
    total: Tensor

    def __post_init__(self) -> None:
        self.run: Runner = self
        if self.total.is_cuda:
            _make_capturable(self.optimiser, self.total.device)
            self.run = Captured(self)

    def learn(self, number: int, numbers: int, chosen: Tensor) -> None:
        """The step of this number, from 0, of so many; `chosen` (S, B) are positions of rows."""
        set_lr(self.optimiser, lr_at(self.recipe, number, numbers))
        self.run(chosen, self.masks.draw(number, chosen.shape[1]))

    def __call__(self, chosen: Tensor, drawn: list[Tensor]) -> None:
        """Learn from these rows with these masks: all that a graph can hold."""
        self.optimiser.zero_grad()
        features, labels = gathered(self.data, chosen, self.places)
        self.masks.use(drawn)
        with arithmetic(self.recipe, chosen.device):
            losses = self.objective(self.stack(features), labels)  # (M,)
        # Added up, no member's gradient has a part of another's.
        losses.sum().backward()  # type: ignore[no-untyped-call]
        self.optimiser.step()
        self.total += losses.detach() * chosen.shape[1]


def _make_capturable(optimiser: torch.optim.Optimizer, where: torch.device) -> None:
    """Let an optimiser read its learning rate and count its steps on the GPU, as a graph must."""
    for group in optimiser.param_groups:
        if "capturable" in group:
            group["capturable"] = True
        group["lr"] = torch.as_tensor(group["lr"], dtype=torch.float32, device=where)


class Captured:
    """A step that a GPU replays from a graph, one for each number of rows.

    Its kernels take microseconds each, which is what launching them one by one takes as well. The
    first steps run as they are, on a stream of their own, as torch asks before a recording.
    """

    WARM = 3

    def __init__(self, step: Runner) -> None:
        self.step, self.warm = step, 0
        self.graphs: dict[int, tuple[torch.cuda.CUDAGraph, Tensor, list[Tensor]]] = {}

    def __call__(self, chosen: Tensor, drawn: list[Tensor]) -> None:
        """As the step itself."""
        if self.warm < self.WARM:
            self.warm += 1
            self._aside(chosen, drawn)
            return
        rows = chosen.shape[1]
        if rows not in self.graphs:
            self.graphs[rows] = self._record(chosen, drawn)
        graph, own_chosen, own_drawn = self.graphs[rows]
        own_chosen.copy_(chosen)
        for own, mask in zip(own_drawn, drawn, strict=True):
            own.copy_(mask)
        graph.replay()

    def _aside(self, chosen: Tensor, drawn: list[Tensor]) -> None:
        stream = torch.cuda.Stream(chosen.device)  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream(chosen.device))
        with torch.cuda.stream(stream):
            self.step(chosen, drawn)
        torch.cuda.current_stream(chosen.device).wait_stream(stream)

    def _record(
        self, chosen: Tensor, drawn: list[Tensor]
    ) -> tuple[torch.cuda.CUDAGraph, Tensor, list[Tensor]]:
        """The graph and the tensors that it reads; recording does not run the step."""
        own_chosen, own_drawn = chosen.clone(), [mask.clone() for mask in drawn]
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.device(chosen.device), torch.cuda.graph(graph):
            self.step(own_chosen, own_drawn)
        return graph, own_chosen, own_drawn
