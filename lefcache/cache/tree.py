"""The cache as a tree of corpora, models and splits, and as tables to train on."""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from lefcache.cache.begin import first_attrs
from lefcache.cache.convert import convert_split
from lefcache.cache.display import entries, html_table
from lefcache.cache.documents import check_format, described
from lefcache.cache.hints import key_meant, more_splits, spelled, way_to
from lefcache.cache.identity import check_model
from lefcache.cache.keys import Key
from lefcache.cache.nodes import CorpusNode, Node
from lefcache.cache.pages import Pages
from lefcache.cache.reading import reading_of
from lefcache.cache.register import labelled_splits, read_labels, register
from lefcache.cache.request import Request, Task
from lefcache.cache.writer import Writer, reserve
from lefcache.corpus import SPLITS, UNLABELLED, Corpus, corpus_name, split_name
from lefcache.errors import DamagedError, FeatureError, IncompleteError, MismatchError
from lefcache.feature import RESERVED, Feature, parse_features
from lefcache.files import Url
from lefcache.rows import Matrix, Table
from lefcache.spec import Spec
from lefcache.stores import Home
from lefcache.stores.mixed import in_folder


class Cache(Node[CorpusNode]):
    """Every layer's vectors of every corpus and model in one folder.

    `cache["sst2"]["mistral"]["train"]["mean"][24]` walks the tree as it lies on disk;
    `cache.rows("mistral:24", split="train", data="sst2")` asks in the notation of features.
    """

    def __init__(self, path: Path | Url, store: Home | None = None, whole: bool = True) -> None:
        self.path, self.store = path, store or in_folder(Path(path))
        if whole:
            check_format(self.store)

    @property
    def results(self) -> Path:
        """Where finished studies are kept, and looked up before they are run again."""
        assert isinstance(self.path, Path)
        return self.path / "results"

    def sharing_results(self) -> AbstractContextManager[None]:
        """While studies run: see the results of others and show them ours; in a folder, as is."""
        return nullcontext()

    @property
    def exists(self) -> bool:
        """Whether there is a cache, or at least its folder."""
        # The folder first: damaged metadata is for `verify` to report.
        if isinstance(self.path, Path) and self.path.exists():
            return True
        try:
            return bool(self.store.attrs(""))
        except DamagedError:
            return True

    # Reading

    def rows(
        self,
        feature: str | Feature,
        split: str = "train",
        data: str | None = None,
        verify: bool = False,
    ) -> Matrix:
        """The (N, D) vectors of one feature, still in their files.

        With `verify`, each of their blocks is read at once and held against its checksum.

        Raises FeatureError if they are not in the cache, with the command that adds them,
        IncompleteError if an extraction has yet to finish, with the command that resumes it, and
        DamagedError for bytes that are not those written, with the command that repairs them.
        """
        wanted = Feature.parse(feature) if isinstance(feature, str) else feature
        return self.pages(wanted.model, split, data).matrix(wanted, verify)

    def table(
        self,
        features: str | Iterable[str | Feature],
        split: str = "train",
        data: str | None = None,
        verify: bool = False,
    ) -> Table:
        """K aligned features with their labels and Specs; `verify` as in `rows`.

        Only numbers of rows are compared here. That a row is the same text for every model was
        checked when each was extracted: a corpus has one list of text hashes, which every table
        of it carries, and an extraction of other texts is refused.

        Raises MismatchError where the models have different numbers of rows, and what `rows` does.
        """
        corpus, split = self.corpus(data), split_name(split)
        chosen = self.features(features, data)
        pages = [self.pages(feature.model, split, corpus) for feature in chosen]
        lengths = {f"{each.model}: {each.rows:,}" for each in pages}
        if len({each.rows for each in pages}) > 1:
            raise MismatchError(
                f"the models have different numbers of rows of {corpus}/{split} "
                f"({', '.join(sorted(lengths))}): extract the shorter one with a higher --limit, "
                "or import its vectors of all rows"
            )
        rows = pages[0].rows
        found = read_labels(self.store, corpus, split, rows)
        if found is None:
            raise IncompleteError(
                f"the labels of {corpus} are being replaced, or were when a run was stopped; "
                f"finish it with: {pages[0].resume_command()}"
            )
        labels, texts, classes = found
        return Table(
            features=tuple(chosen),
            rows=tuple(page.matrix(f, verify) for page, f in zip(pages, chosen, strict=True)),
            labels=None if (labels == UNLABELLED).all() else labels,
            classes=classes,
            specs=tuple(page.spec for page in pages),
            texts=texts,
            corpus=corpus,
            split=split,
            origins=tuple(page.origin(each) for page, each in zip(pages, chosen, strict=True)),
            reading=reading_of(self.store, corpus),
            source=str(described(self.store, corpus).get("source", "")),
        )

    def tables(
        self, features: str | Iterable[str | Feature], data: str | None = None
    ) -> dict[str, Table]:
        """A table for each split of the corpus that has labels."""
        corpus = self.corpus(data)
        chosen = self.features(features, data)
        extracted = {split for each in chosen for split in self._splits(corpus, each.model)}
        labelled = [split for split in labelled_splits(self.store, corpus) if split in extracted]
        return {split: self.table(chosen, split, corpus) for split in labelled}

    def unextracted(
        self, features: str | Iterable[str | Feature], data: str | None = None
    ) -> list[str]:
        """What `tables` goes without, one line a model with the command that adds it.

        A study of a corpus whose validation was not extracted judges by a part of train instead,
        which its user should know.
        """
        corpus = self.corpus(data)
        lines = []
        for model in dict.fromkeys(each.model for each in self.features(features, data)):
            here = self._splits(corpus, model)
            lacking = [each for each in labelled_splits(self.store, corpus) if each not in here]
            if lacking:
                spec = self.spec(model, corpus)
                how = "imported" if spec is not None and spec.imported else "extracted"
                lines.append(
                    f"{corpus}/{model} was not {how} on {' and '.join(lacking)}; add it with: "
                    f"{self.split_command(corpus, model, lacking)}"
                )
        return lines

    def features(
        self, wanted: str | Iterable[str | Feature], data: str | None = None
    ) -> list[Feature]:
        """Expand a list such as `mistral:20..24,e5:last`; `mistral` alone means all its layers."""
        found: list[Feature] = []
        for item in (items := [wanted] if isinstance(wanted, str) else list(wanted)):
            if isinstance(item, Feature):
                found.append(item)
            else:
                found += parse_features(item, lambda model: self._any_split(data, model))
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
            others = "" if "demo" in here else "; the bundled texts are --data demo"
            raise FeatureError(
                f"this cache holds {', '.join(here)}: choose one with --data{others}"
            )
        return here[0] if here else "demo"

    def pages(self, model: str, split: str = "train", data: str | None = None) -> Pages:
        """What one model left of one split; FeatureError, with the command, if it is not there."""
        corpus, split = self.corpus(data), split_name(split)
        if split in self._splits(corpus, model):
            return Pages(self.store, corpus, model, split)
        attrs = described(self.store, corpus)
        if attrs and split not in attrs["splits"]:
            raise FeatureError(
                f"{corpus} has no split {split}: it has {', '.join(attrs['splits'])}"
            )
        if self.spec(model, corpus) is not None:
            way = f"; add it with: {self.split_command(corpus, model, [split])}"
        else:
            way = way_to(self, model, corpus, data or corpus)
        held = "; ".join(repr(node) for node in self.values()) or self._nothing
        raise FeatureError(
            f"{corpus}/{model}/{split} is not in the cache {self.path}, which holds {held}{way}"
        )

    def spec(self, model: str, data: str | None = None) -> Spec | None:
        """What a model was extracted with; None if it is not in the cache."""
        attrs = described(self.store, f"{self.corpus(data)}/{model}")
        return Spec.from_json(attrs["spec"]) if attrs else None

    def provenance(self, model: str, data: str | None = None) -> dict[str, Any]:
        """Where and with which versions a model was first run; {} if it is not in the cache."""
        return dict(described(self.store, f"{self.corpus(data)}/{model}").get("provenance", {}))

    def ls(self, damaged: list[DamagedError] | None = None) -> list[dict[str, Any]]:
        """One entry per corpus, model and split: layers, pools, rows, done rows, bytes.

        Where anything that was asked for lacks rows, `unfinished` says what, and `resume` is the
        command that computes it. What cannot be read adds its error to `damaged`, and raises it
        where there is no such list.
        """
        return entries(self, damaged)

    def below(self, key: str) -> list[Pages]:
        """The splits below a key such as `sst2`, `sst2/mistral` or `sst2/mistral/train`."""
        wanted = Key.parse(key).whole()
        corpus = self[wanted.corpus]
        if not wanted.model:
            return corpus.all_pages()
        model = corpus[wanted.model]
        return [model[wanted.split]] if wanted.split else list(model.values())

    # Writing

    def register(self, corpus: Corpus) -> list[str]:
        """Check a corpus against the cache, or write it down; returns notes for the user."""
        return register(self.store, corpus)

    def reserve(self, request: Request) -> AbstractContextManager[Writer]:
        """Be the one writer of a split."""
        return reserve(self.store, request)

    def missing(self, request: Request) -> list[Task]:
        """The blocks that an extraction would compute; MismatchError if it is to be refused."""
        check_model(self.store, request)
        pages = Pages(self.store, request.corpus, request.model, request.split, alone=True)
        if not pages.generations:  # the split is begun afresh, whatever was written down
            pages.attrs = first_attrs(request)
        pages.attrs["rows"] = max(pages.rows, request.rows)  # a partial last block has grown
        return Writer(self.store, request, pages).missing()

    def convert(self, path: str, format: str) -> bool:
        """Keep a split such as `sst2/mistral/train` as zarr or hdf5; False if it is already."""
        return convert_split(self.store, path, format)

    # The tree

    def __getitem__(self, corpus: str) -> CorpusNode:
        if corpus not in list(self):
            raise FeatureError(
                f"no corpus '{corpus}' in {self.path}{key_meant(self, corpus)}: "
                f"it holds {', '.join(self) or self._nothing}"
            )
        return CorpusNode(self, corpus)

    def __iter__(self) -> Iterator[str]:
        return iter(name for name in self.store.children("") if name not in RESERVED)

    def __repr__(self) -> str:
        lines = "".join(f"\n  {pages!r}" for node in self.values() for pages in node.all_pages())
        nothing = " (empty)" if self.exists else " (empty: no such folder yet)"
        return f"<Cache {self.path}{lines or nothing}>"

    def _repr_html_(self) -> str:
        return html_table(str(self.path), self.ls())

    @property
    def _nothing(self) -> str:
        """Why nothing is here: a folder that is not there may have been misspelt."""
        return "nothing yet" if self.exists else "nothing (no such folder)"

    def _splits(self, corpus: str, model: str) -> list[str]:
        here = self.store.children(f"{corpus}/{model}") if model not in RESERVED else []
        return [split for split in SPLITS if split in here]

    def _any_split(self, data: str | None, model: str) -> Pages:
        corpus = self.corpus(data)
        known = self._splits(corpus, model) or list(described(self.store, corpus).get("splits", ()))
        return self.pages(model, known[0] if known else "train", data)

    def split_command(self, corpus: str, model: str, splits: Sequence[str]) -> str:
        """The command that runs a model on more splits, for all that it has of the others."""
        here = [Pages(self.store, corpus, model, split) for split in self._splits(corpus, model)]
        arrays = [name for each in here for name in each.asked]
        return spelled(more_splits(self.store, corpus, model, arrays, splits))
