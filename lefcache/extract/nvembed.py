"""NV-Embed without code from the hub: a bidirectional Mistral, latent attention, one vector a text.

The published model brings code that runs with a single old version of transformers. Here it is
the stock MistralModel, in which every token sees every other, and a latent attention of our own
(Lee et al., arXiv 2405.17428, section 3.1), read from the published files under their names.
"""

import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from torch.nn import functional

from lefcache.errors import ModelError
from lefcache.extract.huggingface import HuggingFaceBackbone
from lefcache.extract.models import ModelSource, weight_files
from lefcache.extract.packing import PACKED
from lefcache.extract.pooling import POOLINGS, Span
from lefcache.spec import Spec

Shape = tuple[int, ...]

# The settings of the published code that are built in here.
BUILT_IN = {"padding_side": "right", "is_mask_instruction": True, "mask_type": "b"}
# What of `text_config` makes the numbers; an older transformers wrote much more beside it.
TEXT_CONFIG = (
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "hidden_act",
    "max_position_embeddings",
    "rms_norm_eps",
    "rope_theta",
    "rope_scaling",
    "rope_parameters",
)
UNREADABLE = (
    OSError,
    ValueError,
    LookupError,
    ImportError,
    TypeError,
    SafetensorError,
    StrictDataclassError,
)


class LatentAttention(nn.Module):
    """Each token attends to trained latents, then a gated feed-forward; both beside a residual.

    Modules and weights are named as they are published. Norms are LayerNorms (eps 1e-5), the gate
    is the exact GELU, and attention is scaled by the root of a head's width.
    """

    def __init__(self, width: int, latents: int, heads: int, head_width: int) -> None:
        super().__init__()
        self.heads, inner = heads, heads * head_width
        attention = {
            "to_q": nn.Linear(width, inner, bias=False),
            "to_kv": nn.Linear(width, 2 * inner, bias=False),
            "to_out": nn.Linear(inner, width, bias=False),
        }
        attend = {
            "norm": nn.LayerNorm(width),
            "norm_context": nn.LayerNorm(width),
            "fn": nn.ModuleDict(attention),
        }
        net = {"0": nn.Linear(width, 2 * 4 * width), "2": nn.Linear(4 * width, width)}
        feed = {
            "norm": nn.LayerNorm(width),
            "fn": nn.ModuleDict({"net": nn.ModuleDict(net)}),
        }
        self.latents = nn.Parameter(torch.empty(latents, width))
        self.cross_attend_blocks = nn.ModuleList([nn.ModuleDict(attend), nn.ModuleDict(feed)])

    def forward(self, states: Tensor) -> Tensor:
        """Final-normed token states (B, T, D) to token states (B, T, D), token by token."""
        states = states + self._attend(states)
        return states + self._feed(states)

    def _attend(self, states: Tensor) -> Tensor:
        block: Any = self.cross_attend_blocks[0]
        query = self._by_head(block["fn"]["to_q"](block["norm"](states)).flatten(0, 1))
        keys, values = self._keys_and_values
        read = functional.scaled_dot_product_attention(query, keys, values)[0]  # (H, B * T, d)
        out: Tensor = block["fn"]["to_out"](read.transpose(0, 1).flatten(1))
        return out.view_as(states)

    def _feed(self, states: Tensor) -> Tensor:
        block: Any = self.cross_attend_blocks[1]
        net = block["fn"]["net"]
        value, gate = net["0"](block["norm"](states)).chunk(2, dim=-1)
        out: Tensor = net["2"](value * functional.gelu(gate))
        return out

    @cached_property
    def _keys_and_values(self) -> list[Tensor]:
        """(1, H, latents, d) of both, made once: they are the same for every text."""
        block: Any = self.cross_attend_blocks[0]
        both = block["fn"]["to_kv"](block["norm_context"](self.latents))
        return [self._by_head(each) for each in both.chunk(2, dim=-1)]

    def _by_head(self, rows: Tensor) -> Tensor:
        """(N, H * d) to (1, H, N, d)."""
        return rows.view(len(rows), self.heads, -1).transpose(0, 1)[None]


class NVEmbedBackbone(HuggingFaceBackbone):
    """NV-Embed as a Backbone: `last` is what the final norm gives, `own` the official vector.

    Every pooling of every layer leaves out the tokens that the official vector leaves out, so that
    layers differ in nothing but their depth. Without `latent` it is made of its first blocks only.
    """

    def __init__(
        self,
        model: ModelSource,
        spec: Spec,
        tokenizer: Any,
        network: nn.Module,
        depth: int,
        notes: list[str],
        latent: LatentAttention | None,
    ) -> None:
        self.latent = latent
        self.own = self._own if latent is not None else None
        super().__init__(model, spec, tokenizer, network, depth, notes)

    def _own(self, states: Tensor, span: Span) -> Tensor:
        """The mean over the pooled tokens of what latent attention gives, at length 1."""
        assert self.latent is not None
        return functional.normalize(POOLINGS["mean"](self.latent(states), span), dim=-1)

    def _written(self, text: str) -> str:
        # As text, and before the cut: a text that is too long loses its end token, as officially.
        return f"{super()._written(text)}{self.tokenizer.eos_token}"

    def _skips(self, batch: Any) -> list[int]:
        """As many positions as the instruction alone has tokens, counted from BOS.

        So BOS is left out and the instruction's last token is pooled, unless that is the blank at
        the end of `Query: `, which the text's first token takes in: then the pool is the text.
        """
        return [len(self.tokenizer.tokenize(self.spec.instruction))] * len(batch["input_ids"])


def is_nvembed(folder: Path) -> bool:
    """Whether a folder's config.json is that of NV-Embed, which AutoConfig does not know."""
    try:
        config = json.loads((folder / "config.json").read_text("utf-8"))
    except (OSError, ValueError):
        return False  # transformers says what is wrong with it
    return isinstance(config, dict) and config.get("model_type") == "nvembed"


def load_nvembed(
    model: ModelSource,
    folder: Path,
    spec: Spec,
    notes: Sequence[str],
    where: torch.device,
    blocks: int | None = None,
) -> NVEmbedBackbone:
    """The model on its device; of its blocks only the first ones if asked.

    One shard after the other goes to the device in the dtype wanted, so that memory holds the
    model once. Raises ModelError for files that are not NV-Embed's, weight by weight.
    """
    from transformers import PreTrainedTokenizerFast

    try:
        config = json.loads((folder / "config.json").read_text("utf-8"))
        # As tokenizer.json has it: a class of transformers would make its own again.
        tokenizer = PreTrainedTokenizerFast.from_pretrained(folder, local_files_only=True)
        network, latent = _without_weights(model.source, config, spec)
        files = weight_files(folder)
        published = {name: shape for file in files for name, shape in _shapes(file).items()}
    except ModelError:
        raise
    except UNREADABLE as error:
        raise ModelError(f"{model.source} cannot be loaded as NV-Embed: {error}") from error
    whole = nn.ModuleDict({"embedding_model": network, "latent_attention_model": latent})
    _match(model.source, published, {name: (*w.shape,) for name, w in whole.state_dict().items()})
    depth = len(network.layers)
    short = blocks is not None and blocks < depth
    if short:
        del whole["latent_attention_model"], network.layers[blocks:]
        network.config.num_hidden_layers = len(network.layers)
    _fill(whole, files, where, getattr(torch, spec.dtype))
    # Its numbers are no weights, but made with the module: on the meta device, of nothing.
    network.rotary_emb = type(network.rotary_emb)(network.config).to(where)
    whole.eval().requires_grad_(False)
    kept = None if short else latent
    return NVEmbedBackbone(model, spec, tokenizer, network, depth, [*notes], kept)


def _without_weights(
    source: str, config: Mapping[str, Any], spec: Spec
) -> tuple[Any, LatentAttention]:
    """The two parts of the network on the meta device, as config.json describes them."""
    from transformers import MistralConfig, MistralModel

    for name, value in BUILT_IN.items():
        if config.get(name, value) != value:
            raise ModelError(f"{source} is no NV-Embed as published: {name} is {config[name]!r}")
    text, latent = config.get("text_config") or {}, config.get("latent_attention_config") or {}
    stock = MistralConfig(
        **{name: text[name] for name in TEXT_CONFIG if text.get(name) is not None},
        sliding_window=None,  # the published code masks nothing but padding
        use_cache=False,
    )
    stock.is_causal = False  # transformers hands it to every mask and kernel
    if spec.attention not in ("auto", PACKED):
        stock._attn_implementation = spec.attention
    with torch.device("meta"):
        network = MistralModel(stock)
        attention = LatentAttention(
            stock.hidden_size,
            int(latent.get("num_latents_value", 512)),
            int(latent.get("num_cross_heads", 8)),
            int(latent.get("cross_dim_head", 4096)),
        )
    return network, attention


def _shapes(file: Path) -> dict[str, Shape]:
    """The shape of each tensor in a safetensors file, of which only the header is read."""
    if file.suffix != ".safetensors":
        raise ModelError(f"{file} is not in the format safetensors, in which NV-Embed is published")
    with safe_open(file, framework="pt") as tensors:
        names = tensors.keys()
        return {name: (*tensors.get_slice(name).get_shape(),) for name in names}


def _match(source: str, published: Mapping[str, Shape], ours: Mapping[str, Shape]) -> None:
    """Refuse files that hold other weights than the model has, with their names."""
    wrong = {
        "lacks": [name for name in ours if name not in published],
        "has, and should not,": [name for name in published if name not in ours],
        "has in another shape": [
            f"{name} {published[name]} for {shape}"
            for name, shape in ours.items()
            if published.get(name, shape) != shape
        ],
    }
    told = [
        f"it {what} {', '.join(names[:8])} ({len(names)} in all)"
        for what, names in wrong.items()
        if names
    ]
    if told:
        raise ModelError(
            f"{source} does not hold the weights that its config.json describes: "
            f"{'; '.join(told)}. Is this the right folder, complete?"
        )


def _fill(whole: nn.Module, files: Sequence[Path], where: torch.device, dtype: torch.dtype) -> None:
    """Put the weights of the files in the place of those on the meta device."""
    wanted = set(whole.state_dict())
    for file in files:
        with safe_open(file, framework="pt", device=str(where)) as tensors:
            names = wanted.intersection(tensors.keys())
            part = {name: tensors.get_tensor(name).to(dtype) for name in names}
        whole.load_state_dict(part, strict=False, assign=True)
