"""Which two features complement each other: told from their vectors, before any head is trained."""

import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import asdict, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import torch

from lefcache.errors import RecipeError
from lefcache.rows import Table
from lefcache.study.couples import Couple, Held, Holding, learned_of
from lefcache.study.engine import HERE, Does, Engine
from lefcache.study.forecast import foretold
from lefcache.study.identity import (
    BY_LEFT_OUT,
    Shelf,
    as_written,
    check_tables,
    identity,
    known_of,
)
from lefcache.study.judge import PARTS
from lefcache.study.narrow import WIDEST
from lefcache.study.paired import Pairs
from lefcache.train.protocol import BY_SPLIT, Part, labelled
from lefcache.typed import from_plain

ROWS = 10_000


def pairs(
    tables: Mapping[str, Table],
    *,
    rows: int = ROWS,
    results: Path | None = None,
    on_pair: Callable[[int, int], None] | None = None,
    engine: Engine = HERE,
) -> Pairs:
    """Hold every two features of the tables against each other; the test is not read.

    Ridge is fitted to each feature and to each pair, side by side, each feature scaled to the same
    total variance, and judged by exact leave-one-out over train, or by the corpus's own validation
    split. Of features wider than WIDEST the first principal components stand for them. A block of
    products X'Y is computed once, for the alikeness of two features and for the ridge on both, and
    no vectors are in memory but chunks and projected ones.

    Args:
        tables: `train`, and `validation` and `test` where the corpus has them, of equal features.
            Of the test only the number of rows is used, for the width of an interval.
        rows: at most so many of train are learnt from: those of `--n-train`.
        results: a folder that finished ones are kept in and loaded from, and single pairs, of which
            none is computed twice. What has been fused is looked up there each time.
        on_pair: called after each pair with how many are done, and how many there are.
        engine: who computes: this process, or a `Spread` over the workers of a cluster.

    Raises:
        RecipeError: fewer than two features.
        CorpusError: fewer rows than classes, and what any study raises it for.
        NotFiniteError: the rows hold NaN or infinity.
    """
    start = time.perf_counter()
    seen = {name: table for name, table in tables.items() if name != "test"}
    check_tables(seen, (0,))
    features = tables["train"].features
    if len(features) < 2:
        raise RecipeError(
            f"a pair takes two features, and {features[0]} is one: name another beside it, as in "
            f"{features[0]},MODEL:LAYER"
        )
    learned = learned_of(seen, rows)
    fewer = len(learned) if rows < len(labelled(seen["train"])) else None
    key = identity("pairs", seen, None, (0,), n_train=fewer, widest=WIDEST)
    shelf = Shelf(results, key, seen)
    known = known_of(seen)["n_val_known"]
    if found := shelf.find():
        return foretold(Pairs.from_json(found | {"n_val_known": known}), tables, results)
    held = _hold(engine.begin(Holding(rows), seen), _shelves(seen, fewer, results), on_pair)
    made = replace(
        _held_together(seen, learned, held),
        seconds=time.perf_counter() - start,
        n_val_known=known,
        id=shelf.id if shelf.results else "",
    )
    if why_not := shelf.put(made.to_json(), None, torch.device("cpu")):
        made = replace(made, id="", not_kept=why_not)
    return foretold(made, tables, results)


def _held_together(
    tables: Mapping[str, Table],
    learned: Part,
    held: Mapping[Couple, Held],
) -> Pairs:
    """What all couples come to."""
    singles = {each.feature: each for one in held.values() for each in one.singles}
    judged = labelled(tables["validation"]) if "validation" in tables else None
    return Pairs(
        corpus=learned.table.corpus,
        selected_by=BY_LEFT_OUT if judged is None else BY_SPLIT,
        n_rows=len(labelled(tables["train"])),
        n_train=len(learned),
        n_val=0 if judged is None else len(judged),
        n_test=0,
        singles=tuple(singles[str(feature)] for feature in learned.table.features),
        rows=tuple(
            sorted(
                (one.row for one in held.values()),
                key=lambda row: (-row.gain, -row.residual_gain),
            )
        ),
        seconds=0.0,
    )


def _hold(
    does: Does, shelves: Mapping[Couple, Shelf], on_pair: Callable[[int, int], None] | None
) -> dict[Couple, Held]:
    """Every couple: those that are remembered, and the others as they are done."""
    found = {couple: shelf.find() for couple, shelf in shelves.items()}
    held = {couple: _remembered(one) for couple, one in found.items() if one}
    with closing(does([couple for couple in shelves if couple not in held])) as coming:
        for couple, one in coming:
            held[couple] = one
            shelves[couple].put(asdict(one), None, torch.device("cpu"))
            if on_pair is not None:
                on_pair(len(held), len(shelves))
    return {couple: held[couple] for couple in shelves}


def _shelves(
    tables: Mapping[str, Table], fewer: int | None, results: Path | None
) -> dict[Couple, Shelf]:
    """Where each couple is remembered, one after the other."""
    found = {}
    for couple in combinations(range(len(tables["train"].features)), 2):
        two = {name: table.of(couple) for name, table in tables.items()}
        key = identity("pair", two, None, (0,), n_train=fewer, widest=WIDEST)
        found[couple] = Shelf(results / PARTS if results else None, key, two)
    return found


def _remembered(found: Mapping[str, Any]) -> Held:
    with as_written("what lies there"):
        return from_plain(Held, {name: found[name] for name in ("row", "singles")})
