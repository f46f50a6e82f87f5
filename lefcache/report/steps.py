"""Features added one at a time: what each gains, what it costs, and where it no longer pays."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from lefcache.report.charts import cost_chart, intervals
from lefcache.report.charts.estimates import BYTES
from lefcache.report.charts.pieces import OTHER_STORE, PAYS, UNSURE, Field
from lefcache.report.gather import Figures, Study
from lefcache.report.layout import (
    Panel,
    Section,
    Table,
    commands_of,
    marks_of,
    points,
    size,
    within,
)

Row = dict[str, Any]

# A field of a step, what it is called on an axis, and the form of its numbers.
COSTS: tuple[Field, ...] = (
    BYTES,
    ("megabytes", "MB in memory while a head trains", ",.3~f"),
    ("embed", "seconds of forward passes for 1,000 texts", ",.3~f"),
    ("predict", "milliseconds to predict 1,000 texts", ",.3~f"),
)


def scales(figures: Figures, corpus: str) -> tuple[list[Row], Study] | None:
    """The steps of a corpus and their study: that of most rows and features, then the latest."""
    able = []
    for place, study in enumerate(figures.of("scale", corpus)):
        try:
            rows = steps_of(study.values)
        except (LookupError, TypeError, AttributeError):  # of a newer lefcache
            continue
        if len(rows) > 1:
            rank = (*study.trust, study.values["n_train"], len(rows), place)
            able.append((rank, rows, study))
    return max(able)[1:] if able else None


def steps_of(values: Mapping[str, Any]) -> list[Row]:
    """The steps of a study's figures as rows, then the last one's features in other stores."""
    steps, stores = values.get("steps", ()), values.get("stores", ())
    rows = []
    for place, step in enumerate([*steps, *stores]):
        last = step["features"][-1]
        added = f"+\u00a0{last}" if place else last
        stored = place >= len(steps)
        kind = OTHER_STORE if stored else PAYS if place < values["pays"] else UNSURE
        label = f"all as {step['store']}" if stored else added
        rows.append({"label": label, "short": label, "kind": kind, "model": ""} | _figures(step))
        rows[-1] |= {name: values[name] for name in ("n_val", "n_test", "n_train", "seeds")}
    return rows


def _figures(step: Mapping[str, Any]) -> Row:
    """Accuracies, gains and costs of a step, in the units of the charts."""
    found: Row = {"features": [*step["features"]], "store": step["store"]}
    for name, field in (
        ("val", "val_accuracy"),
        ("test", "test_accuracy"),
        ("gain", "val_gain"),
        ("test_gain", "test_gain"),
    ):
        figure = step[field]
        low, high = figure["ci95"] if figure else (None, None)
        found |= {name: figure and figure["mean"], f"{name}_low": low, f"{name}_high": high}
    embed = step["embed_seconds"]
    return found | {
        "bytes": step["row_bytes"],
        "megabytes": step["memory"] / 1e6,
        "embed": embed,
        "predict": 1000 * step["predict_seconds"],
        "train": step["train_seconds"],
    }


def priced(rows: Sequence[Row], cost: Field) -> list[Row]:
    """The rows that have this cost, the cheapest first, and whether no other beats them.

    One is beaten by another that is as good on validation and as cheap, and better in one of both.
    """
    field = cost[0]
    known = sorted((row for row in rows if row[field] is not None), key=lambda row: row[field])
    points = [(row["val"], -row[field]) for row in known]
    return [
        row | {"efficient": not any(_beats(other, point) for other in points)}
        for row, point in zip(known, points, strict=True)
    ]


def _beats(one: tuple[float, float], other: tuple[float, float]) -> bool:
    return one != other and all(ours >= theirs for ours, theirs in zip(one, other, strict=True))


def scale_section(figures: Figures) -> Section:
    """What one feature more gains, and what it costs in bytes, memory and seconds."""
    panels: list[Panel] = []
    for corpus in figures.corpora:
        if found := scales(figures, corpus):
            panels += _panels(figures, corpus, *found)
    return Section(
        "scale",
        "How many features pay?",
        "Features added one at a time, with heads of their own. The next one pays while the 95 % "
        "interval of what it gains on validation lies above 0; the test, shown for every step, "
        "chooses nothing. Then what each takes: the dashed line joins what nothing cheaper reaches "
        "on validation.",
        panels,
        "No features have been added one at a time yet. This does it:",
        "lef scale --models A:LAYER,B:LAYER,C:LAYER --store all",
    )


def _panels(figures: Figures, corpus: str, rows: list[Row], study: Study) -> Iterator[Panel]:
    values = study.values
    known = marks_of([study]), commands_of([study])
    yield Panel(
        f"scale-{corpus}",
        corpus,
        partial(_steps, rows, figures.names),
        f"{_verdict(values)} {values['op']}, {values['seeds']} seeds, {values['n_train']:,} rows "
        f"to learn from, n = {values['n_val']:,} of validation"
        + (f" and {values['n_test']:,} of the test." if values["n_test"] else "."),
        *known,
        [_accuracies(rows)],
        _numbers(rows),
        wide=True,
    )
    for cost in COSTS:
        some = priced(rows, cost)
        if len(some) > 1:
            draw = partial(_drawn, some, figures.names, cost)
            note = f"n = {values['n_test'] or values['n_val']:,}."
            yield Panel(f"scale-{corpus}-{cost[0]}", f"{corpus}: {cost[1]}", draw, note, *known)


def _verdict(values: Mapping[str, Any]) -> str:
    """Where the next feature no longer pays."""
    pays, steps = values["pays"], values["steps"]
    if pays == len(steps):
        return f"All {pays} pay."
    gain = steps[pays]["val_gain"]
    told = points(gain["mean"], *gain["ci95"])
    many = "1 feature pays" if pays == 1 else f"{pays} features pay"
    return f"{many}: {steps[pays]['features'][-1]} is not known to gain anything, {told} points."


def _accuracies(rows: Sequence[Row]) -> Table:
    lines = [
        [
            row["label"],
            within(row["val"], row["val_low"], row["val_high"]),
            "" if row["gain"] is None else points(row["gain"], row["gain_low"], row["gain_high"]),
            within(row["test"], row["test_low"], row["test_high"]),
        ]
        for row in rows
    ]
    return Table(["", ">validation [95 %]", ">gain [95 %]", ">test [95 %]"], lines)


def _numbers(rows: Sequence[Row]) -> Table:
    """All that each takes."""
    lines = [
        [
            row["label"],
            row["store"],
            f"{row['bytes']:,}",
            size(1e6 * row["megabytes"]),
            f"{row['train']:,.1f} s",
            "unknown" if row["embed"] is None else f"{row['embed']:,.1f} s",
            f"{row['predict']:,.1f} ms",
        ]
        for row in rows
    ]
    headers = ["", "stored as", ">bytes a text", ">memory to train", ">to train a head"]
    return Table([*headers, ">to embed 1,000", ">to predict 1,000"], lines)


def _steps(rows: Sequence[Row], names: Sequence[str], theme: Any, title: str) -> Any:
    return intervals(rows, theme, names, title)


def _drawn(rows: Sequence[Row], names: Sequence[str], cost: Field, theme: Any, title: str) -> Any:
    return cost_chart(rows, theme, names, title, cost)
