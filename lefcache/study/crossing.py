"""Corpora with the same layers: what each would choose, and what its heads say of others."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lefcache.feature import DEPTH, FIXED, LAST
from lefcache.rows import Table
from lefcache.study.compare import differences
from lefcache.study.depth import deepest, depth_of, nearest_to, reaches
from lefcache.study.identity import alone
from lefcache.study.judge import Bench, Tables
from lefcache.study.transferred import Chosen
from lefcache.train.stats import accuracy_interval, interval
from lefcache.wording import shown

Classes = NDArray[np.int32]  # (S, N) of all rows of a test
Right = NDArray[np.bool_]  # (S, N) of those with a label
DEEPEST = "deepest layer here"  # of a model whose last one is not among these


class Crossing:
    """The corpora and what each chooses, found out when it is first asked for."""

    def __init__(self, corpora: Mapping[str, Tables], bench: Bench, depth: int | None) -> None:
        self.corpora, self.bench = corpora, bench
        self.features = next(iter(corpora.values()))["train"].features
        self.names = [str(each) for each in self.features]
        last, fixed = deepest(self.features)[0], str(nearest_to(self.features, DEPTH, depth))
        whole = reaches(self.features, depth)
        self.settled = {LAST if whole else DEEPEST: last, FIXED: fixed}
        self._chosen: dict[str, Chosen] = {}

    def learns(self, corpus: str) -> dict[str, Table]:
        """All that a choice may read: everything but the test."""
        return {name: table for name, table in self.corpora[corpus].items() if name != "test"}

    def chosen(self, corpus: str) -> Chosen:
        """The layer that is best on validation, ties to the shallower."""
        if corpus not in self._chosen:
            seen = self.learns(corpus)
            layers = [alone(seen, place) for place in range(len(self.features))]
            curve = dict.fromkeys(self.names, 0.0)  # in this order, whichever is judged first
            for judged in self.bench.judge(layers):
                curve[self.names[judged.place]] = judged.probed.val_accuracy
                by = judged.probed.selected_by, judged.probed.n_train, judged.probed.n_val
            ranks = [(-curve[str(each)], depth_of(each)) for each in self.features]
            best = self.names[ranks.index(min(ranks))]
            self._chosen[corpus] = Chosen(corpus, best, *by, curve)
        return self._chosen[corpus]

    def said(self, corpus: str, target: str, names: Sequence[str]) -> dict[str, Classes]:
        """What heads trained on these layers of a corpus say of all rows of the target's test."""
        places = [self.names.index(name) for name in names]
        seen, test = self.learns(corpus), self.corpora[target]["test"]
        said = {}
        for judged in self.bench.judge([alone(seen, place) for place in places]):
            place = places[judged.place]
            said[self.names[place]] = judged.probed.predict(test.alone(place))
        return {name: said[name] for name in names}


def priced(own: Right, other: Right) -> dict[str, Any]:
    """How good a layer is, and how much worse than the own choice on the same texts."""
    return {
        "accuracy": float(other.mean()),
        "ci95": accuracy_interval(other),
        "regret": float(own.mean() - other.mean()),
        "regret_ci95": interval(differences(own, other, paired=True)),
    }


def otherwise(ours: Table, theirs: Table) -> str:
    """How the vectors of two corpora were made, where that differs; '' where it does not."""
    lines: dict[str, None] = {}
    for mine, its in zip(ours.specs, theirs.specs, strict=True):
        one, other = mine.to_json(), its.to_json()
        for name in one:
            if one[name] != other[name]:
                told = [shown(each[name]) or "none" for each in (one, other)]
                lines[f"{name}: {told[0]} on {ours.corpus}, {told[1]} on {theirs.corpus}"] = None
    return "; ".join(lines)
