"""How the weights move: the optimiser, and the learning rate of every step."""

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from lefcache.recipe import Recipe

MOMENTUM = 0.9  # of plain gradient descent
WARM = 0.1  # the share of all steps in which a learning rate that is warmed up rises

OPTIMISERS: dict[str, tuple[Callable[..., torch.optim.Optimizer], dict[str, Any]]] = {
    "adam": (torch.optim.Adam, {}),
    "adamw": (torch.optim.AdamW, {}),
    "sgd": (torch.optim.SGD, {"momentum": MOMENTUM}),
}


def _cosine(done: float) -> float:
    return (1 + math.cos(math.pi * done)) / 2


def _warmup_cosine(done: float) -> float:
    return done / WARM if done < WARM else _cosine((done - WARM) / (1 - WARM))


# What the recipe's learning rate is multiplied by, when this share of all steps is done.
SCHEDULES: dict[str, Callable[[float], float]] = {
    "constant": lambda done: 1.0,
    "linear": lambda done: 1 - done,
    "cosine": _cosine,
    "warmup-cosine": _warmup_cosine,
}


def optimiser_of(parameters: Iterable[Tensor], recipe: Recipe) -> torch.optim.Optimizer:
    """The recipe's optimiser, as one fused kernel where the device has it."""
    kind, settings = OPTIMISERS[recipe.optimiser]
    settings = settings | {"lr": recipe.lr, "weight_decay": recipe.weight_decay}
    learnt = list(parameters)
    try:
        return kind(learnt, fused=True, **settings)
    except RuntimeError:  # a device without the fused kernel
        return kind(learnt, **settings)


def lr_at(recipe: Recipe, step: int, steps: int) -> float:
    """The learning rate of a step, which counts from 0, of all the steps there may be.

    The middle of the step decides, so that neither the first nor the last one is for nothing.
    """
    return recipe.lr * SCHEDULES[recipe.schedule]((step + 0.5) / steps)


def set_lr(optimiser: torch.optim.Optimizer, lr: float) -> None:
    """Take the next step at this learning rate, in a captured graph too."""
    for group in optimiser.param_groups:
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(lr)
        else:
            group["lr"] = lr
