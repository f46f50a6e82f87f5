"""Charts of accuracies with their intervals: side by side, over rows, over bytes."""

from collections.abc import Sequence

from lefcache.report.charts.pieces import (
    ESTIMATE,
    SIGNED,
    TENTH,
    WHOLE,
    Chart,
    Field,
    Row,
    by_kind,
    by_label,
    finished,
    in_points,
    kind_of,
    percents,
    tips,
    values,
)
from lefcache.report.theme import PAPER, Theme, altair

STEP = 25  # pixels of a line
NUMBER = 48  # pixels at the right, for the numbers
BYTES: Field = ("bytes", "bytes on disk per text", ",.3~f")


def intervals(
    rows: Sequence[Row], theme: Theme = PAPER, models: Sequence[str] = (), title: str = ""
) -> Chart:
    """A line for each row: the test accuracy with its interval, and a tick for validation.

    Args:
        rows: `label`, `kind`, `val`, `test`, `test_low`, `test_high`, `n_test`, as in `tables`.
        theme: its colours.
        models: all models of a report, so that each has the same colour in every chart.
        title: stands above the chart.
    """
    alt = altair()
    order = [*dict.fromkeys(row["label"] for row in rows)]
    down = alt.Y(
        "label:N", sort=order, title=None, axis=alt.Axis(ticks=False, domain=False, labelPadding=8)
    )
    colour = by_kind(alt, rows, theme, models)
    scale = alt.Scale(domain=_domain(rows), nice=False, zero=False)
    named = {"title": "accuracy", "scale": scale, "axis": percents(alt)}
    span = alt.X("test_low:Q", **named), alt.X2("test_high:Q")
    whole = values(alt, [{**row, "colour": kind_of(row)} for row in rows])
    ticks = whole.mark_tick(thickness=2, size=12, color=theme.muted).encode(
        alt.X("val:Q", **named), down
    )
    if all(row["test"] is None for row in rows):
        words = f"Validation accuracy of {len(order)} heads"
        return finished(ticks, theme, title, words, height=STEP * len(order))
    tested = whole.transform_filter("isValid(datum.test)")
    at_right = {"align": "left", "dx": 8, "fontSize": 11.5, "color": theme.ink}
    layers = [
        tested.mark_rule(strokeWidth=2.4, opacity=0.5).encode(*span, down, colour),
        ticks,
        tested.mark_point(filled=True, size=90, opacity=1).encode(
            alt.X("test:Q", **named), down, colour
        ),
        tested.mark_text(**at_right).encode(
            down, x=alt.value("width"), text=alt.Text("test:Q", format=TENTH)
        ),
        tested.mark_bar(opacity=0, height=STEP - 4).encode(
            *span, down, tooltip=tips(alt, ESTIMATE)
        ),
    ]
    words = f"Test accuracy of {len(order)} heads with 95 % intervals"
    chart, height = alt.layer(*layers), STEP * len(order)
    return finished(chart, theme, title, words, height=height, right=NUMBER, columns=3)


def differences(rows: Sequence[Row], theme: Theme = PAPER, title: str = "") -> Chart:
    """A line for each difference with its interval, beside none at all.

    Args:
        rows: `label`, `gain`, `low`, `high` and `n`.
        theme: its colours.
        title: stands above the chart.
    """
    alt = altair()
    down = alt.Y("label:N", title=None, axis=alt.Axis(ticks=False, domain=False, labelPadding=8))
    named = {"title": "difference in points", "axis": alt.Axis(format=SIGNED, tickCount=6)}
    whole = values(alt, in_points(rows, ("gain", "low", "high"))).encode(down)
    lines = [("label", "what"), ("gain", "points", SIGNED), ("low", "95 % from", SIGNED)]
    lines += [("high", "to", SIGNED), ("n", "n", WHOLE)]
    layers = [
        values(alt, [{"gain": 0}]).mark_rule(color=theme.muted).encode(alt.X("gain:Q", **named)),
        whole.mark_rule(strokeWidth=2.4, opacity=0.5, color=theme.fused).encode(
            alt.X("low:Q", **named), alt.X2("high:Q")
        ),
        whole.mark_point(filled=True, size=90, opacity=1, color=theme.fused).encode(
            alt.X("gain:Q", **named), tooltip=tips(alt, lines)
        ),
    ]
    words = f"{len(rows)} differences with 95 % intervals"
    return finished(alt.layer(*layers), theme, title, words, height=STEP * (len(rows) + 1))


def learning_curve(
    rows: Sequence[Row], theme: Theme = PAPER, models: Sequence[str] = (), title: str = ""
) -> Chart:
    """Test accuracy over the rows that were learnt from, with bands; arguments as above."""
    alt = altair()
    sizes = sorted({row["n_train"] for row in rows})
    colour = by_label(alt, rows, theme, models)
    across = alt.X(
        "n_train:Q",
        title="rows to learn from",
        scale=alt.Scale(type="log", nice=False, padding=12),
        axis=alt.Axis(format=WHOLE, grid=False, values=sizes, labelOverlap="greedy"),
    )
    scale = alt.Scale(zero=False)
    up = alt.Y("test:Q", title="test accuracy", scale=scale, axis=percents(alt))
    span = alt.Y("test_low:Q", title="test accuracy", scale=scale), alt.Y2("test_high:Q")
    whole = values(alt, [{**row, "colour": row["label"]} for row in rows]).encode(across)
    near = whole.mark_point(filled=True, size=500, opacity=0)
    layers = [
        whole.mark_area(opacity=0.12).encode(*span, colour),
        whole.mark_line(strokeWidth=2.2).encode(up, colour),
        whole.mark_point(filled=True, size=44, opacity=1).encode(up, colour),
        near.encode(up, tooltip=tips(alt, ESTIMATE)),
    ]
    words = f"Test accuracy over {len(sizes)} numbers of rows to learn from"
    return finished(alt.layer(*layers), theme, title, words)


def cost_chart(
    rows: Sequence[Row],
    theme: Theme = PAPER,
    models: Sequence[str] = (),
    title: str = "",
    cost: Field = BYTES,
) -> Chart:
    """Test accuracy over a cost, or that on validation where there is no test.

    Arguments as above; `cost` is the field that a row has it in.
    """
    alt = altair()
    field, name, form = cost
    judged, said = ("test", "test") if rows[0]["test"] is not None else ("val", "validation")
    colour = by_kind(alt, rows, theme, models)
    across = alt.X(
        f"{field}:Q",
        title=name,
        scale=alt.Scale(zero=False, nice=False, padding=40),
        axis=alt.Axis(format=form, grid=False, tickCount=5),
    )
    named = {"title": f"{said} accuracy", "scale": alt.Scale(zero=False, padding=16)}
    up = alt.Y(f"{judged}:Q", axis=percents(alt), **named)
    span = alt.Y(f"{judged}_low:Q", **named), alt.Y2(f"{judged}_high:Q")
    whole = values(alt, [{**row, "colour": kind_of(row)} for row in rows]).encode(across)
    best = whole.transform_filter("datum.efficient")
    above = best.encode(alt.Y(f"{judged}_high:Q", **named))
    over: Row = {"dy": -5, "baseline": "bottom", "fontSize": 11, "limit": 170}
    tooltip = tips(alt, [cost, *ESTIMATE])
    layers = [
        whole.mark_rule(strokeWidth=1.6, opacity=0.4).encode(*span, colour),
        best.mark_line(strokeDash=[3, 3], strokeWidth=1.4, color=theme.muted).encode(
            up, order=f"{field}:Q"
        ),
        whole.mark_point(filled=True, size=80, opacity=1).encode(up, colour, tooltip=tooltip),
        # Above its interval, and on a ground of its own, where other marks do not cross it.
        above.mark_text(**over, stroke=theme.surface, strokeWidth=4).encode(text="short:N"),
        above.mark_text(**over, color=theme.ink).encode(text="short:N"),
    ]
    words = f"{said.capitalize()} accuracy of {len(rows)} sets of features over {name}"
    return finished(alt.layer(*layers), theme, title, words, columns=3)


def _domain(rows: Sequence[Row]) -> list[float]:
    """From the lowest to the highest number, with some room."""
    fields = ("val", "test", "test_low", "test_high")
    found = [row[name] for row in rows for name in fields if row.get(name) is not None] or [0, 1]
    low, high = min(found), max(found)
    span = max(high - low, 0.01)
    return [max(0.0, low - 0.03 * span), min(1.0, high + 0.03 * span)]
