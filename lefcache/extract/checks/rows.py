"""Is a text's vector its own: the same alone, among others, with any padding, every time?"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from lefcache.extract.checks.probe import Probe, States, agreement, distances, states_of, worst
from lefcache.extract.finding import Finding

BESIDE = "relative to the largest value of its token"
# No --batch-tokens helps: loading a model refuses it before there is a batch.
ELSEWHERE = "make its vectors with its own code, text by text, and bring them with lef import"


def neighbours(probe: Probe) -> Finding:
    """A text alone against the same text in a batch with longer and shorter ones."""
    figures = distances(probe.together, probe.alone)
    if max(figures.values()) <= probe.tolerance:
        found = f"a text's states are the same alone and among others, {agreement(figures)}"
        return Finding("neighbours", "ok", found, figures=figures)
    return Finding(
        "neighbours",
        "wrong",
        f"a text's states change with the texts beside it, by {worst(figures)} {BESIDE} (rounding "
        f"alone: below {probe.tolerance:g})",
        "try --attention eager; if that does not help, this model cannot be run in batches of "
        f"several texts, as is done here: {ELSEWHERE}",
        figures,
    )


def packing(probe: Probe) -> Finding:
    """Texts end to end in one row against the same texts padded, with the model's own attention."""
    padded = states_of(probe.backbone.padded(), probe.encoded)
    figures = distances(probe.together, padded)
    if max(figures.values()) <= probe.tolerance:
        found = f"packed texts have the states of padded ones, {agreement(figures)}"
        return Finding("packing", "ok", found, figures=figures)
    return Finding(
        "packing",
        "wrong",
        f"packing texts into one row changes their states by {worst(figures)} {BESIDE} (rounding "
        f"alone: below {probe.tolerance:g})",
        "their bounds or positions are lost: leave out --attention packed",
        figures,
    )


def order(probe: Probe) -> Finding:
    """The batch against the same batch in the opposite order."""
    turned = states_of(probe.backbone, probe.encoded[::-1])[::-1]
    figures = distances(turned, probe.together)
    if max(figures.values()) <= probe.tolerance:
        found = f"the order of a batch does not matter, {agreement(figures)}"
        return Finding("batch order", "ok", found, figures=figures)
    return Finding(
        "batch order",
        "wrong",
        f"a text's states change with its place in the batch, by {worst(figures)} {BESIDE}",
        f"this model mixes its rows: {ELSEWHERE}",
        figures,
    )


def repeatable(probe: Probe) -> Finding:
    """The batch against itself: the same bits, every time."""
    again = states_of(probe.backbone, probe.encoded)
    figures = distances(again, probe.together)
    equal = all(
        torch.equal(one[layer], other[layer])
        for one, other in zip(again, probe.together, strict=True)
        for layer in one
    )
    if equal:
        return Finding("repeatable", "ok", "the same batch gives the same bits again")
    # Some kernels add up in the order in which threads finish; a cache that is gone on with then
    # differs in its last bits. More than rounding is randomness inside the model.
    small = max(figures.values()) <= probe.tolerance / 10
    return Finding(
        "repeatable",
        "note" if small else "wrong",
        f"the same batch gives other states the second time, by {worst(figures)}",
        "a resumed extraction will differ in its last bits: try --attention eager"
        if small
        else "something random is at work (dropout, noise): put the model into evaluation mode",
        figures,
    )


@torch.inference_mode()
def padding(probe: Probe) -> Finding:
    """Padding stands on the right, is masked, and what stands there changes nothing."""
    backbone = probe.backbone
    inputs = backbone._inputs(probe.encoded)
    mask = inputs["attention_mask"]  # (B, T)
    wanted = [len(encoded) for encoded in probe.encoded]
    if mask.sum(1).tolist() != wanted:
        return Finding(
            "padding",
            "wrong",
            f"the mask shows {int(mask.sum())} tokens to the model, and the texts have "
            f"{sum(wanted)}: padding is read as text, or text as padding",
            "this is a fault of lefcache's own batches: please report it",
        )
    right = torch.arange(mask.shape[1], device=mask.device) < mask.sum(1, keepdim=True)
    if not torch.equal(mask.bool(), right):
        return Finding(
            "padding",
            "wrong",
            "texts are padded on the left, where positions and pooling expect them on the right",
            "this is a fault of lefcache's own batches: please report it",
        )
    figures = _leaks(probe, inputs, mask.bool())
    if max(figures.values()) <= probe.tolerance:
        found = f"what stands in the padding changes no text, {agreement(figures)}"
        return Finding("padding", "ok", found, figures=figures)
    return Finding(
        "padding",
        "wrong",
        f"the model reads its padding: other tokens there change a text by {worst(figures)} "
        f"{BESIDE}",
        f"the attention mask is ignored: try --attention eager, or {ELSEWHERE}",
        figures,
    )


def _leaks(probe: Probe, inputs: Mapping[str, Tensor], mask: Tensor) -> dict[str, float]:
    """How far each layer moves when the padding holds a token of the texts instead."""
    other = probe.another(probe.backbone._pad)
    spoilt = {**inputs, "input_ids": inputs["input_ids"].masked_fill(~mask, other)}
    return distances(_reported(probe, spoilt), _reported(probe, inputs))


def _reported(probe: Probe, inputs: Mapping[str, Tensor]) -> list[States]:
    """The states of each text that the model itself reports."""
    output: Any = probe.backbone.network(**inputs, output_hidden_states=True)
    every = output.hidden_states or [output.last_hidden_state]
    return [
        {k: each[row, : len(encoded)].to("cpu", torch.float32) for k, each in enumerate(every)}
        for row, encoded in enumerate(probe.encoded)
    ]


def direction(probe: Probe) -> Finding:
    """Whether later tokens change earlier states, against what the model declares."""
    backbone, encoded = probe.backbone, probe.longest
    ids = [*encoded.ids[:-1], probe.another(encoded.ids[-1])]
    [changed] = states_of(backbone, [replace(encoded, ids=ids)])
    [before] = states_of(backbone, [encoded])
    top = max(layer for layer in backbone.layers if isinstance(layer, int))
    if len(before[top]) == 1:
        return Finding("direction", "note", "no text is of more than one token")
    earlier = distances([{top: changed[top][:-1]}], [{top: before[top][:-1]}])
    # The shapes are the same, and so is the rounding: what differs at all was looked at.
    causal = max(earlier.values()) <= probe.tolerance / 50
    seen = "causal (a later token changes no earlier state)"
    if not causal:
        seen = "bidirectional (a later token changes earlier states)"
    declared = _declared(backbone.network)
    if declared is None:
        return Finding("direction", "note", f"it reads {seen}; nothing declares which it should")
    if declared == causal:
        return Finding("direction", "ok", f"it reads {seen}, as it declares")
    meant = "causal" if declared else "bidirectional"
    return Finding(
        "direction",
        "wrong",
        f"it reads {seen}, and declares to be {meant}",
        "its config.json or its attention is not the one it was trained with: get its own "
        "config.json, or try --attention eager",
    )


def _declared(network: Any) -> bool | None:
    """Whether a model says that it is causal: its config first, then all of its attention."""
    own = getattr(network.config, "is_causal", None)
    if own is not None:
        return bool(own)
    if getattr(network.config, "use_bidirectional_attention", None):
        return False
    said = {
        module.is_causal
        for module in network.modules()
        if isinstance(getattr(module, "is_causal", None), bool)
    }
    return said.pop() if len(said) == 1 else None
