"""What came of fusing several features: figures over seeds, each with its uncertainty."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lefcache.rows import Table
from lefcache.study.identity import (
    CHOSEN,
    as_written,
    notes_on_kept,
    notes_on_known,
    notes_on_paper,
    notes_on_rows,
)
from lefcache.study.shown import Shown, ends
from lefcache.train import Trained
from lefcache.train.calibration import (
    calibration_errors,
    calibration_interval,
    log_loss_interval,
    log_losses,
)
from lefcache.train.protocol import labelled
from lefcache.train.stats import Interval, accuracy_interval, f1_interval, per_class, spread
from lefcache.typed import from_plain

ESTIMATES = (
    "val_accuracy",
    "test_accuracy",
    "test_macro_f1",
    "test_log_loss",
    "test_calibration_error",
)


@dataclass(frozen=True)
class Estimate:
    """A figure over seeds; `ci95` covers seeds and texts, of one seed texts only (`std` is 0)."""

    mean: float
    std: float
    ci95: Interval
    values: tuple[float, ...]


@dataclass(frozen=True)
class Fused(Shown):
    """A finished fusion: figures over seeds, those of the test None without a test split.

    Sequences follow the seeds; `selected_by` says which rows the epochs were chosen by, and
    `best_seed` has the head that is best on them: under the `protocol` "paper" those are the test's
    own, so that its figures are too good. Of `n_val` and `n_test`, those with `known` have a text
    that is also in train. `test_calibration_error` is of the top label in 15 bins of equal mass;
    `per_class` has precision, recall, F1 and n of each class on the test. `layer_weights` says what
    each layer of a `mix` counts for, mean and standard deviation over seeds. `id` names the result
    where it is kept; `not_kept` says why it could not be.
    """

    corpus: str
    features: tuple[str, ...]
    op: str
    seeds: int
    recipe: dict[str, Any]
    selected_by: str
    n_train: int
    n_val: int
    n_test: int
    best_epochs: tuple[int, ...]
    best_seed: int
    val_accuracy: Estimate
    test_accuracy: Estimate | None
    test_macro_f1: Estimate | None
    seconds: float
    cached: bool = False
    n_val_known: int = 0
    n_test_known: int = 0
    protocol: str = "validation"
    test_log_loss: Estimate | None = None
    test_calibration_error: Estimate | None = None
    per_class: tuple[dict[str, Any], ...] = ()
    id: str = ""
    layer_weights: dict[str, dict[str, float]] | None = None
    not_kept: str = ""

    @property
    def chosen(self) -> str:
        """`selected_by` in words that follow "chosen"."""
        return CHOSEN.get(self.selected_by, f"by {self.selected_by}")

    @property
    def heading(self) -> str:
        """Corpus, features and operator."""
        return f"{self.corpus}: {' + '.join(self.features)}, {self.op}"

    def records(self) -> list[dict[str, Any]]:
        """A row for each figure that was measured."""
        figures = {name: getattr(self, name) for name in ESTIMATES}
        return [
            {
                "figure": name,
                "mean": each.mean,
                "std": each.std if self.seeds > 1 else None,
                **ends("ci95", each.ci95),
                "n": self.n_val if name == "val_accuracy" else self.n_test,
                "seeds": self.seeds,
            }
            for name, each in figures.items()
            if each is not None
        ]

    def plot(self) -> Any:
        """The test accuracy with its interval, and each seed's; see `lefcache.report.charts`."""
        from lefcache.report.charts import intervals
        from lefcache.report.tables import seeds_of

        return intervals(seeds_of(self.to_json()), title=self.heading)

    def notes(self) -> list[str]:
        """What to know of these figures that they do not show."""
        judged = [] if self.protocol == "paper" else [("validation", self.n_val_known, self.n_val)]
        lines = notes_on_rows(self.n_val, self.n_test)
        if self.protocol == "paper":
            lines.append(notes_on_paper("the epoch"))
        for known in (*judged, ("test", self.n_test_known, self.n_test)):
            lines += notes_on_known(*known)
        return lines + notes_on_kept(self.not_kept)

    def to_json(self) -> dict[str, Any]:
        """The fields as plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Fused":
        """Read what `to_json` wrote."""
        with as_written("what lies there"):
            read = {name: value for name, value in values.items() if name != "test_shown"}
            return from_plain(cls, read)


def packed(right: Sequence[NDArray[np.bool_]]) -> list[str]:
    """Which rows (N,) each seed had right, as hexadecimal bits: a few bytes beside the figures."""
    return [np.packbits(each).tobytes().hex() for each in right]


def unpacked(words: Sequence[str], rows: int) -> NDArray[np.bool_]:
    """What `packed` wrote of so many rows, (S, N); ValueError for anything else."""
    bits = [np.unpackbits(np.frombuffer(bytes.fromhex(each), np.uint8)) for each in words]
    if any(not rows <= len(each) < rows + 8 for each in bits):
        raise ValueError(f"not {rows} rows")
    return np.stack([each[:rows] for each in bits]).astype(bool)


def figures_on_test(runs: Sequence[Trained], test: Table) -> dict[str, Any]:
    """Every figure of the test, by its name in `Fused`."""
    scored = labelled(test)
    every = np.stack([run.predictions for run in runs if run.predictions is not None])  # (S, N)
    given = np.stack([run.probabilities for run in runs if run.probabilities is not None])
    classes, probabilities = every[:, scored.index], given[:, scored.index]
    f1 = np.array([run.test_macro_f1 for run in runs], np.float64)
    losses = log_losses(scored.labels, probabilities)
    return {
        "test_accuracy": accuracies(classes == scored.labels),
        "test_macro_f1": _estimate(f1, f1_interval(scored.labels, classes)),
        "test_log_loss": _estimate(losses.mean(axis=1), log_loss_interval(losses)),
        "test_calibration_error": _estimate(
            calibration_errors(scored.labels, probabilities),
            calibration_interval(scored.labels, probabilities),
        ),
        "per_class": tuple(per_class(scored.labels, classes, test.classes)),
    }


def shares_of_layers(runs: Sequence[Trained], table: Table) -> dict[str, dict[str, float]] | None:
    """What each layer of a mix counts for, by its feature; None for other operators."""
    if runs[0].layer_weights is None:
        return None
    every = np.array([run.layer_weights for run in runs], np.float64)  # (S, K)
    return {
        str(feature): spread(shares)
        for feature, shares in zip(table.features, every.T, strict=True)
    }


def accuracies(correct: NDArray[np.bool_]) -> Estimate:
    """Of (S, N) right or wrong."""
    return _estimate(correct.mean(axis=1), accuracy_interval(correct))


def _estimate(values: NDArray[np.float64], ci95: Interval) -> Estimate:
    return Estimate(**spread(values), ci95=ci95, values=tuple(values.tolist()))
