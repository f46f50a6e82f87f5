"""A model of transformers from its files: found, settled, loaded whole, on its device."""

import logging
import os
import pickle
import sys
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import nn

from lefcache.errors import ModelError
from lefcache.extract.huggingface import HuggingFaceBackbone
from lefcache.extract.identity import processor_facts, tokenizer_hash, weights_hash
from lefcache.extract.memory import keep_few_kernels, out_of_memory
from lefcache.extract.models import ModelSource, locate, resolve_model
from lefcache.extract.nvembed import is_nvembed, load_nvembed
from lefcache.extract.packing import PACKED, check_packable
from lefcache.extract.placement import MaxMemory, Placement, described, place, quiet_accelerate
from lefcache.extract.quick import check_loaded, quick
from lefcache.extract.shallow import CUT_SHORT, blocks_for, shorten
from lefcache.feature import Layer
from lefcache.spec import Spec
from lefcache.wording import count, shown

# What transformers raises for files that are torn, of another model, or newer than it.
UNREADABLE = (
    OSError,
    ValueError,
    LookupError,
    ImportError,
    RuntimeError,
    EOFError,
    SafetensorError,
    pickle.UnpicklingError,
)


def load_backbone(
    model: str,
    *,
    name: str | None = None,
    device: str = "auto",
    revision: str | None = None,
    trust_remote_code: bool = False,
    layers: Collection[Layer] | None = None,
    device_map: str = "none",
    offload_folder: str | Path | None = None,
    max_memory: MaxMemory | None = None,
    checked: bool = True,
    **settings: Any,
) -> HuggingFaceBackbone:
    """Load `mistral`, a hub id, a folder or `NAME=any of these`, frozen and checked.

    `settings` are the fields that `Spec.settings()` lists. On a probe, the layers are read through
    hooks and through `output_hidden_states` and must agree. Where only some `layers` are wanted, no
    more than one block above the deepest of them is loaded (that one is checked by the next), if
    the model allows it; what is loaded gives the numbers of the whole model.

    A model that is larger than a device is spread over all of them, the memory and the disk by
    `device_map="auto"`, to the same numbers: see `Placement` for `offload_folder`, a temporary one
    if it is not named, and `max_memory`.

    Raises ModelError for a model that cannot be found, loaded whole, or read layer by layer, and
    DefectError, which is one, for what the short examination finds (`checked`; see `quick`).
    """
    keep_few_kernels()
    if device != "auto" and device_map != "none":
        raise ModelError("a device map chooses the devices: leave out --device or --device-map")
    found = resolve_model(model, name)
    folder = locate(found, revision, trust_remote_code)
    if found.entry is None and Path(found.source).is_dir():
        # The command that resumes an extraction should work from any folder.
        found = replace(found, source=str(folder.resolve()))
    where = place(_device(device), device_map, offload_folder, max_memory)
    check_trusted(name or found.name, settings.get("attention", ""), trust_remote_code)
    spec, notes = _settle(found, folder, settings, where.device)
    if trust_remote_code:
        notes.append("code that comes with the model may run (--trust-remote-code)")
    # A stranger's code may read the number of blocks for more than building them.
    blocks = None if trust_remote_code else blocks_for(layers)
    backbone = _assemble(found, folder, spec, notes, where, trust_remote_code, blocks)
    if backbone.loaded < backbone.depth and backbone.blocks is None:
        # Nothing to listen to: what it reports counts, and it reports that of a whole model.
        backbone = _assemble(found, folder, spec, notes, where, trust_remote_code)
    backbone.provenance["revision"] = folder.name if folder.parent.name == "snapshots" else None
    backbone.provenance["remote_code"] = trust_remote_code
    if where.spread:
        backbone.provenance["device_map"] = described(backbone.network)
        backbone.notes.append(f"spread by accelerate: {described(backbone.network)}")
    backbone.notes.extend(_unlike(found, backbone))
    if checked:
        quick(backbone)
    return backbone


def check_trusted(model: str, attention: str, trust_remote_code: bool) -> None:
    """Refuse an attention whose code would be fetched from the hub, unless that is allowed.

    One with a slash is the name of a repository there; it may come from a stranger's cache, head or
    model.
    """
    if "/" in attention and not trust_remote_code:
        raise ModelError(
            f"{model} is to run with the attention {shown(repr(attention))}, which is code from "
            "the hub: if you trust its authors, allow that with --trust-remote-code"
        )


def _unlike(model: ModelSource, backbone: HuggingFaceBackbone) -> list[str]:
    """A note on a model that has another shape than its entry says."""
    entry, shape = model.entry, (backbone.depth, backbone.width)
    if entry is None or not entry.depth or shape == (entry.depth, entry.width):
        return []
    return [
        f"{model.source} is known to have {count(entry.depth, 'block')} of width {entry.width}, "
        f"and this has {backbone.depth} of {backbone.width}: is it the right one?"
    ]


def _assemble(
    model: ModelSource,
    folder: Path,
    spec: Spec,
    notes: list[str],
    where: Placement,
    trust_remote_code: bool,
    blocks: int | None = None,
) -> HuggingFaceBackbone:
    """The model in its place with its layers found; of its blocks only the first ones if asked."""
    try:
        if is_nvembed(folder):
            if where.spread:
                raise ModelError(
                    f"{model.name} is read shard by shard onto one device: leave out --device-map"
                )
            return load_nvembed(model, folder, spec, notes, where.device, blocks)
        tokenizer, network, depth = _open(model, folder, spec, where, trust_remote_code, blocks)
        if not where.spread:
            network = network.to(where.device)
        backbone = HuggingFaceBackbone(model, spec, tokenizer, network, depth, [*notes])
    except RuntimeError as error:
        if not out_of_memory(error):
            raise
        raise ModelError(where.too_small(model.name, spec.dtype)) from error
    backbone.placement = where
    return backbone


def _device(wanted: str) -> torch.device:
    if wanted != "auto":
        try:
            return torch.empty(0, device=wanted).device
        except (RuntimeError, AssertionError) as error:  # torch asserts that it was built for it
            raise ModelError(f"no device '{wanted}' on this machine: {error}") from error
    if torch.cuda.is_available():
        # torchrun starts a process for each GPU of a machine, and each sees them all.
        own = os.environ.get("LOCAL_RANK", "")
        shared = own.isdecimal() and int(own) < torch.cuda.device_count()
        return torch.device("cuda", int(own)) if shared else torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def _settle(
    model: ModelSource, folder: Path, settings: Mapping[str, Any], device: torch.device
) -> tuple[Spec, list[str]]:
    """The Spec with what `auto` and the model's entry stand for, and notes that say so."""
    choices = {f.name: f.metadata["choices"] for f in fields(Spec) if f.metadata}
    if unknown := sorted(set(settings) - set(choices)):
        raise ModelError(f"no setting {', '.join(unknown)}: there are {', '.join(choices)}")
    for name, value in settings.items():
        said = shown(repr(value))
        if choices[name] and value not in choices[name]:
            raise ModelError(f"{name} {said} is not one of {', '.join(choices[name])}")
        if isinstance(value, str) and not _is_text(value):
            raise ModelError(f"{name} {said} is no text: write it in UTF-8")
    spec, notes = Spec(**settings), []
    if "prompt" not in settings and model.entry and model.entry.prompt:
        spec = replace(spec, prompt=model.entry.prompt)
        notes.append(f"every text is read as {model.entry.prompt!r} + text, as its authors advise")
    if "instruction" not in settings and model.entry and model.entry.instruction:
        spec = replace(spec, instruction=model.entry.instruction)
        notes.append(
            f"every text is read after {model.entry.instruction!r}, which is not pooled "
            "(--instruction overrides)"
        )
    if spec.dtype == "auto":
        fast = _fast_bfloat16(device)
        spec = replace(spec, dtype="bfloat16" if fast else "float32")
        why = "fast here" if fast else "this machine has no fast bfloat16"
        notes.append(f"{spec.dtype} arithmetic ({why}; --dtype overrides)")
    return replace(spec, weights=weights_hash(folder), tokenizer=tokenizer_hash(folder)), notes


def _is_text(value: str) -> bool:
    """Whether a tokenizer can read this: a byte of another encoding is no letter to it."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _fast_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type == "cpu":
        return bool(processor_facts().get("amx_bf16", False))
    return False


def _open(
    model: ModelSource,
    folder: Path,
    spec: Spec,
    where: Placement,
    trust_remote_code: bool,
    blocks: int | None,
) -> tuple[Any, nn.Module, int]:
    """Tokenizer, network and its depth; ModelError for what transformers cannot load whole.

    With `blocks`, only so many of its blocks are made and read from disk, if it may be CUT_SHORT.
    RuntimeError where torch is out of memory.
    """
    import transformers  # seconds: a fake backbone should not wait for it

    if not sys.stderr.isatty():
        transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    trust = {"trust_remote_code": trust_remote_code, "local_files_only": True}
    own = spec.attention in ("auto", PACKED)  # a packed model is held to its own attention
    attention = {} if own else {"attn_implementation": spec.attention}
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, **trust)
        config = transformers.AutoConfig.from_pretrained(folder, **trust)
        # A model's own configuration may ask for an attention from the hub too.
        for part in (config, config.get_text_config()):
            check_trusted(model.name, str(part._attn_implementation or ""), trust_remote_code)
        if spec.attention == PACKED:
            check_packable(model.name, config, trust_remote_code)
        depth = int(config.get_text_config().num_hidden_layers)
        kept = min(blocks or depth, depth) if config.model_type in CUT_SHORT else depth
        if kept < depth:
            shorten(config.get_text_config(), kept)
        with _unsaid(kept < depth), quiet_accelerate():
            network, info = _auto_class(config).from_pretrained(
                folder,
                config=config,
                dtype=getattr(torch, spec.dtype),
                output_loading_info=True,
                **where.keywords(),
                **attention,
                **trust,
            )
    except ModelError:
        raise
    except UNREADABLE as error:
        if isinstance(error, RuntimeError) and out_of_memory(error):
            raise
        raise ModelError(
            f"{model.source} cannot be loaded by transformers: {shown(str(error), 800)}"
        ) from error
    check_loaded(model, tokenizer, network, info, all_of_it=blocks is None)
    if where.spread and info["missing_keys"]:
        network.pooler = None  # weights that no file holds cannot be fetched when it runs
    if config.is_encoder_decoder and hasattr(network, "get_encoder"):
        network = network.get_encoder()
    # Keys and values of every layer would be kept, and never read again.
    network.config.get_text_config().use_cache = False
    return tokenizer, network.eval().requires_grad_(False), depth


@contextmanager
def _unsaid(expected: bool) -> Iterator[None]:
    """Without transformers' report of weights that are not used, where that is expected."""
    from transformers.utils.logging import get_verbosity, set_verbosity

    before = get_verbosity()
    if expected:
        set_verbosity(logging.ERROR)
    try:
        yield
    finally:
        set_verbosity(before)


def _auto_class(config: Any) -> Any:
    """AutoModel, but the part that reads text where transformers has that alone (T5's encoder)."""
    import transformers

    alone = transformers.MODEL_FOR_TEXT_ENCODING_MAPPING
    return (
        transformers.AutoModelForTextEncoding if type(config) in alone else transformers.AutoModel
    )
