"""What choosing a layer within a budget loses against a sweep with heads on all of them.

    python benchmarks/which_layer.py --cache CACHE --models minilm,smalldecoder [--trial]

CACHE holds all layers of the models over mr, r8, r52 and sst2 (`lef extract`). For each corpus and
model, a full sweep trains five heads on every layer, by the recipe of `benchmarks/fusion.py`, and
shows the test of all. It is kept in the cache's results by its id, and so is each head as it comes:
an interrupted run goes on where it was. Then `lef select` chooses within budgets, each score on all
rows, and so do "last layer" and "fixed depth 0.6"; what each loses is read off the sweep's test.
SST-2 takes part with a fixed stratified choice of 8,000 of its training rows.

Writes `select.md` and `select.json` into `benchmarks/results` after each corpus and model. (As
select.py, this script would stand in the way of Python's own module for all others here.)
"""

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from fusion import CORPORA, EARLY, WIDTH
from which_layer_report import write

import lefcache
from lefcache import Cache
from lefcache import results as store
from lefcache.study import SCORES, Sweep, select, sweep
from lefcache.study.ground import grounds_of
from lefcache.study.probes import Setup
from lefcache.study.regret import agreement
from lefcache.study.scores import merit
from lefcache.train import Recipe

RESULTS = Path(__file__).parent / "results"
SEEDS = 5  # heads on each layer of the sweep
DRAWN = 5  # choices within a budget, each with other rows drawn
BUDGETS = ("0.5%", "1%", "2%", "10%")


@dataclass(frozen=True)
class Asked:
    """One corpus and model, and what is asked of it."""

    corpus: str
    model: str
    n_train: int | None
    recipe: Recipe
    seeds: int
    drawn: int
    budgets: tuple[str, ...]

    def tables(self, cache: Cache) -> dict[str, Any]:
        """All its layers."""
        return cache.tables(f"{self.model}:all", self.corpus)


@dataclass(frozen=True)
class Choice:
    """A layer that something has chosen in `seconds`; `how` is what the report calls it."""

    how: str
    feature: str
    seconds: float
    draw: int = 0
    sure: float | None = None
    by: str = ""
    rows_read: int = 0


def full_sweep(cache: Cache, asked: Asked) -> tuple[Sweep, dict[str, list[float]]]:
    """The sweep, and the test accuracy of each layer by each seed."""
    swept = sweep(
        asked.tables(cache),
        "mlp",
        asked.recipe,
        seeds=asked.seeds,
        show_test=True,
        n_train=asked.n_train,
        results=cache.results,
    )
    result = store.look_up(cache.results, swept.id)
    predicted, truth = result.predictions(), result.truth()  # (F, S, N), (N,)
    assert predicted is not None
    assert truth is not None
    known = truth >= 0
    shares = (predicted[:, :, known] == truth[known]).mean(axis=2)
    return swept, dict(zip((row.feature for row in swept.rows), shares.tolist(), strict=True))


def budgeted(cache: Cache, asked: Asked) -> Iterator[Choice]:
    """What `lef select` chooses within each budget, in turns, so that none is favoured."""
    tables, depth = asked.tables(cache), depth_of(cache, asked)
    for draw in range(asked.drawn):
        for budget in asked.budgets:
            found = select(
                tables,
                budget,
                recipe=asked.recipe,
                seed=draw,
                n_train=asked.n_train,
                depths={asked.model: depth},
            )
            (choice,) = found.choices
            rest = {"sure": choice.sure, "by": choice.by, "rows_read": choice.rows_read}
            how = f"select, {budget}"
            yield Choice(how, choice.feature, choice.seconds, draw, **rest)
            if (draw, budget) == (0, asked.budgets[0]):
                yield Choice("last layer", choice.last, 0.0)
                yield Choice("fixed depth 0.6", choice.fixed, 0.0)


def scored(cache: Cache, asked: Asked) -> tuple[dict[str, dict[str, float]], list[Choice]]:
    """Each score of each layer on all rows, by name and feature, and what it would choose."""
    setup = Setup(asked.recipe)
    (ground,) = grounds_of(asked.tables(cache), asked.n_train, 0, setup)
    features = [*map(str, ground.table.features)]
    values: dict[str, dict[str, float]] = {name: {} for name in SCORES}
    seconds = dict.fromkeys(SCORES, 0.0)
    for place, feature in enumerate(features):
        sample = ground.sample(place, len(ground.learned))
        for name, score in SCORES.items():
            start = time.perf_counter()
            values[name][feature] = score(replace(sample))  # which remembers nothing yet
            seconds[name] += time.perf_counter() - start
    chosen = [
        Choice(f"{name}, all rows", max(of, key=lambda each: merit(name, of[each])), seconds[name])
        for name, of in values.items()
    ]
    return values, chosen


def depth_of(cache: Cache, asked: Asked) -> int:
    """The model's blocks."""
    return cache.pages(asked.model, "train", asked.corpus).depth


def cell(cache: Cache, asked: Asked) -> dict[str, Any]:
    """Everything that is asked of one corpus and model, as plain values."""
    swept, accuracies = full_sweep(cache, asked)
    values, chosen = scored(cache, asked)
    truth = {feature: float(np.mean(each)) for feature, each in accuracies.items()}
    chosen += budgeted(cache, asked)
    chosen.append(Choice("the sweep itself, on validation", swept.best, 0.0))
    seconds = sum(row.seconds for row in swept.rows)
    return {
        "corpus": asked.corpus,
        "model": asked.model,
        "sweep": {
            "id": swept.id,
            "seeds": swept.seeds,
            "seconds": seconds,
            "selected_by": swept.selected_by,
            "n_train": swept.n_train,
            "n_val": swept.n_val,
            "n_test": swept.n_test,
            "test_accuracy": accuracies,
            "val_accuracy": {row.feature: row.val_accuracy for row in swept.rows},
        },
        "scores": values,
        "spearman": {name: agreement(name, of, truth).spearman for name, of in values.items()},
        "choices": [asdict(each) for each in chosen],
    }


def main() -> None:
    """Parse, ask, write."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--models", default="minilm,smalldecoder")
    parser.add_argument("--corpora", default=",".join(CORPORA), help="some of them")
    parser.add_argument("--seeds", type=int, default=SEEDS, help="heads on each layer")
    parser.add_argument("--budgets", default=",".join(BUDGETS), help="such as 2%%,50%%")
    parser.add_argument("--trial", action="store_true", help="one seed, one pass, to try it out")
    parser.add_argument("--out", type=Path, default=RESULTS, help="the folder to write to")
    options = parser.parse_args()
    cache = lefcache.open(options.cache)
    settings: dict[str, Any] = {"width": WIDTH, **EARLY} | ({"epochs": 1} if options.trial else {})
    seeds, drawn = (1, 1) if options.trial else (options.seeds, DRAWN)
    asked: dict[str, Any] = {"recipe": Recipe(**settings), "seeds": seeds, "drawn": drawn}
    asked["budgets"] = tuple(options.budgets.split(","))
    cells: list[dict[str, Any]] = []
    options.out.mkdir(parents=True, exist_ok=True)
    for corpus in options.corpora.split(","):
        for model in options.models.split(","):
            start, rows = time.perf_counter(), CORPORA[corpus]
            cells.append(cell(cache, Asked(corpus, model, rows, **asked)))
            took = time.perf_counter() - start
            print(f"{corpus} {model}: {took:.0f} s", flush=True)
            document = {"trial": options.trial, "recipe": settings, "drawn": drawn, "cells": cells}
            (options.out / "select.json").write_text(json.dumps(document, indent=1) + "\n")
            (options.out / "select.md").write_text(write(document))


if __name__ == "__main__":
    main()
