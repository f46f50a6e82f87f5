"""What `benchmarks/fusion.py` found, as Markdown: tables, paired differences, what of it holds."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from fusion_findings import (
    Document,
    Findings,
    Named,
    Record,
    best_alone,
    best_of,
    chosen_against_last,
    chosen_is_last,
    learning,
    model_of,
    one_against_means,
    ops_against_concat,
    pair_against_members,
)

from lefcache.study import Comparison

INTRO = """# What holds here of the method's paper

Written by `benchmarks/fusion.py`: two real models (MiniLM, an encoder of 6 blocks, 384 wide; a
Llama-architecture decoder of 8 blocks, 256 wide, trained from scratch) on four public sets. They
are small, and the paper's are of 1 to 7 billion parameters: what fails here may hold there.

Layers, operators and epochs were chosen on validation rows (SST-2's own split, else a tenth carved
from train). Test accuracies are in percent with 95 % intervals over texts and seeds; differences
are paired on the same texts, in points.
"""
RECIPE = (
    "Heads learn with {recipe} and the paper's other settings, {seeds} seeds each, unless a "
    "section says otherwise{parts}."
)


def write(document: Document, results: Path) -> str:
    """The whole page."""
    found = Findings(document, results)
    parts = "".join(
        f"; {corpus} takes part with a stratified {rows:,} of its training rows"
        for corpus, rows in document["corpora"].items()
        if rows
    )
    seeds = max((record["seeds"] for record in document["heads"]), default=0)
    words = ", ".join(f"{name} {value}" for name, value in document["recipe"].items())
    lines = [INTRO, RECIPE.format(recipe=words, seeds=seeds, parts=parts), ""]
    for title, section in SECTIONS:
        body = [*section(found)]
        while body and not body[-1]:
            del body[-1]  # a blank line after each table, and one after each section
        if body:
            lines += [f"## {title}", "", *body, ""]
    return "\n".join(lines).rstrip() + "\n"


def claims(found: Findings) -> Iterator[str]:
    """Each claim of the paper and what the comparisons say of it."""
    for claim, comparisons in (
        ("A middle layer beats the last one", chosen_against_last(found)),
        ("One well-chosen layer beats the mean of several", one_against_means(found)),
        ("Two models beat the better one alone", pair_against_members(found)),
        ("Hadamard or quaternion with residual beats concatenation", ops_against_concat(found)),
    ):
        rows = [*comparisons]
        if rows:
            better = [name for name, each in rows if _sign(each) > 0]
            worse = [name for name, each in rows if _sign(each) < 0]
            even = len(rows) - len(better) - len(worse)
            yield f"- **{claim}**: {_fate(better, worse, even)}"
    if lasts := chosen_is_last(found):
        yield f"- The last layer was itself the one chosen for {', '.join(lasts)}."
    if sizes := [*_gains_by_size(found)]:
        yield f"- **Two models gain most where labels are few**: {'; '.join(sizes)}."


def _gains_by_size(found: Findings) -> Iterator[str]:
    """For each number of training rows, the pair against the better model, over the corpora."""
    gains: dict[str, list[Comparison]] = {}
    for corpus in found.corpora("curves"):
        for size, _, gain in learning(found, corpus):
            gains.setdefault(size, []).append(gain)
    for size, each in gains.items():
        mean = 100 * sum(gain.difference for gain in each) / len(each)
        better = sum(_sign(gain) > 0 for gain in each)
        worse = sum(_sign(gain) < 0 for gain in each)
        told = f"better in {better}, worse in {worse} of {len(each)}"
        yield f"{size} rows: {mean:+.1f} points on average, {told}"


def _fate(better: Sequence[str], worse: Sequence[str], even: int) -> str:
    total = len(better) + len(worse) + even
    if len(better) == total:
        word = "holds in all of"
    elif not better:
        word = "holds in none of"
    else:
        word = f"holds in {len(better)} of"
    parts = [f"{word} {total} comparisons"]
    if better:
        parts.append(f"better: {', '.join(better)}")
    if worse:
        parts.append(f"worse: {', '.join(worse)}")
    if even:
        parts.append(f"{even} not distinguishable")
    return "; ".join(parts) + "."


def _sign(each: Comparison) -> int:
    return 0 if not each.distinguishable else 1 if each.difference > 0 else -1


def ridge_layers(found: Findings) -> Iterator[str]:
    """One table a corpus: every layer of both models by ridge, on all rows."""
    for table in found.document["ridge"]:
        count = f"n = {table['n_test']:,}; chosen by {table['selected_by']}"
        yield f"**{table['corpus']}, {table['model']}** ({count})"
        yield ""
        yield from _header("layer", "relative depth", "chosen by %", "test %", "")
        fixed = round(0.6 * table["depth"])
        for row in table["rows"]:
            layer = row["feature"].partition(":")[2]
            depth = table["depth"] if layer == "last" else int(layer)
            marks = [
                word
                for word, holds in (
                    ("chosen", row["feature"] == table["best"]),
                    ("last", row["feature"] in table["last"]),
                    ("fixed depth 0.6", layer == str(fixed)),
                )
                if holds
            ]
            test = _figure(row["test_accuracy"], row["test_ci95"])
            share = f"{depth / table['depth']:.2f}"
            yield _row(layer, share, _percent(row["val_accuracy"]), test, ", ".join(marks))
        yield ""


def head_layers(found: Findings) -> Iterator[str]:
    """The same by the method's head."""
    for corpus in found.corpora("layers"):
        yield f"**{corpus}**"
        yield ""
        yield from _header("feature", "validation %", "test %", "")
        records = found.of("layers", corpus)
        best = {
            model: max(
                (each for each in records if model_of(each) == model),
                key=lambda each: each["val_accuracy"]["mean"],
            )["models"]
            for model in dict.fromkeys(map(model_of, records))
        }
        for record in records:
            chosen = "chosen" if record["models"] == best[model_of(record)] else ""
            yield _row(record["models"], _val(record), _test(record), chosen)
        yield ""


def averages(found: Findings) -> Iterator[str]:
    """The chosen layer against the last one, and against means of layers."""
    if records := found.of("averages"):
        yield from _header("corpus", "feature", "validation %", "test %")
        for record in records:
            yield _row(record["corpus"], record["models"], _val(record), _test(record))
        yield ""
        yield from _differences(one_against_means(found))
        yield from _differences(chosen_against_last(found))


def operators(found: Findings) -> Iterator[str]:
    """Every operator for the pair, beside each model alone."""
    for corpus in found.corpora("pairs"):
        records = found.of("pairs", corpus)
        pair = records[-1]["models"].replace(",", " + ")
        yield f"**{corpus}** ({pair}, n = {records[0]['n_test']:,})"
        yield ""
        yield from _header("head", "validation %", "test %", "against the better model alone")
        alone = best_alone(records)
        for record in records:
            name = record["op"] if "," in record["models"] else f"{record['models']} alone"
            words = "" if record is alone else _words(found.compare(record, alone))
            yield _row(name, _val(record), _test(record), words)
        yield ""


def widths(found: Findings) -> Iterator[str]:
    """The pair with projections of several widths."""
    for corpus in found.corpora("widths"):
        records = found.of("widths", corpus)
        yield f"**{corpus}**"
        yield ""
        yield from _header("width", "validation %", "test %")
        for record in records:
            yield _row(str(record["width"]), _val(record), _test(record))
        yield ""


def curves(found: Findings) -> Iterator[str]:
    """Test accuracy over the number of training rows."""
    if found.corpora("curves"):
        yield (
            f"With fewer than {found.document['full']:,} rows, epochs and patience are multiplied, "
            "so that a head takes as many steps as with these."
        )
        yield ""
    for corpus in found.corpora("curves"):
        records = found.of("curves", corpus)
        names = [*dict.fromkeys(record["models"] for record in records)]
        yield f"**{corpus}**"
        yield ""
        yield from _header("rows", *(name.replace(",", " + ") for name in names), "pair - best")
        for size, some, gain in learning(found, corpus):
            rows = f"{some[0]['n_train']:,}" if size == "all" else size
            yield _row(rows, *(_test(each) for each in some), _words(gain))
        yield ""


def in_full(found: Findings) -> Iterator[str]:
    """What was trained on everything, as the paper trains."""
    records = [*found.of("paper"), *found.of("whole")]
    if records:
        yield from _header("corpus", "features", "operator", "recipe", "rows", "seeds", "test %")
        for record in records:
            names = record["models"].replace(",", " + ")
            rest = (f"{record['n_train']:,}", str(record["seeds"]), _test(record))
            yield _row(record["corpus"], names, record["op"], record["recipe"], *rest)
    if alone := [record for record in found.of("paper") if "," not in record["models"]]:
        pair = found.of("paper")[-1]
        yield ""
        yield f"- {found.compare(pair, best_of(alone)).sentence}"


def _differences(rows: Named) -> Iterator[str]:
    for name, each in rows:
        yield f"- {name}: {_words(each)}"


def _words(each: Comparison) -> str:
    low, high = (100 * bound for bound in each.ci95)
    told = "" if each.distinguishable else ", not distinguishable"
    return f"{100 * each.difference:+.1f} [{low:+.1f}, {high:+.1f}]{told}"


def _val(record: Record) -> str:
    return _percent(record["val_accuracy"]["mean"])


def _test(record: Record) -> str:
    return _figure(record["test_accuracy"]["mean"], record["test_accuracy"]["ci95"])


def _figure(share: float, ci95: Sequence[float]) -> str:
    return f"{_percent(share)} [{_percent(ci95[0])}, {_percent(ci95[1])}]"


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"


def _header(*names: str) -> Iterator[str]:
    yield _row(*names)
    yield _row(*("---" for _ in names))


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


Section = Callable[[Findings], Iterator[str]]
SECTIONS: tuple[tuple[str, Section], ...] = (
    ("The claims", claims),
    ("The pair, by every operator", operators),
    ("One layer, several layers, the last layer", averages),
    ("In full", in_full),
    ("Every layer, by the method's head", head_layers),
    ("Every layer, by ridge on all rows", ridge_layers),
    ("How wide", widths),
    ("How many labels", curves),
)
