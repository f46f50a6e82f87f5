"""Which layer, without training a head on each of them: a choice within a budget, and its price."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch

from lefcache.errors import RecipeError
from lefcache.feature import DEPTH, FIXED
from lefcache.recipe import Recipe
from lefcache.rows import Table
from lefcache.study.budget import Budget
from lefcache.study.depth import deepest, nearest_to, reaches
from lefcache.study.ground import Ground, grounds_of, of_model
from lefcache.study.halving import POSSIBLE, Search
from lefcache.study.identity import BY_LEFT_OUT, Shelf, check_tables, identity
from lefcache.study.probes import Setup
from lefcache.study.regret import regret_of
from lefcache.study.scores import SCORES
from lefcache.study.selected import Choice, Layer, Selection
from lefcache.train.fit import device_of
from lefcache.train.protocol import BY_SPLIT
from lefcache.train.stats import accuracy_interval
from lefcache.wording import did_you_mean


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
        results: a folder where the choices are kept for `lef report`, and where a finished sweep
            may lie that they are held against.

    Raises:
        RecipeError: a budget or a score that there is not.
        CorpusError, MismatchError: tables that no head can learn from.
    """
    budget = Budget.parse(budget) if isinstance(budget, str) else budget
    if score not in SCORES:
        near = did_you_mean(score, SCORES)
        raise RecipeError(f"no score '{score}'{near}: it is one of {', '.join(SCORES)}")
    check_tables(tables, (seed,))
    where = device_of(device)
    setup = Setup(recipe, (seed,), where, memory)
    grounds = grounds_of(tables, n_train, seed, setup)
    made = [_choose(each, score, budget, (depths or {}).get(each.model)) for each in grounds]
    if results is not None:
        made = [_held_against(each, tables, results, recipe, n_train) for each in made]
    by = BY_SPLIT if "validation" in tables else BY_LEFT_OUT
    counts = len(grounds[0].learned), len(grounds[0].judges)
    corpus = tables["train"].corpus
    found = Selection(corpus, score, seed, budget, by, *counts, choices=tuple(made))
    key = identity(
        "select", tables, recipe, (seed,), score=score, budget=str(budget), n_train=n_train
    )
    return _kept(found, Shelf(results if recipe.named else None, key, tables), where)


def _kept(made: Selection, shelf: Shelf, where: torch.device) -> Selection:
    """The same with its id, or why it could not be kept; what was kept before is replaced."""
    made = replace(made, id=shelf.id if shelf.results else "")
    if why_not := shelf.put(made.to_json(), None, where):
        return replace(made, id="", not_kept=why_not)
    return made


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
        whole=reaches(features, depth),
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
    return replace(choice, regret=regret_of(mine, choice.marks, scores, results, recipe, n_train))
