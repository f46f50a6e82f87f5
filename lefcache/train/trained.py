"""What came of training one head."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lefcache.train.stats import Interval, accuracy_interval
from lefcache.wording import count

FIGURES = (
    "best_epoch",
    "n_train",
    "n_val",
    "n_val_known",
    "val_accuracy",
    "val_ci95",
    "n_test",
    "n_test_known",
    "test_accuracy",
    "test_ci95",
    "test_macro_f1",
    "layer_weights",
)


@dataclass(frozen=True)
class Epoch:
    """What one pass over the training rows came to; `number` counts from 1."""

    number: int
    train_loss: float
    val_loss: float
    val_accuracy: float


@dataclass(frozen=True, repr=False)
class Trained:
    """What `train` measured; the test's fields are None without a test table.

    Of a vote, `best_epoch` is the latest of its members', and `history` has their epochs, one
    member after the other.

    `predictions` (N,) are the classes and `probabilities` (N, C) what they were taken from, for
    every row of the test table; those without a label count nowhere else. `val_correct` (n_val,)
    says which validation rows the best epoch had right; `dropped` counts the rows of all tables
    that had no label. Of `n_val` and `n_test`, those with `known` have a text that is also in
    train. `seconds` cover loading, training and scoring. `layer_weights` (K,) are what each layer
    counts for in a `mix`, together 1; None for other operators.
    """

    best_epoch: int
    val_accuracy: float
    test_accuracy: float | None
    test_ci95: Interval | None
    test_macro_f1: float | None
    predictions: NDArray[np.int32] | None
    probabilities: NDArray[np.float32] | None
    val_correct: NDArray[np.bool_]
    n_train: int
    n_val: int
    n_test: int
    n_val_known: int
    n_test_known: int
    dropped: int
    seconds: float
    history: tuple[Epoch, ...]
    layer_weights: tuple[float, ...] | None = None

    @property
    def val_ci95(self) -> Interval:
        """The interval of `val_accuracy`, as far as the rows go: they chose the epoch, too."""
        return accuracy_interval(self.val_correct[None])

    def __repr__(self) -> str:
        tested = ""
        if self.test_accuracy is not None:
            tested = f", {self.test_accuracy:.1%} of {count(self.n_test, 'test row')}"
        judged = count(self.n_val, "validation row")
        best = f"epoch {self.best_epoch} of {max(epoch.number for epoch in self.history)}"
        return f"<Trained: {self.val_accuracy:.1%} of {judged}{tested}, at {best}>"

    def figures(self) -> dict[str, Any]:
        """What a saved head carries with it: figures with their n, and the epoch they are of."""
        values = {name: getattr(self, name) for name in FIGURES}
        # As JSON has them: a head that is read again has an equal card.
        return {name: [*each] if isinstance(each, tuple) else each for name, each in values.items()}
