"""Texts end to end in one row, without padding: laid there, kept apart and found again.

Transformers hands a model's queries, keys and values to the attention that its config names. Ours
is called `packed`; it is also told where each text begins, and lets no text see another one.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from inspect import signature
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.attention.varlen import varlen_attn
from torch.nn.functional import scaled_dot_product_attention

from lefcache.errors import ModelError
from lefcache.extract.transfer import to_device

PACKED = "packed"  # as an attention of the Spec
# Model types that see nothing of a text's neighbours but through their attention, and take the
# positions of its tokens from outside; tests prove each, windows shorter than the texts included.
PACKABLE = {
    "bert", "camembert", "cohere", "cohere2", "distilbert", "electra", "eurobert", "gemma",
    "gemma3_text", "gpt2", "gpt_neox", "granite", "llama", "mistral", "mixtral", "modernbert",
    "nomic_bert", "olmo", "olmo2", "olmo3", "opt", "phi", "phi3", "qwen2", "qwen3",
    "qwen3_moe", "roberta", "smollm3", "starcoder2", "xlm-roberta",
}  # fmt: skip
LARGEST_HEAD = 256  # of the kernel
GROUPED = (
    "enable_gqa"  # what the kernel is told of fewer keys than queries; torch 2.11 may not know
)

Unpack = Callable[[Tensor], Tensor]  # states (1, N, D) of a row to (B, T, D) of its texts


def check_packable(model: str, config: Any, trust_remote_code: bool) -> None:
    """Refuse a model whose texts might mix, or whose attention is more than the kernel's."""
    strange = trust_remote_code and getattr(config, "auto_map", None)
    if strange or config.model_type not in PACKABLE:
        why = "the code that comes with it" if strange else f"models of type {config.model_type}"
        raise ModelError(
            f"{model} cannot be packed: {why} may let texts in one row see each other, or has an "
            f"attention that cannot be kept apart; leave out --attention {PACKED}"
        )


def pack(
    arrays: Mapping[str, NDArray[Any]], first: int, device: torch.device
) -> tuple[dict[str, Any], Unpack]:
    """What a network is fed of right-padded arrays (B, T), as one row, and how to take it apart.

    `first` is the position of a text's first token. In place of padding, states have those of a
    text's last token.
    """
    mask = arrays["attention_mask"].astype(bool)  # (B, T)
    lengths = mask.sum(1)
    begins = np.concatenate([[0], lengths.cumsum()])
    flat = {name: each[mask][None] for name, each in arrays.items() if name != "attention_mask"}
    flat["position_ids"] = _positions(arrays["input_ids"], first)[mask][None]
    inputs: dict[str, Any] = {name: to_device(each, device) for name, each in flat.items()}
    bounds = to_device(begins.astype(np.int32), device)  # (B + 1,), as the kernel wants them
    for which in ("q", "k"):
        inputs |= {f"cu_seq_lens_{which}": bounds, f"max_length_{which}": mask.shape[1]}
    inside = np.minimum(np.arange(mask.shape[1]), lengths[:, None] - 1)
    place = begins[:-1, None] + inside  # (B, T)
    index = to_device(place, device)
    return inputs, lambda states: states[0][index.to(states.device)]


def _positions(ids: NDArray[Any], first: int) -> NDArray[np.int64]:
    """The position (B, T) of each token in its text, as the model itself would count.

    Where a row of the table is for padding, tokens of its number are not counted, wherever they
    stand: an empty text may be nothing else.
    """
    counted = np.full(ids.shape, True) if first == 0 else ids != first - 1
    return np.where(counted, counted.cumsum(1) + first - 1, first - 1)


@contextmanager
def packed_attention(config: Any) -> Iterator[None]:
    """Let a model attend as `attend` does; its own attention is there again afterwards.

    Transformers makes no mask for an attention that it knows nothing else of.
    """
    _register()
    before = config._attn_implementation
    config._attn_implementation = PACKED
    try:
        yield
    finally:
        config._attn_implementation = before


@cache
def _register() -> None:
    from transformers import AttentionInterface

    AttentionInterface.register(PACKED, attend)


def attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    scaling: float | None = None,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    is_causal: bool | None = None,
    cu_seq_lens_q: Tensor | None = None,
    max_length_q: int = 0,
    **others: Any,
) -> tuple[Tensor, None]:
    """Attention (1, N, H, d) of every text in a row (1, H, N, d) to itself alone.

    Raises ModelError for what it does not compute, and where a model drops the texts' bounds.
    """
    more = [name for name in ("softcap", "s_aux", "position_bias") if others.get(name) is not None]
    more += ["dropout"] * bool(dropout) + ["a mask"] * (attention_mask is not None)
    if more or cu_seq_lens_q is None:
        what = f"wants {', '.join(more)}" if more else "is not told where each text begins"
        raise ModelError(
            f"{type(module).__name__} {what}, so texts cannot be packed: leave out --attention "
            f"{PACKED}"
        )
    causal = getattr(module, "is_causal", True) if is_causal is None else is_causal
    before = -1 if sliding_window is None else sliding_window - 1  # tokens that are seen; -1: all
    window = (before, 0 if causal else before)
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    rows = [each[0].transpose(0, 1) for each in (query, key, value)]  # (N, H, d)
    if _has_kernel(query, value):
        read = _by_kernel(rows, cu_seq_lens_q, max_length_q, window, scale)
    else:
        read = _by_length(rows, cu_seq_lens_q, window, scale)
    return read[None], None


def _has_kernel(query: Tensor, value: Tensor) -> bool:
    """Whether FlashAttention, which torch brings, computes this; slower, anything else does."""
    width = query.shape[-1]
    return (
        query.device.type == "cuda"
        and query.dtype in (torch.float16, torch.bfloat16)
        and width == value.shape[-1] <= LARGEST_HEAD
        and width % 8 == 0
        and torch.cuda.get_device_capability(query.device) >= (8, 0)
    )


def _by_kernel(
    rows: list[Tensor], bounds: Tensor, longest: int, window: tuple[int, int], scale: float
) -> Tensor:
    more: dict[str, Any] = {"scale": scale, "window_size": window}
    if GROUPED in signature(varlen_attn).parameters:
        more[GROUPED] = rows[0].shape[1] != rows[1].shape[1]
    else:
        rows = _alike(rows)
    kernel: Callable[..., Any] = varlen_attn
    read: Tensor = kernel(*rows, bounds, bounds, longest, longest, **more)
    return read


def _by_length(rows: list[Tensor], bounds: Tensor, window: tuple[int, int], scale: float) -> Tensor:
    """The plain statement of it: texts of the same length are a batch without padding."""
    query, key, value = _alike(rows)
    read = query.new_empty(*query.shape[:2], value.shape[2])
    lengths = bounds.diff()
    for length in sorted(set(lengths.tolist())):
        position = torch.arange(length, device=query.device)
        place = bounds[:-1][lengths == length, None] + position  # (B, T)
        q, k, v = (each[place].transpose(1, 2) for each in (query, key, value))  # (B, H, T, d)
        seen = _seen(position, window)
        attended = scaled_dot_product_attention(q, k, v, attn_mask=seen, scale=scale)
        read[place] = attended.transpose(1, 2)
    return read


def _alike(rows: list[Tensor]) -> list[Tensor]:
    """Queries, keys and values with as many heads each, as if none were shared."""
    query, *others = rows
    return [query, *(each.repeat_interleave(query.shape[1] // each.shape[1], 1) for each in others)]


def _seen(position: Tensor, window: tuple[int, int]) -> Tensor:
    """(T, T) bool: which tokens of a text each one sees; of its window -1 is no end."""
    before, after = window
    back = position[:, None] - position
    return ((back <= before) | (before < 0)) & ((-back <= after) | (after < 0))
