"""Which two features complement each other: told from their vectors, before any head is trained."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from lefcache.errors import CorpusError, RecipeError
from lefcache.rows import Matrix, Table
from lefcache.study.arrange import nested
from lefcache.study.forecast import foretold
from lefcache.study.identity import (
    BY_LEFT_OUT,
    Shelf,
    check_tables,
    identity,
    known_of,
)
from lefcache.study.narrow import (
    WIDEST,
    Beside,
    Narrow,
    between,
    cka,
    narrowed,
    side_by_side,
)
from lefcache.study.paired import PairRow, Pairs, Single
from lefcache.train.protocol import BY_SPLIT, Part, labelled, training_parts
from lefcache.train.ridge import Moments, best, fit_ridge
from lefcache.train.stats import Interval, interval

ROWS = 10_000
DRAWS = 10_000

Right = NDArray[np.bool_]


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


def pairs(
    tables: Mapping[str, Table],
    *,
    rows: int = ROWS,
    results: Path | None = None,
    on_pair: Callable[[int, int], None] | None = None,
) -> Pairs:
    """Hold every two features of the tables against each other; the test is not read.

    Ridge is fitted to each feature and to each pair, side by side, each feature scaled to the same
    total variance, and judged by exact leave-one-out over train, or by the corpus's own validation
    split. Of features wider than WIDEST the first principal components stand for them. A block of
    products X'Y is computed once, for the alikeness of two features and for the ridge on both, and
    no vectors are in memory but chunks and projected ones.

    Args:
        tables: `train`, and `validation` and `test` where the corpus has them, of equal features.
            Of the test only the number of rows is used, for the width of an interval.
        rows: at most so many of train are learnt from: those of `--n-train`.
        results: a folder that finished ones are kept in and loaded from. What has been fused is
            looked up there each time.
        on_pair: called after each pair with how many are done, and how many there are.

    Raises:
        RecipeError: fewer than two features.
        CorpusError: fewer rows than classes, and what any study raises it for.
        NotFiniteError: the rows hold NaN or infinity.
    """
    start = time.perf_counter()
    seen = {name: table for name, table in tables.items() if name != "test"}
    check_tables(seen, (0,))
    features = tables["train"].features
    if len(features) < 2:
        raise RecipeError(
            f"a pair takes two features, and {features[0]} is one: name another beside it, as in "
            f"{features[0]},MODEL:LAYER"
        )
    learned = _learned(seen, rows)
    fewer = len(learned) if rows < len(labelled(seen["train"])) else None
    key = identity("pairs", seen, None, (0,), n_train=fewer, widest=WIDEST)
    shelf = Shelf(results, key, seen)
    known = known_of(seen)["n_val_known"]
    if found := shelf.find():
        return foretold(Pairs.from_json(found | {"n_val_known": known}), tables, results)
    made = replace(
        _held_together(seen, learned, on_pair),
        n_rows=len(labelled(seen["train"])),
        seconds=time.perf_counter() - start,
        n_val_known=known,
        id=shelf.id if shelf.results else "",
    )
    if why_not := shelf.put(made.to_json(), None, torch.device("cpu")):
        made = replace(made, id="", not_kept=why_not)
    return foretold(made, tables, results)


def _learned(tables: Mapping[str, Table], rows: int) -> Part:
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


def _held_together(
    tables: Mapping[str, Table], learned: Part, on_pair: Callable[[int, int], None] | None
) -> Pairs:
    judged = labelled(tables["validation"]) if "validation" in tables else None
    ground = Ground(learned, judged)
    features = [str(feature) for feature in learned.table.features]
    sides = [_side(ground, place) for place in range(len(features))]
    couples = [*combinations(range(len(features)), 2)]
    made = []
    for done, (one, other) in enumerate(couples, 1):
        scores = _scores(ground, sides[one], sides[other])
        made.append(PairRow(features[one], features[other], **scores))
        if on_pair is not None:
            on_pair(done, len(couples))
    return Pairs(
        corpus=learned.table.corpus,
        selected_by=BY_LEFT_OUT if judged is None else BY_SPLIT,
        n_rows=0,
        n_train=len(learned),
        n_val=0 if judged is None else len(judged),
        n_test=0,
        singles=tuple(
            _single(feature, width, side)
            for feature, width, side in zip(features, learned.table.widths, sides, strict=True)
        ),
        rows=tuple(sorted(made, key=lambda row: (-row.gain, -row.residual_gain))),
        seconds=0.0,
    )


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
