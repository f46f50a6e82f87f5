"""What fusing a pair is expected to come to, and what it came to where it has been fused.

Both are asked of the results each time: heads that were trained since are known the next time.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from lefcache import results as store
from lefcache.recipe import Recipe
from lefcache.results import Result
from lefcache.rows import Table
from lefcache.study.compare import compare
from lefcache.study.correlation import correlated
from lefcache.study.identity import as_written, identity
from lefcache.study.paired import (
    SCORES,
    Correlation,
    Measured,
    PairRow,
    Pairs,
)
from lefcache.train.protocol import labelled
from lefcache.train.stats import wilson

# Heads on a smaller share of the rows than this say little of heads on all of them.
COMPARABLE = 0.8


@dataclass(frozen=True)
class Known:
    """A finished head: its accuracy on validation, and whether its result has the test.

    `layer` is the one that is meant where the result is a sweep.
    """

    result: Result
    accuracy: float
    tested: bool
    layer: str = ""


@dataclass(frozen=True)
class Shelved:
    """The finished heads on these features, by the terms of their training, operators apart."""

    alone: dict[str, dict[str, Known]] = field(default_factory=dict)
    fused: dict[frozenset[str], list[tuple[str, Known]]] = field(default_factory=dict)

    def add(self, terms: str, features: Sequence[str], known: Known) -> None:
        """Take in a head on one feature or two; others are no use here."""
        if len(features) == 1:
            mine = self.alone.setdefault(terms, {})
            # A fusion of one feature has its test; a sweep of many has that of some.
            if features[0] not in mine or known.tested > mine[features[0]].tested:
                mine[features[0]] = known
        elif len(features) == 2 and known.tested:
            self.fused.setdefault(frozenset(features), []).append((terms, known))


def foretold(made: Pairs, tables: Mapping[str, Table], results: Path | None) -> Pairs:
    """The same with predictions, and with what is measured of the pairs that have been fused."""
    shelved = _shelved(results, tables, made.n_train) if results else Shelved()
    tested = len(labelled(tables["test"])) if "test" in tables else 0
    judged = made.n_val or made.n_train
    rows = [_predicted(row, judged, tested) for row in made.rows]
    rows = [replace(row, measured=_measured(row, shelved)) for row in rows]
    correlations = correlations_of(rows)
    return replace(
        made,
        n_test=tested,
        rows=tuple(rows),
        correlations=correlations,
    )


def correlations_of(rows: Sequence[PairRow]) -> tuple[Correlation, ...]:
    """Each score against the measured gain, over the pairs that have one; none of no such pair."""
    gains = [
        (row, row.measured.gain)
        for row in rows
        if row.measured is not None and row.measured.gain is not None
    ]
    return tuple(_correlation(score, gains) for score in SCORES) if gains else ()


def _correlation(score: str, gains: Sequence[tuple[PairRow, float]]) -> Correlation:
    told = [(getattr(row, score), gain) for row, gain in gains]
    known = [(value, gain) for value, gain in told if value is not None]
    lists = [value for value, _ in known], [gain for _, gain in known]
    return Correlation(
        score,
        len(known),
        *correlated(*lists, ranks=False),
        *correlated(*lists, ranks=True),
    )


def _predicted(row: PairRow, judged: int, tested: int) -> PairRow:
    """With the accuracy of ridge on both, and where that of a head on the test should come to lie.

    The interval is Wilson's for as many rows as say as much as those that judged and those of the
    test together: the one is measured on the former, the other will be on the latter.
    """
    rows = 1 / (1 / judged + (1 / tested if tested else 0))
    return replace(row, predicted=row.accuracy, predicted_ci95=wilson(row.accuracy, rows))


def _measured(row: PairRow, shelved: Shelved) -> Measured | None:
    """The fusion of this pair that is best on validation, and the better one of the two alone."""
    fused = shelved.fused.get(frozenset((row.first, row.second)), [])
    if not fused:
        return None
    beside = [_alone(shelved.alone.get(terms, {}), row) for terms, _ in fused]
    place = max(range(len(fused)), key=lambda at: (bool(beside[at]), fused[at][1].accuracy))
    known, better = fused[place][1], beside[place]
    values = known.result.payload["result"]
    made = Measured(
        id=known.result.id,
        op=values["op"],
        seeds=values["seeds"],
        n_train=values["n_train"],
        n_test=values["n_test"],
        accuracy=values["test_accuracy"]["mean"],
        ci95=tuple(values["test_accuracy"]["ci95"]),
    )
    if better is None or not better[1].tested:
        return made
    feature, single = better
    found = compare(known.result, single.result, ("", single.layer))
    return replace(
        made,
        better=feature,
        better_accuracy=found.second.accuracy,
        gain=found.difference,
        gain_ci95=found.ci95,
    )


def _alone(known: Mapping[str, Known], row: PairRow) -> tuple[str, Known] | None:
    """That one of the two which is better on validation; None where either is not known."""
    if row.first not in known or row.second not in known:
        return None
    feature = max((row.first, row.second), key=lambda each: known[each].accuracy)
    return feature, known[feature]


def _shelved(results: Path, tables: Mapping[str, Table], rows: int) -> Shelved:
    """The heads on the very same texts, labels and vectors, and on about as many rows."""
    ours = json.loads(json.dumps(identity("fuse", tables, None, (0,))))  # as those lie there
    made_of = _made_of(ours)
    shelved = Shelved()
    for result in store.list(results, ours["corpus"]):
        if result.kind not in ("fuse", "sweep"):
            continue
        with as_written(result.path):
            key, values = result.payload["key"], result.payload["result"]
            same = key["digest"] == ours["digest"] and not key.get("protocol")
            if not same or values["n_train"] < COMPARABLE * rows or "splits" not in result.payload:
                continue
            theirs = _made_of(key)
            for features, known in _heads(result):
                if all(theirs[each] == made_of.get(each) for each in features):
                    shelved.add(_terms(key), features, known)
    return shelved


def _heads(result: Result) -> Iterator[tuple[list[str], Known]]:
    """The features of each head that a result is of, with how it did."""
    values = result.payload["result"]
    if result.kind == "fuse":
        tested = values["test_accuracy"] is not None
        yield values["features"], Known(result, values["val_accuracy"]["mean"], tested)
    elif values["probe"] == "mlp":
        for row in values["rows"]:
            feature, tested = row["feature"], row["test_accuracy"] is not None
            yield [feature], Known(result, row["val_accuracy"], tested, feature)


def _terms(key: Mapping[str, Any]) -> str:
    """All that two heads must share to be held against each other, but for operator and features.

    A key of ridge or of logistic regression has no recipe.
    """
    many = len(key["features"]) if key["kind"] == "fuse" else 1
    recipe = key["recipe"] and Recipe.from_json(key["recipe"]).settled(many).alone().to_json()
    return json.dumps([recipe, key["seeds"], key.get("n_train")], sort_keys=True)


def _made_of(key: Mapping[str, Any]) -> dict[str, Any]:
    """What tells the vectors of each feature of a study from others of the same name."""
    contents = key.get("contents", {})
    return {
        feature: [
            key["specs"][place],
            key["stored"][place],
            {split: sums[place] for split, sums in contents.items()},
        ]
        for place, feature in enumerate(key["features"])
    }
