"""The first and the last of a page: the cache at a glance, the best figures, every result."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lefcache.feature import describe_layers
from lefcache.report.gather import Figures, Study
from lefcache.report.layout import percent, size, within
from lefcache.report.tables import ALONE, BASELINE, FUSED, headlines
from lefcache.wording import command_line, count

NAMES = {FUSED: "best fusion", ALONE: "best single feature", BASELINE: "words alone (tf-idf)"}


@dataclass(frozen=True)
class Best:
    """One of a corpus's best figures, in words."""

    name: str
    what: str
    accuracy: str
    interval: str
    n: str
    share: float
    low: float
    high: float
    command: str
    marks: Sequence[str]


@dataclass(frozen=True)
class Answer:
    """What is known of a corpus: how large it is, and its best figures, the best one first."""

    corpus: str
    facts: str
    best: Sequence[Best]
    compare: str


def answers(figures: Figures) -> list[Answer]:
    """A card for each corpus on which any head was scored."""
    found = []
    for corpus in figures.corpora:
        lines = headlines(figures, corpus)
        if not lines:
            continue
        best = [_best(name, lines[name]) for name in NAMES if name in lines]
        ids = [lines[name].result.id[:8] for name in (FUSED, ALONE) if name in lines]
        words = ["lef", "compare", *ids]
        compare = command_line(words) if len(ids) == 2 else ""
        found.append(Answer(corpus, _facts(figures, corpus), best, compare))
    return found


def _best(name: str, study: Study) -> Best:
    values, test = study.values, study.values["test_accuracy"]
    share = test["mean"] if isinstance(test, Mapping) else test
    low, high = test["ci95"] if isinstance(test, Mapping) else values["test_ci95"]
    return Best(
        NAMES[name],
        study.what.removesuffix(", concat") if name == ALONE else study.what,
        f"{100 * share:.1f}",
        f"{100 * low:.1f} to {100 * high:.1f}",
        f"{values['n_test']:,}",
        share,
        low,
        high,
        study.command,
        study.marks,
    )


def _facts(figures: Figures, corpus: str) -> str:
    if corpus not in figures.cache:
        return "not in the cache any more"
    attrs = figures.cache[corpus].attrs
    rows = ", ".join(f"{many:,} {split}" for split, many in attrs.get("splits", {}).items())
    return f"{count(len(attrs.get('classes', ())), 'class', 'classes')}; {rows}"


def glance(figures: Figures) -> list[tuple[str, str]]:
    """The cache in a few numbers, each with its name."""
    entries = figures.entries
    layers = {
        (entry["corpus"], entry["model"]): len(entry["layers"]) * len(entry["pools"])
        for entry in entries
    }
    vectors = sum(
        entry["done_rows"] * len(entry["layers"]) * len(entry["pools"]) for entry in entries
    )
    return [
        (f"{len({entry['corpus'] for entry in entries}):,}", "corpora"),
        (f"{len({entry['model'] for entry in entries}):,}", "models"),
        (f"{sum(layers.values()):,}", "layers kept"),
        (f"{vectors / 1e6:.1f} M" if vectors >= 1e6 else f"{vectors:,}", "vectors"),
        (size(sum(entry["bytes"] for entry in entries)), "on disk"),
        (f"{len(figures.studies):,}", "finished studies"),
    ]


def contents(figures: Figures) -> list[dict[str, Any]]:
    """A line for each model of each corpus, as `lef ls` has them for each split."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for entry in figures.entries:
        key = entry["corpus"], entry["model"]
        known = figures.model(*key)
        line = found.setdefault(
            key,
            {
                "corpus": entry["corpus"],
                "model": entry["model"],
                "architecture": known.architecture if known else "",
                "layers": describe_layers(entry["layers"]),
                "pools": ", ".join(entry["pools"]),
                "width": f"{entry['width']:,}",
                "dtype": entry["dtype"],
                "rows": [],
                "bytes": 0,
                "resume": [],
            },
        )
        done, rows = entry["done_rows"], entry["rows"]
        whole = f"{rows:,}" if done == rows else f"{done:,} of {rows:,}"
        line["rows"].append(f"{whole} {entry['split']}")
        line["bytes"] += entry["bytes"]
        line["resume"] += [entry["resume"]] if entry["resume"] else []
    return [line | {"size": size(line["bytes"])} for line in found.values()]


def every_result(figures: Figures) -> dict[str, list[dict[str, Any]]]:
    """A line for each finished study, by corpus, the latest first."""
    found: dict[str, list[dict[str, Any]]] = {}
    for study in reversed(figures.studies):
        line = study.line
        ci95 = line.test_ci95 or (None, None)
        found.setdefault(line.corpus, []).append(
            {
                "id": line.id[:8],
                "kind": line.kind,
                "what": line.what,
                "seeds": line.seeds,
                "n_train": f"{line.n_train:,}",
                "val": percent(line.val_accuracy),
                "test": "not shown" if line.hidden else within(line.test_accuracy, *ci95),
                "n_test": f"{line.n_test:,}" if line.n_test else "",
                "marks": study.marks,
                "command": study.command,
            }
        )
    return found
