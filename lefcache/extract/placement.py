"""Where a model's weights go: to one device, or spread over all there are and the disk."""

import logging
import shutil
import tempfile
import weakref
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lefcache.errors import ModelError
from lefcache.wording import count

DEVICE_MAPS = ("none", "auto")
HALVES = ("bfloat16", "float16")
MaxMemory = Mapping[int | str, int | str]


@dataclass(frozen=True)
class Placement:
    """One `device`; or, with a folder to `offload` to, all of them in accelerate's own order.

    Weights then fill the GPUs first, next the memory and last the disk, and each block runs on a
    GPU if there is one. `max_memory` is accelerate's: `{0: "20GB", "cpu": "64GB"}`.
    """

    device: torch.device
    offload: Path | None = None
    max_memory: MaxMemory | None = None

    @property
    def spread(self) -> bool:
        """Whether the weights go to several places."""
        return self.offload is not None

    def keywords(self) -> dict[str, Any]:
        """What `from_pretrained` is told; on one device nothing, the model is moved there later."""
        if not self.spread:
            return {}
        limits = dict(self.max_memory) if self.max_memory else None
        return {"device_map": "auto", "offload_folder": str(self.offload), "max_memory": limits}

    def too_small(self, model: str, dtype: str) -> str:
        """The message that a model does not fit, with what helps."""
        halve = "" if dtype in HALVES else ", or half the bytes with --dtype bfloat16"
        if self.spread:
            return (
                f"{model} does not fit in the memory there is as {dtype}, although it is spread "
                f"({self.device} first, the disk last): free some{halve}"
            )
        return (
            f"{model} does not fit in the memory of {self.device} as {dtype}: choose another "
            f"--device, or spread it with --device-map auto{halve}"
        )


def place(
    device: torch.device,
    device_map: str,
    offload_folder: str | Path | None,
    max_memory: MaxMemory | None,
) -> Placement:
    """The placement that was asked for.

    A folder that is not named is a temporary one, gone with the placement. Raises ModelError for
    what cannot be meant, and for a folder that cannot be made.
    """
    if device_map not in DEVICE_MAPS:
        raise ModelError(f"device map {device_map!r} is not one of {', '.join(DEVICE_MAPS)}")
    if device_map == "none":
        if offload_folder or max_memory:
            raise ModelError("only a model that is spread is offloaded: give --device-map auto too")
        return Placement(device)
    if offload_folder is None:
        folder = Path(tempfile.mkdtemp(prefix="lef-offload-"))
        placement = Placement(device, folder, max_memory)
        weakref.finalize(placement, shutil.rmtree, folder, ignore_errors=True)
        return placement
    folder = Path(offload_folder).expanduser()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ModelError(
            f"weights cannot be offloaded to {folder} ({error.strerror}): choose another "
            "--offload-folder"
        ) from error
    return Placement(device, folder, max_memory)


def input_device(network: nn.Module) -> torch.device:
    """Where a model's inputs belong; offloaded weights are on no device until they are used."""
    for module in network.modules():
        hook = getattr(module, "_hf_hook", None)
        if (device := getattr(hook, "execution_device", None)) is not None:
            return torch.device(device)
    return next(network.parameters()).device


def described(network: nn.Module) -> str:
    """`20 parts on GPU 0, 9 on cpu, 5 on disk`: how accelerate spread a model."""
    parts = Counter(map(_name, (getattr(network, "hf_device_map", None) or {}).values()))
    if not parts:
        return f"all on {input_device(network)}"
    (first, most), *others = parts.items()
    return ", ".join(
        [f"{count(most, 'part')} on {first}", *(f"{n:,} on {where}" for where, n in others)]
    )


def _name(device: int | str | torch.device) -> str:
    """GPUs have numbers with accelerate, which has the disk for a device as well."""
    return f"GPU {device}" if isinstance(device, int) else str(device)


@contextmanager
def quiet_accelerate() -> Iterator[None]:
    """Without accelerate's remark on parameters on the device `meta`, which is as it should be."""
    logger = logging.getLogger("accelerate.big_modeling")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)
