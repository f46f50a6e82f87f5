"""Are the weights in memory those of the files: all of them, none fresh, none damaged?"""

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor, nn

from lefcache.extract.checks.probe import Probe
from lefcache.extract.finding import Finding
from lefcache.extract.models import locate, resolve_model, weight_files

UNREAD = "pooler"  # a layer that many models end in, fresh in some, and that nobody asks here
ROWS = 16  # of each tensor that are compared with the file
AGAIN = "is this the right folder, complete? Get the model again"


def complete(missing: Collection[str]) -> Finding:
    """No weight was left for transformers to make up."""
    fresh = sorted(key for key in missing if UNREAD not in key)
    if not fresh:
        return Finding("weights", "ok", "the files hold every weight of the model")
    return Finding(
        "weights",
        "wrong",
        f"the folder lacks the weights {', '.join(fresh[:4])} ({len(fresh)} in all), which would "
        "be random numbers",
        AGAIN,
    )


def whole(unexpected: Collection[str], network: nn.Module) -> Finding:
    """The files hold no blocks beyond those that the configuration speaks of."""
    ours = {re.sub(r"\d+", "#", name) for name, _ in network.named_parameters()}
    more = sorted(key for key in unexpected if re.sub(r"\d+", "#", key) in ours)
    if not more:
        return Finding("depth", "ok", "the files hold no blocks that are left out")
    return Finding(
        "depth",
        "wrong",
        f"the files hold blocks that its config leaves out: {', '.join(more[:3])} ({len(more)} "
        "tensors in all)",
        "config.json is not that of these weights: get the model again",
    )


def in_evaluation(network: nn.Module) -> Finding:
    """Nothing in the model behaves as in training, such as dropout."""
    modules = [(name or "the model", each) for name, each in network.named_modules()]
    training = [name for name, each in modules if each.training]
    if not training:
        return Finding("evaluation", "ok", "every part of the model is in evaluation mode")
    return Finding(
        "evaluation",
        "wrong",
        f"{len(training)} of {len(modules)} parts are in training mode, such as {training[0]}: "
        "dropout makes every pass another one",
        "the model's own code turns training on; network.eval() before it is used",
    )


def sound(probe: Probe) -> Finding:
    """No weight is NaN or infinite, and no matrix holds one number only."""
    network, blocks = probe.backbone.network, probe.backbone.blocks
    named = _read_here(network)
    broken = [name for name, each in named.items() if not each.isfinite().all()]
    flat = [name for name, each in named.items() if each.ndim > 1 and _constant(each)]
    inside = {id(each) for each in blocks.parameters()} if blocks is not None else set()
    dead = [name for name in flat if id(named[name]) in inside]
    if broken or dead:
        what = [f"{len(broken)} with NaN or infinity: {broken[0]}"] if broken else []
        what += [f"{len(dead)} that hold one number only: {dead[0]}"] if dead else []
        return Finding("damage", "wrong", f"{len(named)} tensors, {'; '.join(what)}", AGAIN)
    if flat:
        found = f"{len(flat)} of {len(named)} tensors hold one number only, such as {flat[0]}"
        return Finding("damage", "note", found)
    return Finding("damage", "ok", f"{len(named)} tensors, all finite, none of one number only")


def _read_here(network: nn.Module) -> dict[str, nn.Parameter]:
    """The weights that vectors are made with, as far as they are in memory, by name."""
    named = network.named_parameters()
    return {name: each for name, each in named if not each.is_meta and UNREAD not in name}


def _constant(weight: Tensor) -> bool:
    return weight.numel() > 1 and bool((weight == weight.flatten()[0]).all())


@dataclass(frozen=True)
class Stored:
    """One tensor of a file: its shape, and how to read some of its rows."""

    shape: tuple[int, ...]
    rows: Callable[[list[int]], Tensor]


def as_stored(probe: Probe) -> Finding:
    """Some rows of every tensor in memory against the file that it came from."""
    backbone = probe.backbone
    stored = _stored(_folder(backbone))
    named = _read_here(backbone.network)
    ends = _by_ending(stored)
    other: list[str] = []
    unknown: list[str] = []
    for name, weight in named.items():
        alike = [stored[key] for key in _called(name, ends, stored)]
        # Without its name in the files, a weight may be tied to another, or go by an older name.
        among = [each for each in alike or stored.values() if each.shape == weight.shape]
        if not any(_equal(weight, each) for each in among):
            (other if alike else unknown).append(name)
    if other:
        return Finding(
            "weights",
            "wrong",
            f"{len(other)} of {len(named)} tensors are not what the files hold: "
            f"{', '.join(other[:3])}",
            "they are fresh or were changed after loading: load the model again",
        )
    found = f"{len(named) - len(unknown)} of {len(named)} tensors are those of the files"
    if unknown:
        found += f"; {unknown[0]} and the like are made of others and were not compared"
    return Finding("weights", "note" if unknown else "ok", found)


def _folder(backbone: Any) -> Path:
    provenance = backbone.provenance
    found = resolve_model(f"{backbone.name}={backbone.source}")
    return locate(found, provenance.get("revision"), bool(provenance.get("remote_code")))


def _stored(folder: Path) -> dict[str, Stored]:
    """Every tensor of a model's files by name; nothing is read yet."""
    return {key: each for file in weight_files(folder) for key, each in _opened(file)}


def _opened(file: Path) -> Iterator[tuple[str, Stored]]:
    if file.suffix == ".safetensors":
        opened: Any = safe_open(file, "pt")
        for key in opened.keys():  # noqa: SIM118 - it is no mapping
            part = opened.get_slice(key)
            yield key, Stored(tuple(part.get_shape()), _slices(opened, key))
    else:
        for key, tensor in torch.load(file, map_location="cpu", weights_only=True).items():
            yield key, Stored(tuple(tensor.shape), tensor.__getitem__)


def _slices(opened: Any, key: str) -> Callable[[list[int]], Tensor]:
    def rows(wanted: list[int]) -> Tensor:
        part = opened.get_slice(key)
        return torch.cat([part[row : row + 1] for row in wanted])

    return rows


def _by_ending(keys: Collection[str]) -> dict[str, list[str]]:
    """Keys by every ending of theirs that begins at a dot: a head's model has its own prefix."""
    ends: dict[str, list[str]] = {}
    for key in keys:
        parts = key.split(".")
        for start in range(len(parts)):
            ends.setdefault(".".join(parts[start:]), []).append(key)
    return ends


def _called(name: str, ends: Mapping[str, list[str]], keys: Collection[str]) -> list[str]:
    """The tensors of the files that may be this one: equal names, but for a prefix of either."""
    parts = name.split(".")
    shorter = (".".join(parts[start:]) for start in range(1, len(parts)))
    return ends.get(name) or [key for key in shorter if key in keys]


def _equal(weight: Tensor, stored: Stored) -> bool:
    length = stored.shape[0] if stored.shape else 0
    if not length:
        return True
    few = ROWS if weight.ndim > 1 else length
    rows = sorted({length * step // few for step in range(few)} | {length - 1})
    ours = weight.detach()[rows].cpu()
    return torch.equal(ours, stored.rows(rows).to(ours.dtype))
