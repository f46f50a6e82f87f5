"""What choosing a layer may cost: seconds, or a share of the work of the sweep that it saves."""

import math
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise

from lefcache.errors import RecipeError
from lefcache.recipe import Recipe
from lefcache.train.ridge import ALPHAS

UNITS = {"s": 1.0, "min": 60.0, "h": 3600.0}

# All in multiplications of a matrix product: what an eigendecomposition, a value that is compared
# with others and a call come to beside those, as measured on layers of 256 to 6,400 rows. A head's
# small products take up to twice as long, so that a share of work is at most that share of time.
EIGEN = 10.0
VALUE = 600.0
CALL = 5e6
RATE = 1e-10  # seconds for each of them, until it is measured
WARY = 0.8  # of what seems to be left: the next measurement may take longer than the last

# A head with patience stops long before its last epoch: after so many times its patience at least,
# as a rule, which makes a share of a sweep's work rather too small than too large.
PATIENCES = 2


@dataclass(frozen=True)
class Budget:
    """At most so many seconds, or this share of the work of a sweep with heads (1 is all of it).

    Exactly one of the two is given.
    """

    seconds: float | None = None
    share: float | None = None

    @classmethod
    def parse(cls, text: str) -> "Budget":
        """Read `5s`, `2min`, `1h` or `10%`; RecipeError for anything else, and for nothing."""
        match = re.fullmatch(r"([0-9]*\.?[0-9]+) ?(s|min|h|%)", text.strip())
        number = float(match[1]) if match else 0.0
        if match is None or not number:
            raise RecipeError(f"--budget {text}: give a time such as 5s, or a share such as 10%")
        if match[2] == "%":
            return cls(share=number / 100)
        return cls(seconds=number * UNITS[match[2]])

    def __str__(self) -> str:
        return f"{100 * (self.share or 0):g}%" if self.seconds is None else f"{self.seconds:g}s"

    def purse(self, whole: float) -> "Purse":
        """The budget to be spent, from now on; `whole` is the work of the sweep."""
        return Counted(self, whole) if self.seconds is None else Clock(self, whole)


class Purse:
    """What was spent, in multiplications and in seconds since it was opened.

    `guesses` says whether it knows what work takes before some was done.
    """

    guesses = False

    def __init__(self, budget: Budget, whole: float) -> None:
        self.budget, self.whole = budget, whole
        self.work = 0.0
        self.start = time.perf_counter()

    @property
    def seconds(self) -> float:
        """Since the purse was opened."""
        return time.perf_counter() - self.start

    @property
    def share(self) -> float:
        """Of the sweep's work."""
        return self.work / self.whole

    def left(self, kind: str) -> float:
        """How much work of this kind can still be paid."""
        raise NotImplementedError  # an abstract method, defined by both subclasses

    @contextmanager
    def paying(self, kind: str, work: float) -> Iterator[None]:
        """Do this much work of a kind."""
        yield
        self.work += work


class Counted(Purse):
    """A share of a sweep: the same choices on every machine, however fast it is."""

    def left(self, kind: str) -> float:
        """How much work, of any kind."""
        assert self.budget.share is not None
        return self.budget.share * self.whole - self.work


class Clock(Purse):
    """Seconds: what a kind of work takes is measured whenever some of it is done."""

    guesses = True

    def __init__(self, budget: Budget, whole: float) -> None:
        super().__init__(budget, whole)
        self.rates: dict[str, float] = {}

    def left(self, kind: str) -> float:
        """How much work fits into the time that is left, at the rate of the last one."""
        assert self.budget.seconds is not None
        rate = self.rates.get(kind, max([RATE, *self.rates.values()]))
        return WARY * (self.budget.seconds - self.seconds) / rate

    @contextmanager
    def paying(self, kind: str, work: float) -> Iterator[None]:
        """The same against the clock."""
        start = time.perf_counter()
        with super().paying(kind, work):
            yield
        self.rates[kind] = (time.perf_counter() - start) / work


def score_work(rows: int, width: int, classes: int, judged: int = 0) -> float:
    """What ridge, or another score, takes on one layer; `judged` rows are of a validation split."""
    small, paths = min(rows, width), len(ALPHAS) * classes
    decisions = paths * (rows * (small + VALUE) + judged * (width + VALUE))
    return CALL + 2.0 * rows * width * small + decisions + EIGEN * small**3


def head_work(rows: int, width: int, classes: int, recipe: Recipe, judged: int) -> float:
    """What a head on one layer takes: in each epoch, `rows` are learnt, and `judged` ones read.

    A row that is learnt passes forward, and back to the weights and to what is below them.
    """
    sizes = [width, recipe.width, *recipe.hidden, classes]
    passed = epochs_of(recipe) * (3.0 * rows + judged)
    return passed * math.fsum(one * other for one, other in pairwise(sizes))


def epochs_of(recipe: Recipe) -> int:
    """How many epochs to reckon with."""
    early = PATIENCES * recipe.patience
    return min(recipe.epochs, early) if early else recipe.epochs
