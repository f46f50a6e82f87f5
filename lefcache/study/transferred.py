"""What layers and heads that one corpus chose are worth on others: the figures of a transfer."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from lefcache.study.identity import (
    CHOSEN,
    as_written,
    notes_on_kept,
    notes_on_known,
    notes_on_rows,
)
from lefcache.study.shown import Shown, ends
from lefcache.train.stats import Interval
from lefcache.typed import from_plain
from lefcache.wording import count

OTHER_CLASSES = "other classes"


@dataclass(frozen=True)
class Chosen:
    """The layer that a corpus chooses by its own rows, and the curve that it was chosen from.

    `n_val` is 0 where each row of train was left out in turn. The test had no part in it.
    """

    corpus: str
    feature: str
    selected_by: str
    n_train: int
    n_val: int
    val_accuracy: dict[str, float]

    @property
    def chosen(self) -> str:
        """`selected_by` in words that follow "chosen"."""
        return CHOSEN.get(self.selected_by, f"by {self.selected_by}")


@dataclass(frozen=True)
class Transferred:
    """A layer used on a target: chosen by the corpus `source`, or settled beforehand and so called.

    `regret` is its price, a share of the target's test texts: the accuracy of the target's own
    choice minus this one's, with a paired interval; below 0 the own choice was the unlucky one.
    Both are trained on the target. `spearman` says whether the layers of both corpora rank alike by
    their validation curves: None of fewer than three, and of what chose nothing. `n_known` of the
    test texts are also in the source's train; `otherwise` says how its vectors were made otherwise.
    """

    source: str
    target: str
    feature: str
    accuracy: float
    ci95: Interval
    regret: float
    regret_ci95: Interval
    spearman: float | None = None
    spearman_ci95: Interval | None = None
    n_known: int = 0
    otherwise: str = ""


@dataclass(frozen=True)
class Figures:
    """How a head from elsewhere does on `n` test texts, beside the target's own choice on them.

    `feature` was chosen by the corpus `chosen_by`. `regret` is as in `Transferred`.
    """

    feature: str
    chosen_by: str
    n: int
    accuracy: float
    ci95: Interval
    own_accuracy: float
    own_ci95: Interval
    regret: float
    regret_ci95: Interval


@dataclass(frozen=True)
class HeadMoved:
    """Heads that were trained on `source` and read the target's test as they are.

    `classes` says which class of the source was taken for which of the target. Test texts that are
    in the source's train (`n_known`) are left out, for the target's own head too. `on` has the
    source's layer first, then the target's, if that is another one; where no head can be moved
    there are none, and `why_not` says why.
    """

    source: str
    target: str
    why_not: str = ""
    classes: dict[str, str] | None = None
    n_known: int = 0
    on: tuple[Figures, ...] = ()


@dataclass(frozen=True)
class Target:
    """One corpus, and what every other one's choice is worth on its test.

    `best` is its own choice, of `layers`. Only layers that were settled by then were shown the
    test: the own choice, those of the sources (`rows`), and the `baselines`. `choices` are of all
    corpora, the target's first. `id` names the result; `not_kept` says why it could not be kept.
    """

    corpus: str
    model: str
    probe: str
    seeds: int
    selected_by: str
    n_train: int
    n_val: int
    n_test: int
    layers: int
    best: str
    val_accuracy: float
    test_accuracy: float
    test_ci95: Interval
    choices: tuple[Chosen, ...]
    rows: tuple[Transferred, ...]
    baselines: tuple[Transferred, ...]
    heads: tuple[HeadMoved, ...]
    seconds: float
    cached: bool = False
    n_val_known: int = 0
    n_test_known: int = 0
    id: str = ""
    not_kept: str = ""

    @property
    def chosen(self) -> str:
        """`selected_by` in words that follow "chosen"."""
        return self.choices[0].chosen

    def row(self, source: str) -> Transferred | None:
        """The layer of a source, or a baseline; None for what did not take part."""
        return next((row for row in (*self.rows, *self.baselines) if row.source == source), None)

    def head(self, source: str) -> HeadMoved | None:
        """The heads of a source; None of what did not take part, the target itself among it."""
        return next((head for head in self.heads if head.source == source), None)

    def notes(self) -> Iterator[str]:
        """What to know of these figures that they do not show."""
        yield from (
            f"{self.corpus}: {line}"
            for line in (
                *notes_on_rows(self.n_val or self.n_train, self.n_test),
                *notes_on_known("validation", self.n_val_known, self.n_val),
                *notes_on_known("test", self.n_test_known, self.n_test),
            )
        )
        for row in self.rows:
            if row.source != self.corpus:
                yield from self._notes_on(row)
        for head in self.heads:
            if head.classes and all(name.strip().isdecimal() for name in head.classes):
                both = " and ".join(sorted((head.source, self.corpus)))
                yield (
                    f"the classes of {both} are numbers: that they mean the same is taken on trust"
                )
        yield from notes_on_kept(self.not_kept)

    def _notes_on(self, row: Transferred) -> Iterator[str]:
        if row.n_known:
            texts = count(self.n_test, "test text")
            yield (
                f"{row.n_known:,} of {texts} of {self.corpus} are in the train of {row.source}, "
                "which therefore knows more of it than a new corpus would; heads are scored on "
                "the others"
            )
        if row.otherwise:
            yield (
                f"the vectors of {row.source} were made otherwise than those of {self.corpus} "
                f"({row.otherwise}): their layers may not be the same ones"
            )

    def to_json(self) -> dict[str, Any]:
        """The fields as plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Target":
        """Read what `to_json` wrote."""
        with as_written("what lies there"):
            made = from_plain(cls, values)
            if made.best not in made.choices[0].val_accuracy or not made.rows:
                raise ValueError("its best feature is none of its layers, or it has no rows")
            return made


@dataclass(frozen=True)
class Transfer(Shown):
    """A matrix of regret: the choice of each of some corpora, used on each of some targets."""

    model: str
    sources: tuple[str, ...]
    targets: tuple[Target, ...]

    @property
    def choices(self) -> dict[str, Chosen]:
        """What each corpus chose, source or target."""
        return {each.corpus: each for target in self.targets for each in target.choices}

    @property
    def moved(self) -> list[Transferred]:
        """Every layer on a corpus that did not choose it."""
        return [row for each in self.targets for row in each.rows if row.source != each.corpus]

    def baselines(self, name: str) -> list[Transferred]:
        """A baseline on each of the targets."""
        rows = [row for each in self.targets for row in each.baselines]
        return [row for row in rows if row.source == name]

    @property
    def heading(self) -> str:
        """Model, probe, and what the rows are."""
        return (
            f"{self.model}, {self.targets[0].probe} probe: layers on corpora that others chose for"
        )

    def records(self) -> list[dict[str, Any]]:
        """A row for each layer on each target, the target's own choice and baselines among them."""
        return [
            {
                "source": row.source,
                "target": row.target,
                "feature": row.feature,
                "accuracy": row.accuracy,
                **ends("ci95", row.ci95),
                "regret": row.regret,
                **ends("regret_ci95", row.regret_ci95),
                "n_test": each.n_test,
                "n_known": row.n_known,
                "spearman": row.spearman,
            }
            for each in self.targets
            for row in (*each.rows, *each.baselines)
        ]

    def plot(self) -> Any:
        """The regret of each choice on each target; see `lefcache.report.charts`."""
        from lefcache.report.later import regrets, regrets_chart

        rows = [row for each in self.targets for row in regrets(each.to_json())]
        return regrets_chart(rows, title=self.heading)

    def notes(self) -> list[str]:
        """What to know of these figures that they do not show, each once."""
        return [*dict.fromkeys(line for each in self.targets for line in each.notes())]

    def to_json(self) -> dict[str, Any]:
        """The fields as plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Transfer":
        """Read what `to_json` wrote."""
        with as_written("what lies there"):
            targets = tuple(map(Target.from_json, values["targets"]))
            return from_plain(cls, {**values, "targets": targets})
