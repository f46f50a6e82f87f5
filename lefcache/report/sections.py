"""The questions that a report answers, in order, each from what the cache has."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from lefcache.feature import DEPTH
from lefcache.report.charts import cost_chart, intervals, layer_curve, learning_curve
from lefcache.report.commands import cache_words
from lefcache.report.curves import MARKS, curves
from lefcache.report.gather import Figures, Study
from lefcache.report.layout import (
    Panel,
    Section,
    Table,
    commands_of,
    marks_of,
    percent,
    within,
)
from lefcache.report.selected import select_section
from lefcache.report.squares import mistakes_section, pairs_section, transfer_section
from lefcache.report.steps import scale_section
from lefcache.report.tables import FUSED, costs, learning, operators

Row = dict[str, Any]


def sections(figures: Figures) -> list[Section]:
    """Every section of the page but the first table and the last."""
    found = [
        _layers(figures),
        select_section(figures),
        _operators(figures),
        pairs_section(figures),
        _learning(figures),
        _costs(figures),
        scale_section(figures),
        transfer_section(figures),
        mistakes_section(figures),
    ]
    where = cache_words(figures.cache.path)
    return [replace(each, command=f"{each.command}{where}") for each in found]


def _layers(figures: Figures) -> Section:
    panels = [
        _curve(f"layers-{corpus}" + f"-{probe}" * (place > 0), corpus, figures, *found)
        for corpus in figures.corpora
        for place, (probe, found) in enumerate(curves(figures, corpus).items())
    ]
    return Section(
        "layers",
        "Which layer?",
        "Every layer of every model, judged on its own by one small classifier, over how deep it "
        "lies. The layer is chosen without the test; then the test is looked at. A triangle marks "
        f"the layer at {DEPTH} of the depth, a square the last one: what one would take without "
        "looking.",
        panels,
        "No layer sweep yet. This makes one:",
        "lef sweep --models MODEL",
    )


def _curve(
    id: str, corpus: str, figures: Figures, rows: Sequence[Row], studies: Sequence[Study]
) -> Panel:
    by = " and ".join(dict.fromkeys(map(_chosen, studies)))
    seeds = max(study.values.get("seeds", 1) for study in studies)
    mean = f", mean of {seeds} seeds" if seeds > 1 else ""
    n = " and ".join(f"{count:,}" for count in dict.fromkeys(row["n"] for row in rows))
    return Panel(
        id,
        f"{corpus}, {rows[0]['probe']} probe",
        partial(_drawn, layer_curve, rows, figures.names),
        f"Accuracy {by} (n = {n}{mean}), with 95 % intervals of the texts; on the test "
        f"n = {max(row['n_test'] for row in rows):,}.",
        marks_of(studies),
        commands_of(studies),
        [_marked(rows)],
        _layer_data(rows),
    )


def _chosen(study: Study) -> str:
    words = {"leave-one-out": "by leaving each row out", "test": "on the test itself"}
    return words.get(str(study.values["selected_by"]), "on validation")


def _marked(rows: Sequence[Row]) -> Table:
    """What a curve marks, each layer once, with its test where that is known."""
    lines = [
        [
            row["series"],
            row["layer"],
            ", ".join(row["marks"]),
            percent(row["accuracy"]),
            within(row["test"], row["test_low"], row["test_high"]) or "not shown",
        ]
        for series in dict.fromkeys(row["series"] for row in rows)
        for mark in MARKS
        for row in rows
        if row["series"] == series and row["marks"][:1] == [mark]
    ]
    return Table(["model", "layer", "", ">accuracy", ">test [95 %]"], lines)


def _layer_data(rows: Sequence[Row]) -> Table:
    lines = [
        [
            row["feature"],
            percent(row["depth"]),
            within(row["accuracy"], row["low"], row["high"]),
            f"{row['n']:,}",
            within(row["test"], row["test_low"], row["test_high"]),
            f"{row['n_test']:,}",
        ]
        for row in rows
    ]
    headers = ["feature", ">depth", ">accuracy [95 %]", ">n", ">test [95 %]", ">n"]
    return Table(headers, lines)


def _operators(figures: Figures) -> Section:
    panels = []
    for corpus in figures.corpora:
        rows, studies = operators(figures, corpus)
        if not rows:
            continue
        first = next(row for row in rows if row["kind"] == FUSED)
        hidden = sum(row["test"] is None for row in rows)
        unseen = f" The test of {hidden} was not looked at." if hidden else ""
        features = " + ".join(studies[0].features)
        note = (
            f"{features}; {_counted(first['seeds'], 'seed')}, {first['n_train']:,} rows to learn "
            f"from, n = {first['n_test']:,}.{unseen}"
        )
        panels.append(
            _estimates(f"operators-{corpus}", corpus, intervals, rows, studies, figures, note)
        )
    return Section(
        "operators",
        "How to fuse?",
        "The operators on the same features, with the same head, seeds and rows; the best on "
        "validation stands first, since nothing else may choose. Dots are the test with its 95 % "
        "interval over seeds and texts, ticks are validation. Where intervals overlap, hold two "
        "against each other on the same texts with lef compare.",
        panels,
        "No features have been fused by several operators yet. This does it:",
        "lef fuse --models A:LAYER,B:LAYER --op all --alone --seeds 5 --show-test",
    )


def _estimates(
    id: str,
    corpus: str,
    chart: Any,
    rows: Sequence[Row],
    studies: Sequence[Study],
    figures: Figures,
    note: str,
) -> Panel:
    draw = partial(_drawn, chart, rows, figures.names)
    data = _estimate_data(rows)
    return Panel(id, corpus, draw, note, marks_of(studies), commands_of(studies), [], data)


def _estimate_data(rows: Sequence[Row]) -> Table:
    lines = [
        [
            row["label"],
            f"{row['n_train']:,}",
            percent(row["val"]),
            f"{row['n_val']:,}",
            within(row["test"], row["test_low"], row["test_high"]),
            f"{row['n_test']:,}",
            str(row["seeds"]),
        ]
        for row in rows
    ]
    headers = ["", ">rows learnt", ">validation", ">n", ">test [95 %]", ">n", ">seeds"]
    return Table(headers, lines)


def _learning(figures: Figures) -> Section:
    panels = []
    for corpus in figures.corpora:
        rows, studies = learning(figures, corpus)
        if rows:
            note = f"n = {rows[0]['n_test']:,}; {_counted(rows[-1]['seeds'], 'seed')}."
            id = f"learning-{corpus}"
            panels.append(_estimates(id, corpus, learning_curve, rows, studies, figures, note))
    return Section(
        "learning",
        "How many labels?",
        "Accuracy on the test over the rows that a head has learnt from. Each size is part of the "
        "next, and the same rows for every line.",
        panels,
        "No head has learnt from several sizes of train yet. This does it:",
        "lef fuse --models A:LAYER,B:LAYER --n-train 100,300,1000,all --alone --seeds 5",
    )


def _costs(figures: Figures) -> Section:
    panels = []
    for corpus in figures.corpora:
        rows, studies = costs(figures, corpus)
        if len(rows) > 1:
            note = (
                f"n = {rows[0]['n_test']:,}, {rows[0]['n_train']:,} rows to learn from. The dashed "
                "line joins what nothing smaller reaches on validation."
            )
            id = f"costs-{corpus}"
            panels.append(_estimates(id, corpus, cost_chart, rows, studies, figures, note))
    return Section(
        "costs",
        "What does it cost?",
        "What the vectors of one text take on disk against the accuracy that they give: of each "
        "set of features, the head that is best on validation.",
        panels,
        "Nothing has been trained on several sets of features yet. This does it:",
        "lef fuse --models A:LAYER,B:LAYER --alone --seeds 5",
    )


def _counted(number: int, thing: str) -> str:
    return f"{number} {thing}{'s' * (number != 1)}"


def _drawn(chart: Any, rows: Sequence[Row], names: Sequence[str], theme: Any, title: str) -> Any:
    return chart(rows, theme, names, title)
