"""What a head's card says of its worth, read as a stranger's: what is no figure is left out."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lefcache.train.stats import Interval

LARGEST = 1e15  # what is more, or no number, is no figure of a head

# Figure and split, where its value and its n stand in a head's card, and the hub's name of it.
SCORES = (
    ("accuracy", "validation", "val_accuracy", "n_val", "accuracy"),
    ("accuracy", "test", "test_accuracy", "n_test", "accuracy"),
    ("macro F1", "test", "test_macro_f1", "n_test", "f1"),
    ("log-loss", "test", "test_log_loss", "n_test", ""),
    ("calibration error", "test", "test_calibration_error", "n_test", ""),
)
INTERVALS = {"val_accuracy": "val_ci95", "test_accuracy": "test_ci95"}  # others: NAME_ci95


@dataclass(frozen=True)
class Score:
    """A figure of n rows with its 95 % interval, if there is one; `metric` is the hub's word.

    Of several `seeds` it is the mean, `std` the standard deviation between them, and the interval
    covers both seeds and texts.
    """

    name: str
    split: str
    value: float
    interval: Interval | None
    n: int
    metric: str
    seeds: int = 1
    std: float = 0.0


@dataclass(frozen=True)
class Figures:
    """The figures of a card; each is asked for as what it should be."""

    values: Mapping[str, Any]

    def number(self, name: str) -> float | None:
        """A finite number; None for anything else."""
        return _number(self.values.get(name))

    def count(self, name: str) -> int:
        """A number of things, 0 if it is not known."""
        return max(0, int(self.number(name) or 0))

    def word(self, name: str) -> str:
        """A text, empty if there is none."""
        value = self.values.get(name)
        return value if isinstance(value, str) else ""

    def numbers(self, name: str) -> list[float]:
        """Finite numbers, none if one of them is not."""
        value = self.values.get(name)
        read = [_number(each) for each in value] if isinstance(value, list | tuple) else []
        return [] if None in read else [each for each in read if each is not None]

    def within(self, name: str) -> "Figures":
        """The figures that are kept below this name."""
        value = self.values.get(name)
        return Figures(value if isinstance(value, Mapping) else {})

    def scores(self) -> list[Score]:
        """The scores of this head, then those over all seeds of its study, if there were more."""
        studied = list(filter(None, (self._studied(*each) for each in SCORES)))
        if studied and studied[0].seeds == 1:
            return studied  # the same, and more of them
        return [*filter(None, (self._own(*each) for each in SCORES)), *studied]

    def _own(self, name: str, split: str, key: str, rows: str, metric: str) -> Score | None:
        value, n = self.number(key), self.count(rows)
        interval = self.pair(INTERVALS.get(key, f"{key}_ci95"))
        return Score(name, split, value, interval, n, metric) if n and value is not None else None

    def _studied(self, name: str, split: str, key: str, rows: str, metric: str) -> Score | None:
        found, n = self.within("study").within(key), self.count(rows)
        mean, seeds, std = found.number("mean"), self.count("seeds"), found.number("std") or 0.0
        if mean is None or not n or not seeds:
            return None
        return Score(name, split, mean, found.pair("ci95"), n, metric, seeds, std)

    def pair(self, name: str) -> Interval | None:
        """Two finite numbers; None for anything else."""
        ends = self.numbers(name)
        return (ends[0], ends[1]) if len(ends) == 2 else None


def _number(value: Any) -> float | None:
    plain = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if plain and abs(value) < LARGEST else None
