"""Sections whose figures are squares: pairs, transfer, and what was taken for what."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from lefcache.report.charts import matrix
from lefcache.report.gather import Figures, Study
from lefcache.report.later import (
    gains_chart,
    pair_matrix,
    regrets_chart,
    transfer_matrices,
)
from lefcache.report.layout import (
    Panel,
    Section,
    Table,
    commands_of,
    marks_of,
    percent,
    points,
    sure,
    within,
)
from lefcache.report.mistakes import Mistakes, mistakes
from lefcache.report.tables import FUSED, headlines
from lefcache.report.theme import Theme

Row = dict[str, Any]

CONFUSED = (
    ("truth", "truth"),
    ("predicted", "predicted"),
    ("share", "of its texts", ".1%"),
    ("n", "texts, a mean over seeds", ",.1f"),
)


def pairs_section(figures: Figures) -> Section:
    """What two features give together, a matrix for each corpus."""
    panels = []
    for corpus in figures.corpora:
        rows, names, studies = pair_matrix(figures, corpus)
        if not rows:
            continue
        panels.append(
            Panel(
                f"pairs-{corpus}",
                corpus,
                partial(gains_chart, rows, names),
                f"Points of accuracy, n = {rows[0]['n']:,}; green: both are better than the better "
                "one alone, red: worse.",
                marks_of(studies),
                commands_of(studies),
                data=_gains(rows),
            )
        )
    return Section(
        "pairs",
        "Which pair?",
        "What two features give together beyond the better one of them, before any head is "
        "trained: points of accuracy of a ridge on both, on rows that it has not learnt from.",
        panels,
        "No pairs have been held against each other yet. This does it:",
        "lef pairs --models A,B",
    )


def _gains(rows: Sequence[Row]) -> Table:
    lines = [
        [
            row["couple"],
            points(row["gain"], row["low"], row["high"]),
            within(row["fused"], row["fused_low"], row["fused_high"]),
            percent(row["disagreement"]),
            "" if row["cka"] is None else f"{row['cka']:.2f}",
        ]
        for row in rows[::2]  # both squares of a pair say the same
    ]
    return Table(
        ["pair", ">gain in points [95 %]", ">fused, test [95 %]", ">disagreement", ">CKA"], lines
    )


def transfer_section(figures: Figures) -> Section:
    """What a choice costs where it was not made, one matrix for each model and probe."""
    panels = []
    for place, (told, rows, studies) in enumerate(transfer_matrices(figures)):
        lines = [
            [row["source"], row["feature"] or "", row["target"], _many(row["n"]), _lost(row)]
            for row in rows
            if row["source"] != row["target"]
        ]
        columns = ["chosen on", "layer", "used on", ">n", ">points lost [95 %]"]
        panels.append(
            Panel(
                f"transfer-{place}",
                told,
                partial(regrets_chart, rows),
                f"Points of test accuracy lost against the corpus's own choice (same: the same "
                f"layer), n = {_tests(rows)}. Red: worse, green: better. Baselines below need no "
                "other corpus.",
                marks_of(studies),
                commands_of(studies),
                data=Table(columns, lines),
            )
        )
    return Section(
        "transfer",
        "Does it transfer?",
        "What one loses by using on one corpus the layer that was chosen on another.",
        panels,
        "No corpus's choice has been tried on another yet. This does it:",
        "lef transfer --models MODEL --to CORPUS",
    )


def _tests(rows: Sequence[Row]) -> str:
    sizes = {row["target"]: row["n"] for row in rows if row["n"] is not None}
    return ", ".join(f"{n:,} ({target})" for target, n in sizes.items())


def _many(texts: int | None) -> str:
    return "" if texts is None else f"{texts:,}"


def _lost(row: Row) -> str:
    return points(row["regret"], row["low"], row["high"])


def mistakes_section(figures: Figures) -> Section:
    """What the best fusion of each corpus gets wrong."""
    best = {corpus: headlines(figures, corpus).get(FUSED) for corpus in figures.corpora}
    panels = [
        _confused(corpus, study, mistakes(figures, study))
        for corpus, study in best.items()
        if study is not None
    ]
    return Section(
        "mistakes",
        "What does it get wrong?",
        "The fusion that is best on validation: of the texts of each class, how many went where, "
        "and the texts it was surest about and wrong. Labels that look wrong may be wrong.",
        panels,
        "No features have been fused yet. This does it:",
        "lef fuse --models A:LAYER,B:LAYER --op hadamard-res --seeds 5",
    )


def _confused(corpus: str, study: Study, found: Mistakes) -> Panel:
    test = study.values["test_accuracy"]
    note = (
        f"{study.what}; test accuracy {within(test['mean'], *test['ci95'])}, "
        f"n = {study.values['n_test']:,}."
    )
    if found.missing:
        note += f" {'No texts' if found.matrix else 'No matrix'}: {found.missing}."
    draw = partial(
        _square, found.matrix, found.classes, across="predicted", down="truth", lines=CONFUSED
    )
    counts = [
        [row["truth"], row["predicted"], percent(row["share"]), f"{row['n']:,.1f}"]
        for row in found.matrix
        if row["n"]
    ]
    return Panel(
        f"mistakes-{corpus}",
        corpus,
        draw if found.matrix else None,
        note,
        study.marks,
        [study.command],
        [_surest(found.texts)] if found.texts else [],
        Table(["truth", "predicted", ">of its texts", ">texts"], counts) if counts else None,
        wide=True,
    )


def _surest(texts: Sequence[Row]) -> Table:
    lines = [
        [
            row["text"] or f"(row {row['row']:,} of the test)",
            row["truth"],
            row["predicted"],
            sure(row["probability"]),
        ]
        for row in texts
    ]
    headers = ["text", "truth", "predicted", ">probability"]
    return Table(headers, lines, "Wrong with the highest probability, a mean over seeds")


def _square(rows: Sequence[Row], names: Sequence[str], theme: Theme, title: str, **how: Any) -> Any:
    return matrix(rows, names, theme, title, **how)
