"""What came of holding two results against each other: how much better, how sure, in a sentence."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lefcache.study.shown import Shown, ends
from lefcache.train.stats import LEVEL, Interval
from lefcache.wording import count


@dataclass(frozen=True)
class Side:
    """One of two results: who it is, and which test texts (S, N) it had right."""

    id: str
    what: str
    protocol: str
    n_train: int
    seeds: tuple[int, ...]
    correct: NDArray[np.bool_]

    @property
    def accuracy(self) -> float:
        """The share of texts that are right, a mean over seeds."""
        return float(self.correct.mean())

    def to_json(self) -> dict[str, Any]:
        """The fields as plain values, the texts only as their share."""
        return {
            "id": self.id,
            "what": self.what,
            "protocol": self.protocol,
            "n_train": self.n_train,
            "seeds": [*self.seeds],
            "test_accuracy": self.accuracy,
        }


@dataclass(frozen=True)
class Pair:
    """Two runs on the same texts: how many only one of them had right, and exact McNemar's p."""

    first_seed: int
    second_seed: int
    first_only: int
    second_only: int
    p_value: float


@dataclass(frozen=True)
class Comparison(Shown):
    """How much better the first result is, as a share of the texts, with its 95 % interval.

    Of one seed each, `p_value` is exact McNemar's, else the paired bootstrap's over seeds and texts
    (`method`). `pairs` has McNemar for each pair of equal seeds; `paired` says whether seeds were
    drawn as such pairs, or each side's on its own.
    """

    first: Side
    second: Side
    n_test: int
    difference: float
    ci95: Interval
    p_value: float
    method: str
    paired: bool
    pairs: tuple[Pair, ...]

    @property
    def distinguishable(self) -> bool:
        """Whether the difference is more than the luck of these texts (and seeds) at 95 %."""
        return self.p_value < 1 - LEVEL

    @property
    def sentence(self) -> str:
        """What a person needs to know."""
        one, other = self.first.what, self.second.what
        if one == other and self.first.id != self.second.id:  # they differ in what has no name
            one, other = f"{one} ({self.first.id})", f"{other} ({self.second.id})"
        points = 100 * self.difference
        low, high = (100 * each for each in self.ci95)
        texts = count(self.n_test, "text")
        if np.array_equal(self.first.correct, self.second.correct):
            return f"{one} and {other} are right about the same of {texts}: no difference."
        found = f"{points:+.1f} points (95 %: {low:+.1f} to {high:+.1f}), p = {self.p_value:.2g}"
        if not self.distinguishable:
            return f"{one} and {other} are not distinguishable on {texts}: {found}."
        verb = "better" if points > 0 else "worse"
        return f"{one} is {verb} than {other} on {texts}: {found}."

    @property
    def heading(self) -> str:
        """What a person needs to know."""
        return self.sentence

    def records(self) -> list[dict[str, Any]]:
        """One row: both sides, and their difference."""
        return [
            {
                "first": self.first.what,
                "second": self.second.what,
                "first_accuracy": self.first.accuracy,
                "second_accuracy": self.second.accuracy,
                "n_test": self.n_test,
                "difference": self.difference,
                **ends("ci95", self.ci95),
                "p_value": self.p_value,
                "method": self.method,
            }
        ]

    def plot(self) -> Any:
        """The difference with its interval, beside none; see `lefcache.report.charts`."""
        from lefcache.report.charts import differences

        label = f"{self.first.what} − {self.second.what}"  # noqa: RUF001  a minus sign
        low, high = self.ci95
        row = {"label": label, "gain": self.difference, "low": low, "high": high}
        return differences([row | {"n": self.n_test}])

    def notes(self) -> list[str]:
        """What the figures do not show."""
        ours, theirs = self.first, self.second
        return [*_on_seeds(ours, theirs, self.paired), *_on_choices(ours, theirs)]

    def to_json(self) -> dict[str, Any]:
        """The figures as plain values, with the sentence and the notes."""
        return {
            "first": self.first.to_json(),
            "second": self.second.to_json(),
            "n_test": self.n_test,
            "difference": self.difference,
            "ci95": [*self.ci95],
            "p_value": self.p_value,
            "method": self.method,
            "paired_seeds": self.paired,
            "pairs": [asdict(pair) for pair in self.pairs],
            "distinguishable": self.distinguishable,
            "sentence": self.sentence,
            "notes": self.notes(),
        }


def _on_seeds(ours: Side, theirs: Side, paired: bool) -> Iterator[str]:
    numbers = len(ours.seeds), len(theirs.seeds)
    if numbers == (1, 1):
        yield "one seed each: this covers the texts, not the luck of training; --seeds 5 does"
    elif paired:
        yield f"{numbers[0]} seeds in pairs of equal seeds; seeds and texts are both drawn again"
    else:
        yield (
            f"{numbers[0]} and {count(numbers[1], 'seed')}, not in pairs: each side's seeds are "
            "drawn for themselves, the texts together"
        )


def _on_choices(ours: Side, theirs: Side) -> Iterator[str]:
    for side in (ours, theirs):
        if side.protocol == "paper":
            yield f"{side.what} ({side.id}) was chosen on this very test: it looks too good"
    if ours.n_train != theirs.n_train:
        yield f"trained on {ours.n_train:,} and on {count(theirs.n_train, 'row')}"
