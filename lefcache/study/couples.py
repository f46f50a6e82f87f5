"""Two features held against each other: what ridge makes of each of them, and of both."""

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lefcache.errors import CorpusError
from lefcache.rows import Matrix, Table
from lefcache.study.arrange import nested
from lefcache.study.narrow import (
    WIDEST,
    Beside,
    Narrow,
    between,
    cka,
    narrowed,
    side_by_side,
)
from lefcache.study.paired import PairRow, Single
from lefcache.train.protocol import Part, labelled, training_parts
from lefcache.train.ridge import Moments, best, fit_ridge
from lefcache.train.stats import Interval, interval

DRAWS = 10_000

Couple = tuple[int, int]  # the places of two features in a table
Right = NDArray[np.bool_]


@dataclass(frozen=True)
class Held:
    """What became of a couple, and of each of the two alone."""

    row: PairRow
    singles: tuple[Single, Single]


@dataclass(frozen=True)
class Ground:
    """The rows that everything is learnt from, and those that judge where none are left out."""

    learned: Part
    judged: Part | None

    def ridge(self, rows: Matrix, held_out: Matrix | None, moments: Moments) -> "Ridged":
        """A ridge on these numbers, judged by the rows of validation or by leaving rows out."""
        part = self.learned
        texts, classes = part.table.texts[part.index], len(part.table.classes)
        path = fit_ridge(
            rows,
            part.labels,
            classes,
            texts=texts,
            leave_out=self.judged is None,
            moments=moments,
        )
        if self.judged is None or held_out is None:
            truth = part.labels
            predicted, accuracies, errors = path.loo_predicted, path.loo_accuracy, path.loo_error
        else:
            truth = self.judged.labels
            predicted, accuracies, errors = path.judge(held_out, truth)
        return Ridged(predicted[best(accuracies, errors)] == truth, float(errors.min()))


@dataclass(frozen=True)
class Ridged:
    """What a ridge has right of the rows that judge, and its mean squared error on them.

    Of all regularisations the one with the highest accuracy, and that with the lowest error.
    """

    right: Right
    error: float

    @property
    def accuracy(self) -> float:
        """The share of rows that are right."""
        return float(self.right.mean())


Side = tuple[Narrow, Ridged]


@dataclass(frozen=True)
class Holding:
    """How couples are held against each other, wherever that is done; at most so many `rows`."""

    rows: int

    def begin(
        self, tables: Mapping[str, Table]
    ) -> Callable[[Sequence[Couple]], Generator[tuple[Couple, Held], None, None]]:
        """What holds couples of the features of these tables against each other, in order."""
        learned = learned_of(tables, self.rows)
        judged = labelled(tables["validation"]) if "validation" in tables else None
        ground = Ground(learned, judged)
        return partial(_held, ground, cache(partial(_side, ground)))


def _held(
    ground: Ground, side: Callable[[int], Side], couples: Sequence[Couple]
) -> Generator[tuple[Couple, Held], None, None]:
    table = ground.learned.table
    for couple in couples:
        first, second = (str(table.features[place]) for place in couple)
        one, other = map(side, couple)
        row = PairRow(first, second, **_scores(ground, one, other))
        singles = (
            _single(first, table.widths[couple[0]], one),
            _single(second, table.widths[couple[1]], other),
        )
        yield couple, Held(row, singles)


def learned_of(tables: Mapping[str, Table], rows: int) -> Part:
    """At most so many rows of train: those that every study of so many learns from."""
    whole = labelled(tables["train"])
    if rows >= len(whole):
        return whole
    many = len(np.unique(whole.labels))
    if rows < many:
        raise CorpusError(
            f"--rows {rows}: {whole.table.corpus} has {many} classes, and each needs a row: give "
            f"at least {many}"
        )
    free, _ = training_parts(tables["train"], tables.get("validation"))
    index = nested(free, min(rows, len(free)))
    assert whole.table.labels is not None  # of labelled rows
    return Part(whole.table, index, whole.table.labels[index].astype(np.int64))


def _side(ground: Ground, place: int) -> Side:
    judged = ground.judged
    narrow = narrowed(ground.learned.alone(place), judged.alone(place) if judged else None)
    return narrow, ground.ridge(narrow.rows, narrow.held_out, narrow.moments)


def _single(feature: str, width: int, side: Side) -> Single:
    narrow, ridged = side
    kept = narrow.rows.shape[1]
    return Single(
        feature=feature,
        width=width,
        components=kept if width > WIDEST else 0,
        share=narrow.share,
        accuracy=ridged.accuracy,
        error=ridged.error,
    )


def _scores(ground: Ground, one: Side, other: Side) -> dict[str, Any]:
    """Every figure of a pair, by its name in `PairRow`."""
    (mine, first), (its, second) = one, other
    products = between(mine, its)
    held_out = None
    if mine.held_out is not None and its.held_out is not None:
        held_out = Beside([mine.held_out, its.held_out])
    moments = side_by_side(mine.moments, its.moments, products)
    both = ground.ridge(Beside([mine.rows, its.rows]), held_out, moments)
    better = max(first, second, key=lambda each: each.accuracy)
    error = min(first.error, second.error)
    return {
        "cka": cka(mine.moments.scatter, its.moments.scatter, products),
        **agreement(first.right, second.right),
        "residual_gain": 1 - both.error / error if error else 0.0,
        "accuracy": both.accuracy,
        "gain": both.accuracy - better.accuracy,
        "gain_ci95": _interval(both.right, better.right),
        "predicted": both.accuracy,
        "predicted_ci95": (0.0, 1.0),
    }


def agreement(one: Right, other: Right) -> dict[str, float | None]:
    """How the errors of two classifiers go together, by the names in `PairRow`."""
    both, neither = float((one & other).mean()), float((~one & ~other).mean())
    first, second = float((one & ~other).mean()), float((other & ~one).mean())
    alike, apart = both * neither, first * second
    return {
        "disagreement": first + second,
        "double_fault": neither,
        "q": (alike - apart) / (alike + apart) if alike + apart else None,
        "oracle": 1 - neither - max(one.mean(), other.mean()),
    }


def _interval(one: Right, other: Right) -> Interval:
    """Of the difference of two accuracies on the same rows, drawn again."""
    count = len(one)
    only = (one & ~other).sum(), (other & ~one).sum()
    shares = np.array([*only, count - sum(only)]) / count
    drawn = np.random.default_rng(0).multinomial(count, shares, size=DRAWS)
    return interval((drawn[:, 0] - drawn[:, 1]) / count)
