"""Layers judged side by side, each of them once."""

import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lefcache.recipe import Recipe
from lefcache.rows import Table
from lefcache.study.identity import Shelf, identity
from lefcache.study.probes import SEEDLESS, Probe, Probed, Setup, probed_of, together
from lefcache.train.fit import Job, device_of, train_all
from lefcache.train.protocol import BY_CARVED, BY_SPLIT
from lefcache.train.workers import in_order

# Where single layers are remembered: below the folder of results, which lists whole studies only.
PARTS = "parts"

# Layers in memory: one is read while another is computed.
SIDE_BY_SIDE = 2

Tables = Mapping[str, Table]
FIGURES = ("val_accuracy", "selected_by", "n_train", "n_val")
OF_A_HEAD = ("val_accuracy", "n_train", "n_val", "best_epoch", "seconds")


@dataclass(frozen=True)
class Member:
    """What is fitted in one piece: a head of one seed on the layer at this place, or its probe."""

    place: int
    seeds: tuple[int, ...]


@dataclass(frozen=True)
class Fitted:
    """A member that has been fitted: its probe, and what is remembered of it, as plain values."""

    probed: Probed
    kept: dict[str, Any]
    device: str


@dataclass(frozen=True)
class Judged:
    """The probe of the layer at this place, and the seconds that it took."""

    place: int
    probed: Probed
    seconds: float


# Fits members; gives them as they are done, in any order.
Fits = Callable[[Sequence[Member]], Generator[tuple[Member, Fitted], None, None]]


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

    def judge(self, layers: Sequence[Tables], fits: Fits | None = None) -> Iterator[Judged]:
        """Each layer once, as soon as all of its members are there: those remembered come first.

        `fits` fits what is not remembered; without it this process does.
        """
        fits = fits or partial(self.fit, layers)
        seeds = self.setup.seeds
        chains = [(seed,) for seed in seeds] if self.name == "mlp" else [seeds]
        rows = [[Member(place, chain) for chain in chains] for place in range(len(layers))]
        shelves = {one: self._shelf(layers[one.place], one.seeds) for row in rows for one in row}
        known = {member: found for member, shelf in shelves.items() if (found := shelf.find())}
        for row in rows:
            if all(member in known for member in row):
                yield self._judged(layers[row[0].place], row, known, {}, fits)
        fresh: dict[Member, Probed] = {}
        with closing(fits([member for member in shelves if member not in known])) as coming:
            for member, fitted in coming:
                shelves[member].put(fitted.kept, None, fitted.device)
                known[member], fresh[member] = fitted.kept, fitted.probed
                row = rows[member.place]
                if all(each in known for each in row):
                    yield self._judged(layers[member.place], row, known, fresh, fits)
                    for each in row:  # heads of a layer are no longer needed here
                        fresh.pop(each, None)

    def fit(
        self, layers: Sequence[Tables], members: Sequence[Member]
    ) -> Generator[tuple[Member, Fitted], None, None]:
        """Fit members of these layers in this process, in their order; nothing is remembered."""
        if self.name == "mlp":
            return self._fit_heads(layers, members)
        workers = SIDE_BY_SIDE if self.name in SEEDLESS else 1
        work = partial(self._fit_layer, layers)
        return in_order(work, members, max(1, min(workers, len(members))))

    def _fit_layer(self, layers: Sequence[Tables], member: Member) -> tuple[Member, Fitted]:
        start = time.perf_counter()
        layer = layers[member.place]
        probed = self.probe(layer["train"], layer.get("validation"), self.setup)
        kept = {name: getattr(probed, name) for name in FIGURES}
        kept["seconds"] = time.perf_counter() - start
        return member, Fitted(probed, kept, self._device)

    def _fit_heads(
        self, layers: Sequence[Tables], members: Sequence[Member]
    ) -> Generator[tuple[Member, Fitted], None, None]:
        """As many heads at once as pays."""
        if not members:
            return
        setup = self.setup
        jobs = [
            Job(layers[each.place]["train"], layers[each.place].get("validation"), seed=seed)
            for each in members
            for seed in each.seeds
        ]
        trained = train_all(jobs, setup.recipe, device=setup.device, memory=setup.memory)
        for member, one in zip(members, trained, strict=True):
            kept = {name: getattr(one[1], name) for name in OF_A_HEAD}
            probed = probed_of([one], "validation" in layers[member.place])
            yield member, Fitted(probed, kept, self._device)

    def _judged(
        self,
        layer: Tables,
        row: Sequence[Member],
        known: Mapping[Member, Mapping[str, Any]],
        fresh: Mapping[Member, Probed],
        fits: Fits,
    ) -> Judged:
        """A layer from what is known of all its members, and the probes that are at hand."""
        by = BY_SPLIT if "validation" in layer else BY_CARVED
        # Nothing fitted is kept on disk: of a chosen layer, what is not at hand is fitted again.
        lacking = [member for member in row if member not in fresh]
        again = cache(lambda: dict(fits(lacking)))

        def remembered(member: Member) -> Probed:
            def predict(test: Table) -> NDArray[np.int32]:
                return again()[member].probed.predict(test)

            figures = {"selected_by": by, **known[member]}
            return Probed(**{name: figures[name] for name in FIGURES}, predict=predict)

        probes = [fresh.get(member) or remembered(member) for member in row]
        seconds = sum(known[member]["seconds"] for member in row)
        return Judged(row[0].place, together(probes), seconds)

    @property
    def _device(self) -> str:
        return str(device_of(self.setup.device))

    def _shelf(self, layer: Tables, seeds: Sequence[int]) -> Shelf:
        # The test is no part of it: it is read later, and for the best layer only.
        seen = {name: table for name, table in layer.items() if name != "test"}
        key = identity("probe", seen, self.settings, seeds, probe=self.name)
        return Shelf(self.results / PARTS if self.results else None, key, seen)
