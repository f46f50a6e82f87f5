"""Stage 2: heads trained on stored features; no language model is ever loaded here."""

from typing import TYPE_CHECKING, Any

from lefcache.recipe import Recipe
from lefcache.train.fit import train
from lefcache.train.fusion import FUSIONS
from lefcache.train.head import Head, load_head
from lefcache.train.ridge import ALPHAS, Ridge, fit_ridge
from lefcache.train.scoring import logits
from lefcache.train.trained import Epoch, Trained

if TYPE_CHECKING:
    from lefcache.train.estimator import FusionClassifier

__all__ = [
    "ALPHAS",
    "FUSIONS",
    "Epoch",
    "FusionClassifier",
    "Head",
    "Recipe",
    "Ridge",
    "Trained",
    "fit_ridge",
    "load_head",
    "logits",
    "train",
]


def __getattr__(name: str) -> Any:
    if name != "FusionClassifier":
        raise AttributeError(f"module 'lefcache.train' has no attribute '{name}'")
    # Loaded when first asked for: scikit-learn takes its time, and training needs none of it.
    from lefcache.train.estimator import FusionClassifier

    return FusionClassifier
