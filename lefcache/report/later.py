"""Results of studies that look at several features or corpora at once: pairs and transfer.

A cache may have none of them, or some that a newer lefcache wrote: what cannot be read is none.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lefcache.report.charts import matrix
from lefcache.report.charts.pieces import SIGNED, in_points
from lefcache.report.gather import Figures, Study
from lefcache.report.tables import worth
from lefcache.report.theme import PAPER, Theme

Row = dict[str, Any]
GAIN = (
    ("couple", "pair"),
    ("gain", "points over the better one", SIGNED),
    ("low", "95 % from", SIGNED),
    ("high", "to", SIGNED),
    ("n", "n", ",d"),
    ("predicted", "predicted accuracy", ".1%"),
    ("fused", "fused, test accuracy", ".1%"),
    ("disagreement", "disagreement", ".1%"),
    ("cka", "linear CKA", ".2f"),
)
REGRET = (
    ("chosen on", "chosen on"),
    ("feature", "layer"),
    ("used on", "used on"),
    ("regret", "points lost", SIGNED),
    ("low", "95 % from", SIGNED),
    ("high", "to", SIGNED),
    ("n", "test texts", ",d"),
)
PAIR = ("cka", "disagreement", "double_fault", "q", "oracle", "residual_gain", "gain", "predicted")


def pair_matrix(figures: Figures, corpus: str) -> tuple[list[Row], list[str], list[Study]]:
    """Each pair in both of its squares, the features in their order, and the study."""
    studies = figures.of("pairs", corpus)
    if not studies:
        return [], [], []
    study = max(studies, key=lambda each: (*each.trust, len(each.values.get("rows", ()))))
    rows = gains(study.values)
    there = {row["feature"] for row in rows}
    names = [name for name in study.features if name in there]
    return _measured(rows, figures, corpus), names, [study]


def gains(values: Mapping[str, Any]) -> list[Row]:
    """The pairs of a study's figures, each of them twice: once for either of its squares."""
    rows: list[Row] = []
    for pair in values.get("rows", ()):
        one, other = pair.get("first"), pair.get("second")
        if not (isinstance(one, str) and isinstance(other, str) and pair.get("gain") is not None):
            continue
        low, high = pair.get("gain_ci95") or (None, None)
        told = {name: pair.get(name) for name in PAIR} | {"low": low, "high": high}
        told["n"] = values.get("n_val") or values.get("n_train")
        for square in ((one, other), (other, one)):
            names = {"feature": square[0], "with": square[1], "couple": f"{one} + {other}"}
            rows.append(names | told)
    return rows


def gains_chart(
    rows: Sequence[Row], names: Sequence[str], theme: Theme = PAPER, title: str = ""
) -> Any:
    """What two features gain together, green and red, as a matrix."""
    told = in_points(rows, ("gain", "low", "high"))
    how: Row = {"across": "with", "down": "feature", "value": "gain", "good": 1}
    return matrix(told, names, theme, title, lines=GAIN, form=SIGNED, **how)


def _measured(rows: Sequence[Row], figures: Figures, corpus: str) -> list[Row]:
    """The same rows with the test accuracy of the best fusion on validation, where there is one."""
    best: dict[frozenset[str], Study] = {}
    for study in figures.of("fuse", corpus):
        if len(study.features) == 2 and not study.hidden and study.values.get("test_accuracy"):
            couple = frozenset(study.features)
            if couple not in best or worth(study) > worth(best[couple]):
                best[couple] = study
    known = [best.get(frozenset((row["feature"], row["with"]))) for row in rows]
    return [
        row | (_fused(study) if study else dict.fromkeys(("fused", "fused_low", "fused_high")))
        for row, study in zip(rows, known, strict=True)
    ]


def _fused(study: Study) -> Row:
    test = study.values["test_accuracy"]
    low, high = test["ci95"]
    return {"fused": test["mean"], "fused_low": low, "fused_high": high}


def transfer_matrices(figures: Figures) -> list[tuple[str, list[Row], list[Study]]]:
    """For each model and probe the regret of each corpus's layer on each other one.

    Each has its name, rows and studies; of several studies of one target the last one that can be
    believed counts.
    """
    found: dict[str, dict[str, Study]] = {}
    for study in sorted(figures.of("transfer"), key=lambda each: each.trust):
        values = study.values
        words = [str(values["model"])] if values.get("model") else []
        words += [f"{values['probe']} probe"] if values.get("probe") else []
        found.setdefault(", ".join(words), {})[study.result.corpus] = study
    matrices = []
    for told, studies in found.items():
        rows = [row for study in studies.values() for row in regrets(study.values)]
        if rows:
            matrices.append((told, rows, [*studies.values()]))
    return matrices


def regrets(values: Mapping[str, Any]) -> Iterator[Row]:
    """What each layer costs on one target, those that nobody has to choose last."""
    kinds = (("rows", False), ("baselines", True))
    for row, settled in ((row, it) for name, it in kinds for row in values.get(name, ())):
        source, target, regret = row.get("source"), row.get("target"), row.get("regret")
        if isinstance(source, str) and isinstance(target, str) and regret is not None:
            low, high = row.get("regret_ci95") or (None, None)
            names = {"source": source, "target": target, "feature": row.get("feature")}
            told = {"regret": regret, "low": low, "high": high, "n": values.get("n_test")}
            same = bool(names["feature"]) and names["feature"] == values.get("best")
            yield names | told | {"settled": settled, "same": same}


def regrets_chart(rows: Sequence[Row], theme: Theme = PAPER, title: str = "") -> Any:
    """What each choice costs on each target, green and red, as a matrix; baselines stand below."""
    targets = [*dict.fromkeys(row["target"] for row in rows)]
    chosen = {row["source"] for row in rows if not row["settled"]}
    every = [*targets, *(row["source"] for row in rows)]
    settled = [name for name in every if name not in chosen and name not in targets]
    sources = [*dict.fromkeys([*(name for name in every if name in chosen), *settled])]
    told = [
        row | {"chosen on": row["source"], "used on": row["target"]} | _instead(row)
        for row in in_points(rows, ("regret", "low", "high"))
    ]
    how: Row = {"across": "used on", "down": "chosen on", "value": "regret", "form": SIGNED}
    return matrix(told, sources, theme, title, lines=REGRET, columns=targets, good=-1, **how)


def _instead(row: Row) -> Row:
    """What is written where nothing can be lost."""
    if row["source"] == row["target"]:
        return {"told": "own"}
    return {"told": "same"} if row["same"] else {}
