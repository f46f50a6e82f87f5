"""What has been found out so far: the finished studies of a cache, and which of them are stale."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from lefcache import results
from lefcache.cache import Cache
from lefcache.cache.register import read_labels
from lefcache.results import Result
from lefcache.wording import count, some

Values = Mapping[str, Any]

ROUNDED = "rounded to "  # how the contents of such a feature end


@dataclass(frozen=True)
class Finished:
    """One finished study in a line: `what` was trained, and how it did.

    `kind` is sweep, select, fuse, pairs, transfer, scale or baseline. The figures of the test are
    None without a test, and where the test was not shown yet (`hidden`): another operator was
    chosen. `pairs` and `select` have no figures of a head at all, `transfer` those of the own
    choice, `scale` those of the last step that pays. `stale` says what has changed in the cache
    since, nothing where nothing has.
    """

    id: str
    corpus: str
    kind: str
    what: str
    seeds: int
    protocol: str
    n_train: int
    val_accuracy: float | None
    test_accuracy: float | None
    test_ci95: tuple[float, float] | None
    n_test: int
    hidden: bool
    stale: str
    path: str

    def to_json(self) -> dict[str, Any]:
        """The fields as plain values."""
        return asdict(self)


def finished(cache: Cache, corpus: str | None = None) -> list[Finished]:
    """Every finished study of one corpus, or of all, the latest last."""
    found = [each for each in results.list(cache.results, corpus) if each.kind]
    found.sort(key=lambda each: (each.corpus, each.path.stat().st_mtime_ns))
    watch = Staleness(cache)
    return [finished_line(each, watch.of(each)) for each in found]


def describe(result: Result) -> str:
    """What was trained, in a few words: features with operator, or the chosen layer with probe."""
    values = result.payload["result"]
    told = WORDS.get(result.kind)
    return told(result, values) if told else str(values.get("name", result.kind))


def _fuse(result: Result, values: Values) -> str:
    store = rounded_to(result.payload["key"])
    told = f"{' + '.join(values['features'])}, {values['op']}"
    return f"{told}, rounded to {store}" if store else told


def _sweep(result: Result, values: Values) -> str:
    many = len(values["rows"])
    return f"{values['best']}, {values['probe']}" + (f" (of {many} layers)" if many > 1 else "")


def _select(result: Result, values: Values) -> str:
    chosen = " and ".join(str(each["feature"]) for each in values["choices"])
    return f"{chosen}, by {values['score']} within {result.payload['key']['budget']}"


def _transfer(result: Result, values: Values) -> str:
    others = [row["source"] for row in values["rows"] if row["source"] != result.corpus]
    return f"{values['best']}, {values['probe']}, against choices of {some(others)}"


def _pairs(result: Result, values: Values) -> str:
    features, many = len(values["singles"]), len(values["rows"])
    return f"{count(many, 'pair')} of {count(features, 'feature')}"


def _scale(result: Result, values: Values) -> str:
    pays, steps = values["pays"], values["steps"]
    paying = " + ".join(steps[pays - 1]["features"])
    return f"{paying}, {values['op']} ({pays} of {count(len(steps), 'feature')} pay)"


WORDS: dict[str, Callable[[Result, Values], str]] = {
    "fuse": _fuse,
    "sweep": _sweep,
    "select": _select,
    "transfer": _transfer,
    "pairs": _pairs,
    "scale": _scale,
}


def rounded_to(key: Mapping[str, Any]) -> str:
    """The store that the features of a study were rounded to, as `lef scale` does; '' for none."""
    made = [str(each) for each in key.get("contents", {}).get("train", ())]
    return next((each.rpartition(ROUNDED)[2] for each in made if ROUNDED in each), "")


class Staleness:
    """Says whether the texts and labels of a result are still those of the cache."""

    def __init__(self, cache: Cache) -> None:
        self.cache = cache
        self._known: dict[tuple[str, str, int], dict[str, Any] | None] = {}

    def of(self, result: Result) -> str:
        """What has changed since, in words that follow "the"; nothing where nothing has."""
        changes = list(self._changes(result))
        return " and ".join(changes)

    def _changes(self, result: Result) -> Iterator[str]:
        yield from self._changed(result.corpus, result.payload.get("splits", {}))
        for corpus, splits in result.payload.get("sources", {}).items():
            if corpus != result.corpus:
                for what in self._changed(corpus, splits):
                    yield f"{what} of {corpus}"

    def _changed(self, corpus: str, splits: Mapping[str, Any]) -> Iterator[str]:
        if corpus not in self.cache:
            return
        for split, then in splits.items():
            now = self._now(corpus, split, then["rows"])
            if now is None or now["texts"] != then["texts"]:
                yield f"texts of {split}"
            elif now["labels"] != then["labels"]:
                yield f"labels of {split}"

    def _now(self, corpus: str, split: str, rows: int) -> dict[str, Any] | None:
        """The fingerprint of the first rows of a split; None where it has fewer, or changes."""
        key = corpus, split, rows
        if key not in self._known:
            here = self.cache.store.attrs(corpus).get("splits", {})
            found = None
            if here.get(split, 0) >= rows:
                found = read_labels(self.cache.store, corpus, split, rows)
            labels, texts, classes = found or (None, None, ())
            self._known[key] = (
                None
                if labels is None or texts is None
                else results.fingerprint(texts, labels, classes)
            )
        return self._known[key]


def finished_line(result: Result, stale: str) -> Finished:
    """A result in a line; `stale` is what `Staleness` says of it."""
    values = result.payload["result"]
    hidden = not values.get("test_shown", True)
    row = _scores(result.kind, values)
    return Finished(
        id=result.id,
        corpus=result.corpus,
        kind=result.kind,
        what=describe(result),
        seeds=values.get("seeds", 1),
        protocol=values.get("protocol", "validation"),
        n_train=values["n_train"],
        val_accuracy=row["val_accuracy"],
        test_accuracy=None if hidden else row["test_accuracy"],
        test_ci95=None if hidden or not row["test_ci95"] else tuple(row["test_ci95"]),
        n_test=values.get("n_test", 0),
        hidden=hidden,
        stale=stale,
        path=str(result.path),
    )


def _scores(kind: str, values: dict[str, Any]) -> dict[str, Any]:
    """`val_accuracy`, `test_accuracy` and `test_ci95` of any kind of study."""
    if kind == "scale":
        return _scores("fuse", values["steps"][values["pays"] - 1])
    if kind == "fuse":
        tested = values["test_accuracy"]
        return {
            "val_accuracy": values["val_accuracy"]["mean"],
            "test_accuracy": tested and tested["mean"],
            "test_ci95": tested and tested["ci95"],
        }
    if kind == "sweep":
        best: dict[str, Any] = next(r for r in values["rows"] if r["feature"] == values["best"])
        return best
    if kind in ("pairs", "select"):  # predictions, not a head
        return dict.fromkeys(("val_accuracy", "test_accuracy", "test_ci95"))
    return values
