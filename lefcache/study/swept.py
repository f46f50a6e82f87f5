"""What came of a layer sweep: how good each layer is, and which was chosen."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from lefcache.study.identity import (
    CHOSEN,
    as_written,
    notes_on_kept,
    notes_on_known,
    notes_on_paper,
    notes_on_rows,
)
from lefcache.study.shown import Shown, ends
from lefcache.typed import from_plain


@dataclass(frozen=True)
class Row:
    """One layer of a sweep; the test's fields are None unless this row was shown the test."""

    feature: str
    val_accuracy: float
    seconds: float
    test_accuracy: float | None = None
    test_macro_f1: float | None = None
    test_ci95: tuple[float, float] | None = None


@dataclass(frozen=True)
class Sweep(Shown):
    """A finished sweep: `best` is the chosen feature, `last` the deepest ones of each model.

    `n_val` is 0 where rows were left out in turn (`selected_by` says so) instead of held out. Of
    `n_val` and `n_test`, those with `known` have a text that is also in train. `fixed` are the rows
    that were settled beforehand, as baselines, with their tests; `per_class` is the chosen one's
    report on the test. Under the `protocol` "paper" all was chosen on the test itself. `id` names
    the result where it is kept; `not_kept` says why it could not be.
    """

    corpus: str
    probe: str
    seeds: int
    selected_by: str
    n_train: int
    n_val: int
    n_test: int
    rows: tuple[Row, ...]
    best: str
    last: tuple[str, ...]
    seconds: float
    cached: bool = False
    n_val_known: int = 0
    n_test_known: int = 0
    protocol: str = "validation"
    fixed: tuple[Row, ...] = ()
    per_class: tuple[dict[str, Any], ...] = ()
    id: str = ""
    not_kept: str = ""

    @property
    def chosen(self) -> str:
        """`selected_by` in words that follow "chosen"."""
        return CHOSEN.get(self.selected_by, f"by {self.selected_by}")

    @property
    def heading(self) -> str:
        """Corpus, probe, and the rows that chose."""
        return (
            f"{self.corpus}, {self.probe} probe: accuracy {self.chosen} "
            f"(n = {self.n_val or self.n_train:,})"
        )

    def records(self) -> list[dict[str, Any]]:
        """A row for each layer."""
        return [
            {
                "feature": row.feature,
                "val_accuracy": row.val_accuracy,
                "n_val": self.n_val or self.n_train,
                "test_accuracy": row.test_accuracy,
                **ends("test_ci95", row.test_ci95),
                "n_test": self.n_test,
                "chosen": row.feature == self.best,
            }
            for row in self.rows
        ]

    def plot(self) -> Any:
        """Accuracy over relative depth; see `lefcache.report.charts`."""
        from lefcache.report.charts import layer_curve
        from lefcache.report.curves import curve_of

        return layer_curve(curve_of(self.to_json()), title=self.corpus)

    def notes(self) -> list[str]:
        """What to know of these figures that they do not show."""
        paper = self.protocol == "paper"
        return [
            *notes_on_rows(self.n_val or self.n_train, self.n_test),
            *([notes_on_paper("the layer")] if paper else []),
            *([] if paper else notes_on_known("validation", self.n_val_known, self.n_val)),
            *notes_on_known("test", self.n_test_known, self.n_test),
            *notes_on_kept(self.not_kept),
        ]

    def to_json(self) -> dict[str, Any]:
        """The fields as plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Sweep":
        """Read what `to_json` wrote."""
        with as_written("what lies there"):
            made = from_plain(cls, values)
            if not {made.best, *made.last} <= {row.feature for row in made.rows}:
                raise ValueError("its best or last feature is none of its rows")
            return made
