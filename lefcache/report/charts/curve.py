"""The layer curve: how good each layer is, over the depth of its model."""

from collections.abc import Sequence
from typing import Any

from lefcache.feature import DEPTH, FIXED, LAST
from lefcache.report.charts.pieces import (
    PERCENT,
    TENTH,
    WHOLE,
    Chart,
    Row,
    colours_of,
    finished,
    percents,
    strokes,
    tips,
    values,
)
from lefcache.report.curves import CHOSEN
from lefcache.report.gather import UNKNOWN
from lefcache.report.theme import PAPER, Theme, altair

SHAPES = {CHOSEN: "circle", LAST: "square", FIXED: "triangle-up"}
DASHES: dict[str, list[int]] = {
    "encoder": [1, 0],
    "decoder": [7, 3],
    "encoder-decoder": [7, 3, 2, 3],
    UNKNOWN: [2, 3],
}
LAYER = (
    ("feature", "feature"),
    ("depth", "relative depth", PERCENT),
    ("accuracy", "accuracy", TENTH),
    ("low", "95 % from", TENTH),
    ("high", "to", TENTH),
    ("n", "n", WHOLE),
    ("test", "test accuracy", TENTH),
    ("test_low", "test 95 % from", TENTH),
    ("test_high", "to (test)", TENTH),
    ("n_test", "n (test)", WHOLE),
    ("probe", "probe"),
)


def layer_curve(
    rows: Sequence[Row], theme: Theme = PAPER, models: Sequence[str] = (), title: str = ""
) -> Chart:
    """Accuracy over relative depth, a line and a band for each model, with what is marked.

    Args:
        rows: those of `curves`.
        theme: its colours.
        models: all models of a report, so that each has the same colour in every chart.
        title: stands above the chart.
    """
    alt = altair()
    colour, dash = _series(alt, rows, theme, models)
    data = [{**row, "series": series_of(row)} for row in rows]
    across = alt.X(
        "depth:Q",
        title="relative depth (layer / blocks)",
        scale=alt.Scale(domain=[0, 1]),
        axis=alt.Axis(format=PERCENT, grid=False, tickCount=5),
    )
    scale = alt.Scale(zero=False)
    up = alt.Y("accuracy:Q", title="accuracy", scale=scale, axis=percents(alt))
    span = alt.Y("low:Q", title="accuracy", scale=scale), alt.Y2("high:Q")
    whole = values(alt, data).encode(across)
    curve = whole.transform_filter("datum.on_curve")
    fixed = values(alt, [{"depth": DEPTH}]).encode(across)
    layers = [
        fixed.mark_rule(strokeDash=[2, 4], color=theme.muted, opacity=0.6),
        curve.mark_area(opacity=0.12).encode(*span, colour),
        curve.mark_line(strokeWidth=2.2).encode(up, colour, dash),
        whole.mark_point(filled=True, size=34, opacity=1).encode(up, colour),
        _marks(alt, data, across, up, colour),
        whole.mark_point(filled=True, size=500, opacity=0).encode(up, tooltip=tips(alt, LAYER)),
    ]
    if not all(row["on_curve"] for row in rows):
        # What stands alone, such as the output after the final norm, has its interval as a bar.
        apart = whole.transform_filter("!datum.on_curve")
        layers.insert(1, apart.mark_rule(strokeWidth=1.4, opacity=0.6).encode(*span, colour))
    words = f"Accuracy of {len(rows)} layers over relative depth"
    return finished(alt.layer(*layers), theme, title, words)


def series_of(row: Row) -> str:
    """What a curve is called in the legend: encoders and decoders are told apart where known."""
    known = row["architecture"]
    return str(row["series"]) if known == UNKNOWN else f"{row['series']} ({known})"


def _series(alt: Any, rows: Sequence[Row], theme: Theme, models: Sequence[str]) -> tuple[Any, Any]:
    """The colour of a line says which model, its dashes which architecture."""
    colours, lines = colours_of(rows, theme, models), {series_of(row): row for row in rows}
    ranges = (
        [colours.of(row["model"]) for row in lines.values()],
        [DASHES.get(row["architecture"], DASHES[UNKNOWN]) for row in lines.values()],
    )
    scales = [alt.Scale(domain=[*lines], range=each) for each in ranges]
    return (
        alt.Color("series:N", scale=scales[0], legend=strokes(alt)),
        alt.StrokeDash("series:N", scale=scales[1]),
    )


def _marks(alt: Any, data: Sequence[Row], across: Any, up: Any, colour: Any) -> Chart:
    """What is chosen, last, or at the fixed depth, as outlines around the dots."""
    marked = [{**row, "mark": mark} for row in data for mark in row["marks"]]
    there = [mark for mark in SHAPES if any(row["mark"] == mark for row in marked)]
    shape = alt.Shape(
        "mark:N",
        scale=alt.Scale(domain=there, range=[SHAPES[mark] for mark in there]),
        legend=alt.Legend(
            orient="bottom", columns=3, symbolSize=110, symbolStrokeWidth=1.8, symbolOpacity=1
        ),
    )
    outlines = values(alt, marked).mark_point(filled=False, strokeWidth=1.8, opacity=1, size=190)
    return outlines.encode(across, up, colour, shape)
