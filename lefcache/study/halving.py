"""One layer out of many within a budget: few rows of all layers, then more rows of the better half.

Successive halving (Jamieson and Talwalkar, 2016), with a closed-form score in place of a partly
trained model, and the method's head on what is left where the budget allows. Nothing here reads a
test.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lefcache.study.budget import Clock, Purse
from lefcache.study.depth import depth_of
from lefcache.study.ground import Ground
from lefcache.study.scores import SCORES, Sample, merit
from lefcache.train.fit import train_all
from lefcache.train.stats import Floats

FINALISTS = 2
RATES = (1, 2, 4)  # layers that are left behind in a round, and rows that are added
POSSIBLE = 0.05  # a layer that fewer resamples choose is no rival, and needs no head
HEAD_ROWS = 0.1  # a head on a smaller share of the rows says little of one on all
HEAD_PART = 0.75  # of what is left goes to heads; the rest to the scores of the table
ALL_SCORES = 3  # times the work of one: most of it is the same for all
DRAWS = 1000
GROUPS = 1000


@dataclass(frozen=True)
class Judged:
    """What is known of a layer: its score on so many rows, and which rows ridge had right."""

    n_train: int
    value: float
    right: NDArray[np.bool_]


@dataclass
class Search:
    """What has been found out, and at what cost.

    `judged` has the last score of each layer, `finalists` the layers of the last round, all judged
    on the same rows; `heads` are those finalists' heads: which validation rows (N,) each has right,
    after learning from `head_rows`. `table` has every score of every layer, on `table_rows`; in
    `races` are all rounds.
    """

    ground: Ground
    score: str
    purse: Purse
    judged: dict[int, Judged] = field(default_factory=dict)
    races: list[dict[int, Judged]] = field(default_factory=list)
    heads: dict[int, NDArray[np.bool_]] = field(default_factory=dict)
    head_rows: int = 0
    table: dict[int, dict[str, float]] = field(default_factory=dict)
    table_rows: int = 0
    rows_read: int = 0

    def run(self) -> None:
        """Spend the budget."""
        everyone = range(len(self.ground))
        if self.purse.guesses and not self._race(everyone, self.ground.smallest):
            return
        for many, size in self._plan():
            if not self._race(self.ranked()[:many] or everyone, size):
                break
        if self.finalists:
            self._train_heads()
            self._fill_table()

    @property
    def finalists(self) -> tuple[int, ...]:
        """The layers of the last round; none where the budget paid for no round."""
        return tuple(self.races[-1]) if self.races else ()

    def ranked(self) -> list[int]:
        """The finalists, best score first; ties to the shallower."""
        return sorted(
            self.finalists,
            key=lambda place: (-merit(self.score, self.judged[place].value), self._depth(place)),
        )

    def evidence(self, places: Sequence[int]) -> list[NDArray[np.bool_]]:
        """Which rows (K, n) each layer has right that it did not learn: by ridge, and by heads."""
        found = []
        if self.score == "ridge":
            found.append(np.stack([self.judged[place].right for place in places]))
        if self.heads:
            found.append(np.stack([self.heads[place] for place in places]))
        return found

    def choose(self) -> int:
        """The best finalist; of those with heads, where there are some.

        Ridge and heads then count half each: ridge knows more rows, a head is what is wanted.
        """
        if not self.heads:
            return self.ranked()[0]
        places = self._by_depth([*self.heads])
        return places[int(sum(right.mean(axis=1) for right in self.evidence(places)).argmax())]

    def shares(self) -> dict[int, float]:
        """The share of bootstrap resamples that choose each finalist; nothing where none can say.

        Of each round the rows are drawn anew: a layer has to be kept in all of them.
        """
        places = self._by_depth([*(self.heads or self.finalists)])
        evidence = self.evidence(places)
        if not evidence:
            return {}
        seed = self.ground.seed
        shares = dict(zip(places, wins(evidence, seed).tolist(), strict=True))
        for race, following in pairwise(self.races if self.score == "ridge" else []):
            runners = self._by_depth([*race])
            right = np.stack([race[place].right for place in runners])
            kept = dict(zip(runners, wins([right], seed, len(following)), strict=True))
            shares = {place: share * float(kept[place]) for place, share in shares.items()}
        return shares

    def _plan(self) -> list[tuple[int, int]]:
        """The rounds that the budget pays, with the most rows in the first and above all the last.

        In the first a good layer only has to be among the better ones. Each round decomposes its
        layers anew, so that few layers are often best judged at once, on all the rows that can be
        paid. Nothing, where no round can be paid, or none with more rows than are known already.
        """
        ground, places = self.ground, range(len(self.ground))
        left, known = self.purse.left("score"), ground.smallest if self.races else 0
        plans = [
            rounds(len(ground), size, len(ground.learned), rate)
            for rate in RATES
            for size in (*ground.sizes(), ground.smallest)
            if size > known
        ]
        paid = [
            plan
            for plan in plans
            if sum(ground.score_work(places[:many], rows) for many, rows in plan) <= left
        ]
        return max(paid, key=lambda plan: plan[0][1] * plan[-1][1] ** 2, default=[])

    def _race(self, places: Sequence[int], size: int) -> bool:
        """Judge these layers on so many rows; whether the budget lasted for all of them."""
        found: dict[int, Judged] = {}
        for place in places:
            work = self.ground.score_work([place], size)
            if work > self.purse.left("score"):
                return False
            with self.purse.paying("score", work):
                sample = self._read(place, size)
                value = SCORES[self.score](sample)
                right = sample.right if self.score == "ridge" else np.zeros(0, bool)
                found[place] = Judged(len(sample.rows), value, right)
        self.judged |= found
        self.races.append(found)
        return True

    def _read(self, place: int, size: int) -> Sample:
        sample = self.ground.sample(place, size)
        self.rows_read += len(sample.rows) + (len(sample.judged[1]) if sample.judged else 0)
        return sample

    def _train_heads(self) -> None:
        """The method's head on the finalists that may well be the best, if it can be paid."""
        ground, places = self.ground, self._possible()
        while len(places) >= FINALISTS:
            for size in ground.sizes():
                work = ground.head_work(places, size)
                if size < HEAD_ROWS * len(ground.learned):
                    break
                if work <= HEAD_PART * self.purse.left("head"):
                    self.heads = self._heads(places, size, work)
                    return
            places = places[: len(places) // 2]

    def _heads(self, places: list[int], size: int, work: float) -> dict[int, NDArray[np.bool_]]:
        """Which validation rows each layer's head has right; of none, if time ran out."""
        setup, jobs = self.ground.setup, [self.ground.job(place, size) for place in places]
        on_epoch = partial(_stop, self.purse) if isinstance(self.purse, Clock) else None
        heads = train_all(
            jobs, setup.recipe, device=setup.device, memory=setup.memory, on_epoch=on_epoch
        )
        try:
            with self.purse.paying("head", work):
                trained = [one for _, one in heads]
        except OutOfTime:
            return {}
        self.head_rows = trained[0].n_train
        self.rows_read += len(places) * (trained[0].n_train + trained[0].n_val)
        return {place: one.val_correct for place, one in zip(places, trained, strict=True)}

    def _possible(self) -> list[int]:
        """The finalists that a few resamples or more choose, best first."""
        shares = self.shares()
        likely = [place for place in self.ranked() if shares.get(place, 0.0) >= POSSIBLE]
        return likely if shares else self.ranked()[:FINALISTS]

    def _fill_table(self) -> None:
        """Every score of every layer, on as many rows as what is left pays for."""
        ground, places = self.ground, range(len(self.ground))
        for size in (*ground.sizes(), ground.smallest):
            work = [ALL_SCORES * ground.score_work([place], size) for place in places]
            if sum(work) <= self.purse.left("table"):
                break
        else:
            return
        for place in places:
            if work[place] > self.purse.left("table"):
                self.table.clear()  # scores of some layers compare nothing
                return
            with self.purse.paying("table", work[place]):
                sample = self._read(place, size)
                self.table[place] = {name: of(sample) for name, of in SCORES.items()}
        self.table_rows = len(ground.index(size))

    def _by_depth(self, places: Sequence[int]) -> list[int]:
        return sorted(places, key=self._depth)

    def _depth(self, place: int) -> tuple[float, int]:
        return depth_of(self.ground.table.features[place]), place


class OutOfTime(Exception):  # noqa: N818  nobody's mistake
    """The seconds of a budget are over while a head trains."""


def _stop(purse: Purse, *epoch: Any) -> None:
    """Raise OutOfTime where the time is over."""
    if purse.left("head") <= 0:
        raise OutOfTime


def rounds(layers: int, size: int, most: int, rate: int) -> list[tuple[int, int]]:
    """How many layers are judged on how many rows, round after round.

    A `rate`-th of the layers on `rate` times the rows, until all rows are used or only finalists
    are left; one round with a rate of 1.
    """
    plan = [(layers, size)]
    while rate > 1 and plan[-1][0] > FINALISTS and plan[-1][1] < most:
        many, rows = plan[-1]
        plan.append((max(FINALISTS, math.ceil(many / rate)), min(rate * rows, most)))
    return plan


def wins(evidence: Sequence[NDArray[np.bool_]], seed: int, among: int = 1) -> Floats:
    """(K,) the share of bootstrap resamples of the rows in which a layer is `among` the best.

    Each (K, n) says which rows each layer has right, and counts alike. Ties go to the first. Of
    many rows, random groups are drawn again instead of each, which takes as long for any number.
    """
    generator = np.random.default_rng(seed)
    many = len(evidence[0])
    scores = np.zeros((DRAWS, many))
    for right in evidence:
        count = right.shape[1]
        order = generator.permutation(count)
        edges = np.linspace(0, count, min(count, GROUPS), endpoint=False).astype(np.intp)
        sums = np.add.reduceat(right[:, order], edges, axis=1, dtype=np.float64)  # (K, G)
        drawn = generator.multinomial(len(edges), [1 / len(edges)] * len(edges), size=DRAWS)
        scores += drawn @ sums.T / count
    best = np.argsort(-scores, axis=1, kind="stable")[:, :among]
    shares: Floats = np.bincount(best.ravel(), minlength=many) / DRAWS
    return shares
