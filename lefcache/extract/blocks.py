"""Finding a model's blocks and listening to them, checked against what the model itself reports.

Layer numbers go wrong silently: `hidden_states[n]` is after the final norm for most decoders and
before any for BERT. So hooks read the raw blocks, and `last` is the model's own last state.
"""

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from lefcache.extract.backbone import Deliver
from lefcache.feature import Layer


class Enough(Exception):  # noqa: N818 - no error: the deepest wanted layer has been read
    """Ends a forward pass early."""


def candidate_blocks(model: nn.Module, depth: int) -> list[nn.ModuleList]:
    """The module lists that may be the stack of blocks: those of the right length."""
    return [
        module
        for module in model.modules()
        if isinstance(module, nn.ModuleList) and len(module) == depth
    ]


@contextmanager
def listening(
    blocks: nn.ModuleList, layers: Collection[Layer], deliver: Deliver, stop: bool = True
) -> Iterator[None]:
    """Call `deliver` with what enters block 1 (layer 0) and what leaves block k (layer k).

    With `stop`, the pass ends by raising Enough after the deepest layer, unless `last` is wanted.
    """
    numbers = {layer for layer in layers if isinstance(layer, int)}
    deepest = max(numbers, default=0) if stop and "last" not in layers else None

    def entered(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if (states := args[0] if args else kwargs.get("hidden_states")) is not None:
            deliver(0, states)
        if deepest == 0:
            raise Enough

    def left(layer: int) -> Callable[[nn.Module, Any, Any], None]:
        def hook(_: nn.Module, __: Any, output: Any) -> None:
            deliver(layer, output[0] if isinstance(output, tuple | list) else output)
            if layer == deepest:
                raise Enough

        return hook

    handles = [blocks[k - 1].register_forward_hook(left(k)) for k in sorted(numbers - {0})]
    if 0 in numbers:
        handles.append(blocks[0].register_forward_pre_hook(entered, with_kwargs=True))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def agree(
    model: nn.Module, blocks: nn.ModuleList, inputs: dict[str, Tensor]
) -> tuple[int, bool] | None:
    """The layer that a model's own list of states begins with, and whether a norm makes `last`.

    Told by a probe: without a norm, `last` is what leaves the last block. Returns None if hooks on
    `blocks` do not see the states that the model reports.
    """
    depth = len(blocks)
    heard: dict[Layer, Tensor] = {}
    with listening(blocks, range(depth + 1), heard.__setitem__, stop=False):
        output = model(**inputs, output_hidden_states=True)
    told = output.hidden_states
    mask = inputs["attention_mask"].bool()
    if told is None or len(told) != depth + 1 or set(heard) != set(range(depth + 1)):
        return None
    # Most models list what enters their blocks, Mamba what leaves them: then layer 1 comes first.
    for first in (0, 1):
        if all(_same(heard[first + k], told[k], mask) for k in range(depth)):
            return first, not _same(heard[depth], output.last_hidden_state, mask)
    return None


def _same(one: Tensor, other: Tensor, mask: Tensor) -> bool:
    if one.shape != other.shape or one.shape[:-1] != mask.shape:
        return False
    mask = mask.to(one.device)
    one, other = one[mask].float(), other.to(one.device)[mask].float()  # (tokens, D)
    # A state that is not finite is for `quick` to refuse, with its layer.
    scale = float(other.abs().nan_to_num(0.0, 0.0).max())
    return torch.allclose(one, other, rtol=1e-3, atol=1e-4 * scale, equal_nan=True)
