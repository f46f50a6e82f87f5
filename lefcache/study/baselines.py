"""What a study has to beat: the largest class, the words of the texts, and fixed layers.

All of these are settled before anything is trained, so that each may be shown the test.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any
from warnings import catch_warnings, simplefilter

import numpy as np
import torch
from numpy.typing import NDArray

from lefcache.errors import CorpusError
from lefcache.recipe import NUMERICS
from lefcache.rows import Table
from lefcache.study.arrange import arranged
from lefcache.study.fused import Fused
from lefcache.study.identity import FIGURES, Shelf, digest_of
from lefcache.study.swept import Sweep
from lefcache.train.protocol import Part, labelled, training_parts
from lefcache.train.stats import accuracy, accuracy_interval, macro_f1

MAJORITY = "majority class"
WORDS = "tf-idf + logistic regression"

# Words alone, as Yao et al. (TextGCN, 2019) have them; what is chosen is chosen here, once for all.
TFIDF: dict[str, Any] = {"sublinear_tf": True, "token_pattern": r"(?u)\b\w+\b"}
LOGISTIC: dict[str, Any] = {"C": 10.0, "max_iter": 1000}

Texts = Callable[[], Mapping[int, str]]
Classes = NDArray[np.int32]


@dataclass(frozen=True)
class Baseline:
    """One baseline: `name` says what was fixed, `feature` and `how` what was trained of it.

    `missing` says why there are no figures, and what to do. `id` names the result of its own that
    it is kept as, if it is one.
    """

    name: str
    feature: str = ""
    how: str = ""
    n_train: int = 0
    n_val: int = 0
    n_test: int = 0
    val_accuracy: float | None = None
    test_accuracy: float | None = None
    test_macro_f1: float | None = None
    test_ci95: tuple[float, float] | None = None
    id: str = ""
    missing: str = ""

    def to_json(self) -> dict[str, Any]:
        """The fields as plain values."""
        return asdict(self)


def plain_baselines(
    tables: Mapping[str, Table],
    texts: Texts,
    *,
    protocol: str = "validation",
    n_train: int | None = None,
    results: Path | None = None,
) -> list[Baseline]:
    """The largest class of train, and logistic regression on the words of the texts.

    Both learn from the rows that a head learns from, with a part carved off where the corpus has no
    validation split. A logistic regression is kept in `results` and fitted once.

    Args:
        tables: `train`, and `validation` and `test` where the corpus has them.
        texts: gives the texts by their hashes; only called where nothing is kept. What it raises
            as CorpusError becomes the reason why the row is missing.
        protocol: as of the study; nothing is chosen here, only other rows are validation.
        n_train: as of the study.
        results: a folder.
    """
    used, _ = arranged(tables, protocol, n_train, carves=True)
    ways: dict[str, tuple[Callable[[], Fit], dict[str, Any]]] = {
        MAJORITY: (lambda: _majority, {}),
        WORDS: (lambda: _words(texts()), {"tfidf": TFIDF, "logistic": LOGISTIC}),
    }
    found = []
    for name, (fit, settings) in ways.items():
        key = _key(name, tables, settings=settings, protocol=protocol, n_train=n_train)
        shelf = Shelf(results, key, tables)
        if kept := shelf.find():
            found.append(_read(kept))
            continue
        try:
            found.append(_scored(name, fit(), used, shelf, protocol))
        except CorpusError as error:
            found.append(Baseline(name, missing=str(error)))
    return found


def _key(name: str, tables: Mapping[str, Table], **more: Any) -> dict[str, Any]:
    """What makes a baseline of the texts alone the same one; no feature is part of it."""
    return {
        "kind": "baseline",
        "name": name,
        "corpus": tables["train"].corpus,
        "digest": digest_of(tables),
        "seeds": [0],
        "numerics": NUMERICS,
        "figures": FIGURES,
        **more,
    }


def _read(kept: Mapping[str, Any]) -> Baseline:
    values = {each.name: kept[each.name] for each in fields(Baseline)}
    ci95 = values["test_ci95"]
    return Baseline(**{**values, "test_ci95": tuple(ci95) if ci95 else None})


# Learns from a part, and says what it makes of the rows of another one.
Fit = Callable[[Part], Callable[[Part], Classes]]


def _scored(
    name: str, fit: Fit, tables: Mapping[str, Table], shelf: Shelf, protocol: str
) -> Baseline:
    learned, chosen = training_parts(tables["train"], tables.get("validation"))
    predict = fit(learned)
    made = Baseline(
        name,
        n_train=len(learned),
        n_val=len(chosen),
        val_accuracy=accuracy(chosen.labels, predict(chosen)),
        id=shelf.id if shelf.results else "",
    )
    every = None
    if "test" in tables:
        part = labelled(tables["test"])
        classes = predict(part)
        correct = classes == part.labels
        every = np.full((1, len(tables["test"])), -1, np.int32)
        every[0, part.index] = classes
        made = replace(
            made,
            n_test=len(part),
            test_accuracy=float(correct.mean()),
            test_macro_f1=macro_f1(part.labels, classes),
            test_ci95=accuracy_interval(correct[None]),
        )
    not_kept = shelf.put(made.to_json() | {"protocol": protocol}, every, torch.device("cpu"))
    return replace(made, id="") if not_kept else made


def _majority(learned: Part) -> Callable[[Part], Classes]:
    largest = np.bincount(learned.labels).argmax()
    return lambda part: np.full(len(part), largest, np.int32)


def _words(texts: Mapping[int, str]) -> Fit:
    """Logistic regression on the words of these texts."""

    def fit(learned: Part) -> Callable[[Part], Classes]:
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.linear_model import LogisticRegression

        vectors, model = TfidfVectorizer(**TFIDF), LogisticRegression(**LOGISTIC)
        written = _texts_of(learned, texts)
        try:
            counted = vectors.fit_transform(written)
        except ValueError as error:  # no word in any of the texts
            raise CorpusError(f"the texts of train cannot be counted ({error})") from error
        with catch_warnings():
            simplefilter("ignore", ConvergenceWarning)  # a baseline that is nearly there is one
            model.fit(counted, learned.labels)

        def predict(part: Part) -> Classes:
            classes: Classes = model.predict(vectors.transform(_texts_of(part, texts)))
            return classes.astype(np.int32)

        return predict

    return fit


def _texts_of(part: Part, texts: Mapping[int, str]) -> list[str]:
    """The part's texts, found by their hashes; CorpusError where the data is another one now."""
    hashes = part.table.texts[part.index].tolist()
    if lacking := sum(each not in texts for each in hashes):
        raise CorpusError(
            f"{lacking:,} texts of {part.table.corpus}/{part.table.split} are not in its data any "
            "more"
        )
    return [texts[each] for each in hashes]


def rows_of(swept: Sweep, names: Mapping[str, str]) -> list[Baseline]:
    """The layers of a sweep that were fixed beforehand, by their names as baselines."""
    return [
        Baseline(
            name=names[row.feature],
            feature=row.feature,
            how=f"{swept.probe} probe",
            n_train=swept.n_train,
            n_val=swept.n_val,
            n_test=swept.n_test,
            val_accuracy=row.val_accuracy,
            test_accuracy=row.test_accuracy,
            test_macro_f1=row.test_macro_f1,
            test_ci95=row.test_ci95,
            id=swept.id,
        )
        for row in swept.fixed
    ]


def alone_of(fused: Sequence[Fused]) -> list[Baseline]:
    """Single features in the same head, as baselines of the head on all of them."""
    return [
        Baseline(
            name="alone",
            feature=each.features[0],
            how="the same head",
            n_train=each.n_train,
            n_val=each.n_val,
            n_test=each.n_test,
            val_accuracy=each.val_accuracy.mean,
            test_accuracy=each.test_accuracy.mean if each.test_accuracy else None,
            test_macro_f1=each.test_macro_f1.mean if each.test_macro_f1 else None,
            test_ci95=each.test_accuracy.ci95 if each.test_accuracy else None,
            id=each.id,
        )
        for each in fused
    ]
