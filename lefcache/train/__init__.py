"""Stage 2: heads trained on stored features; no language model is ever loaded here."""

from lefcache.recipe import Recipe
from lefcache.train.fit import Epoch, Trained, logits, train
from lefcache.train.fusion import FUSIONS
from lefcache.train.head import Head
from lefcache.train.ridge import ALPHAS, Ridge, fit_ridge

__all__ = [
    "ALPHAS",
    "FUSIONS",
    "Epoch",
    "Head",
    "Recipe",
    "Ridge",
    "Trained",
    "fit_ridge",
    "logits",
    "train",
]
