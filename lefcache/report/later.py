"""Results of studies that look at several features or corpora at once: pairs and transfer.

A cache may have none of them, or some that a newer lefcache wrote: what cannot be read is none.
"""

from collections.abc import Sequence
from typing import Any

from lefcache.report.gather import Figures, Study

Row = dict[str, Any]
PAIR = ("cka", "disagreement", "double_fault", "q", "oracle", "residual_gain", "gain", "predicted")


def pair_matrix(figures: Figures, corpus: str) -> tuple[list[Row], list[str], list[Study]]:
    """Each pair in both of its squares, the features in the order of the study, and the study."""
    studies = figures.of("pairs", corpus)
    if not studies:
        return [], [], []
    study = max(studies, key=lambda each: (*each.trust, len(each.values.get("rows", ()))))
    rows: list[Row] = []
    for pair in study.values.get("rows", ()):
        one, other = pair.get("first"), pair.get("second")
        if not (isinstance(one, str) and isinstance(other, str) and pair.get("gain") is not None):
            continue
        low, high = pair.get("gain_ci95") or (None, None)
        told = {name: pair.get(name) for name in PAIR} | {"low": low, "high": high}
        measured = pair.get("measured") or {}
        told["measured"] = measured.get("gain") if isinstance(measured, dict) else None
        rows.append({"feature": one, "with": other, "couple": f"{one} + {other}", **told})
        rows.append({"feature": other, "with": one, "couple": f"{one} + {other}", **told})
    names = [*dict.fromkeys(row["feature"] for row in rows)]
    order = {name: place for place, name in enumerate(study.features)}
    return rows, sorted(names, key=lambda name: order.get(name, len(order))), [study]


def transfer_matrix(figures: Figures) -> tuple[list[Row], list[str], list[Study]]:
    """The regret of each corpus's best layer on each other one, for the whole cache."""
    rows: list[Row] = []
    studies: Sequence[Study] = figures.of("transfer")
    for study in studies:
        for row in study.values.get("rows", ()):
            source, target, regret = row.get("source"), row.get("target"), row.get("regret")
            if isinstance(source, str) and isinstance(target, str) and regret is not None:
                rows.append({"source": source, "target": target, "regret": regret})
    names = [*dict.fromkeys(name for row in rows for name in (row["source"], row["target"]))]
    return rows, names, [*studies] if rows else []
