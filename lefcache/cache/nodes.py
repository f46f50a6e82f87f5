"""The nodes of the tree below a cache: corpora and their models, each a mapping."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from lefcache.cache.display import html_table
from lefcache.cache.documents import described
from lefcache.cache.pages import Pages
from lefcache.corpus import SPLITS
from lefcache.errors import FeatureError
from lefcache.feature import RESERVED
from lefcache.wording import did_you_mean

if TYPE_CHECKING:
    from lefcache.cache.tree import Cache

Child = TypeVar("Child")


class Node(Mapping[str, Child]):
    """A place in the tree: its children by name, listed afresh at each look."""

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __contains__(self, name: object) -> bool:
        return any(name == child for child in self)


class ModelNode(Node[Pages]):
    """One model's splits."""

    def __init__(self, cache: "Cache", corpus: str, model: str) -> None:
        self.cache, self.corpus, self.model = cache, corpus, model

    def __getitem__(self, split: str) -> Pages:
        if split not in SPLITS:
            raise FeatureError(f"no split '{split}': it is one of {', '.join(SPLITS)}")
        return self.cache.pages(self.model, split, self.corpus)

    def __iter__(self) -> Iterator[str]:
        return iter(self.cache._splits(self.corpus, self.model))

    def resume_command(self) -> str | None:
        """The command that computes what its splits still lack; None where they lack nothing."""
        alike: dict[object, list[Pages]] = {}
        for pages in self.values():
            if pages.missing:
                # Imported vectors are read from other files for each split.
                asked = tuple(pages.missing), tuple(pages.asked)
                alike.setdefault(pages.split if pages.spec.imported else asked, []).append(pages)
        return " && ".join(first.resume_command(rest) for first, *rest in alike.values()) or None

    def __repr__(self) -> str:
        return f"<{self.corpus}/{self.model}: {', '.join(self) or 'no splits'}>"

    def _repr_html_(self) -> str:
        return html_table(f"{self.corpus}/{self.model}", map(Pages.describe, self.values()))


class CorpusNode(Node[ModelNode]):
    """One corpus's models."""

    def __init__(self, cache: "Cache", corpus: str) -> None:
        self.cache, self.corpus = cache, corpus

    @property
    def attrs(self) -> dict[str, Any]:
        """Classes, source, rows of each split, digest of the texts."""
        return described(self.cache.store, self.corpus)

    def all_pages(self) -> list[Pages]:
        """Every model and split of this corpus."""
        return [pages for model in self.values() for pages in model.values()]

    def __getitem__(self, model: str) -> ModelNode:
        if model not in list(self):
            raise FeatureError(
                f"no model '{model}' under {self.corpus}{did_you_mean(model, self)}: "
                f"it has {', '.join(self) or 'none'}"
            )
        return ModelNode(self.cache, self.corpus, model)

    def __iter__(self) -> Iterator[str]:
        here = self.cache.store.children(self.corpus)
        return iter(name for name in here if name not in RESERVED)

    def __repr__(self) -> str:
        return f"<{self.corpus}: {', '.join(self) or 'no models'}>"

    def _repr_html_(self) -> str:
        return html_table(self.corpus, map(Pages.describe, self.all_pages()))
