"""What `benchmarks/pairs.py` found: how each score foretells a gain, and what choosing costs."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lefcache import results as store
from lefcache.study import compare
from lefcache.study.correlation import correlated
from lefcache.study.paired import SCORES

Record = Mapping[str, Any]
Document = Mapping[str, Any]

ALL, WITHIN = "all together", "within corpora"
# Which field is the accuracy that was told, with which interval.
TOLD = {"by ridge on both": ("predicted", "predicted_ci95")}


def summarised(document: Document, results: Path) -> dict[str, Any]:
    """Correlations of each score, errors and coverage of the predictions, what choosing costs."""
    groups = {each["corpus"]: each["pairs"] for each in document["corpora"]}
    every = [record for records in groups.values() for record in records]
    correlations = []
    for score in SCORES:
        lists = {name: _lists(records, score) for name, records in groups.items()}
        if len(groups) > 1:
            standard = [_standardised(*both) for both in lists.values()]
            lists[ALL] = _lists(every, score)
            lists[WITHIN] = tuple(np.concatenate(one) for one in zip(*standard, strict=True))
        for name, both in lists.items():
            correlations.append({"score": score, "over": name} | _correlation(*both))
    return {
        "correlations": correlations,
        "predictions": [
            {"told": told, "over": name} | _errors(records, *fields)
            for told, fields in TOLD.items()
            for name, records in (groups | ({ALL: every} if len(groups) > 1 else {})).items()
        ],
        "choices": [_choice(each, results) for each in document["corpora"]],
    }


def _lists(records: Sequence[Record], score: str) -> tuple[np.ndarray, np.ndarray]:
    """The score and the measured gain of each pair that has the score."""
    known = [record for record in records if record[score] is not None]
    values = np.array([record[score] for record in known], np.float64)
    return values, np.array([record["measured"]["gain"] for record in known], np.float64)


def _standardised(*lists: np.ndarray) -> list[np.ndarray]:
    """Each with mean 0 and deviation 1, so that corpora can be laid together."""
    return [(values - values.mean()) / (values.std() or 1.0) for values in lists]


def _correlation(one: np.ndarray, other: np.ndarray) -> dict[str, Any]:
    found: dict[str, Any] = {"n": len(one)}
    for name, ranks in (("pearson", False), ("spearman", True)):
        found[name], found[f"{name}_ci95"] = correlated(one.tolist(), other.tolist(), ranks)
    return found


def _errors(records: Sequence[Record], field: str, interval: str) -> dict[str, Any]:
    """How far the told accuracies are from those measured, and how often their intervals hold."""
    measured = np.array([record["measured"]["head_test_accuracy"] for record in records])
    told = np.array([record[field] for record in records])
    bounds = np.array([record[interval] for record in records])
    inside = (bounds[:, 0] <= measured) & (measured <= bounds[:, 1])
    return {
        "n": len(records),
        "mean_absolute_error": float(np.abs(told - measured).mean()),
        "mean_error": float((told - measured).mean()),
        "coverage": float(inside.mean()),
    }


def _choice(corpus: Record, results: Path) -> dict[str, Any]:
    """What one gets by fusing the pair of the highest predicted accuracy, and by other ways."""
    records = corpus["pairs"]
    chosen = max(records, key=lambda each: (each["predicted"], each["gain"]))
    accuracy = {one["feature"]: one["accuracy"] for one in corpus["singles"]}
    plain = max(records, key=lambda each: accuracy[each["first"]] + accuracy[each["second"]])
    single = max(corpus["singles"], key=lambda one: one["head_val_accuracy"])
    tested = sorted((each["measured"]["head_test_accuracy"] for each in records), reverse=True)
    here = chosen["measured"]["head_test_accuracy"]
    against = {
        "the two best features by ridge": plain["measured"]["id"],
        "the best feature alone": single["id"],
    }
    return {
        "corpus": corpus["corpus"],
        "pair": name_of(chosen),
        "test_accuracy": here,
        "rank": 1 + tested.index(here),
        "pairs": len(tested),
        "best": tested[0],
        "mean": float(np.mean(tested)),
        "against": {
            what: _difference(results, chosen["measured"]["id"], other)
            for what, other in against.items()
        },
    }


def _difference(results: Path, one: str, other: str) -> dict[str, Any] | None:
    if one == other:
        return None
    found = compare(store.look_up(results, one), store.look_up(results, other))
    return {"difference": found.difference, "ci95": found.ci95}


def name_of(record: Record) -> str:
    """What a pair is called."""
    return f"{record['first']} + {record['second']}"
