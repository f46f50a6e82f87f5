"""Fusions as plain rows: operators side by side, learning curves, bytes against accuracy."""

import json
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from lefcache.report.gather import Figures, Study, model_of

FUSED, ALONE, BASELINE = "fused", "one feature alone", "baseline"
KINDS = (FUSED, ALONE, BASELINE)
WORDS = "tf-idf"
PASSES = ("epochs", "patience")  # fewer rows take more passes
POINTS = 3  # of a learning curve: two are a line through anything

Row = dict[str, Any]
Picked = tuple[list[Row], list[Study]]


def operators(figures: Figures, corpus: str) -> Picked:
    """The operators that were tried on the same features with the same settings.

    Beside them what each feature does alone in the same head; the best on validation first.
    """
    fused = [each for each in figures.of("fuse", corpus) if len(each.features) > 1]
    groups = _grouped(fused, lambda each: (each.features, _settings(each), *_rows(each)))
    several = [group for group in groups if len({_op(each) for each in group}) > 1]
    if not several:
        return [], []
    group = max(several, key=_worth)
    ours = _latest(group, _op)
    first = ours[0]
    alone = [
        each
        for each in figures.of("fuse", corpus)
        if len(each.features) == 1
        and each.features[0] in first.features
        and (_settings(each), *_rows(each)) == (_settings(first), *_rows(first))
    ]
    alone = _latest(alone, lambda each: each.features)
    rows = [estimate(each, _op(each), FUSED) for each in ours]
    rows += [estimate(each, f"{each.features[0]} alone", ALONE) for each in alone]
    rows.sort(key=lambda row: -row["val"])
    words = baselines(figures, corpus, n_train=first.key.get("n_train"))
    rows += [one for one, _ in words]
    return rows, [*ours, *alone, *(study for _, study in words)]


def learning(figures: Figures, corpus: str) -> Picked:
    """Accuracy over the rows that were learnt from.

    A line for each fusion that was trained on several sizes of train, its features alone in the
    same head, and the words of the texts.
    """
    groups = _grouped(
        [each for each in figures.of("fuse", corpus) if not each.hidden and _tested(each)],
        lambda each: (each.features, _op(each), _settings(each, PASSES), each.paper),
    )
    lines = [_best(group, lambda each: each.values["n_train"]) for group in groups]
    lines = [line for line in lines if len(line) >= POINTS]
    fused = [line for line in lines if len(line[0].features) > 1]
    lead = max(fused or lines, key=_worth, default=None)
    if lead is None:
        return [], []
    shown = [
        line
        for line in lines
        if _settings(line[0], PASSES) == _settings(lead[0], PASSES)
        and (line in fused or line[0].features[0] in lead[0].features)
    ]
    rows, studies = [], []
    for line in sorted(shown, key=lambda each: -len(each[0].features)):
        label, kind = named(line[0]), FUSED if len(line[0].features) > 1 else ALONE
        rows += [estimate(each, label, kind) for each in line]
        studies += line
    words = baselines(figures, corpus, any_size=True)
    if len(words) >= POINTS:
        rows += [row for row, _ in words]
        studies += [study for _, study in words]
    rows.sort(key=lambda row: row["n_train"])
    return rows, studies


def costs(figures: Figures, corpus: str) -> Picked:
    """What each text takes on disk, and how good that is.

    Of each set of features the head that is best on validation; `efficient` says that nothing
    smaller is as good there.
    """
    able = [
        each
        for each in figures.of("fuse", corpus)
        if not each.hidden and _tested(each) and bytes_of(each)
    ]
    if not able:
        return [], []
    # Figures of fewer rows would be held against better taught ones: those of one size, of which
    # most sets of features are known.
    sizes = _grouped(able, lambda each: each.values["n_train"])
    able = max(sizes, key=lambda some: (len(_sets(some)), some[0].values["n_train"]))
    groups = _sets(able)
    best = sorted((max(group, key=worth) for group in groups), key=worth, reverse=True)
    rows: list[Row] = []
    for each in sorted(best, key=lambda each: (bytes_of(each), -_val(each))):
        kind = FUSED if len(each.features) > 1 else ALONE
        row = estimate(each, named(each), kind)
        above = all(row["val"] > other["val"] for other in rows)
        short = each.features[0] if kind == ALONE else _op(each)
        rows.append(row | {"bytes": bytes_of(each), "efficient": above, "short": short})
    return rows, best


def _sets(studies: Iterable[Study]) -> list[list[Study]]:
    """By features as they are stored."""
    return _grouped(
        studies, lambda each: tuple(zip(each.features, each.key["stored"], strict=True))
    )


def headlines(figures: Figures, corpus: str) -> dict[str, Study]:
    """The best fusion and the best single feature of a corpus, as validation chose them.

    Beside them the words of the texts.
    """
    able = [each for each in figures.of("fuse", corpus) if _tested(each) and not each.hidden]
    found: dict[str, Study] = {}
    for kind, some in (
        (FUSED, [each for each in able if len(each.features) > 1]),
        (ALONE, [each for each in able if len(each.features) == 1]),
    ):
        if some:
            most = max(each.values["n_train"] for each in some)
            found[kind] = max((each for each in some if each.values["n_train"] == most), key=worth)
    if words := baselines(figures, corpus):
        found[BASELINE] = words[0][1]
    return found


def baselines(
    figures: Figures, corpus: str, n_train: int | None = None, any_size: bool = False
) -> list[tuple[Row, Study]]:
    """The words of the texts, learnt from as many rows, or from any number of them."""
    found = {}
    for each in figures.of("baseline", corpus):
        same = any_size or each.key.get("n_train") == n_train
        if each.values["name"].startswith(WORDS) and _tested(each) and same:
            found[each.values["n_train"]] = (_baseline(each), each)
    return [*found.values()]


def estimate(study: Study, label: str, kind: str) -> Row:
    """A row with the accuracies of a fusion; those of the test are None where it was not shown."""
    values = study.values
    val, test = values["val_accuracy"], None if study.hidden else values["test_accuracy"]
    return {
        "corpus": study.result.corpus,
        "label": label,
        "kind": kind,
        "model": model_of(study.features[0]) if kind == ALONE else "",
        "val": val["mean"],
        "val_low": val["ci95"][0],
        "val_high": val["ci95"][1],
        "n_val": values["n_val"],
        "test": test and test["mean"],
        "test_low": test and test["ci95"][0],
        "test_high": test and test["ci95"][1],
        "n_test": values["n_test"],
        "n_train": values["n_train"],
        "seeds": values["seeds"],
        "op": values["op"],
        "id": study.result.id,
    }


def seeds_of(values: Mapping[str, Any]) -> list[Row]:
    """The mean of a fusion's seeds as a row with its interval, and each of them on its own."""
    val, test = values["val_accuracy"], values["test_accuracy"]
    seeds = len(val["values"])
    common = {"kind": FUSED, "model": "", "n_val": values["n_val"], "n_test": values["n_test"]}
    common |= {"n_train": values["n_train"]}
    mean = {"label": f"mean of {seeds} seeds" if seeds > 1 else "one seed", "seeds": seeds}
    rows = [common | mean | {"val": val["mean"]} | _tested_row(test and test["mean"], test)]
    for place in range(seeds if seeds > 1 else 0):
        alone = test and test["values"][place]
        one = {"label": f"seed {place + 1} of {seeds}", "seeds": 1, "val": val["values"][place]}
        rows.append(common | one | _tested_row(alone, None))
    return rows


def _tested_row(share: float | None, test: Mapping[str, Any] | None) -> Row:
    low, high = test["ci95"] if test else (share, share)
    return {"test": share, "test_low": low, "test_high": high}


def named(study: Study) -> str:
    """What was trained, in as few words as tell it from others."""
    if len(study.features) == 1:
        return f"{study.features[0]} alone"
    return study.what


def bytes_of(study: Study) -> int:
    """What the vectors of a text take on disk, of all features together; 0 where it is not said."""
    sizes = [re.fullmatch(r"[a-z]+(\d+) x (\d+)", each) for each in study.key.get("stored", ())]
    return sum(int(size[1]) // 8 * int(size[2]) for size in sizes if size)


def _baseline(study: Study) -> Row:
    values = study.values
    low, high = values["test_ci95"]
    return {
        "corpus": study.result.corpus,
        "label": values["name"],
        "kind": BASELINE,
        "model": "",
        "val": values["val_accuracy"],
        "n_val": values["n_val"],
        "test": values["test_accuracy"],
        "test_low": low,
        "test_high": high,
        "n_test": values["n_test"],
        "n_train": values["n_train"],
        "seeds": 1,
        "op": "",
        "id": study.result.id,
    }


def _grouped(studies: Iterable[Study], key: Callable[[Study], Any]) -> list[list[Study]]:
    groups: dict[Any, list[Study]] = {}
    for each in studies:
        groups.setdefault(key(each), []).append(each)
    return [*groups.values()]


def _latest(studies: Iterable[Study], key: Callable[[Study], Any]) -> list[Study]:
    """One of each, the latest that can be trusted most."""
    found: dict[Any, Study] = {}
    for each in studies:
        name = key(each)
        if name not in found or each.trust >= found[name].trust:
            found[name] = each
    return [*found.values()]


def _best(studies: Iterable[Study], key: Callable[[Study], Any]) -> list[Study]:
    """One of each, the best on validation of those that can be trusted most."""
    return [max(group, key=worth) for group in _grouped(studies, key)]


def _worth(group: Sequence[Study]) -> tuple[Any, ...]:
    """Sorts groups: what can be trusted, is large and was trained often enough comes last."""
    seeds = min(each.values["seeds"] for each in group)
    best = max(map(_val, group))
    return (*group[0].trust, len(group), seeds, best)


def worth(study: Study) -> tuple[Any, ...]:
    """Sorts fusions: what can be trusted and is best on validation comes last."""
    return (*study.trust, _val(study))


def _val(study: Study) -> float:
    return float(study.values["val_accuracy"]["mean"])


def _tested(study: Study) -> bool:
    return bool(study.values.get("test_accuracy"))


def _op(study: Study) -> str:
    return str(study.values["op"])


def _rows(study: Study) -> tuple[Any, ...]:
    return study.values["n_train"], study.paper


def _settings(study: Study, but: Collection[str] = ()) -> str:
    """Everything about the training but the operator."""
    recipe: Mapping[str, Any] = study.key.get("recipe") or {}
    kept = {name: value for name, value in recipe.items() if name not in ("op", *but)}
    return json.dumps([kept, study.key.get("seeds"), study.key.get("numerics")], sort_keys=True)
