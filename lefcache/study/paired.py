"""What is known of two features before they are fused, and how well it foretells what fusing did.

Scores are of rows that were left out or held out; nothing here was chosen or fitted on a test.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from lefcache.study.identity import (
    CHOSEN,
    as_written,
    notes_on_kept,
    notes_on_known,
    notes_on_rows,
)
from lefcache.study.shown import Shown, ends
from lefcache.train.stats import Interval
from lefcache.typed import from_plain
from lefcache.wording import count

# What may foretell a gain, by its name in `PairRow`, and what it is called.
SCORES = {
    "gain": "ridge gain, accuracy",
    "residual_gain": "ridge gain, error",
    "oracle": "oracle bound",
    "disagreement": "disagreement",
    "double_fault": "double fault",
    "q": "Q statistic",
    "cka": "linear CKA",
}


@dataclass(frozen=True)
class Single:
    """One feature on its own: how ridge does on it (accuracy, and mean squared error).

    `components` is 0 unless the feature was projected to that many principal
    components, which keep the `share` of its variance.
    """

    feature: str
    width: int
    components: int
    share: float
    accuracy: float
    error: float


@dataclass(frozen=True)
class Measured:
    """What fusing a pair came to on the test: the best operator on validation (`op`, result `id`).

    `gain` is over `better`, that one of the two alone, in the same head, that is better on
    validation; None where either was not trained.
    """

    id: str
    op: str
    seeds: int
    n_train: int
    n_test: int
    accuracy: float
    ci95: Interval
    better: str = ""
    better_accuracy: float | None = None
    gain: float | None = None
    gain_ci95: Interval | None = None


@dataclass(frozen=True)
class PairRow:
    """Two features: how alike they are, how their errors differ, what ridge gains by both.

    With the rates of rows that both get right (N11), only one (N10, N01) and none (N00):
    `disagreement` N10 + N01, `double_fault` N00, `q` (N11 N00 - N01 N10) / (N11 N00 + N01 N10) or
    None for 0 / 0, and `oracle` 1 - N00 - max(accuracy alone), the most that any choice between the
    two could gain. `cka` is linear CKA. `residual_gain` is the share of the squared error of the
    better one alone that is gone where ridge sees both, `gain` what its `accuracy` gains by that,
    with its interval over rows. `predicted` is the accuracy that a head on both is expected to have
    on the test, `predicted_ci95` where 95 of 100 should be measured, if all that is uncertain is
    which rows there are.
    """

    first: str
    second: str
    cka: float
    disagreement: float
    double_fault: float
    q: float | None
    oracle: float
    residual_gain: float
    accuracy: float
    gain: float
    gain_ci95: Interval
    predicted: float
    predicted_ci95: Interval
    measured: Measured | None = None


@dataclass(frozen=True)
class Correlation:
    """How a score goes with the measured gain over `n` pairs; None where all values are the same.

    The intervals are of a bootstrap over pairs, as if no two of them shared a feature.
    """

    score: str
    n: int
    pearson: float | None
    pearson_ci95: Interval | None
    spearman: float | None
    spearman_ci95: Interval | None


@dataclass(frozen=True)
class Pairs(Shown):
    """Every pair of some features, that with the largest gain first; `best` is the best to fuse.

    `n_train` rows of `n_rows` were learnt from. `n_val` is 0 where rows were left out in turn
    (`selected_by` says so). `correlations` are over the pairs that have been fused. `id` names the
    result; `not_kept` says why it could not be kept.
    """

    corpus: str
    selected_by: str
    n_rows: int
    n_train: int
    n_val: int
    n_test: int
    singles: tuple[Single, ...]
    rows: tuple[PairRow, ...]
    seconds: float
    correlations: tuple[Correlation, ...] = ()
    cached: bool = False
    n_val_known: int = 0
    id: str = ""
    not_kept: str = ""

    @property
    def best(self) -> PairRow:
        """The pair of the highest predicted accuracy, ties to the larger gain."""
        return _highest(self.rows)

    @property
    def untried(self) -> PairRow | None:
        """The best of those that have not been fused; None if all have."""
        rows = [row for row in self.rows if row.measured is None]
        return _highest(rows) if rows else None

    @property
    def best_alone(self) -> tuple[str, float]:
        """The best single feature, and the accuracy of ridge on it."""
        one = max(self.singles, key=lambda each: each.accuracy)
        return one.feature, one.accuracy

    @property
    def chosen(self) -> str:
        """`selected_by` in words that follow "judged"."""
        return CHOSEN.get(self.selected_by, f"by {self.selected_by}")

    @property
    def against_measured(self) -> tuple[int, int, float]:
        """How many pairs have been fused, for how many the interval held, and how far off it was.

        The last is the mean absolute error of the predicted accuracy, 0 of no pairs.
        """
        fused = [(row, row.measured.accuracy) for row in self.rows if row.measured]
        inside = sum(row.predicted_ci95[0] <= at <= row.predicted_ci95[1] for row, at in fused)
        off = sum(abs(row.predicted - at) for row, at in fused)
        return len(fused), inside, off / max(1, len(fused))

    @property
    def heading(self) -> str:
        """Corpus, and the rows that judged."""
        return f"{self.corpus}: pairs, {self.chosen} (n = {self.n_val or self.n_train:,})"

    def records(self) -> list[dict[str, Any]]:
        """A row for each pair, with what fusing it came to where that is known."""
        return [
            {
                "first": row.first,
                "second": row.second,
                "gain": row.gain,
                **ends("gain_ci95", row.gain_ci95),
                "predicted": row.predicted,
                **ends("predicted_ci95", row.predicted_ci95),
                "disagreement": row.disagreement,
                "cka": row.cka,
                "n": self.n_val or self.n_train,
                "measured": row.measured.accuracy if row.measured else None,
                **ends("measured_ci95", row.measured.ci95 if row.measured else None),
                "n_test": row.measured.n_test if row.measured else None,
            }
            for row in self.rows
        ]

    def plot(self) -> Any:
        """What two features gain together, as a matrix; see `lefcache.report.charts`."""
        from lefcache.report.later import gains, gains_chart

        names = [each.feature for each in self.singles]
        return gains_chart(gains(self.to_json()), names, title=self.corpus)

    def notes(self) -> list[str]:
        """What to know of these figures that they do not show."""
        lines = notes_on_rows(self.n_val or self.n_train, 0)
        lines += notes_on_known("validation", self.n_val_known, self.n_val)
        if self.n_train < self.n_rows:
            lines.append(
                f"{count(self.n_train, 'row')} of {self.n_rows:,} were learnt from, a fixed choice "
                "that keeps the shares of the classes; --rows takes more"
            )
        for one in self.singles:
            if one.components:
                lines.append(
                    f"{one.feature} is {one.width:,} wide and was projected to {one.components} "
                    f"principal components, with {100 * one.share:.1f} % of its variance"
                )
        return lines + notes_on_kept(self.not_kept)

    def to_json(self) -> dict[str, Any]:
        """The fields as plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Pairs":
        """Read what `to_json` wrote."""
        with as_written("what lies there"):
            made = from_plain(cls, values)
            if not made.rows:
                raise ValueError("it has no pairs")
            return made


def _highest(rows: Iterable[PairRow]) -> PairRow:
    return max(rows, key=lambda row: (row.predicted, row.gain))
