"""Does a choice transfer: the best layer of one corpus, and its whole head, used on another."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lefcache.errors import CorpusError, RecipeError
from lefcache.recipe import Recipe
from lefcache.results import fingerprint
from lefcache.study.correlation import correlated
from lefcache.study.crossing import Classes, Crossing, otherwise, priced
from lefcache.study.identity import Shelf, check_tables, identity, known_of
from lefcache.study.judge import Bench, Tables
from lefcache.study.moved import head_moved
from lefcache.study.probes import SEEDLESS, Setup, probe_of
from lefcache.study.transferred import Chosen, Target, Transfer, Transferred
from lefcache.train.fit import device_of
from lefcache.train.protocol import known_rows, labelled
from lefcache.train.stats import accuracy_interval


def transfer(
    corpora: Mapping[str, Tables],
    probe: str = "ridge",
    recipe: Recipe = Recipe(),  # noqa: B008  frozen
    *,
    sources: Sequence[str] = (),
    targets: Sequence[str] = (),
    seeds: int = 1,
    first_seed: int = 0,
    depth: int | None = None,
    device: str | torch.device = "auto",
    memory: int | None = None,
    results: Path | None = None,
    on_target: Callable[[Target], None] | None = None,
) -> Transfer:
    """Let each source choose a layer, and use it on each target: what does that cost there?

    Every corpus chooses as in `sweep`, by its own train and validation. The test of a target is
    read for its own choice, those of the sources, the last layer and the fixed depth, all settled
    by then, and never to choose among them. Where both corpora have the same classes and the same
    Spec, heads trained on the source are tried on the target's test as well.

    Args:
        corpora: by name what `sweep` takes, of layers of one model, the same for all (`across`
            gives them). A target takes a test.
        probe: a name in PROBES.
        recipe: how the probe `mlp` is trained.
        sources: of `corpora`, those that choose; all if none is named.
        targets: those that are chosen for; all that have a test if none is named.
        seeds: heads per layer; a ridge is the same for every seed.
        first_seed: the seeds are this one and those that follow it.
        depth: of the model in blocks, for the fixed depth; else the deepest layer here tells.
        device: of the probe `mlp`.
        memory: bytes that its heads may take; None for most of what is free.
        results: a folder where each target's part is kept as a result of that corpus, and layers
            that any finished sweep judged are taken from.
        on_target: called with each target as it is done.

    Raises:
        RecipeError: a corpus that is none of them, fewer than two, or a probe that there is not.
        CorpusError, MismatchError: tables that no head can learn from, or other features.
    """
    from_ = [*(sources or corpora)]
    onto = [*(targets or [name for name, tables in corpora.items() if "test" in tables])]
    fit, name = probe_of(probe)
    chain = (0,) if name in SEEDLESS else tuple(range(first_seed, first_seed + seeds))
    _check(corpora, from_, onto, chain)
    settings = None if name in SEEDLESS else recipe
    kept = results if recipe.named else None
    bench = Bench(fit, name, Setup(recipe, chain, device_of(device), memory), settings, kept)
    crossing = Crossing(corpora, bench, depth)
    found = []
    for target in onto:
        found.append(_kept_or_made(crossing, target, sorted(from_)))
        if on_target is not None:
            on_target(found[-1])
    return Transfer(found[0].model, tuple(from_), tuple(found))


def _check(
    corpora: Mapping[str, Tables], sources: list[str], targets: list[str], chain: Sequence[int]
) -> None:
    """Refuse at once what cannot be asked."""
    for name in (*sources, *targets):
        if name not in corpora:
            raise RecipeError(f"no corpus {name} among {', '.join(corpora)}: give its tables")
    for tables in corpora.values():
        check_tables(tables, chain)
    for name in targets:
        if "test" not in corpora[name]:
            raise CorpusError(
                f"{name} has no test with labels, which tells what a layer is worth there: name "
                "other targets (--to)"
            )
    if not any(source != target for source in sources for target in targets):
        raise RecipeError("a choice is taken from one corpus to another: give two, one with a test")
    features = {tables["train"].features for tables in corpora.values()}
    if len(features) > 1 or len({each.model for each in (*features,)[0]}) > 1:
        raise RecipeError("the corpora have other layers: give all of them the same, of one model")


def _kept_or_made(crossing: Crossing, target: str, sources: list[str]) -> Target:
    """What the results folder has of this target, or what is found out now and kept there."""
    tables, bench = crossing.corpora[target], crossing.bench
    key = identity(
        "transfer",
        tables,
        bench.settings,
        bench.setup.seeds,
        probe=bench.name,
        settled=crossing.settled,
        sources=[identity("source", crossing.learns(name), None, ()) for name in sources],
    )
    shelf = Shelf(bench.results, key, tables)
    known = known_of(tables)
    if found := shelf.find():
        return Target.from_json(found | known)
    start = time.perf_counter()
    made, said = _used_on(crossing, target, sources)
    made = replace(
        made,
        seconds=time.perf_counter() - start,
        id=shelf.id if shelf.results else "",
        n_val_known=known["n_val_known"],
        n_test_known=known["n_test_known"],
    )
    more = {"shown": [*said], "sources": {name: _prints(crossing.learns(name)) for name in sources}}
    predicted, where = np.stack([*said.values()]), device_of(bench.setup.device)
    if why_not := shelf.put(made.to_json(), predicted, where, **more):
        return replace(made, id="", not_kept=why_not)
    return made


def _prints(tables: Tables) -> dict[str, Any]:
    return {
        name: fingerprint(table.texts, table.labels, table.classes)
        for name, table in tables.items()
        if table.labels is not None
    }


def _used_on(
    crossing: Crossing, target: str, sources: Sequence[str]
) -> tuple[Target, dict[str, Classes]]:
    """Every choice on one target, and what each layer that was shown its test said of it."""
    own = crossing.chosen(target)
    choices = {name: crossing.chosen(name) for name in sources}
    settled = crossing.settled
    used = [own.feature, *(each.feature for each in choices.values()), *settled.values()]
    said = crossing.said(target, target, [*dict.fromkeys(used)])
    scored = labelled(crossing.corpora[target]["test"])
    right = {name: each[:, scored.index] == scored.labels for name, each in said.items()}

    def row(source: str, feature: str, **more: Any) -> Transferred:
        price = priced(right[own.feature], right[feature])
        return Transferred(source=source, target=target, feature=feature, **price, **more)

    ranks = {name: _alike(own, each) for name, each in choices.items() if name != target}
    made = Target(
        corpus=target,
        model=crossing.features[0].model,
        probe=crossing.bench.name,
        seeds=len(crossing.bench.setup.seeds),
        selected_by=own.selected_by,
        n_train=own.n_train,
        n_val=own.n_val,
        n_test=len(scored),
        layers=len(crossing.names),
        best=own.feature,
        val_accuracy=own.val_accuracy[own.feature],
        test_accuracy=float(right[own.feature].mean()),
        test_ci95=accuracy_interval(right[own.feature]),
        choices=(own, *(each for name, each in choices.items() if name != target)),
        rows=tuple(
            row(name, each.feature, **ranks.get(name, {}), **_between(crossing, name, target))
            for name, each in choices.items()
        ),
        baselines=tuple(row(name, feature) for name, feature in settled.items()),
        heads=tuple(
            head_moved(crossing, name, target, right[own.feature])
            for name in sources
            if name != target
        ),
        seconds=0.0,
    )
    return made, said


def _alike(own: Chosen, other: Chosen) -> dict[str, Any]:
    """Whether two corpora rank the layers alike, by the curves that they chose from."""
    names = [*own.val_accuracy]
    mine, its = ([each.val_accuracy[name] for name in names] for each in (own, other))
    found, ci95 = correlated(mine, its, ranks=True)
    return {"spearman": found, "spearman_ci95": ci95}


def _between(crossing: Crossing, source: str, target: str) -> dict[str, Any]:
    """What the train of a source has of the target's test, and how its vectors differ."""
    if source == target:
        return {}
    ours, theirs = crossing.corpora[source]["train"], crossing.corpora[target]["test"]
    return {
        "n_known": known_rows(labelled(ours), labelled(theirs)),
        "otherwise": otherwise(ours, theirs),
    }
