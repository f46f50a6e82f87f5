"""What came of choosing a layer: which, how sure, at what cost, and what it has lost."""

from dataclasses import asdict, dataclass
from typing import Any

from lefcache.feature import DEPTH, FIXED
from lefcache.study.budget import Budget
from lefcache.study.identity import BY_LEFT_OUT, CHOSEN, notes_on_kept, notes_on_rows
from lefcache.study.regret import Regret
from lefcache.study.shown import Shown
from lefcache.train.stats import Interval


@dataclass(frozen=True)
class Layer:
    """What was found out about one layer.

    `value` is the chosen score after `n_train` rows, and `accuracy` is ridge's, on `n_judged` rows
    that it did not learn; `head_accuracy` that of the method's head on the validation rows.
    `scores` are by name, all on `n_scores` rows of the choice. What the budget did not pay for is
    None, or not there.
    """

    feature: str
    n_train: int
    value: float | None
    n_judged: int
    accuracy: float | None
    ci95: Interval | None
    head_accuracy: float | None
    head_ci95: Interval | None
    scores: dict[str, float]


@dataclass(frozen=True)
class Choice:
    """The layer of one model, how it was chosen, and at what cost.

    `by` says what decided: a score, a score and the head, or the fixed depth where the budget paid
    for no comparison. `sure` is the share of bootstrap resamples of the judged rows that choose
    this layer, and `rivals` are the others that a few of them choose; None where nothing was judged
    row by row. `share` is the part of the work of a sweep with one head on every layer, in counted
    multiplications; `rows_read` counts vectors. `last` is the deepest layer of these, and `whole`
    says whether it is the model's last. `regret` is there where a finished sweep is: it was looked
    up afterwards.
    """

    model: str
    feature: str
    by: str
    sure: float | None
    rivals: tuple[str, ...]
    seconds: float
    share: float
    rows_read: int
    n_train: int
    n_head_train: int
    n_head: int
    n_scores: int
    last: str
    fixed: str
    whole: bool
    layers: tuple[Layer, ...]
    regret: Regret | None = None

    @property
    def marks(self) -> dict[str, str]:
        """The chosen layer and those that one would take without looking, by what they are."""
        last = "last" if self.whole else "deepest here"
        return {"chosen": self.feature, last: self.last, FIXED: self.fixed}


@dataclass(frozen=True)
class Selection(Shown):
    """One choice for each model, all within the same budget each.

    `selected_by` says which rows the scores were judged by, of `n_train` rows to learn from and
    `n_val` to choose by. The test was not read. `id` names the result where it is kept; `not_kept`
    says why it could not be.
    """

    corpus: str
    score: str
    seed: int
    budget: Budget
    selected_by: str
    n_train: int
    n_val: int
    choices: tuple[Choice, ...]
    id: str = ""
    not_kept: str = ""

    @property
    def chosen(self) -> str:
        """`selected_by` in words that follow "chosen"."""
        return CHOSEN[self.selected_by]

    @property
    def heading(self) -> str:
        """Corpus, and the rows that chose."""
        return f"{self.corpus}: layers chosen {self.chosen}"

    def records(self) -> list[dict[str, Any]]:
        """A row for each model."""
        return [
            {
                "model": each.model,
                "feature": each.feature,
                "by": each.by,
                "sure": each.sure,
                "share": each.share,
                "seconds": each.seconds,
                "n_train": each.n_train,
                "last": each.last,
                "fixed": each.fixed,
            }
            for each in self.choices
        ]

    def plot(self) -> Any:
        """What ridge made of each layer that was judged; see `lefcache.report.charts`."""
        from lefcache.report.charts import layer_curve
        from lefcache.report.curves import curve_of

        rows = [
            {
                "feature": layer.feature,
                "val_accuracy": layer.accuracy,
                "n": layer.n_judged,
                "chosen": layer.feature == choice.feature,
            }
            for choice in self.choices
            for layer in choice.layers
            if layer.accuracy is not None
        ]
        values = {"corpus": self.corpus, "probe": "ridge", "n_test": 0, "rows": rows}
        return layer_curve(curve_of(values), title=self.corpus)

    def notes(self) -> list[str]:
        """What to know of these choices that they do not show."""
        left_out = self.selected_by == BY_LEFT_OUT
        blind = [each.model for each in self.choices if each.by == FIXED]
        return [
            *notes_on_rows(self.n_train if left_out else self.n_val, 0),
            *(
                f"the budget paid for no comparison of the layers of {model}: this is the fixed "
                f"depth of {DEPTH}; raise --budget"
                for model in blind
            ),
            *(
                f"{each.feature} is the only layer of {each.model} here: there was nothing to "
                f"choose; all of its layers are {each.model}:all"
                for each in self.choices
                if len(each.layers) == 1
            ),
            *notes_on_kept(self.not_kept),
        ]

    def to_json(self) -> dict[str, Any]:
        """The fields as plain values."""
        return asdict(self)
