"""How much a choice of layer has lost, where a finished sweep knows the best one.

This is for reporting only: it is looked up after the choice, and no choice reads it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lefcache import results as store
from lefcache.recipe import Recipe
from lefcache.results import Result
from lefcache.rows import Table
from lefcache.study.compare import compare
from lefcache.study.correlation import correlated
from lefcache.study.identity import as_written, identity
from lefcache.study.scores import merit
from lefcache.train.stats import Interval, Z


@dataclass(frozen=True)
class Loss:
    """How far a layer is behind the sweep's best one, in points, with its 95 % interval.

    `name` says how the layer was found: chosen, last, or fixed depth.
    """

    name: str
    feature: str
    points: float
    ci95: Interval


@dataclass(frozen=True)
class Agreement:
    """Spearman's correlation of a score, turned so that more is better, with a sweep's figures.

    The interval is of a bootstrap over layers, and None where both rank them alike. Both are None
    of fewer than three layers that the score knows, and where all are the same.
    """

    score: str
    spearman: float | None
    ci95: Interval | None


@dataclass(frozen=True)
class Regret:
    """What a finished sweep of the same layers and rows says of a choice.

    `by` is "test" where every layer of the sweep was shown it (the interval is then a paired
    bootstrap over texts and seeds), else "validation" (that of two independent shares, which is
    wide). `agreements` say how each score goes with the sweep over its `layers`.
    """

    id: str
    probe: str
    seeds: int
    by: str
    n: int
    layers: int
    best: str
    losses: tuple[Loss, ...]
    agreements: tuple[Agreement, ...]


def regret_of(
    tables: Mapping[str, Table],
    named: Mapping[str, str],
    scores: Mapping[str, Mapping[str, float]],
    results: Path,
    recipe: Recipe,
    n_train: int | None,
) -> Regret | None:
    """Hold layers against the best sweep of the same ones that there is; None without any.

    A sweep of heads goes before others, then one that was shown the test, one of this recipe, and
    one of more seeds.

    Args:
        tables: of one model, all splits.
        named: features by how they were found.
        scores: by name, and by feature.
        results: the folder of finished studies.
        recipe: of the heads.
        n_train: rows that the choice was for.
    """
    own = identity("sweep", tables, recipe, (), n_train=n_train)
    found = []
    for each in store.list(results, own["corpus"]):
        with as_written(each.path):
            if each.kind == "sweep" and _is_of(each, own):
                found.append((_rank(each, own), each))
    if not found:
        return None
    _, sweep = max(found, key=lambda each: each[0])
    with as_written(sweep.path):
        return _regret(sweep, own["features"], named, scores)


def agreement(name: str, values: Mapping[str, float], truth: Mapping[str, float]) -> Agreement:
    """How a score's values go with the truth, over the features of both."""
    shared = [feature for feature in truth if feature in values]
    ours = [merit(name, values[feature]) for feature in shared]
    return Agreement(name, *correlated(ours, [truth[feature] for feature in shared], ranks=True))


def _regret(
    sweep: Result,
    features: list[str],
    named: Mapping[str, str],
    scores: Mapping[str, Mapping[str, float]],
) -> Regret:
    values = sweep.payload["result"]
    rows = {row["feature"]: row for row in values["rows"] if row["feature"] in features}
    tested = _is_tested(sweep, features)
    figure = "test_accuracy" if tested else "val_accuracy"
    truth = {feature: float(row[figure]) for feature, row in rows.items()}
    best = max(truth, key=lambda feature: truth[feature])  # ties to the first, the shallowest
    counted = values["n_test"] if tested else values["n_val"] or values["n_train"]
    losses = []
    for name, feature in named.items():
        loss = truth[best] - truth[feature]
        if tested:
            low, high = compare(sweep, sweep, (best, feature)).ci95
        else:
            low, high = _apart(truth[best], truth[feature], counted)
        losses.append(Loss(name, feature, 100 * loss, (100 * low, 100 * high)))
    return Regret(
        id=sweep.id,
        probe=values["probe"],
        seeds=values["seeds"],
        by="test" if tested else "validation",
        n=counted,
        layers=len(truth),
        best=best,
        losses=tuple(losses),
        agreements=tuple(agreement(name, values, truth) for name, values in scores.items()),
    )


def _is_of(sweep: Result, own: Mapping[str, Any]) -> bool:
    """Whether a sweep has judged these layers, learning and choosing by the same rows."""
    key = sweep.payload["key"]
    same = ("digest", "numerics", "figures", "n_train", "protocol")
    if any(key.get(name) != own.get(name) for name in same):
        return False
    theirs, ours = _layers(key), _layers(own)
    return all(theirs.get(feature) == layer for feature, layer in ours.items())


def _layers(key: Mapping[str, Any]) -> dict[str, Any]:
    """What each feature of a study was: settings, precision, and checksums of imported vectors."""
    contents = key.get("contents", {})
    return {
        feature: [spec, stored, {split: sums[at] for split, sums in contents.items() if sums[at]}]
        for at, (feature, spec, stored) in enumerate(
            zip(key["features"], key["specs"], key["stored"], strict=True)
        )
    }


def _rank(sweep: Result, own: Mapping[str, Any]) -> tuple[Any, ...]:
    """More for a sweep that says more."""
    key = sweep.payload["key"]
    tested, same = _is_tested(sweep, own["features"]), key.get("recipe") == own["recipe"]
    return key.get("probe") == "mlp", tested, same, len(key["seeds"])


def _is_tested(sweep: Result, features: list[str]) -> bool:
    """Whether each of these layers was shown the test, and what it predicted was kept."""
    rows = sweep.payload["result"]["rows"]
    shown = {row["feature"] for row in rows if row["test_accuracy"] is not None}
    return set(features) <= shown and sweep.digest is not None


def _apart(one: float, other: float, rows: int) -> Interval:
    """The difference of two shares of so many rows each, as if they were other rows."""
    half = Z * ((one * (1 - one) + other * (1 - other)) / rows) ** 0.5
    return one - other - half, one - other + half
