"""How far a model's narrow arithmetic is from float32."""

from collections.abc import Sequence

import torch

from lefcache.errors import ModelError
from lefcache.extract.checks.probe import Probe, States, states_of
from lefcache.extract.finding import Finding
from lefcache.extract.huggingface import HuggingFaceBackbone
from lefcache.extract.loading import load_backbone
from lefcache.spec import Spec

NOTED, WRONG = 0.99, 0.9  # cosines below which a layer is remarked on, or not to be used


def drift(probe: Probe) -> Finding:
    """The cosine of each layer's mean-pooled vectors in the other arithmetic, the lowest of all.

    The model is loaded once more: in float32, or, where it runs in that, in bfloat16.
    """
    used = probe.backbone.spec.dtype
    other = "bfloat16" if used == "float32" else "float32"
    try:
        again = _again(probe.backbone, other)
    except ModelError as error:
        return Finding("drift", "note", f"not measured, as {other} could not be loaded: {error}")
    figures = _cosines(probe.alone, [states_of(again, [each])[0] for each in probe.encoded])
    lowest = min(figures, key=lambda layer: figures[layer])
    found = f"{used} against {other}: the lowest cosine is {figures[lowest]:.5f}, in layer {lowest}"
    if used == "float32":  # what runs is right; the other is advice
        low = figures[lowest] < NOTED
        advice = "keep --dtype float32: this model loses too much in bfloat16" if low else ""
        return Finding("drift", "note" if low else "ok", found, advice, figures)
    if figures[lowest] < NOTED:
        verdict = "wrong" if figures[lowest] < WRONG else "note"
        return Finding("drift", verdict, found, "use --dtype float32", figures)  # type: ignore[arg-type]
    return Finding("drift", "ok", found, figures=figures)


def _again(backbone: HuggingFaceBackbone, dtype: str) -> HuggingFaceBackbone:
    settings = {name: getattr(backbone.spec, name) for name in Spec.settings()}
    where = backbone.placement
    spread = where is not None and where.spread
    return load_backbone(
        f"{backbone.name}={backbone.source}",
        device="auto" if spread else str(backbone.device),
        device_map="auto" if spread else "none",
        max_memory=where.max_memory if where else None,
        revision=backbone.provenance.get("revision"),
        trust_remote_code=bool(backbone.provenance.get("remote_code")),
        checked=False,
        **settings | {"dtype": dtype},
    )


def _cosines(some: Sequence[States], others: Sequence[States]) -> dict[str, float]:
    """Of each layer, the lowest cosine of a text's two mean vectors."""
    return {
        str(layer): min(
            float(torch.cosine_similarity(one[layer].mean(0), other[layer].mean(0), dim=0))
            for one, other in zip(some, others, strict=True)
        )
        for layer in some[0]
    }
