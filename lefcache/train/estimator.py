"""A head as scikit-learn wants it: features side by side in one matrix, labels of any kind."""

import copy
import hashlib
from dataclasses import field, fields, make_dataclass, replace
from itertools import pairwise
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from lefcache.errors import CorpusError, MismatchError, RecipeError
from lefcache.feature import Feature
from lefcache.recipe import Recipe
from lefcache.rows import Table
from lefcache.spec import Spec
from lefcache.train.card import Card
from lefcache.train.fit import train
from lefcache.train.head import Head
from lefcache.train.protocol import BY_CARVED, FRACTION, carve
from lefcache.train.scoring import logits
from lefcache.train.trained import Trained

FLOATS = [np.float32, np.float16]  # kept; every other type becomes the first
SEEDS = 2**31

_SETTINGS = {
    "widths": None,
    **{each.name: each.default for each in fields(Recipe)},
    "validation_fraction": FRACTION,
    "random_state": 0,
    "device": "auto",
}
# scikit-learn reads a classifier's parameters off its signature: this one has a parameter for
# every setting of a recipe, those to come among them.
_Settings: Any = make_dataclass(
    "_Settings",
    [(name, Any, field(default=default)) for name, default in _SETTINGS.items()],
    kw_only=True,
    eq=False,
    repr=False,
)


class FusionClassifier(ClassifierMixin, BaseEstimator, _Settings):  # type: ignore[misc]
    """Projection, fusion and classifier of `train`, for pipelines and searches of scikit-learn.

    X is (N, D_1 + ... + D_K), the K features side by side; `Table.xy` makes one of a cache. The
    epoch is chosen on rows carved from those given to `fit`, with all that are equal to them, so
    that a cross-validation scores rows of which the head knows nothing. Equal parameters, data
    and device give equal heads.

    Args:
        widths: D_k of each feature; None for a single one.
        validation_fraction: of the rows of each class, to choose the epoch by.
        random_state: of initial weights, dropout and order; an int is the `seed` of `train`.
        device: `auto`, `cpu`, `cuda` or a torch device.
        **recipe: every setting of a `Recipe`, by its name.

    Attributes:
        classes_: (C,) the labels, sorted.
        head_: the torch module, which gives logits of K tensors.
        trained_: what `train` measured: the epochs and the figures of the best one.
        seed_: what `random_state` came to, which gives the same head again.
        n_features_in_: D_1 + ... + D_K.
        feature_names_in_: the columns of a data frame.
    """

    classes_: NDArray[Any]
    head_: Head
    trained_: Trained
    seed_: int
    n_features_in_: int

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Learn from X (N, D) and the labels y (N,).

        Raises ValueError for data that no head can learn from, widths that are not those of X,
        and settings that cannot work.
        """
        rows, y = validate_data(self, X, y, dtype=FLOATS, ensure_min_samples=2)
        check_classification_targets(y)
        recipe = self._recipe()
        self.classes_, labels = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise CorpusError("y has one class only: there is nothing to tell apart")
        kept, carved = carve(labels, _hashes(rows), self._fraction())
        if not len(carved):
            raise CorpusError(f"{len(rows)} rows are too few to carve validation rows from")
        self.seed_ = self._seed()
        self.head_, self.trained_ = train(
            self._table(rows[kept], labels[kept]),
            recipe,
            validation=self._table(rows[carved], labels[carved]),
            seed=self.seed_,
            device=self.device,
        )
        return self

    def decision_function(self, X: ArrayLike) -> NDArray[np.float32]:
        """Logits (N, C); of two classes the second's less the first's, (N,)."""
        values = self._logits(X)
        return values[:, 1] - values[:, 0] if len(self.classes_) == 2 else values

    def predict_proba(self, X: ArrayLike) -> NDArray[np.float32]:
        """Probabilities (N, C), columns in the order of `classes_`."""
        shares: NDArray[np.float32] = torch.from_numpy(self._logits(X)).softmax(dim=1).numpy()
        return shares

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """The likeliest class (N,) of each row."""
        best = self._logits(X).argmax(axis=1)
        chosen: NDArray[Any] = self.classes_[best]
        return chosen

    def to_head(self, table: Table) -> Head:
        """The head with a card, to save and to label raw texts with.

        The card says what X was made of: the features, models and classes of the table that `xy`
        was asked of. A scaler before the classifier is no part of a head, so give it X as it was.
        Raises MismatchError where the table has other widths or classes.
        """
        check_is_fitted(self)
        names = tuple(map(str, self.classes_))
        if table.widths != self._widths() or not {*names} <= {*table.classes}:
            raise MismatchError(f"{table} has other widths or classes than the X and y of fit")
        if not table.origins:
            raise RecipeError("this table does not know what its features are made of: use a cache")
        how = {"seed": self.seed_, "selected_by": BY_CARVED}
        figures = how | self.trained_.figures()
        head = copy.deepcopy(self.head_)
        head.card = replace(Card.of(table, self.head_.recipe, figures), classes=names)
        return head

    def _recipe(self) -> Recipe:
        return Recipe(**{each.name: getattr(self, each.name) for each in fields(Recipe)})

    def _seed(self) -> int:
        given = self.random_state
        whole = isinstance(given, int | np.integer)
        return int(given if whole else check_random_state(given).randint(SEEDS))

    def _fraction(self) -> float:
        if not 0 < self.validation_fraction < 1:
            raise RecipeError(
                f"validation_fraction is {self.validation_fraction}: give one from 0 to 1, such "
                f"as {FRACTION}"
            )
        return float(self.validation_fraction)

    def _widths(self) -> tuple[int, ...]:
        """D_k of the features, which fill the columns of X."""
        widths = (self.n_features_in_,) if self.widths is None else tuple(self.widths)
        if min(widths, default=0) < 1 or sum(widths) != self.n_features_in_:
            raise RecipeError(
                f"widths is {widths} and X has {self.n_features_in_} columns: give the width of "
                "each feature, in their order, for example table.widths"
            )
        return widths

    def _logits(self, X: ArrayLike) -> NDArray[np.float32]:
        check_is_fitted(self)
        return logits(self.head_, self._table(validate_data(self, X, dtype=FLOATS, reset=False)))

    def _table(self, rows: NDArray[Any], labels: NDArray[np.intp] | None = None) -> Table:
        """The columns of each feature, as a table in memory."""
        widths = self._widths()
        edges = pairwise(np.cumsum([0, *widths]))
        return Table(
            features=tuple(Feature("x", number) for number in range(len(widths))),
            rows=tuple(rows[:, low:high] for low, high in edges),  # type: ignore[misc]
            labels=None if labels is None else labels.astype(np.int32),
            classes=tuple(map(str, self.classes_)),
            specs=(Spec(),) * len(widths),
            texts=_hashes(rows) if labels is not None else np.zeros(len(rows), np.uint64),
            corpus="X",
            split="train",
        )


def _hashes(rows: NDArray[Any]) -> NDArray[np.uint64]:
    """(N,) one hash per row: equal rows are equal texts."""
    digests = (hashlib.blake2b(row.tobytes(), digest_size=8).digest() for row in rows)
    return np.array([int.from_bytes(digest, "little") for digest in digests], np.uint64)
