"""Layer curves: how good each layer is over the depth of its model, with what is marked on it."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lefcache.feature import DEPTH, FIXED, LAST, Feature
from lefcache.report.gather import UNKNOWN, Figures, Model, Study

Z = 1.959964  # standard deviations around a normal mean that hold 95 %
CHOSEN = "chosen"
MARKS = (CHOSEN, LAST, FIXED)

Row = dict[str, Any]


def curves(figures: Figures, corpus: str) -> dict[str, tuple[list[Row], list[Study]]]:
    """By probe, a row for each layer of each model of a corpus, and the sweeps that they are of.

    Of several sweeps of a model, the one to believe most: not stale, not chosen on the test, of
    most rows, layers and tests. A curve is a model with a pooling.
    """
    found: dict[tuple[str, str], tuple[tuple[Any, ...], list[Row], Study]] = {}
    for place, study in enumerate(figures.of("sweep", corpus)):
        for series, rows in _split(study.values, figures).items():
            tested = sum(row["test"] is not None for row in rows)
            rank = (*study.trust, study.values["n_train"], len(rows), tested, place)
            key = study.values["probe"], series
            if len(rows) > 1 and (key not in found or rank > found[key][0]):
                found[key] = (rank, rows, study)
    order = {name: place for place, name in enumerate(figures.names)}
    probes: dict[str, tuple[list[Row], list[Study]]] = {}
    for (probe, _), (_, rows, study) in sorted(
        found.items(), key=lambda item: order.get(item[1][1][0]["model"], len(order))
    ):
        several, studies = probes.setdefault(probe, ([], []))
        several += rows
        studies += [study] * (study not in studies)
    return probes


def curve_of(values: Mapping[str, Any]) -> list[Row]:
    """The rows of one sweep's figures, without a cache: depths are those of its own layers."""
    return [row for rows in _split(values, None).values() for row in rows]


def _split(values: Mapping[str, Any], figures: Figures | None) -> dict[str, list[Row]]:
    """The rows of each curve of a sweep, marked."""
    whole: dict[tuple[str, str], list[tuple[Feature, Row]]] = {}
    for row in values["rows"]:
        feature = Feature.parse(row["feature"])
        pool = feature.pool or "mean"
        whole.setdefault((feature.model, pool), []).append((feature, _row(values, row)))
    found = {}
    for (name, pool), pairs in whole.items():
        model = figures.model(values["corpus"], name) if figures else None
        placed = [*_placed(pairs, model)]
        _mark(placed, model)
        architecture = model.architecture if model else UNKNOWN
        series = name if pool == "mean" else f"{name}@{pool}"
        for row in placed:
            row |= {"model": name, "series": series, "architecture": architecture}
            row["probe"] = values["probe"]
        found[series] = placed
    return found


def _row(values: Mapping[str, Any], row: Mapping[str, Any]) -> Row:
    # Rows that are left out in turn are all of train.
    count = row.get("n") or values["n_val"] or values["n_train"]
    low, high = wilson(row["val_accuracy"], count)
    test_low, test_high = row.get("test_ci95") or (None, None)
    return {
        "corpus": values["corpus"],
        "feature": row["feature"],
        "accuracy": row["val_accuracy"],
        "low": low,
        "high": high,
        "n": count,
        "test": row.get("test_accuracy"),
        "test_low": test_low,
        "test_high": test_high,
        "n_test": values["n_test"],
        "chosen": row.get("chosen", False),
    }


def _placed(pairs: Sequence[tuple[Feature, Row]], model: Model | None) -> Iterator[Row]:
    """Each row with its layer and its share of the model's depth; `final` after the last norm."""
    numbers = [part for feature, _ in pairs for part in feature.parts if isinstance(part, int)]
    depth = model.depth if model else max(numbers, default=0)
    for feature, row in pairs:
        parts = [part if isinstance(part, int) else depth for part in feature.parts]
        layer = sum(parts) / len(parts)
        share = layer / depth if depth else 1.0
        final = feature.layer == "last"
        alone = len(parts) == 1
        yield row | {
            "layer": str(feature.layer),
            "depth": share,
            "blocks": depth,
            "final": final,
            "on_curve": alone and not final,
        }


def _mark(rows: list[Row], model: Model | None) -> None:
    """Say of each row what it is: the chosen layer, the last one, or the one at a fixed depth."""
    best = max(rows, key=lambda row: (row["chosen"], row["accuracy"], -row["depth"]))
    finals = {"last"} | set(model.finals if model else ())
    ended = [row for row in rows if row["layer"] in finals] or [
        max(rows, key=lambda row: row["depth"])
    ]
    for row in rows:
        row["marks"] = [CHOSEN] * (row is best) + [LAST] * (row is ended[-1])
        if row["layer"] == str(round(DEPTH * row["blocks"])) and row["on_curve"]:
            row["marks"].append(FIXED)


def wilson(share: float, count: int) -> tuple[float, float]:
    """Wilson's (1927) 95 % interval of a share of so many rows."""
    if not count:
        return share, share
    wide = Z * Z / count
    middle = (share + wide / 2) / (1 + wide)
    reach = Z * math.sqrt(share * (1 - share) / count + wide / count / 4) / (1 + wide)
    return middle - reach, middle + reach
