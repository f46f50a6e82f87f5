"""Is each layer the one its number says, up to the final norm, with values that can be kept?"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from lefcache.extract.checks.probe import Probe, States, agreement, distances, worst
from lefcache.extract.finding import Finding

FLOAT16_COMFORT = 16_384.0  # above it, a layer is stored as float32


def depth(probe: Probe) -> Finding:
    """The blocks that are listened to against the number in the model's configuration."""
    backbone = probe.backbone
    config: Any = backbone.network.config
    declared = int(config.get_text_config().num_hidden_layers)
    if backbone.blocks is None:
        found = f"{declared} blocks by its config; no list of them to count"
        return Finding("depth", "note", found)
    if len(backbone.blocks) == declared == backbone.depth:
        return Finding("depth", "ok", f"{declared} blocks, as many as its config says")
    return Finding(
        "depth",
        "wrong",
        f"{len(backbone.blocks)} blocks are read, its config says {declared}",
        "config.json is not that of these weights: get the model again",
    )


@torch.inference_mode()
def hooks(probe: Probe) -> Finding:
    """What is read at each block against what the model reports of itself."""
    backbone = probe.backbone
    output: Any = backbone.network(**backbone._inputs(probe.encoded), output_hidden_states=True)
    told = output.hidden_states
    if told is None or len(told) != backbone.depth + 1:
        said = "none" if told is None else str(len(told))
        return Finding(
            "hooks",
            "wrong",
            f"the model reports {said} states of a text, and has {backbone.depth} blocks",
            "its own code is needed or too old for this transformers: pip install -U transformers",
        )
    figures = distances(probe.together, _told(probe, told, output.last_hidden_state))
    if max(figures.values()) <= probe.tolerance:
        found = f"{len(figures)} layers are those that the model reports, {agreement(figures)}"
        return Finding("hooks", "ok", found, figures=figures)
    off = [layer for layer, apart in figures.items() if apart > probe.tolerance]
    return Finding(
        "hooks",
        "wrong",
        f"{len(off)} of {len(figures)} layers are not those that the model reports (the first is "
        f"{off[0]}; the largest difference {worst(figures)})",
        "layer numbers would be wrong: please report this model to lefcache",
        figures,
    )


def _told(probe: Probe, told: tuple[Tensor, ...], last: Tensor) -> list[States]:
    """The reported states of each text, under the names that the layers have here."""
    backbone = probe.backbone
    named = dict(enumerate(told[:-1], backbone.listed)) | {
        backbone.aliases.get("last", "last"): last
    }
    return [
        {
            layer: states[row, : len(encoded)].to("cpu", torch.float32)
            for layer, states in named.items()
            if layer in probe.together[row]
            and probe.together[row][layer].shape == states[row, : len(encoded)].shape
        }
        for row, encoded in enumerate(probe.encoded)
    ]


@torch.inference_mode()
def final_norm(probe: Probe) -> Finding:
    """The model's own final norm, applied to the raw top layer, gives its last state."""
    backbone, top = probe.backbone, probe.backbone.depth
    if "last" in backbone.aliases:
        return Finding("final norm", "ok", f"no norm follows: `last` is layer {top}")
    if top not in backbone.layers:
        return Finding("final norm", "note", f"layer {top} cannot be read before its norm")
    raw, last = ([each[layer] for each in probe.together] for layer in (top, "last"))
    if raw[0].shape != last[0].shape:
        found = f"`last` is made of layer {top} by more than a norm"
        return Finding("final norm", "note", found)
    tried: dict[str, float] = {}
    for name, module in _norms(backbone.network, backbone.blocks, raw[0].shape[1]):
        like: Tensor = next(module.parameters(), next(backbone.network.parameters()))
        where = backbone.device if like.is_meta else like.device  # meta: offloaded, read when run
        normed = [module(each.to(where, like.dtype)).float().cpu() for each in raw]
        apart = distances([{top: each} for each in normed], [{top: each} for each in last])
        tried[name] = apart[str(top)]
    if not tried:
        return Finding("final norm", "note", f"`last` is not layer {top}, and no norm says why")
    name = min(tried, key=lambda each: tried[each])
    if tried[name] <= probe.tolerance:
        near = f"up to {tried[name]:.1e}" if tried[name] else "bit for bit"
        found = f"`{name}` of layer {top} is `last`, {near}"
        return Finding("final norm", "ok", found, figures=tried)
    return Finding(
        "final norm",
        "wrong",
        f"no norm of the model makes `last` of layer {top}: `{name}` comes within "
        f"{tried[name]:.1e}",
        "the top layer is not raw, or another norm follows: please report this model to lefcache",
        tried,
    )


def _norms(
    network: nn.Module, blocks: nn.ModuleList | None, width: int
) -> Iterator[tuple[str, nn.Module]]:
    """The norms of this width outside the blocks, any of which may be the final one."""
    inside = {id(module) for module in blocks.modules()} if blocks is not None else set()
    for name, module in network.named_modules():
        fits = all(tuple(each.shape) == (width,) for each in module.parameters())
        if "norm" in type(module).__name__.lower() and fits and id(module) not in inside:
            yield name, module


def magnitude(probe: Probe) -> Finding:
    """The largest value of each layer, against what numbers on disk can hold."""
    figures: dict[str, float] = {}
    for states in (*probe.alone, *probe.together):
        for layer, each in states.items():
            largest = float(each.abs().max())
            figures[str(layer)] = max(figures.get(str(layer), 0.0), largest, key=_not_a_number)
    figures = {str(layer): figures[str(layer)] for layer in probe.backbone.layers}
    if broken := [layer for layer, each in figures.items() if not each < float("inf")]:
        return Finding(
            "magnitude",
            "wrong",
            f"NaN or infinity in {len(broken)} of {len(figures)} layers, the first is {broken[0]}",
            "the model overflows, or its weights are damaged: try --dtype float32"
            if probe.backbone.spec.dtype != "float32"
            else "its weights are damaged: get the model again",
            figures,
        )
    top = max(figures, key=lambda layer: figures[layer])
    found = f"values up to {figures[top]:,.3g} (layer {top}); float16 ends at 65,504"
    large = [layer for layer, each in figures.items() if each > FLOAT16_COMFORT]
    if large:
        found += f": {len(large)} of {len(figures)} layers will be stored as float32"
    return Finding("magnitude", "note" if large else "ok", found, figures=figures)


def _not_a_number(value: float) -> float:
    """A sort key by which NaN is the largest of all."""
    return float("inf") if value != value else value  # noqa: PLR0124 - NaN alone differs from itself
