"""The records of `benchmarks/fusion.py`, looked up and compared on the texts they share."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from lefcache import results as store
from lefcache.study import Comparison, compare

Record = Mapping[str, Any]
Document = Mapping[str, Any]
Named = Iterator[tuple[str, Comparison]]  # what is compared, and how it came out


class Findings:
    """The records of a run, looked up by what they are and compared on their predictions."""

    def __init__(self, document: Document, results: Path) -> None:
        self.document, self.results = document, results

    def of(self, question: str, corpus: str = "", **wanted: Any) -> list[Record]:
        """The records of a question, in order."""
        return [
            record
            for record in self.document["heads"]
            if record["question"] == question
            and corpus in ("", record["corpus"])
            and all(record[name] == value for name, value in wanted.items())
        ]

    def compare(self, one: Record, other: Record) -> Comparison:
        """The first against the second, on the same texts."""
        return compare(*(store.look_up(self.results, each["id"]) for each in (one, other)))

    def corpora(self, question: str) -> list[str]:
        """Those that the question was asked of, in order."""
        return [*dict.fromkeys(record["corpus"] for record in self.of(question))]


def chosen_against_last(found: Findings) -> Named:
    """The layer that ridge chose against the model's last one."""
    for corpus, one, others in _by_model(found):
        last = found.document["last"][corpus][model_of(one)]
        for other in others:
            if other["models"] == last:
                yield f"{corpus} {one['models']} - {last}", found.compare(one, other)


def chosen_is_last(found: Findings) -> list[str]:
    """The features that ridge chose and that are the model's last layer."""
    document = found.document
    return [
        f"{corpus} {feature}"
        for corpus, chosen in document["chosen"].items()
        for model, feature in chosen.items()
        if feature == document["last"][corpus][model]
    ]


def one_against_means(found: Findings) -> Named:
    """The layer that ridge chose against the means of several."""
    for corpus, one, others in _by_model(found):
        for other in others:
            if "~" in other["models"]:
                yield f"{corpus} {one['models']} - {other['models']}", found.compare(one, other)


def _by_model(found: Findings) -> Iterator[tuple[str, Record, list[Record]]]:
    """The chosen layer of each model, and what else there is of that model."""
    for corpus in found.corpora("averages"):
        for model, chosen in found.document["chosen"][corpus].items():
            mine = [each for each in found.of("averages", corpus) if model_of(each) == model]
            (one,) = (each for each in mine if each["models"] == chosen)
            yield corpus, one, [each for each in mine if each is not one]


def pair_against_members(found: Findings) -> Named:
    """The operator that is best on validation against the model that is."""
    for corpus in found.corpora("pairs"):
        records = found.of("pairs", corpus)
        pair = best_of(record for record in records if "," in record["models"])
        yield f"{corpus} {pair['op']}", found.compare(pair, best_alone(records))


def ops_against_concat(found: Findings) -> Named:
    """The operators that the paper finds best, against concatenation."""
    for corpus in found.corpora("pairs"):
        pairs = {each["op"]: each for each in found.of("pairs", corpus) if "," in each["models"]}
        for op in ("hadamard-res", "quaternion-res"):
            yield f"{corpus} {op}", found.compare(pairs[op], pairs["concat"])


def learning(found: Findings, corpus: str) -> Iterator[tuple[str, list[Record], Comparison]]:
    """For each number of rows: its heads, and the pair, the last of them, against the better one.

    The largest number, whatever it is, is "all": all that take part.
    """
    records = found.of("curves", corpus)
    sizes = [*dict.fromkeys(record["rows"] for record in records)]
    for size in sizes:
        some = [record for record in records if record["rows"] == size]
        pair = next(record for record in some if "," in record["models"])
        name = "all" if size == sizes[-1] else f"{size:,}"
        yield name, some, found.compare(pair, best_alone(some))


def best_of(records: Iterable[Record]) -> Record:
    """The one that is best on validation."""
    return max(records, key=lambda each: each["val_accuracy"]["mean"])


def best_alone(records: Iterable[Record]) -> Record:
    """The single model that is best on validation."""
    return best_of(each for each in records if "," not in each["models"])


def model_of(record: Record) -> str:
    """The model of a record's first feature."""
    return str(record["models"]).partition(":")[0]
