"""What a recipe chooses from: the names that it knows, and the two published ways to train.

Source: arXiv 2504.05764. `paper` is what its text says, `released` what its authors' code does.
No torch here, since flags are made from these names.
"""

import math
from collections.abc import Sequence
from typing import Any

from lefcache.errors import RecipeError

FUSED = ("concat", "sum", "hadamard", "multiplication", "quaternion", "moe")
RESIDUAL = "-res"
MIX, VOTE = "mix", "vote"
OPS = (*(f"{name}{end}" for name in FUSED for end in ("", RESIDUAL)), MIX, VOTE)

ACTIVATIONS = ("relu", "gelu", "silu", "tanh")
OPTIMISERS = ("adam", "adamw", "sgd")
SCHEDULES = ("constant", "linear", "cosine", "warmup-cosine")

# What a preset fills in where nothing is given. The dropout of `released` depends on how many
# models there are: see `dropout_of`.
PRESETS: dict[str, dict[str, Any]] = {
    "paper": {"hidden": (1024, 256), "dropout": (0.5, 0.3), "batch": 100, "epochs": 120},
    "released": {"hidden": (1024, 256), "batch": 1024, "epochs": 100},
}
MOE_HIDDEN, MOE_DROPOUT = (512, 256), (0.4, 0.3)  # `released` gives its experts their own head
MANY = 3  # models, from which `released` drops half of both hidden layers


def defaults_of(preset: str, fusion: str) -> dict[str, Any]:
    """What a preset fills in for an operator, as far as that depends on no number of models."""
    filled = dict(PRESETS[preset])
    if preset == "released" and fusion == "moe":
        filled |= {"hidden": MOE_HIDDEN, "dropout": MOE_DROPOUT}
    return filled


def dropout_of(models: int) -> tuple[float, float]:
    """What the authors' code drops of the two hidden layers on this many models."""
    return (0.5, 0.5) if models >= MANY else (0.5, 0.3)


def fitted(rates: Sequence[float], layers: int) -> tuple[float, ...]:
    """Dropouts for so many hidden layers: those there are, the last one for all layers beyond."""
    return tuple(rates[min(layer, len(rates) - 1)] for layer in range(layers))


def check_width(fusion: str, width: int) -> None:
    """Refuse a width that an operator cannot cut into its parts, and name the next ones."""
    if fusion == "quaternion" and width % 4:
        lower = width // 4 * 4
        _refuse("quaternion reads groups of 4 numbers", width, "multiple of 4", (lower, lower + 4))
    side = math.isqrt(width)
    if fusion == "multiplication" and side * side != width:
        squares = (side * side, (side + 1) ** 2)
        _refuse("multiplication reads square matrices", width, "square", squares)


def _refuse(why: str, width: int, what: str, near: Sequence[int]) -> None:
    offered = " or ".join(str(number) for number in near if number)
    raise RecipeError(f"{why}, and width {width} is no {what}: give width {offered}")
