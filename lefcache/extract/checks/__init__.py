"""Checks of a backbone: each finds one defect, names it, and says what to do."""

from collections.abc import Callable

from lefcache.extract.checks.layers import depth, final_norm, hooks, magnitude
from lefcache.extract.checks.probe import Probe
from lefcache.extract.checks.rows import direction, neighbours, order, packing, padding, repeatable
from lefcache.extract.checks.tokens import special, truncation, vocabulary
from lefcache.extract.checks.weights import as_stored, in_evaluation, sound
from lefcache.extract.finding import Finding

__all__ = ["CHECKS", "packing"]

# In the order in which one would look: without whole weights, nothing else means anything.
CHECKS: dict[str, Callable[[Probe], Finding]] = {
    "weights": as_stored,
    "damage": sound,
    "evaluation": lambda probe: in_evaluation(probe.backbone.network),
    "vocabulary": lambda probe: vocabulary(probe.backbone.tokenizer, probe.backbone.network),
    "special tokens": special,
    "truncation": truncation,
    "depth": depth,
    "hooks": hooks,
    "final norm": final_norm,
    "magnitude": magnitude,
    "repeatable": repeatable,
    "neighbours": neighbours,
    "batch order": order,
    "padding": padding,
    "direction": direction,
}
