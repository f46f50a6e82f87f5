"""What `benchmarks/pairs.py` found, as a page."""

from collections.abc import Iterator, Mapping, Sequence

from pairs_findings import ALL, WITHIN, Document, Record, name_of

from lefcache.study.paired import SCORES

INTRO = """# Which score foretells what fusing two features gains?

Written by `benchmarks/pairs.py`. Pairs of layers of two models were settled beforehand, scored as
`lef pairs` scores them (train and validation only), then fused by {op} ({recipe}; {seeds}). The
gain is the test accuracy of the pair minus that of the one of the two which is better on
validation, in the same head. Brackets are 95 % intervals: of correlations by a bootstrap over
pairs, as if no two of them shared a feature, so a little too narrow; of accuracies and differences
over test texts and seeds.

A score **predicts** where the interval of its Spearman correlation with the gain leaves out 0.
"""


def write(document: Document) -> str:
    """The whole page."""
    seeds = document["corpora"][0]["singles"][0]["seeds"]
    recipe = ", ".join(f"{name} {value}" for name, value in document["recipe"].items())
    many = "1 seed" if seeds == 1 else f"{seeds} seeds"
    lines = [INTRO.format(op=document["op"], recipe=recipe, seeds=many)]
    if document["trial"]:
        lines += ["**This was a trial of one pass over the rows: believe none of it.**", ""]
    for title, section in SECTIONS.items():
        if body := [*section(document)]:
            lines += [f"## {title}", "", *body, ""]
    return "\n".join(lines).rstrip() + "\n"


def verdicts(document: Document) -> Iterator[str]:
    """A line for each score: where it predicts, and where it does not."""
    for score, called in SCORES.items():
        found = [
            each
            for each in document["summary"]["correlations"]
            if each["score"] == score and each["over"] not in (ALL, WITHIN)
        ]
        signs = {each["over"]: _sign(each["spearman_ci95"]) for each in found}
        yield f"- **{called}** {_fate(signs)}"


def _fate(signs: Mapping[str, int]) -> str:
    more = [name for name, sign in signs.items() if sign > 0]
    less = [name for name, sign in signs.items() if sign < 0]
    if not more and not less:
        every = "any of " if len(signs) > 1 else ""
        return f"does not predict the gain on {every}{', '.join(signs)}."
    parts = []
    for names, words in ((more, "the higher, the larger"), (less, "the higher, the smaller")):
        if names:
            every = "all of " if len(names) == len(signs) > 1 else ""
            parts.append(f"{words} the gain on {every}{', '.join(names)}")
    rest = [name for name, sign in signs.items() if not sign]
    told = f"; it does not predict it on {', '.join(rest)}" if rest else ""
    both = " It points both ways, so do not go by it." if more and less else ""
    return f"predicts: {'; '.join(parts)}{told}.{both}"


def _sign(ci95: Sequence[float] | None) -> int:
    if ci95 is None:
        return 0
    low, high = ci95
    return 1 if low > 0 else -1 if high < 0 else 0


def correlations(document: Document) -> Iterator[str]:
    """One table a way of correlating: scores down, corpora across."""
    found = document["summary"]["correlations"]
    over = [*dict.fromkeys(each["over"] for each in found)]
    for name, title in (("spearman", "Spearman"), ("pearson", "Pearson")):
        counts = {each["over"]: each["n"] for each in found}
        yield f"**{title}**"
        yield ""
        yield from _header("score", *(f"{each} ({counts[each]})" for each in over))
        for score, called in SCORES.items():
            mine = {each["over"]: each for each in found if each["score"] == score}
            yield _row(called, *(_coefficient(mine[each], name) for each in over))
        yield ""
    if WITHIN in over:
        yield (
            f'"{ALL}" mixes corpora, whose gains and scores differ as such; for "{WITHIN}" each '
            "corpus was brought to mean 0 and deviation 1 first."
        )


def predictions(document: Document) -> Iterator[str]:
    """How far off the predicted accuracies are."""
    names = ("predicted", "over", "pairs", "mean absolute error", "mean error")
    yield from _header(*names, "measured inside the 95 % interval")
    for each in document["summary"]["predictions"]:
        yield _row(
            each["told"],
            each["over"],
            str(each["n"]),
            f"{100 * each['mean_absolute_error']:.1f}",
            f"{100 * each['mean_error']:+.1f}",
            f"{100 * each['coverage']:.0f} %",
        )
    yield ""
    yield (
        "In points; a positive mean error is a promise that was not kept. The interval knows which "
        "rows were judged and how many will be tested, nothing of a test that is harder than train."
    )


def choices(document: Document) -> Iterator[str]:
    """What it is worth to fuse the pair that is predicted to be best."""
    others = [*document["summary"]["choices"][0]["against"]]
    names = ("corpus", "chosen pair", "test %", "rank", "best pair %", "mean pair %")
    yield from _header(*names, *(f"against {each}" for each in others))
    for each in document["summary"]["choices"]:
        yield _row(
            each["corpus"],
            each["pair"],
            f"{100 * each['test_accuracy']:.1f}",
            f"{each['rank']} of {each['pairs']}",
            f"{100 * each['best']:.1f}",
            f"{100 * each['mean']:.1f}",
            *(_words(each["against"][name]) for name in others),
        )


def every_pair(document: Document) -> Iterator[str]:
    """All pairs, the largest measured gain first."""
    for corpus in document["corpora"]:
        judged = corpus["n_val"] or corpus["n_train"]
        yield (
            f"**{corpus['corpus']}** (scores by {corpus['selected_by']}, n = {judged:,}; test, "
            f"n = {corpus['n_test']:,})"
        )
        yield ""
        names = ("ridge gain", "error", "oracle", "disagree", "both wrong", "Q", "CKA")
        yield from _header("pair", "measured gain", "test %", "predicted %", *names)
        for each in sorted(corpus["pairs"], key=lambda one: -one["measured"]["gain"]):
            known = each["measured"]
            yield _row(
                name_of(each),
                _gain(known["gain"], known["gain_ci95"]),
                _figure(known["head_test_accuracy"], known["head_test_ci95"]),
                _figure(each["predicted"], each["predicted_ci95"]),
                f"{100 * each['gain']:+.1f}",
                f"{100 * each['residual_gain']:+.1f} %",
                f"{100 * each['oracle']:+.1f}",
                f"{100 * each['disagreement']:.1f}",
                f"{100 * each['double_fault']:.1f}",
                "" if each["q"] is None else f"{each['q']:.2f}",
                f"{each['cka']:.2f}",
            )
        yield ""


def seconds(document: Document) -> Iterator[str]:
    """What `lef pairs` takes."""
    for name, each in document.get("timed", {}).items():
        widths = sorted({*each["widths"]})
        yield (
            f"- {each['pairs']} pairs of {len(each['features'])} {name} features "
            f"({' and '.join(f'{width:,}' for width in widths)} wide) on {each['rows']:,} rows: "
            f"{each['seconds']:.1f} s, {each['processor_seconds']:.1f} s of them of a processor's "
            f"work; at most {each['peak_mb']:,.0f} MB in memory with pages of mapped files, of "
            f"which {each['before_mb']:,.0f} MB were there before it began."
        )


def _coefficient(found: Record, name: str) -> str:
    value, ci95 = found[name], found[f"{name}_ci95"]
    if value is None or ci95 is None:
        return "all the same"
    low, high = ci95
    return f"{value:+.2f} [{low:+.2f}, {high:+.2f}]"


def _words(found: Record | None) -> str:
    return "the same" if found is None else _gain(found["difference"], found["ci95"])


def _gain(share: float, ci95: Sequence[float]) -> str:
    low, high = (100 * bound for bound in ci95)
    return f"{100 * share:+.1f} [{low:+.1f}, {high:+.1f}]"


def _figure(share: float, ci95: Sequence[float]) -> str:
    low, high = (100 * bound for bound in ci95)
    return f"{100 * share:.1f} [{low:.1f}, {high:.1f}]"


def _header(*names: str) -> Iterator[str]:
    yield _row(*names)
    yield _row(*("---" for _ in names))


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


SECTIONS = {
    "Which scores predict": verdicts,
    "Correlations with the measured gain": correlations,
    "The predicted accuracy": predictions,
    "Fusing the pair that is predicted to be best": choices,
    "What it takes": seconds,
    "Every pair": every_pair,
}
