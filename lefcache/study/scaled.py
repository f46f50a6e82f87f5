"""What came of adding features one at a time: what each step gained, and what it cost."""

from collections.abc import Callable, Mapping, Sequence
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
from lefcache.typed import checked


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
class Scale:
    """Features added one at a time: `steps[k]` is the head on the first k + 1.

    `order` is `given` or `best`: greedy by ridge on rows that are no test. `stores` hold the last
    step's features rounded to other types. `not_kept` says why a head could not be kept.
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
            for name in ("steps", "stores"):
                read[name] = tuple(_step_of(each) for each in values[name])
            if not read["steps"]:
                raise ValueError("it has no steps")
            return checked(cls(**read))

    def _undominated(self, cost: Callable[[Step], float]) -> tuple[int, ...]:
        points = [(step.val_accuracy.mean, cost(step)) for step in self.every]
        return tuple(
            place
            for place, point in enumerate(points)
            if not any(_dominates(other, point) for other in points)
        )


def _dominates(one: tuple[float, float], other: tuple[float, float]) -> bool:
    """Whether one (accuracy, cost) is at least as good in both, and better in one."""
    return one[0] >= other[0] and one[1] <= other[1] and one != other


def _wider(store: str, stored: str) -> bool:
    return store != stored and "float32" not in stored.split("/")


def _step_of(values: Mapping[str, Any]) -> Step:
    read = dict(values) | {"features": tuple(values["features"])}
    for name in ("val_accuracy", "test_accuracy"):
        if one := values[name]:
            bounds = {"ci95": tuple(one["ci95"]), "values": tuple(one["values"])}
            read[name] = Estimate(**{**one, **bounds})
    for name in ("val_gain", "test_gain"):
        if one := values[name]:
            read[name] = Gain(**{**one, "ci95": tuple(one["ci95"])})
    return Step(**read)


def labels_of(steps: Sequence[Step]) -> list[str]:
    """What each configuration is called in a table."""
    return [f"{len(step.features)} x {step.store}" for step in steps]
