"""Any Hugging Face encoder, decoder or T5 as a Backbone."""

import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from lefcache.errors import ModelError
from lefcache.extract.backbone import Deliver, Encoded
from lefcache.extract.blocks import Enough, agree, candidate_blocks, listening
from lefcache.extract.identity import processor_facts, provenance, tokenizer_hash, weights_hash
from lefcache.extract.models import ModelSource, locate, resolve_model
from lefcache.feature import Layer
from lefcache.spec import Spec

PROBE = ["A cat sat on the mat.", "No."]  # two lengths, so that padding is part of the check
# A tokenizer without a limit says so with a huge number.
UNLIMITED = 1 << 30
# These count positions from their padding token on, so that the first ones are never used.
OFFSET_POSITIONS = ("roberta", "xlm-roberta", "xlm-roberta-xl", "camembert", "mpnet", "xmod")


def load_backbone(
    model: str,
    *,
    name: str | None = None,
    device: str = "auto",
    revision: str | None = None,
    trust_remote_code: bool = False,
    **settings: Any,
) -> "HuggingFaceBackbone":
    """Load `mistral`, a hub id, a folder or `NAME=any of these`, frozen and checked.

    `settings` are fields of Spec: prompt, instruction, max_length, truncation_side, dtype,
    attention. On a probe, the layers are read through hooks and through `output_hidden_states`
    and must agree.

    Raises ModelError for a model that cannot be found, loaded whole, or read layer by layer.
    """
    found = resolve_model(model, name)
    folder = locate(found, revision, trust_remote_code)
    if found.entry is None and Path(found.source).is_dir():
        # The command that resumes an extraction should work from any folder.
        found = replace(found, source=str(folder.resolve()))
    spec, notes = _settle(found, folder, settings, _device(device))
    tokenizer, network = _open(found, folder, spec, trust_remote_code)
    network.to(_device(device))
    backbone = HuggingFaceBackbone(found, spec, tokenizer, network, notes)
    backbone.provenance["revision"] = folder.name if folder.parent.name == "snapshots" else None
    backbone.provenance["remote_code"] = trust_remote_code
    return backbone


class HuggingFaceBackbone:
    """A frozen transformers model, its blocks found once and checked on a probe."""

    def __init__(
        self, model: ModelSource, spec: Spec, tokenizer: Any, network: nn.Module, notes: list[str]
    ) -> None:
        self.name, self.source, self.notes = model.name, model.source, notes
        self.tokenizer, self.network = tokenizer, network
        config: Any = network.config
        self.device = next(network.parameters()).device
        self.on_gpu = self.device.type != "cpu"
        self.provenance = provenance(self.device, torch.get_num_threads())
        spec = replace(spec, attention=config._attn_implementation or "auto")
        self.spec = _clamp(spec, tokenizer, config, notes)
        tokenizer.truncation_side = self.spec.truncation_side
        self._pad = next(
            (i for i in (tokenizer.pad_token_id, tokenizer.eos_token_id) if i is not None), 0
        )
        opener = tokenizer("")["input_ids"][:1]
        begins = {tokenizer.bos_token_id, tokenizer.cls_token_id}
        self._bos = opener[0] if opener and opener[0] in begins else None
        self.depth = int(config.get_text_config().num_hidden_layers)
        self._read_layers()

    @torch.inference_mode()
    def _read_layers(self) -> None:
        inputs = self._inputs(self.tokenize(PROBE))
        self.blocks: nn.ModuleList | None = None
        normed = True
        for blocks in candidate_blocks(self.network, self.depth):
            if verdict := agree(self.network, blocks, inputs):
                self.blocks, normed = blocks, verdict[1]
                break
        output = self.network(**inputs, output_hidden_states=True)
        self.width = int(output.last_hidden_state.shape[-1])
        if self.blocks is not None:
            every: tuple[Layer, ...] = tuple(range(self.depth + 1))
            self.layers = (*every, "last") if normed else every
            self.aliases: dict[str, Layer] = {} if normed else {"last": self.depth}
            return
        states = output.hidden_states
        if states is None or len(states) != self.depth + 1:
            raise ModelError(f"{self.name} does not report a state for each of its layers")
        # Without blocks to listen to, the raw last one cannot be told from the normed one.
        self.layers, self.aliases = (*range(self.depth), "last"), {}
        self.notes.append(f"{self.name} has no list of blocks: layer {self.depth} is only `last`")

    def tokenize(self, texts: Sequence[str]) -> list[Encoded]:
        """Texts to tokens, cut at max_length, with the prompt and instruction in front."""
        spec = self.spec
        before = spec.instruction + spec.prompt
        read = [before + text for text in texts] if before else list(texts)
        batch = self.tokenizer(
            read, truncation=True, max_length=spec.max_length, return_attention_mask=False
        )
        cuts = self._cuts(read, batch)
        skips = self._skips(batch) if spec.instruction else [0] * len(read)
        return [
            Encoded(ids or [self._pad], skip, bool(ids) and ids[0] == self._bos, cut)
            for ids, skip, cut in zip(batch["input_ids"], skips, cuts, strict=True)
        ]

    def _cuts(self, texts: list[str], batch: Any) -> list[bool]:
        if batch.encodings is not None:
            return [bool(encoding.overflowing) for encoding in batch.encodings]
        limit = self.spec.max_length
        return [len(self.tokenizer(text)["input_ids"]) > limit for text in texts]

    def _skips(self, batch: Any) -> list[int]:
        """How many tokens lie in the instruction, BOS before it included."""
        if batch.encodings is None:
            raise ModelError(f"{self.name}: an instruction needs a fast tokenizer")
        end = len(self.spec.instruction)
        skips = []
        for encoding in batch.encodings:
            beyond = [i for i, (_, stop) in enumerate(encoding.offsets) if stop > end]
            skips.append(beyond[0] if beyond else len(encoding.ids) - 1)
        return skips

    def _inputs(self, batch: Sequence[Encoded]) -> dict[str, Tensor]:
        """Right-padded ids and mask, (B, T) each."""
        longest = max(len(encoded) for encoded in batch)
        ids = np.full((len(batch), longest), self._pad, np.int64)
        mask = np.zeros((len(batch), longest), np.int64)
        for row, encoded in enumerate(batch):
            ids[row, : len(encoded)] = encoded.ids
            mask[row, : len(encoded)] = 1
        return {
            "input_ids": torch.from_numpy(ids).to(self.device),
            "attention_mask": torch.from_numpy(mask).to(self.device),
        }

    @torch.inference_mode()
    def forward(
        self, batch: Sequence[Encoded], layers: Collection[Layer], deliver: Deliver
    ) -> None:
        """One pass over right-padded texts; see `Backbone.forward`."""
        inputs = self._inputs(batch)
        if self.blocks is None:
            output = self.network(**inputs, output_hidden_states=True)
            for layer in layers:
                if isinstance(layer, int):
                    deliver(layer, output.hidden_states[layer])
        else:
            try:
                with listening(self.blocks, layers, deliver):
                    output = self.network(**inputs)
            except Enough:
                return
        if "last" in layers:
            deliver("last", output.last_hidden_state)


def _device(wanted: str) -> torch.device:
    if wanted != "auto":
        try:
            return torch.empty(0, device=wanted).device
        except (RuntimeError, AssertionError) as error:  # torch asserts that it was built for it
            raise ModelError(f"no device '{wanted}' on this machine: {error}") from error
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def _settle(
    model: ModelSource, folder: Path, settings: Mapping[str, Any], device: torch.device
) -> tuple[Spec, list[str]]:
    """The Spec with what `auto` and the model's entry stand for, and notes that say so."""
    choices = {f.name: f.metadata["choices"] for f in fields(Spec) if f.metadata}
    if unknown := sorted(set(settings) - set(choices)):
        raise ModelError(f"no setting {', '.join(unknown)}: there are {', '.join(choices)}")
    for name, value in settings.items():
        if choices[name] and value not in choices[name]:
            raise ModelError(f"{name} {value!r} is not one of {', '.join(choices[name])}")
    spec, notes = Spec(**settings), []
    if "prompt" not in settings and model.entry and model.entry.prompt:
        spec = replace(spec, prompt=model.entry.prompt)
        notes.append(f"every text is read as {model.entry.prompt!r} + text, as its authors advise")
    if spec.dtype == "auto":
        fast = _fast_bfloat16(device)
        spec = replace(spec, dtype="bfloat16" if fast else "float32")
        why = "fast here" if fast else "this machine has no fast bfloat16"
        notes.append(f"{spec.dtype} arithmetic ({why}; --dtype overrides)")
    return replace(spec, weights=weights_hash(folder), tokenizer=tokenizer_hash(folder)), notes


def _fast_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type == "cpu":
        return bool(processor_facts().get("amx_bf16", False))
    return False


def _clamp(spec: Spec, tokenizer: Any, config: Any, notes: list[str]) -> Spec:
    """Texts can be no longer than the model has positions for."""
    limits = [tokenizer.model_max_length]
    positions = getattr(config, "max_position_embeddings", None)
    if positions:
        offset = (config.pad_token_id or 0) + 1 if config.model_type in OFFSET_POSITIONS else 0
        limits.append(positions - offset)
    limit = min([spec.max_length, *(int(each) for each in limits if each and each < UNLIMITED)])
    if limit <= (own := len(tokenizer("")["input_ids"])):
        raise ModelError(
            f"max_length {limit} leaves no room for text beside the {own} tokens that "
            "this tokenizer adds to each: give a higher --max-length"
        )
    if limit < spec.max_length:
        notes.append(f"texts are cut at {limit} tokens, the most this model reads")
    return replace(spec, max_length=limit)


def _open(
    model: ModelSource, folder: Path, spec: Spec, trust_remote_code: bool
) -> tuple[Any, nn.Module]:
    """Tokenizer and network; ModelError for anything that transformers cannot load whole."""
    import transformers  # seconds: a fake backbone should not wait for it

    if not sys.stderr.isatty():
        transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    trust = {"trust_remote_code": trust_remote_code, "local_files_only": True}
    attention = {} if spec.attention == "auto" else {"attn_implementation": spec.attention}
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, **trust)
        config = transformers.AutoConfig.from_pretrained(folder, **trust)
        network, info = _auto_class(config).from_pretrained(
            folder,
            config=config,
            dtype=getattr(torch, spec.dtype),
            output_loading_info=True,
            **attention,
            **trust,
        )
    except (OSError, ValueError, KeyError, ImportError, RuntimeError, SafetensorError) as error:
        raise ModelError(f"{model.source} cannot be loaded by transformers: {error}") from error
    # A weight that the files lack is filled with random numbers. Nobody reads the pooler here.
    if fresh := sorted(key for key in info["missing_keys"] if "pooler" not in key):
        raise ModelError(
            f"{model.source} lacks the weights {', '.join(fresh[:4])} ({len(fresh)} in all), which "
            "would be random numbers: is this the right folder, complete?"
        )
    if config.is_encoder_decoder and hasattr(network, "get_encoder"):
        network = network.get_encoder()
    network.config.use_cache = False  # keys and values of every layer, never read again
    return tokenizer, network.eval().requires_grad_(False)


def _auto_class(config: Any) -> Any:
    """AutoModel, but the part that reads text where transformers has that alone (T5's encoder)."""
    import transformers

    alone = transformers.MODEL_FOR_TEXT_ENCODING_MAPPING
    return (
        transformers.AutoModelForTextEncoding if type(config) in alone else transformers.AutoModel
    )
