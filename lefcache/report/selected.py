"""Layers that were chosen without a sweep: which, how sure, at what cost, and what they lost."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lefcache.report.gather import Figures, Study
from lefcache.report.layout import Panel, Section, Table, commands_of, marks_of, points

Row = dict[str, Any]
LOSSES = ("chosen", "last", "fixed")


def selections(figures: Figures, corpus: str) -> list[tuple[Row, Study]]:
    """The choice of each model of a corpus and its study: of most rows and layers, then the latest.

    One layer alone was no choice.
    """
    found: dict[str, tuple[tuple[Any, ...], Row, Study]] = {}
    for place, study in enumerate(figures.of("select", corpus)):
        try:
            rows = [*_rows(study.values)]
        except (LookupError, TypeError, AttributeError):  # of a newer lefcache
            continue
        for row in rows:
            rank = (*study.trust, study.values["n_train"], row["layers"], place)
            name = row["model"]
            if row["layers"] > 1 and (name not in found or rank > found[name][0]):
                found[name] = rank, row, study
    order = {name: place for place, name in enumerate(figures.names)}
    chosen = sorted(found.values(), key=lambda each: order.get(each[1]["model"], len(order)))
    return [(row, study) for _, row, study in chosen]


def _rows(values: Mapping[str, Any]) -> Iterator[Row]:
    for choice in values["choices"]:
        regret = choice["regret"]
        losses, agreements = (regret["losses"], regret["agreements"]) if regret else ((), ())
        yield {
            **{name: choice[name] for name in ("model", "feature", "by", "sure", "rivals")},
            **{name: choice[name] for name in ("n_train", "share", "seconds")},
            "layers": len(choice["layers"]),
            **dict.fromkeys(LOSSES, ""),
            **{name: _lost(each) for name, each in zip(LOSSES, losses, strict=False)},
            "against": _against(regret) if regret else "",
            "spearman": {each["score"]: _correlated(each) for each in agreements},
        }


def _lost(loss: Mapping[str, Any]) -> str:
    """`+0.4 [-0.2, +1.0] (m:3)`."""
    low, high = loss["ci95"]
    return f"{points(loss['points'] / 100, low / 100, high / 100)} ({loss['feature']})"


def _against(regret: Mapping[str, Any]) -> str:
    seeds = f", {regret['seeds']} seeds" if regret["seeds"] > 1 else ""
    return f"{regret['best']} ({regret['probe']}{seeds}; {regret['by']}, n = {regret['n']:,})"


def _correlated(found: Mapping[str, Any]) -> str:
    if found["spearman"] is None:
        return ""
    if found["ci95"] is None:
        return f"{found['spearman']:+.2f}"
    low, high = found["ci95"]
    return f"{found['spearman']:+.2f} [{low:+.2f}, {high:+.2f}]"


def select_section(figures: Figures) -> Section:
    """Which layer was chosen for a small part of a sweep's work."""
    panels = [
        _panel(corpus, found)
        for corpus in figures.corpora
        if (found := selections(figures, corpus))
    ]
    return Section(
        "select",
        "Which layer, without a sweep?",
        "Layers chosen for a small part of what a head on each of them takes, without the test. "
        "Where a finished sweep of the same layers was in the cache, it was looked up afterwards "
        "how many points the choice is behind its best layer, beside the last layer and a fixed "
        "depth: a choice is worth having that loses less than these.",
        panels,
        "No layer has been chosen within a budget yet. This does it:",
        "lef select --models MODEL",
    )


def _panel(corpus: str, found: Sequence[tuple[Row, Study]]) -> Panel:
    rows = [row for row, _ in found]
    studies = [*{study.result.id: study for _, study in found}.values()]
    n = " and ".join(dict.fromkeys(f"{study.values['n_train']:,}" for study in studies))
    tables = [_choices(rows)]
    tables += [_losses(rows)] if any(row["against"] for row in rows) else []
    return Panel(
        f"select-{corpus}",
        corpus,
        None,
        f"{n} rows to learn from; how sure: the share of bootstrap resamples of the rows that "
        "judge which choose the same layer.",
        marks_of(studies),
        commands_of(studies),
        tables,
        _agreements(rows),
        wide=True,
    )


def _choices(rows: Sequence[Row]) -> Table:
    lines = [
        [
            row["model"],
            row["feature"],
            row["by"],
            "not known" if row["sure"] is None else f"{100 * row['sure']:.0f} %",
            ", ".join(row["rivals"]),
            f"{row['n_train']:,}",
            f"{100 * row['share']:.2g} %",
            f"{row['seconds']:,.1f} s",
        ]
        for row in rows
    ]
    headers = ["model", "chosen", "by", ">how sure", "may be as good", ">rows"]
    return Table([*headers, ">work of a sweep", ">time"], lines)


def _losses(rows: Sequence[Row]) -> Table:
    lines = [
        [row["model"], row["against"] or "no sweep yet", *(row[name] for name in LOSSES)]
        for row in rows
    ]
    headers = ["model", "best layer of the sweep", ">chosen", ">last layer here", ">fixed depth"]
    return Table(headers, lines, "Points behind the sweep's best layer, with their 95 % intervals")


def _agreements(rows: Sequence[Row]) -> Table | None:
    """How the order of each score goes with the sweep's, of the models that have one."""
    known = [row for row in rows if any(row["spearman"].values())]
    if not known:
        return None
    scores = dict.fromkeys(name for row in known for name, told in row["spearman"].items() if told)
    lines = [[name, *(row["spearman"].get(name, "") for row in known)] for name in scores]
    headers = ["score", *(f">{row['model']}" for row in known)]
    return Table(headers, lines, "Spearman correlation with the sweep, over layers [95 %]")
