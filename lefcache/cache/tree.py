"""The cache as a tree of corpora, models and splits, and as tables to train on."""

import html
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from lefcache.cache.hints import DEFAULT_CACHE, corpus_flags, extract_command
from lefcache.cache.pages import Pages
from lefcache.cache.register import CHANGING, FORMAT, register
from lefcache.cache.writer import Request, Writer, check_model, reserve
from lefcache.corpus import RESERVED, SPLITS, UNLABELLED, Corpus, corpus_name
from lefcache.errors import FeatureError, IncompleteError, MismatchError, StorageError
from lefcache.feature import Feature, describe_layers, parse_features
from lefcache.rows import Matrix, Table
from lefcache.spec import Spec
from lefcache.stores.zarr_store import ZarrStore


def open(path: str | Path | None = None) -> "Cache":
    """Open the cache in a folder: the one given, else $LEF_CACHE, else `./lef-cache`.

    A folder that is not there yet is an empty cache; nothing is written before an extraction.
    """
    return Cache(Path(path or os.environ.get("LEF_CACHE") or DEFAULT_CACHE))


Child = TypeVar("Child")


class Node(Mapping[str, Child]):
    """A place in the tree: its children by name, listed afresh at each look."""

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __contains__(self, name: object) -> bool:
        return any(name == child for child in self)


class Cache(Node["CorpusNode"]):
    """Every layer's vectors of every corpus and model in one folder.

    `cache["sst2"]["mistral"]["train"]["mean"]["24"]` walks the tree as it lies on disk;
    `cache.rows("mistral:24", split="train", data="sst2")` asks in the notation of features.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.store = ZarrStore(path)
        if path.exists() and not path.is_dir():
            raise StorageError(f"{path} is a file, not a cache folder: choose another with --cache")
        version = self.store.attrs("").get("version", FORMAT)
        if not isinstance(version, int) or version > FORMAT:
            raise MismatchError(
                f"{path} was written by a newer lefcache (format {version}, this one knows "
                f"{FORMAT}): upgrade lefcache"
            )

    # Reading

    def rows(self, feature: str | Feature, split: str = "train", data: str | None = None) -> Matrix:
        """The (N, D) vectors of one feature, still in their files.

        Raises FeatureError if they are not in the cache, with the command that adds them, and
        IncompleteError if an extraction has yet to finish, with the command that resumes it.
        """
        wanted = Feature.parse(feature) if isinstance(feature, str) else feature
        return self.pages(wanted.model, split, data).matrix(wanted)

    def table(
        self,
        features: str | Iterable[str | Feature],
        split: str = "train",
        data: str | None = None,
    ) -> Table:
        """K aligned features with their labels and Specs; texts are checked to be the same rows."""
        corpus = self.corpus(data)
        chosen = self.features(features, data)
        pages = [self.pages(feature.model, split, corpus) for feature in chosen]
        lengths = {f"{each.model}: {each.rows:,}" for each in pages}
        if len({each.rows for each in pages}) > 1:
            raise MismatchError(
                f"the models have different numbers of rows of {corpus}/{split} "
                f"({', '.join(sorted(lengths))}): extract the shorter one with a higher --limit"
            )
        rows = pages[0].rows
        if self.store.attrs(corpus).get(CHANGING):
            raise IncompleteError(
                f"the labels of {corpus} were being replaced when a run was stopped; finish it "
                f"with: {pages[0].resume_command()}"
            )
        labels = self.store.read(f"{corpus}/labels/{split}")[:rows]
        return Table(
            features=tuple(chosen),
            rows=tuple(page.matrix(each) for page, each in zip(pages, chosen, strict=True)),
            labels=None if (labels == UNLABELLED).all() else labels,
            classes=tuple(self.store.attrs(corpus)["classes"]),
            specs=tuple(page.spec for page in pages),
            texts=self.store.read(f"{corpus}/rows/{split}")[:rows],
            corpus=corpus,
            split=split,
        )

    def tables(
        self, features: str | Iterable[str | Feature], data: str | None = None
    ) -> dict[str, Table]:
        """A table for each split of the corpus that has labels."""
        corpus = self.corpus(data)
        chosen = self.features(features, data)
        extracted = {
            split for each in chosen for split in self[corpus][each.model] if split in SPLITS
        }
        labelled = [
            split
            for split in SPLITS
            if split in extracted
            and np.any(self.store.read(f"{corpus}/labels/{split}") != UNLABELLED)
        ]
        return {split: self.table(chosen, split, corpus) for split in labelled}

    def features(
        self, wanted: str | Iterable[str | Feature], data: str | None = None
    ) -> list[Feature]:
        """Expand a list such as `mistral:20..24,e5:last`; `mistral` alone means all its layers."""
        corpus = self.corpus(data)
        items = [wanted] if isinstance(wanted, str) else list(wanted)
        found: list[Feature] = []
        for item in items:
            if isinstance(item, Feature):
                found.append(item)
            else:
                found += parse_features(item, lambda model: self._any_split(corpus, model))
        if not found:
            meant = ", ".join(map(str, items)) or "an empty list"
            raise FeatureError(f"{meant} names no feature in {self.path}: see `lef ls`")
        return found

    def corpus(self, data: str | None = None) -> str:
        """The name of the corpus meant: the one given, $LEF_DATA, the only one here, or `demo`."""
        given = data or os.environ.get("LEF_DATA")
        here = list(self)
        if given:
            return corpus_name(given)
        if len(here) > 1:
            raise FeatureError(f"this cache holds {', '.join(here)}: choose one with --data")
        return here[0] if here else "demo"

    def pages(self, model: str, split: str = "train", data: str | None = None) -> Pages:
        """What one model left of one split; FeatureError, with the command, if it is not there."""
        corpus = self.corpus(data)
        if split not in self._splits(corpus, model):
            source = self.store.attrs(corpus).get("source", data or corpus)
            held = "; ".join(repr(node) for node in self.values()) or "nothing yet"
            more = corpus_flags(self.store.attrs(corpus))
            command = extract_command(self.path, source, model, more=more)
            raise FeatureError(
                f"{corpus}/{model}/{split} is not in the cache {self.path}, which holds {held}; "
                f"add it with: {command}"
            )
        return Pages(self.store, corpus, model, split)

    def spec(self, model: str, data: str | None = None) -> Spec | None:
        """What a model was extracted with; None if it is not in the cache."""
        attrs = self.store.attrs(f"{self.corpus(data)}/{model}")
        return Spec.from_json(attrs["spec"]) if attrs else None

    def provenance(self, model: str, data: str | None = None) -> dict[str, Any]:
        """Where and with which versions a model was first run; {} if it is not in the cache."""
        return dict(self.store.attrs(f"{self.corpus(data)}/{model}").get("provenance", {}))

    def ls(self) -> list[dict[str, Any]]:
        """One entry per corpus, model and split: layers, pools, rows, done rows, bytes."""
        return [
            pages.describe() | {"resume": None if whole else pages.resume_command()}
            for corpus in self.values()
            for model in corpus.values()
            for pages in model.values()
            for whole in [pages.done_rows == pages.rows]
        ]

    # Writing

    def register(self, corpus: Corpus) -> list[str]:
        """Check a corpus against the cache, or write it down; returns notes for the user."""
        return register(self.store, corpus)

    def reserve(self, request: Request) -> AbstractContextManager[Writer]:
        """Be the one writer of a split."""
        return reserve(self.store, request)

    def missing_rows(self, request: Request) -> int:
        """Rows that an extraction would have to compute; MismatchError if it would be refused."""
        check_model(self.store, request)
        attrs = self.store.attrs(f"{request.corpus}/{request.model}/{request.split}")
        if not attrs:
            return request.rows
        pages = Pages(self.store, request.corpus, request.model, request.split)
        missing = Writer(self.store, request, pages).missing()
        appended = max(0, request.rows - pages.rows)
        return sum(task.stop - task.start for task in missing) + appended

    # The tree

    def __getitem__(self, corpus: str) -> "CorpusNode":
        if corpus not in list(self):
            raise FeatureError(f"no corpus '{corpus}' in {self.path}: it holds {', '.join(self)}")
        return CorpusNode(self, corpus)

    def __iter__(self) -> Iterator[str]:
        return iter(name for name in self.store.children("") if name not in RESERVED)

    def __repr__(self) -> str:
        lines = "".join(f"\n  {pages!r}" for node in self.values() for pages in node.all_pages())
        return f"<Cache {self.path}{lines or ' (empty)'}>"

    def _repr_html_(self) -> str:
        columns = (
            "corpus",
            "model",
            "split",
            "layers",
            "pools",
            "rows",
            "done_rows",
            "width",
            "dtype",
        )
        head = "".join(f"<th>{name}</th>" for name in columns)
        body = ""
        for entry in self.ls():
            shown = entry | {
                "layers": describe_layers(entry["layers"]),
                "pools": ", ".join(entry["pools"]),
            }
            cells = "".join(f"<td>{html.escape(str(shown[name]))}</td>" for name in columns)
            body += f"<tr>{cells}</tr>"
        return (
            f"<table><caption>{html.escape(str(self.path))}</caption>"
            f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        )

    def _splits(self, corpus: str, model: str) -> list[str]:
        here = self.store.children(f"{corpus}/{model}") if model not in RESERVED else []
        return [split for split in SPLITS if split in here]

    def _any_split(self, corpus: str, model: str) -> Pages:
        splits = self._splits(corpus, model)
        return self.pages(model, splits[0] if splits else "train", corpus)


class ModelNode(Node[Pages]):
    """One model's splits."""

    def __init__(self, cache: Cache, corpus: str, model: str) -> None:
        self.cache, self.corpus, self.model = cache, corpus, model

    def __getitem__(self, split: str) -> Pages:
        return self.cache.pages(self.model, split, self.corpus)

    def __iter__(self) -> Iterator[str]:
        return iter(self.cache._splits(self.corpus, self.model))

    def __repr__(self) -> str:
        return f"<{self.corpus}/{self.model}: {', '.join(self) or 'no splits'}>"


class CorpusNode(Node[ModelNode]):
    """One corpus's models."""

    def __init__(self, cache: Cache, corpus: str) -> None:
        self.cache, self.corpus = cache, corpus

    @property
    def attrs(self) -> dict[str, Any]:
        """Classes, source, rows of each split, digest of the texts."""
        return self.cache.store.attrs(self.corpus)

    def all_pages(self) -> list[Pages]:
        """Every model and split of this corpus."""
        return [pages for model in self.values() for pages in model.values()]

    def __getitem__(self, model: str) -> ModelNode:
        if model not in list(self):
            raise FeatureError(
                f"no model '{model}' under {self.corpus}: it has {', '.join(self) or 'none'}"
            )
        return ModelNode(self.cache, self.corpus, model)

    def __iter__(self) -> Iterator[str]:
        here = self.cache.store.children(self.corpus)
        return iter(name for name in here if name not in RESERVED)

    def __repr__(self) -> str:
        return f"<{self.corpus}: {', '.join(self) or 'no models'}>"
