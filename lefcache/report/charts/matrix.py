"""Squares of rows and columns, the stronger the larger their numbers."""

from collections.abc import Sequence
from typing import Any

from lefcache.report.charts.pieces import PERCENT, Chart, Field, Row, finished, tips, values
from lefcache.report.theme import PAPER, Theme, altair

MOST_WRITTEN = 14  # columns whose squares are wide enough for a number
DARK = 0.55  # of the largest number: squares on which light text is read better


def matrix(
    rows: Sequence[Row],
    names: Sequence[str],
    theme: Theme = PAPER,
    title: str = "",
    *,
    across: str,
    down: str,
    value: str = "share",
    form: str = PERCENT,
    lines: Sequence[Field] = (),
    columns: Sequence[str] = (),
    signed: bool = False,
) -> Chart:
    """A square for each row whose value is not None.

    Args:
        rows: `across`, `down` and `value` are fields of theirs.
        names: from top to bottom, and from left to right if there are no `columns`.
        theme: its colours.
        title: stands above the chart.
        across: the field that places a row from left to right.
        down: the field that places it from top to bottom.
        value: its number.
        form: how the number is written.
        lines: those of the tooltip.
        columns: from left to right.
        signed: whether a number below 0 has another colour.
    """
    alt = altair()
    columns = [*(columns or names)]
    data = [{**row, "strength": abs(row[value])} for row in rows if row[value] is not None]
    most = max((row["strength"] for row in data), default=0.0) or 1.0
    whole = values(alt, data).encode(
        _axis(alt, alt.X, across, columns, slanted=_long(columns)),
        _axis(alt, alt.Y, down, names),
    )
    strength = alt.Scale(domain=[0, most], range=[0.05, 0.95])
    squares = whole.mark_rect(cornerRadius=2, stroke=theme.surface, strokeWidth=1.5).encode(
        color=_colour(alt, theme, value, signed),
        fillOpacity=alt.FillOpacity("strength:Q", scale=strength, legend=None),
        tooltip=tips(alt, lines),
    )
    layers = [squares]
    if len(columns) <= MOST_WRITTEN:
        dark = alt.condition(
            f"datum.strength > {DARK * most}", alt.value(theme.on_heat), alt.value(theme.ink)
        )
        told = whole.transform_filter(f"datum.strength >= {0.005 * most}")
        layers.append(
            told.mark_text(fontSize=11).encode(text=alt.Text(f"{value}:Q", format=form), color=dark)
        )
    height = max(180, (38 if len(names) < MOST_WRITTEN else 27) * len(names))
    words = f"A matrix of {len(names)} by {len(columns)}"
    return finished(alt.layer(*layers), theme, title, words, height=height)


def _axis(alt: Any, channel: Any, field: str, names: Sequence[str], slanted: bool = False) -> Any:
    axis = alt.Axis(
        labelAngle=-40 if slanted else 0,
        labelLimit=120,
        labelPadding=6,
        ticks=False,
        domain=False,
        grid=False,
    )
    scale = alt.Scale(domain=[*names])
    return channel(f"{field}:N", sort=[*names], scale=scale, title=field, axis=axis)


def _long(names: Sequence[str]) -> bool:
    return sum(map(len, names)) > 60


def _colour(alt: Any, theme: Theme, value: str, signed: bool) -> Any:
    if not signed:
        return alt.value(theme.heat)
    return alt.condition(f"datum.{value} < 0", alt.value(theme.bad), alt.value(theme.good))
