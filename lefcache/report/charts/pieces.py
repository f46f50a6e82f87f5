"""What several charts are made of: axes, legends, tooltips, colours."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lefcache.report.tables import ALONE, BASELINE, FUSED, KINDS
from lefcache.report.theme import Colours, Theme

Row = Mapping[str, Any]
Chart = Any  # of Altair, which is imported where a chart is asked for
Field = tuple[str, ...]  # a field of a row, what it is called, and the form of a number

PERCENT, TENTH, WHOLE = ".0%", ".1%", ",d"
SIGNED = "+.1f"  # of points
HEIGHT = 260

# Kinds of steps, beside those of `tables`: how a feature that was added did.
PAYS, UNSURE, OTHER_STORE = "pays", "not known to pay", "in another store"

ESTIMATE = (
    ("label", "what"),
    ("test", "test accuracy", TENTH),
    ("test_low", "95 % from", TENTH),
    ("test_high", "to", TENTH),
    ("n_test", "n", WHOLE),
    ("val", "validation", TENTH),
    ("n_val", "n (validation)", WHOLE),
    ("seeds", "seeds"),
    ("n_train", "rows learnt from", WHOLE),
)


def tips(alt: Any, fields: Iterable[Field]) -> list[Any]:
    """The lines of a tooltip."""
    return [
        alt.Tooltip(f"{field}:Q", title=name, format=form[0])
        if form
        else alt.Tooltip(f"{field}:N", title=name)
        for field, name, *form in fields
    ]


def percents(alt: Any) -> Any:
    """An axis of shares."""
    return alt.Axis(format="~%", tickCount=6)


def strokes(alt: Any) -> Any:
    """A legend of lines."""
    return alt.Legend(symbolType="stroke", symbolStrokeWidth=3, symbolSize=300)


def values(alt: Any, rows: Iterable[Row]) -> Chart:
    """A chart of these rows, nothing drawn yet."""
    return alt.Chart(alt.InlineData(values=[dict(row) for row in rows]))


def in_points(rows: Iterable[Row], fields: Iterable[str]) -> list[dict[str, Any]]:
    """The rows with these shares in points: a difference of percentages is no percentage."""
    names = set(fields)
    return [
        {
            name: 100 * value if name in names and value is not None else value
            for name, value in row.items()
        }
        for row in rows
    ]


def finished(
    chart: Chart,
    theme: Theme,
    title: str,
    description: str,
    height: float = HEIGHT,
    right: int = 8,
    columns: int = 2,
) -> Chart:
    """A chart in its size and colours; the description is for who cannot see it.

    `right` are pixels beside the axes, for what is written there, `columns` those of the legend.
    """
    more: dict[str, Any] = {"title": title} if title else {}
    more["padding"] = {"left": 4, "top": 4, "bottom": 4, "right": right}
    placed = chart.properties(width=theme.width, height=height, description=description, **more)
    config = theme.config()
    config["legend"]["columns"] = columns
    return placed.configure(**config)


def colours_of(rows: Sequence[Row], theme: Theme, models: Sequence[str]) -> Colours:
    """Those of all models of a report, or of the rows' own."""
    return Colours(models or [*dict.fromkeys(row["model"] for row in rows if row["model"])], theme)


def kind_of(row: Row) -> str:
    """What a row's colour is called: a single feature by its model."""
    alone = row["kind"] == ALONE and row["model"]
    return f"{row['model']} alone" if alone else str(row["kind"])


def by_kind(alt: Any, rows: Sequence[Row], theme: Theme, models: Sequence[str]) -> Any:
    """Fusions in one colour, a single feature in that of its model, baselines quietly."""
    return _coloured(alt, {kind_of(row): row for row in rows}, theme, models, alt.Undefined)


def by_label(alt: Any, rows: Sequence[Row], theme: Theme, models: Sequence[str]) -> Any:
    """Each label as a line of its own colour."""
    ordered = sorted(rows, key=lambda row: KINDS.index(row["kind"]))
    return _coloured(alt, {row["label"]: row for row in ordered}, theme, models, strokes(alt))


def _coloured(
    alt: Any, named: Mapping[str, Row], theme: Theme, models: Sequence[str], legend: Any
) -> Any:
    colours = colours_of([*named.values()], theme, models)
    fixed = {FUSED: theme.fused, BASELINE: theme.muted}
    fixed |= {PAYS: theme.fused, UNSURE: theme.muted, OTHER_STORE: theme.heat}
    range_ = [fixed.get(row["kind"]) or colours.of(row["model"]) for row in named.values()]
    return alt.Color("colour:N", scale=alt.Scale(domain=[*named], range=range_), legend=legend)
