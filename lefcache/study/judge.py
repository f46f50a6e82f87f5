"""Layers judged side by side, each of them once."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from lefcache.recipe import Recipe
from lefcache.rows import Table
from lefcache.study.identity import Shelf, identity
from lefcache.study.probes import SEEDLESS, Probe, Probed, Setup, probed_of
from lefcache.train import Head, Trained
from lefcache.train.fit import Job, device_of, train_all
from lefcache.train.protocol import BY_CARVED, BY_SPLIT
from lefcache.train.workers import in_order

# Where single layers are remembered: below the folder of results, which lists whole studies only.
PARTS = "parts"

# Layers in memory: one is read while another is computed.
SIDE_BY_SIDE = 2

Tables = Mapping[str, Table]
Judged = tuple[Probed, float]
FIGURES = ("val_accuracy", "selected_by", "n_train", "n_val")
OF_A_HEAD = ("val_accuracy", "n_train", "n_val", "best_epoch", "seconds")


@dataclass(frozen=True)
class Bench:
    """A probe with all that it needs to judge layers, and the folder where it remembers them.

    `settings` are the recipe, for a probe that has one. What is judged without a name, by a
    function of somebody's own, is not remembered and not judged side by side.
    """

    probe: Probe
    name: str
    setup: Setup
    settings: Recipe | None
    results: Path | None

    def judge(self, layers: Sequence[Tables]) -> Iterator[Judged]:
        """Each layer's probe and the seconds that it took, in this order."""
        if self.name == "mlp":
            return self._judge_heads(layers)
        workers = SIDE_BY_SIDE if self.name in SEEDLESS else 1
        return in_order(self._judge, layers, min(workers, len(layers)))

    def _judge(self, layer: Tables) -> Judged:
        shelf = self._shelf(layer, self.setup.seeds)
        if found := shelf.find():
            figures = {name: found[name] for name in FIGURES}
            return self._remembered(layer, figures), found["seconds"]
        start = time.perf_counter()
        probed = self._fit(layer)
        seconds = time.perf_counter() - start
        kept = {name: getattr(probed, name) for name in FIGURES} | {"seconds": seconds}
        shelf.put(kept, None, device_of(self.setup.device))
        return probed, seconds

    def _judge_heads(self, layers: Sequence[Tables]) -> Iterator[Judged]:
        """As many heads at once as pays; every one of them is remembered as it comes."""
        shelves = [[self._shelf(layer, (seed,)) for seed in self.setup.seeds] for layer in layers]
        found = [[shelf.find() for shelf in row] for row in shelves]
        jobs = [
            Job(layer["train"], layer.get("validation"), seed=seed)
            for layer, row in zip(layers, found, strict=True)
            for seed, known in zip(self.setup.seeds, row, strict=True)
            if known is None
        ]
        setup = self.setup
        trained: Iterator[tuple[Head, Trained]] = iter(())
        if jobs:
            trained = train_all(jobs, setup.recipe, device=setup.device, memory=setup.memory)
        for layer, row, places in zip(layers, found, shelves, strict=True):
            heads: list[tuple[Head, Trained]] = []
            for place, shelf in enumerate(places):
                if row[place] is None:
                    heads += islice(trained, 1)
                    kept = {name: getattr(heads[-1][1], name) for name in OF_A_HEAD}
                    shelf.put(kept, None, device_of(setup.device))
                    row[place] = kept
            yield self._probed(layer, heads, [each for each in row if each is not None])

    def _probed(
        self,
        layer: Tables,
        heads: Sequence[tuple[Head, Trained]],
        figures: Sequence[Mapping[str, Any]],
    ) -> Judged:
        """A layer's probe from the figures of all its seeds, and the heads that are at hand."""
        seconds = sum(each["seconds"] for each in figures)
        if len(heads) == len(figures):
            return probed_of(heads, "validation" in layer), seconds
        mean = float(np.mean([each["val_accuracy"] for each in figures]))
        by = BY_SPLIT if "validation" in layer else BY_CARVED
        rows = {name: figures[0][name] for name in ("n_train", "n_val")}
        return self._remembered(layer, {"val_accuracy": mean, "selected_by": by, **rows}), seconds

    def _remembered(self, layer: Tables, figures: Mapping[str, Any]) -> Probed:
        # Nothing fitted is kept on disk: a chosen layer is fitted again.
        return Probed(**figures, predict=lambda test: self._fit(layer).predict(test))

    def _shelf(self, layer: Tables, seeds: Sequence[int]) -> Shelf:
        # The test is no part of it: it is read later, and for the best layer only.
        seen = {name: table for name, table in layer.items() if name != "test"}
        key = identity("probe", seen, self.settings, seeds, probe=self.name)
        return Shelf(self.results / PARTS if self.results else None, key, seen)

    def _fit(self, layer: Tables) -> Probed:
        return self.probe(layer["train"], layer.get("validation"), self.setup)
