"""Results of studies that look at several features or corpora at once: pairs and transfer.

A cache may have none of them, or some that a newer lefcache wrote: what cannot be read is none.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lefcache.report.charts import matrix
from lefcache.report.gather import Figures, Study
from lefcache.report.tables import worth
from lefcache.report.theme import PAPER, Theme

Row = dict[str, Any]
GAIN = (
    ("couple", "pair"),
    ("gain", "gain over the better one", "+.1%"),
    ("low", "95 % from", "+.1%"),
    ("high", "to", "+.1%"),
    ("n", "n", ",d"),
    ("predicted", "predicted accuracy", ".1%"),
    ("fused", "fused, test accuracy", ".1%"),
    ("disagreement", "disagreement", ".1%"),
    ("cka", "linear CKA", ".2f"),
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
    how: Row = {"across": "with", "down": "feature", "value": "gain", "form": "+.1%"}
    return matrix(rows, names, theme, title, lines=GAIN, signed=True, **how)


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


def transfer_matrices(figures: Figures) -> list[tuple[str, list[Row], list[str], list[Study]]]:
    """For each model and probe the regret of each corpus's layer on each other one.

    Each has its name, rows, corpora and studies; of several studies of one target the last one
    that can be believed counts.
    """
    found: dict[str, dict[str, Study]] = {}
    for study in sorted(figures.of("transfer"), key=lambda each: each.trust):
        values = study.values
        told = ", ".join(str(values[name]) for name in ("model", "probe") if values.get(name))
        found.setdefault(told, {})[study.result.corpus] = study
    matrices = []
    for told, studies in found.items():
        rows = [row for study in studies.values() for row in _regrets(study)]
        names = [*dict.fromkeys(name for row in rows for name in (row["source"], row["target"]))]
        if rows:
            matrices.append((told, rows, names, [*studies.values()]))
    return matrices


def _regrets(study: Study) -> Iterator[Row]:
    n = study.values.get("n_test")
    for row in study.values.get("rows", ()):
        source, target, regret = row.get("source"), row.get("target"), row.get("regret")
        if isinstance(source, str) and isinstance(target, str) and regret is not None:
            low, high = row.get("regret_ci95") or (None, None)
            told = {"feature": row.get("feature"), "low": low, "high": high, "n": n}
            yield {"source": source, "target": target, "regret": regret, **told}
