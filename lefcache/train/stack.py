"""M heads of one shape as one: parameters with M in front, products of all in one call."""

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call

from lefcache.train.head import Head


class Stack:
    """M heads that compute, learn and are judged together; a single one stays as it is.

    `numbers` are parameters and buffers by name, each (M, ...). The weights of linear layers lie in
    memory as (M, in, out): multiplied the other way round, they cost half as much again on a CPU.
    """

    def __init__(self, heads: Sequence[Head], where: torch.device) -> None:
        self.size = len(heads)
        self.alone = len(heads) == 1  # it is computed as any head, whatever its operator can do
        self.shell = copy.deepcopy(heads[0]).to("meta")  # its code, without its numbers
        learnt = dict(heads[0].named_parameters())
        self.numbers: dict[str, Tensor] = {}
        for name in heads[0].state_dict():
            value = _stacked([head.state_dict()[name].detach() for head in heads]).to(where)
            self.numbers[name] = nn.Parameter(value) if name in learnt else value

    @property
    def parameters(self) -> list[Tensor]:
        """What is learnt."""
        return [value for value in self.numbers.values() if isinstance(value, nn.Parameter)]

    def __call__(self, features: Sequence[Tensor]) -> Tensor:
        """Logits (M, B, C) of K features (M, B, D_k)."""
        if not self.alone:
            logits: Tensor = functional_call(self.shell, self.numbers, tuple(features))
            return logits
        single = {name: value.squeeze(0) for name, value in self.numbers.items()}
        one: Tensor = functional_call(
            self.shell, single, tuple(each.squeeze(0) for each in features)
        )
        return one.unsqueeze(0)

    def member(self, place: int) -> dict[str, Tensor]:
        """A copy of one member's numbers, as a head's state has them."""
        return {name: value[place].detach().clone() for name, value in self.numbers.items()}

    def copy_member(self, place: int, into: dict[str, Tensor]) -> None:
        """Overwrite such a copy with the numbers of now."""
        for name, value in self.numbers.items():
            into[name].copy_(value[place].detach())

    def keep(self, members: Tensor, optimiser: torch.optim.Optimizer) -> None:
        """Go on with these members (M',) only; what the optimiser knows of them goes with them."""
        (group,) = optimiser.param_groups
        for name, value in self.numbers.items():
            smaller = _selected(value.detach(), members)
            if isinstance(value, nn.Parameter):
                smaller = nn.Parameter(smaller)
                known = optimiser.state.pop(value, {})
                optimiser.state[smaller] = {
                    key: _selected(each, members) if each.shape == value.shape else each
                    for key, each in known.items()
                }
            self.numbers[name] = smaller
        group["params"] = self.parameters
        self.size = len(members)


def _stacked(values: Sequence[Tensor]) -> Tensor:
    if values[0].ndim < 2 or len(values) == 1:
        return torch.stack(list(values))
    return torch.stack([each.mT for each in values]).mT


def _selected(value: Tensor, members: Tensor) -> Tensor:
    """These members' part, lying in memory as the whole does."""
    if value.ndim < 3 or value.is_contiguous():
        return value.index_select(0, members)
    return value.mT.index_select(0, members).mT
