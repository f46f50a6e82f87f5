"""Which layer is best: one small classifier per layer, chosen without the test."""

import math
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from lefcache.recipe import Recipe
from lefcache.rows import Table
from lefcache.study.arrange import arranged, check_protocol
from lefcache.study.depth import deepest, depth_of
from lefcache.study.engine import HERE, Engine
from lefcache.study.identity import (
    Shelf,
    alone,
    check_tables,
    identity,
    known_of,
)
from lefcache.study.judge import Bench, Fits
from lefcache.study.probes import LEAVING_OUT, SEEDLESS, Probe, Probed, Setup, probe_of
from lefcache.study.swept import Row, Sweep
from lefcache.train.protocol import labelled
from lefcache.train.stats import accuracy_interval, macro_f1, per_class

UNTESTED: dict[str, Any] = dict.fromkeys(("test_accuracy", "test_macro_f1", "test_ci95"))

Seen = tuple[Row, NDArray[np.int32] | None]


@dataclass(frozen=True)
class Fitting:
    """What the layers of a sweep are fitted by, wherever that is done."""

    bench: Bench
    protocol: str
    n_train: int | None

    def begin(self, tables: Mapping[str, Table]) -> Fits:
        """What fits members of a sweep of these tables."""
        carves = self.bench.name not in LEAVING_OUT
        used, _ = arranged(tables, self.protocol, self.n_train, carves)
        layers = [alone(used, place) for place in range(len(used["train"].features))]
        return partial(self.bench.fit, layers)


def sweep(  # noqa: PLR0913  keyword settings
    tables: Mapping[str, Table],
    probe: str | Probe = "ridge",
    recipe: Recipe = Recipe(),  # noqa: B008  frozen
    *,
    seeds: int = 1,
    first_seed: int = 0,
    show_test: bool = False,
    protocol: str = "validation",
    n_train: int | None = None,
    fixed: Collection[str] = (),
    device: str | torch.device = "auto",
    memory: int | None = None,
    results: Path | None = None,
    on_row: Callable[[Row], None] | None = None,
    engine: Engine = HERE,
) -> Sweep:
    """Judge every feature of the tables on its own and choose the best, ties to the shallower.

    The test is read for the chosen feature only, after it was chosen: the best of 33 layers on
    the test itself would be 33 chances to be lucky. At most two layers are in memory: one is read
    while the other is computed.

    Args:
        tables: `train`, and `validation` and `test` where the corpus has them, of equal features.
        probe: a name in PROBES, or a function like those there.
        recipe: how the probe `mlp` is trained.
        seeds: heads per layer; a ridge is the same for every seed, so it is fitted once.
        first_seed: the seeds are this one and those that follow it.
        show_test: fill the test figures of every row, for a plot, not for a choice.
        protocol: `validation`, or `paper`: everything chosen on the test, as the method's source
            does.
        n_train: how many rows to learn from, the same for every study; None for all.
        fixed: features that were settled beforehand, such as the last layer: shown the test too, as
            baselines beside the rows, since nobody chooses by it.
        device: of the probe `mlp`.
        memory: bytes that the heads and layers of `mlp` may take; None for most of what is free.
        results: a folder that finished sweeps, and the finished layers of one that was interrupted,
            are kept in and loaded from; own functions are not.
        on_row: called as each row is judged, before the chosen one is shown the test.
        engine: who fits: this process, or a `Spread` over the workers of a cluster, on which rows
            are done in any order. `device` and `memory` are then those of each worker.
    """
    start = time.perf_counter()
    fit, name = probe_of(probe)
    where = engine.device(device)
    chain = (0,) if name in SEEDLESS else tuple(range(first_seed, first_seed + seeds))
    check_tables(tables, chain)
    check_protocol(tables, protocol)
    used, by = arranged(tables, protocol, n_train, carves=name not in LEAVING_OUT)
    every = "test" in tables and (show_test or protocol == "paper")
    settings = None if name in SEEDLESS else recipe
    paper = None if protocol == "validation" else protocol
    more = {"probe": name, "show_test": every, "fixed": sorted(fixed) or None}
    key = identity("sweep", tables, settings, chain, protocol=paper, n_train=n_train, **more)
    shelf = Shelf(results if isinstance(probe, str) and recipe.named else None, key, tables)
    known: dict[str, Any] = dict(known_of(used))
    if found := shelf.find():
        return Sweep.from_json(found | known)  # one of before does not say it
    shown = _shown(used, every, fixed)
    bench = Bench(fit, name, Setup(recipe, chain, where, memory), settings, shelf.results)
    fits = engine.begin(Fitting(bench, protocol, n_train), tables)
    judged, best, leader = _judge_all(bench, used, fits, shown, on_row)
    carved = n_train is not None and name not in LEAVING_OUT
    swept = replace(
        _summary(used, judged, best, leader, every, fixed),
        probe=name,
        seeds=len(chain),
        selected_by=by if protocol == "paper" or carved else leader.selected_by,
        seconds=time.perf_counter() - start,
        protocol=protocol,
        id=shelf.id if shelf.results else "",
        **known,
    )
    tested = {row.feature: classes for row, classes in judged if classes is not None}
    predicted = np.stack([*tested.values()]) if tested else None
    if why_not := shelf.put(swept.to_json(), predicted, where, shown=[*tested]):
        return replace(swept, id="", not_kept=why_not)
    return swept


def _shown(tables: Mapping[str, Table], every: bool, fixed: Collection[str]) -> set[int]:
    """The places of the features that are shown the test whichever is chosen."""
    if "test" not in tables:
        return set()
    features = tables["train"].features
    return {at for at, each in enumerate(features) if every or str(each) in fixed}


def _summary(
    tables: Mapping[str, Table],
    judged: Sequence[Seen],
    best: int,
    leader: Probed,
    every: bool,
    fixed: Collection[str],
) -> Sweep:
    """What the judged rows come to; those that are not for everybody's eyes without their test."""
    train, test = tables["train"], tables.get("test")
    return Sweep(
        corpus=train.corpus,
        probe="",
        seeds=0,
        selected_by="",
        n_train=leader.n_train,
        n_val=leader.n_val,
        n_test=0 if test is None else len(labelled(test)),
        rows=tuple(
            row if every or at == best else replace(row, **UNTESTED)
            for at, (row, _) in enumerate(judged)
        ),
        best=judged[best][0].feature,
        last=deepest(train.features),
        seconds=0.0,
        fixed=tuple(row for row, _ in judged if row.feature in fixed),
        per_class=_report(judged[best][1], test),
    )


def _report(predicted: NDArray[np.int32] | None, test: Table | None) -> tuple[dict[str, Any], ...]:
    if predicted is None or test is None:
        return ()
    scored = labelled(test)
    return tuple(per_class(scored.labels, predicted[:, scored.index], test.classes))


def _judge_all(
    bench: Bench,
    tables: Mapping[str, Table],
    fits: Fits,
    shown: Collection[int],
    on_row: Callable[[Row], None] | None,
) -> tuple[list[Seen], int, Probed]:
    """Every row with what it predicted of the test, where shown; the best one's place and probe.

    The best one is shown the test once all are judged.
    """
    seen: dict[int, Seen] = {}
    leader, highest = None, (math.inf, math.inf, math.inf)
    features = tables["train"].features
    layers = [alone(tables, place) for place in range(len(features))]
    for judged in bench.judge(layers, fits):
        place, probed = judged.place, judged.probed
        row = Row(str(features[place]), probed.val_accuracy, judged.seconds)
        rank = (-row.val_accuracy, depth_of(features[place]), place)
        if rank < highest:
            leader, highest = probed, rank  # only the leader's heads are kept
        mine = layers[place]
        seen[place] = _show_test(row, probed, mine["test"]) if place in shown else (row, None)
        if on_row is not None:
            on_row(seen[place][0])
    assert leader is not None  # a table has at least one feature
    best = int(highest[2])
    if "test" in tables and best not in shown:
        seen[best] = _show_test(seen[best][0], leader, layers[best]["test"])
    return [seen[place] for place in range(len(features))], best, leader


def _show_test(row: Row, probed: Probed, test: Table) -> Seen:
    """The row with its test figures, and the classes (S, N) of all the test's rows."""
    predicted = probed.predict(test)
    scored = labelled(test)
    classes = predicted[:, scored.index]
    correct = classes == scored.labels
    filled = replace(
        row,
        test_accuracy=float(correct.mean()),
        test_macro_f1=float(np.mean([macro_f1(scored.labels, one) for one in classes])),
        test_ci95=accuracy_interval(correct),
    )
    return filled, predicted
