"""What the best head gets wrong: its confusion matrix, and the texts that it is surest about."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lefcache.again import read_again
from lefcache.cache.register import read_labels
from lefcache.errors import CorpusError, DamagedError, LefError
from lefcache.report.gather import Figures, Study

MOST_CLASSES = 14  # of a matrix that one can read; the others are taken together
MOST_TEXTS = 7
LONGEST = 150  # characters of a text that are shown

Row = dict[str, Any]


@dataclass(frozen=True)
class Mistakes:
    """A matrix as rows of (truth, predicted, share, n), and the most-confused texts.

    `missing` says why there are no texts, or why there is nothing at all.
    """

    matrix: list[Row]
    classes: list[str]
    texts: list[Row]
    missing: str = ""


def mistakes(figures: Figures, study: Study) -> Mistakes:
    """What a fusion got wrong on the test, over all its seeds."""
    if study.stale:
        return Mistakes([], [], [], f"the {study.stale} changed since: run its command again")
    try:
        probabilities, truth = study.result.predictions(), study.result.truth()
    except DamagedError as error:
        return Mistakes([], [], [], str(error))
    classes = [each["class"] for each in study.values.get("per_class", ())]
    shaped = probabilities is not None and probabilities.ndim == 3
    if probabilities is None or truth is None or not shaped or len(classes) < 2:
        return Mistakes([], [], [], "an older lefcache kept no predictions: run its command again")
    known = np.flatnonzero(truth >= 0)
    given = np.asarray(probabilities[:, known], np.float64)  # (S, N, C)
    counts = _counts(truth[known], given.argmax(axis=2), len(classes))
    shown, names = _fewer(counts, classes)
    wrong = _surest(truth[known], given.mean(axis=0))
    texts, missing = _texts(figures, study, known[wrong])
    rows = [
        {
            "text": texts.get(at, ""),
            "truth": classes[truth[known[place]]],
            "predicted": classes[int(given.mean(axis=0)[place].argmax())],
            "probability": float(given.mean(axis=0)[place].max()),
            "row": int(at),
        }
        for place, at in zip(wrong, known[wrong].tolist(), strict=True)
    ]
    return Mistakes(_rows(shown, names), names, rows, missing)


def _counts(truth: NDArray[Any], predicted: NDArray[Any], many: int) -> NDArray[np.float64]:
    """(C, C) rows of each true class by what was predicted, a mean over seeds."""
    flat = truth[None].astype(np.int64) * many + predicted
    counted = np.bincount(flat.ravel(), minlength=many * many)
    return counted.reshape(many, many) / len(predicted)


def _fewer(
    counts: NDArray[np.float64], classes: list[str]
) -> tuple[NDArray[np.float64], list[str]]:
    """The classes with the most mistakes, the others as one, where there are many."""
    many = len(classes)
    if many <= MOST_CLASSES:
        return counts, classes
    off = counts - np.diag(counts.diagonal())
    worst = np.argsort(-(off.sum(axis=0) + off.sum(axis=1)), kind="stable")[: MOST_CLASSES - 1]
    places = np.full(many, MOST_CLASSES - 1)
    kept = np.sort(worst)
    places[kept] = np.arange(len(kept))
    less = np.zeros((MOST_CLASSES, MOST_CLASSES))
    np.add.at(less, (places[:, None], places[None]), counts)
    return less, [*(classes[at] for at in kept), f"{many - len(kept)} other classes"]


def _rows(counts: NDArray[np.float64], names: list[str]) -> list[Row]:
    totals = np.maximum(counts.sum(axis=1), 1e-9)
    return [
        {
            "truth": names[one],
            "predicted": names[other],
            "share": float(counts[one, other] / totals[one]),
            "n": round(float(counts[one, other]), 1),
            "right": one == other,
        }
        for one in range(len(names))
        for other in range(len(names))
    ]


def _surest(truth: NDArray[Any], mean: NDArray[np.float64]) -> NDArray[np.int64]:
    """The rows that are wrong with the highest probability."""
    wrong = np.flatnonzero(mean.argmax(axis=1) != truth)
    order = np.argsort(-mean[wrong].max(axis=1), kind="stable")
    return wrong[order[:MOST_TEXTS]]


def _texts(
    figures: Figures, study: Study, wanted: NDArray[np.int64]
) -> tuple[Mapping[int, str], str]:
    """Texts of the test by their rows, found again through the corpus's source."""
    corpus, split = study.result.corpus, study.result.payload["splits"]["test"]
    try:
        if corpus not in figures.cache:
            raise CorpusError(f"{corpus} is not in the cache any more")
        found = read_labels(figures.cache.store, corpus, "test", split["rows"])
        if found is None:
            raise CorpusError(f"the labels of {corpus} are being replaced")
        by_hash = read_again(figures.cache, corpus)
    except LefError as error:
        return {}, str(error)
    hashes = found[1][wanted].tolist()
    texts = {
        at: _short(by_hash[hashed])
        for at, hashed in zip(wanted.tolist(), hashes, strict=True)
        if hashed in by_hash
    }
    lacking = len(hashes) - len(texts)
    return texts, f"{lacking} of these texts are not in its data any more" if lacking else ""


def _short(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST].rstrip()} …"
