"""What makes a model this model: hashes of the files that its numbers come from."""

import hashlib
import os
import platform
import re
import socket
from collections.abc import Iterable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from lefcache.extract.models import VOCABULARIES, weight_files
from lefcache.version import __version__

TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    *VOCABULARIES,
)
# Beside the weights: the shape of the network, an adapter, and code that came with the model.
MODEL_FILES = ("config.json", "adapter_config.json", "adapter_model.*", "*.py")


def weights_hash(folder: Path) -> str:
    """A hash of everything that makes the network: one changed tensor changes it."""
    beside = [file for pattern in MODEL_FILES for file in folder.glob(pattern)]
    return _hash_files([*beside, *weight_files(folder)])


def tokenizer_hash(folder: Path) -> str:
    """A hash of everything that turns text into tokens."""
    return _hash_files(file for pattern in TOKENIZER_FILES for file in folder.glob(pattern))


def provenance(device: torch.device, threads: int) -> dict[str, Any]:
    """Where and with what a model ran: recorded, compared for a warning, never refused."""
    processor = processor_facts().get("cpu_name") or platform.processor()
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else processor
    return {
        "lefcache": __version__,
        "torch": torch.__version__,
        "transformers": version("transformers"),
        "python": platform.python_version(),
        "device": f"{device.type} {name or platform.machine()}".strip(),
        "threads": threads,
        "host": socket.gethostname(),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def architecture_of(config: Any) -> str:
    """`encoder`, `decoder` or `encoder-decoder`; '' for a type that transformers does not tell.

    By the heads that transformers has for it: a head for masked words makes an encoder, even where
    there is one for the next word as well, as of BERT.
    """
    from transformers.models.auto import modeling_auto as heads

    kind = config.get_text_config().model_type
    if config.is_encoder_decoder or kind in heads.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES:
        return "encoder-decoder"
    if kind in heads.MODEL_FOR_MASKED_LM_MAPPING_NAMES:
        return "encoder"
    return "decoder" if kind in heads.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES else ""


def processor_facts() -> dict[str, Any]:
    """What torch knows of this processor; older versions know only whether it has AMX."""
    if hasattr(torch.cpu, "get_capabilities"):
        return dict(torch.cpu.get_capabilities())
    return {"amx_bf16": torch.cpu._is_amx_tile_supported()}


def _hash_files(files: Iterable[Path]) -> str:
    lines = sorted({f"{file.name} {_sha256(file)}" for file in files})
    return "sha256:" + hashlib.sha256("\n".join(lines).encode()).hexdigest()[:32]


def _sha256(file: Path) -> str:
    # The hub keeps large files under their own SHA-256: reading 14 GB again would tell no more.
    target = Path(os.path.realpath(file))
    if target.parent.name == "blobs" and re.fullmatch(r"[0-9a-f]{64}", target.name):
        return target.name
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
