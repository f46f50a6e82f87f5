"""Which layer, without training a head on each of them: a choice within a budget, and its price."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from lefcache.errors import RecipeError
from lefcache.feature import DEPTH, FIXED
from lefcache.recipe import Recipe
from lefcache.rows import Table
from lefcache.study.budget import Budget
from lefcache.study.depth import deepest, nearest_to
from lefcache.study.ground import Ground, grounds_of, of_model
from lefcache.study.halving import POSSIBLE, Search
from lefcache.study.identity import BY_LEFT_OUT, CHOSEN, check_tables, notes_on_rows
from lefcache.study.probes import Setup
from lefcache.study.regret import Regret, regret_of
from lefcache.study.scores import SCORES
from lefcache.study.shown import Shown
from lefcache.train.fit import device_of
from lefcache.train.protocol import BY_SPLIT
from lefcache.train.stats import Interval, accuracy_interval
from lefcache.wording import did_you_mean


@dataclass(frozen=True)
class Layer:
    """What was found out about one layer.

    `value` is the chosen score after `n_train` rows, and `accuracy` is ridge's, on `n_judged` rows
    that it did not learn; `head_accuracy` that of the method's head on the validation rows.
    `scores` are by name, all on `n_scores` rows of the choice. What the budget did not pay for is
    None, or not there.
    """

    feature: str
    n_train: int
    value: float | None
    n_judged: int
    accuracy: float | None
    ci95: Interval | None
    head_accuracy: float | None
    head_ci95: Interval | None
    scores: dict[str, float]


@dataclass(frozen=True)
class Choice:
    """The layer of one model, how it was chosen, and at what cost.

    `by` says what decided: a score, a score and the head, or the fixed depth where the budget paid
    for no comparison. `sure` is the share of bootstrap resamples of the judged rows that choose
    this layer, and `rivals` are the others that a few of them choose; None where nothing was judged
    row by row. `share` is the part of
    the work of a sweep with one head on every layer, in counted multiplications; `rows_read`
    counts vectors. `regret` is there where a finished sweep is: it was looked up afterwards.
    """

    model: str
    feature: str
    by: str
    sure: float | None
    rivals: tuple[str, ...]
    seconds: float
    share: float
    rows_read: int
    n_train: int
    n_head_train: int
    n_head: int
    n_scores: int
    last: str
    fixed: str
    layers: tuple[Layer, ...]
    regret: Regret | None = None


@dataclass(frozen=True)
class Selection(Shown):
    """One choice for each model, all within the same budget each.

    `selected_by` says which rows the scores were judged by, of `n_train` rows to learn from and
    `n_val` to choose by. The test was not read.
    """

    corpus: str
    score: str
    seed: int
    budget: Budget
    selected_by: str
    n_train: int
    n_val: int
    choices: tuple[Choice, ...]

    @property
    def chosen(self) -> str:
        """`selected_by` in words that follow "chosen"."""
        return CHOSEN[self.selected_by]

    @property
    def heading(self) -> str:
        """Corpus, and the rows that chose."""
        return f"{self.corpus}: layers chosen {self.chosen}"

    def records(self) -> list[dict[str, Any]]:
        """A row for each model."""
        return [
            {
                "model": each.model,
                "feature": each.feature,
                "by": each.by,
                "sure": each.sure,
                "share": each.share,
                "seconds": each.seconds,
                "n_train": each.n_train,
                "last": each.last,
                "fixed": each.fixed,
            }
            for each in self.choices
        ]

    def plot(self) -> Any:
        """What ridge made of each layer that was judged; see `lefcache.report.charts`."""
        from lefcache.report.charts import layer_curve
        from lefcache.report.curves import curve_of

        rows = [
            {
                "feature": layer.feature,
                "val_accuracy": layer.accuracy,
                "n": layer.n_judged,
                "chosen": layer.feature == choice.feature,
            }
            for choice in self.choices
            for layer in choice.layers
            if layer.accuracy is not None
        ]
        values = {"corpus": self.corpus, "probe": "ridge", "n_test": 0, "rows": rows}
        return layer_curve(curve_of(values), title=self.corpus)

    def notes(self) -> list[str]:
        """What to know of these choices that they do not show."""
        left_out = self.selected_by == BY_LEFT_OUT
        blind = [each.model for each in self.choices if each.by == FIXED]
        return [
            *notes_on_rows(self.n_train if left_out else self.n_val, 0),
            *(
                f"the budget paid for no comparison of the layers of {model}: this is the fixed "
                f"depth of {DEPTH}; raise --budget"
                for model in blind
            ),
        ]

    def to_json(self) -> dict[str, Any]:
        """The fields as plain values."""
        return asdict(self)


def select(
    tables: Mapping[str, Table],
    budget: str | Budget = "10%",
    score: str = "ridge",
    recipe: Recipe = Recipe(),  # noqa: B008  frozen
    *,
    seed: int = 0,
    n_train: int | None = None,
    depths: Mapping[str, int] | None = None,
    device: str | torch.device = "auto",
    memory: int | None = None,
    results: Path | None = None,
) -> Selection:
    """Choose a layer of each model within a budget, by what train and validation say.

    A closed-form score judges all layers on a few rows, then the better ones on more, and so on;
    where the budget still pays for it, those that may well be the best get the recipe's head too. A
    budget that is a share counts multiplications, so that the same choices are made on every
    machine; one in seconds does what it can until then.

    Args:
        tables: as `sweep` takes them; the test's vectors are not read.
        budget: for each model, `5s` or `10%` of the work of its sweep with this recipe and one
            seed, in words or as a Budget.
        score: a name in SCORES.
        recipe: of the heads.
        seed: of the drawn rows, the resamples and the heads.
        n_train: how many rows the choice is for; None for all.
        depths: blocks of each model, for the fixed depth; else the deepest layer here tells.
        device: of the heads.
        memory: bytes that they may take; None for most of what is free.
        results: where a finished sweep may lie that the choices are held against.

    Raises:
        RecipeError: a budget or a score that there is not.
        CorpusError, MismatchError: tables that no head can learn from.
    """
    budget = Budget.parse(budget) if isinstance(budget, str) else budget
    if score not in SCORES:
        near = did_you_mean(score, SCORES)
        raise RecipeError(f"no score '{score}'{near}: it is one of {', '.join(SCORES)}")
    check_tables(tables, (seed,))
    setup = Setup(recipe, (seed,), device_of(device), memory)
    grounds = grounds_of(tables, n_train, seed, setup)
    made = [_choose(each, score, budget, (depths or {}).get(each.model)) for each in grounds]
    if results is not None:
        made = [_held_against(each, tables, results, recipe, n_train) for each in made]
    by = BY_SPLIT if "validation" in tables else BY_LEFT_OUT
    counts = len(grounds[0].learned), len(grounds[0].judges)
    return Selection(tables["train"].corpus, score, seed, budget, by, *counts, choices=tuple(made))


def _choose(ground: Ground, score: str, budget: Budget, depth: int | None) -> Choice:
    """Search, and say what came of it."""
    features = ground.table.features
    search = Search(ground, score, budget.purse(ground.sweep_work()))
    search.run()
    fixed = nearest_to(features, DEPTH, depth)
    by, place, shares = FIXED, features.index(fixed), {}
    if search.finalists:
        place, shares = search.choose(), search.shares()
        by = f"{score} + head" if search.heads else score
    rivals = [each for each, won in shares.items() if won >= POSSIBLE and each != place]
    return Choice(
        model=ground.model,
        feature=str(features[place]),
        by=by,
        sure=shares.get(place),
        rivals=tuple(str(features[each]) for each in rivals),
        seconds=search.purse.seconds,
        share=search.purse.share,
        rows_read=search.rows_read,
        n_train=max((search.judged[each].n_train for each in search.finalists), default=0),
        n_head_train=search.head_rows,
        n_head=len(ground.judges) if search.heads else 0,
        n_scores=search.table_rows,
        last=deepest(features)[0],
        fixed=str(fixed),
        layers=tuple(_layer(search, each) for each in range(len(features))),
    )


def _layer(search: Search, place: int) -> Layer:
    judged, head = search.judged.get(place), search.heads.get(place)
    right = judged.right if judged is not None and len(judged.right) else None
    return Layer(
        feature=str(search.ground.table.features[place]),
        n_train=judged.n_train if judged else 0,
        value=judged.value if judged else None,
        n_judged=0 if right is None else len(right),
        accuracy=None if right is None else float(right.mean()),
        ci95=None if right is None else accuracy_interval(right[None]),
        head_accuracy=None if head is None else float(head.mean()),
        head_ci95=None if head is None else accuracy_interval(head[None]),
        scores=search.table.get(place, {}),
    )


def _held_against(
    choice: Choice, tables: Mapping[str, Table], results: Path, recipe: Recipe, n_train: int | None
) -> Choice:
    """The choice with what a finished sweep of the same layers says of it, where there is one."""
    mine = {name: of_model(table, choice.model) for name, table in tables.items()}
    scores = {
        name: {layer.feature: layer.scores[name] for layer in choice.layers if layer.scores}
        for name in SCORES
    }
    named = {"chosen": choice.feature, "last": choice.last, FIXED: choice.fixed}
    return replace(choice, regret=regret_of(mine, named, scores, results, recipe, n_train))
