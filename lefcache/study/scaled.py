"""What came of adding features one at a time: what each step gained, and what it cost."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from lefcache.study.fused import Estimate
from lefcache.study.identity import (
    CHOSEN,
    as_written,
    notes_on_kept,
    notes_on_known,
    notes_on_rows,
)
from lefcache.study.rights import Gain
from lefcache.study.shown import Shown, ends
from lefcache.typed import from_plain
from lefcache.wording import count

COSTS = (
    *("row_bytes", "disk_bytes", "models_bytes", "memory"),
    *("train_seconds", "embed_seconds", "predict_seconds"),
)


@dataclass(frozen=True)
class Step:
    """One head on some features: how good, and at what cost.

    `val_gain` and `test_gain` are over the step before, of another `store` over what is stored.
    Bytes: of a row of these features, of all their rows, and of all that their models left in the
    cache; of another store computed. `memory` is what training one head holds, in bytes;
    `train_seconds` are those of one head. `embed_seconds` (None: not recorded) and
    `predict_seconds` are for 1,000 texts: the models' forward passes, and the head alone.
    """

    features: tuple[str, ...]
    store: str
    id: str
    val_accuracy: Estimate
    test_accuracy: Estimate | None
    val_gain: Gain | None
    test_gain: Gain | None
    row_bytes: int
    disk_bytes: int
    models_bytes: int
    memory: int
    train_seconds: float
    embed_seconds: float | None
    predict_seconds: float
    cached: bool


@dataclass(frozen=True)
class Scale(Shown):
    """Features added one at a time: `steps[k]` is the head on the first k + 1.

    `order` is `given` or `best`: greedy by ridge on rows that are no test. `stores` hold the last
    step's features rounded to other types. `id` names the result where it is kept; `not_kept` says
    why it, or a head, could not be.
    """

    corpus: str
    op: str
    order: str
    seeds: int
    recipe: dict[str, Any]
    selected_by: str
    n_train: int
    n_val: int
    n_test: int
    steps: tuple[Step, ...]
    stores: tuple[Step, ...]
    seconds: float
    n_val_known: int = 0
    n_test_known: int = 0
    id: str = ""
    not_kept: str = ""

    @property
    def pays(self) -> int:
        """How many features pay: the next one's gain on validation may be nothing.

        The first step whose interval of the paired gain does not lie above 0 ends it.
        """
        for place, step in enumerate(self.steps[1:], 1):
            if step.val_gain is None or not step.val_gain.sure:
                return place
        return len(self.steps)

    @property
    def every(self) -> tuple[Step, ...]:
        """All configurations: the steps, and the last one's features in other stores."""
        return self.steps + self.stores

    @property
    def best_by_bytes(self) -> tuple[int, ...]:
        """Places in `every` of those that no other beats in accuracy on validation and bytes."""
        return self._undominated(lambda step: step.row_bytes)

    @property
    def best_by_seconds(self) -> tuple[int, ...]:
        """The same, of accuracy on validation and the seconds to predict."""
        return self._undominated(lambda step: step.predict_seconds)

    @property
    def chosen(self) -> str:
        """`selected_by` in words that follow "chosen"."""
        return CHOSEN.get(self.selected_by, f"by {self.selected_by}")

    @property
    def heading(self) -> str:
        """Corpus, operator, and how many features pay."""
        return f"{self.corpus}, {self.op}: {self.pays} of {count(len(self.steps), 'feature')} pay"

    def records(self) -> list[dict[str, Any]]:
        """A row for each configuration: how good, what it gains, what it costs."""
        return [
            {
                "features": " + ".join(step.features),
                "store": step.store,
                **_flat("val_accuracy", step.val_accuracy),
                **_flat("val_gain", step.val_gain),
                "n_val": self.n_val,
                **_flat("test_accuracy", step.test_accuracy),
                **_flat("test_gain", step.test_gain),
                "n_test": self.n_test,
                **{name: getattr(step, name) for name in COSTS},
                "pays": place < self.pays if place < len(self.steps) else None,
                "best_by_bytes": place in self.best_by_bytes,
                "best_by_seconds": place in self.best_by_seconds,
            }
            for place, step in enumerate(self.every)
        ]

    def plot(self) -> Any:
        """Accuracy over the bytes of a row; see `lefcache.report.charts`."""
        from lefcache.report.charts import cost_chart
        from lefcache.report.charts.estimates import BYTES
        from lefcache.report.steps import priced, steps_of

        return cost_chart(priced(steps_of(self.to_json()), BYTES), title=self.heading)

    def notes(self) -> list[str]:
        """What to know of these figures that they do not show."""
        lines = notes_on_rows(self.n_val, self.n_test)
        lines += notes_on_known("validation", self.n_val_known, self.n_val)
        lines += notes_on_known("test", self.n_test_known, self.n_test)
        stored = self.steps[-1].store
        if any(_wider(each.store, stored) for each in self.stores):
            lines.append(
                f"the features are stored as {stored}: in a wider type they are only what was "
                "stored; extract with --store-dtype float32 to compare all three"
            )
        return lines + notes_on_kept(self.not_kept)

    def to_json(self) -> dict[str, Any]:
        """The fields as plain values, and what follows from them."""
        return asdict(self) | {
            "pays": self.pays,
            "best_by_bytes": [*self.best_by_bytes],
            "best_by_seconds": [*self.best_by_seconds],
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Scale":
        """Read what `to_json` wrote."""
        with as_written("what lies there"):
            follows = ("pays", "best_by_bytes", "best_by_seconds")
            read = {name: value for name, value in values.items() if name not in follows}
            made = from_plain(cls, read)
            if not made.steps:
                raise ValueError("it has no steps")
            return made

    def _undominated(self, cost: Callable[[Step], float]) -> tuple[int, ...]:
        points = [(step.val_accuracy.mean, cost(step)) for step in self.every]
        return tuple(
            place
            for place, point in enumerate(points)
            if not any(_dominates(other, point) for other in points)
        )


def _flat(name: str, figure: Estimate | Gain | None) -> dict[str, float | None]:
    """A figure and its bounds, by the names of a record."""
    if figure is None:
        return {name: None, **ends(f"{name}_ci95", None)}
    return {name: figure.mean, **ends(f"{name}_ci95", figure.ci95)}


def _dominates(one: tuple[float, float], other: tuple[float, float]) -> bool:
    """Whether one (accuracy, cost) is at least as good in both, and better in one."""
    return one[0] >= other[0] and one[1] <= other[1] and one != other


def _wider(store: str, stored: str) -> bool:
    return store != stored and "float32" not in stored.split("/")
