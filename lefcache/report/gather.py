"""The finished studies of a cache, each with its command and what to know of it."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lefcache import results
from lefcache.cache import Cache
from lefcache.errors import DamagedError, FeatureError
from lefcache.finished import Finished, Staleness, finished_line
from lefcache.registry import MODELS
from lefcache.report.commands import command_of
from lefcache.results import Result

UNKNOWN = "unknown"  # the architecture of a model that neither the cache nor the registry tells
PAPER = "chosen on the test (protocol paper)"


@dataclass(frozen=True)
class Study:
    """One finished study: what was saved, the same in a line, and the command that makes it."""

    result: Result
    line: Finished
    command: str

    @property
    def key(self) -> dict[str, Any]:
        """What made it this study."""
        return dict(self.result.payload["key"])

    @property
    def values(self) -> dict[str, Any]:
        """Its figures."""
        return dict(self.result.payload["result"])

    @property
    def what(self) -> str:
        """What was trained, in a few words."""
        return self.line.what

    @property
    def stale(self) -> str:
        """What has changed in the cache since, nothing where nothing has."""
        return self.line.stale

    @property
    def features(self) -> tuple[str, ...]:
        """What it was learnt from; nothing for a baseline of the texts alone."""
        return tuple(self.key.get("features", ()))

    @property
    def paper(self) -> bool:
        """Whether anything was chosen on the test itself."""
        return self.line.protocol == "paper"

    @property
    def hidden(self) -> bool:
        """Whether its test was not looked at, since another operator was chosen."""
        return self.line.hidden

    @property
    def marks(self) -> list[str]:
        """What to know before its figures are believed."""
        changed = f"stale: the {self.stale} changed since" if self.stale else ""
        return [mark for mark in (PAPER if self.paper else "", changed) if mark]

    @property
    def trust(self) -> tuple[bool, bool]:
        """Sorts what can be believed last: neither stale nor chosen on the test."""
        return not self.stale, not self.paper


@dataclass(frozen=True)
class Model:
    """A model of the cache: how many blocks, and whether it reads as encoder or decoder."""

    name: str
    depth: int
    architecture: str
    finals: tuple[str, ...] = ()  # the layers that are its last, by either name


@dataclass(frozen=True)
class Figures:
    """All that a report is made of: what lies in the cache, and what was found out from it."""

    cache: Cache
    entries: Sequence[Mapping[str, Any]]
    models: Mapping[tuple[str, str], Model]  # by corpus and name
    studies: Sequence[Study]
    notes: Sequence[str] = field(default_factory=tuple)

    @property
    def corpora(self) -> list[str]:
        """The corpora that anything is known of, in the order of the cache."""
        told = [*(entry["corpus"] for entry in self.entries)]
        return [*dict.fromkeys([*told, *(each.result.corpus for each in self.studies)])]

    @property
    def names(self) -> list[str]:
        """The models, in the order of the cache: each has the same colour everywhere."""
        stored = [entry["model"] for entry in self.entries]
        studied = [model_of(name) for each in self.studies for name in each.features]
        return [*dict.fromkeys([*stored, *studied])]

    def of(self, kind: str, corpus: str | None = None) -> list[Study]:
        """The studies of a kind, of one corpus or of all, the latest last."""
        return [
            each
            for each in self.studies
            if each.result.kind == kind and corpus in (None, each.result.corpus)
        ]

    def model(self, corpus: str, name: str) -> Model | None:
        """What is known of a model; None where the cache does not hold it any more."""
        return self.models.get((corpus, name))


def gather(cache: Cache, data: str | None = None, models: Collection[str] = ()) -> Figures:
    """Everything that a report shows, of one corpus or all, of these models or all.

    What cannot be read is left out, with a note. Raises FeatureError for a corpus or a model that
    is not there.
    """
    damaged: list[DamagedError] = []
    corpus = cache[cache.corpus(data)].corpus if data else None
    wanted = set(models)
    every = cache.ls(damaged)
    if unknown := sorted(wanted - {entry["model"] for entry in every}):
        raise FeatureError(f"no model '{unknown[0]}' in {cache.path}: see `lef ls`")
    entries = [
        entry
        for entry in every
        if corpus in (None, entry["corpus"]) and (not wanted or entry["model"] in wanted)
    ]
    notes = [str(error) for error in damaged]
    return Figures(
        cache, entries, _models(cache, entries), [*_studies(cache, corpus, wanted, notes)], notes
    )


def model_of(feature: str) -> str:
    """The model of a feature as it is written."""
    return feature.partition(":")[0]


def _models(cache: Cache, entries: Sequence[Mapping[str, Any]]) -> dict[tuple[str, str], Model]:
    found = {}
    for entry in entries:
        corpus, name = entry["corpus"], entry["model"]
        pages = cache.pages(name, entry["split"], corpus)
        alias = str(pages.aliases.get("last", "last")).rpartition("/")[2]
        attrs = pages.model_attrs
        known = MODELS.get(str(attrs.get("source")))
        architecture = attrs.get("provenance", {}).get("architecture") or (
            known.architecture if known else ""
        )
        finals = ("last", alias)
        found[corpus, name] = Model(name, pages.depth, architecture or UNKNOWN, finals)
    return found


def _studies(
    cache: Cache, corpus: str | None, models: Collection[str], notes: list[str]
) -> Iterator[Study]:
    """Every result that can be read, the latest last; a note for each that cannot."""
    watch = Staleness(cache)
    found: list[tuple[int, Result]] = []
    for path in sorted(cache.results.glob(f"{corpus or '*'}/*.json")):
        try:
            result = results.load(path)
            if result.kind:
                found.append((path.stat().st_mtime_ns, result))
        except DamagedError as error:
            notes.append(str(error))
    for _, result in sorted(found, key=lambda each: each[0]):
        named = {model_of(name) for name in result.payload["key"].get("features", ())}
        if models and not named <= set(models):
            continue
        try:
            line = finished_line(result, watch.of(result))
            yield Study(result, line, command_of(result, cache.path))
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            notes.append(f"{result.path} is not the result of a study ({error}): left out")
