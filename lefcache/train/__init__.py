"""Stage 2: heads trained on stored features; no language model is ever loaded here."""

from lefcache.recipe import Recipe
from lefcache.train.fit import logits, train
from lefcache.train.fusion import FUSIONS
from lefcache.train.head import Head, load_head
from lefcache.train.ridge import ALPHAS, Ridge, fit_ridge
from lefcache.train.trained import Epoch, Trained

__all__ = [
    "ALPHAS",
    "FUSIONS",
    "Epoch",
    "Head",
    "Recipe",
    "Ridge",
    "Trained",
    "fit_ridge",
    "load_head",
    "logits",
    "train",
]
