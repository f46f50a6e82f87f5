"""Squares of rows and columns, the stronger the larger their numbers."""

from collections.abc import Sequence
from typing import Any

from lefcache.report.charts.pieces import PERCENT, Chart, Field, Row, finished, tips, values
from lefcache.report.theme import PAPER, Theme, altair

MOST_WRITTEN = 14  # columns whose squares are wide enough for a number
NARROWEST = 23  # pixels of such a square
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
    good: int = 0,
) -> Chart:
    """A square for each row whose value is not None.

    Args:
        rows: `across`, `down` and `value` are fields of theirs; `told` is written instead of the
            value, where there is one.
        names: from top to bottom, and from left to right if there are no `columns`.
        theme: its colours.
        title: stands above the chart.
        across: the field that places a row from left to right.
        down: the field that places it from top to bottom.
        value: its number.
        form: how the number is written.
        lines: those of the tooltip.
        columns: from left to right.
        good: 1 or -1 if numbers above, or below, 0 are good and the others bad; 0 if neither is.
    """
    alt = altair()
    columns = [*(columns or names)]
    known = [row for row in rows if row[value] is not None]
    most = max((abs(row[value]) for row in known), default=0.0) or 1.0
    data = [
        {"told": _told(row[value], form, most), **row, "strength": abs(row[value])} for row in known
    ]
    whole = values(alt, data).encode(
        _axis(alt, alt.X, across, columns, slanted=_long(columns)),
        _axis(alt, alt.Y, down, names),
    )
    strength = alt.Scale(domain=[0, most], range=[0.05, 0.95])
    squares = whole.mark_rect(cornerRadius=2, stroke=theme.surface, strokeWidth=1.5).encode(
        color=_colour(alt, theme, value, good),
        fillOpacity=alt.FillOpacity("strength:Q", scale=strength, legend=None),
        tooltip=tips(alt, lines),
    )
    layers = [squares]
    if len(columns) <= MOST_WRITTEN:
        dark = alt.condition(
            f"datum.strength > {DARK * most}", alt.value(theme.on_heat), alt.value(theme.ink)
        )
        # In squares that are narrower than their number, on a telephone, only colours are seen.
        fits = alt.expr(f"width < {NARROWEST * len(columns)} ? 0 : 1")
        numbers = whole.mark_text(fontSize=11 if len(columns) < 10 else 10, opacity=fits)
        # With a tooltip of their own: they lie on the squares, and would take the mouse from them.
        layers.append(numbers.encode(text="told:N", color=dark, tooltip=tips(alt, lines)))
    height = max(180, (38 if len(names) < MOST_WRITTEN else 27) * len(names))
    words = f"A matrix of {len(names)} by {len(columns)}"
    return finished(alt.layer(*layers), theme, title, words, height=height)


def _told(value: float, form: str, most: float) -> str:
    """A number as it is written; nothing where it is next to nothing, and 0 has no sign."""
    if abs(value) < 0.005 * most:
        return ""
    unsigned = format(abs(value), form.removeprefix("+"))
    nothing = not any(digit in unsigned for digit in "123456789")
    return unsigned if nothing else format(value, form).replace("-", "−")  # noqa: RUF001  a minus


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
    return max(map(len, names), default=0) * len(names) > 60


def _colour(alt: Any, theme: Theme, value: str, good: int) -> Any:
    if not good:
        return alt.value(theme.heat)
    below, above = [alt.value(theme.bad), alt.value(theme.good)][::good]
    signed = alt.when(f"datum.{value} < 0").then(below).when(f"datum.{value} > 0").then(above)
    return signed.otherwise(alt.value(theme.muted))
