"""The words for a place in a cache, alike in all commands: `sst2/mistral/train`, `sst2/e5:3`."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

from lefcache.cache.hints import by_pool
from lefcache.cache.layers import array_name
from lefcache.corpus import SPLITS
from lefcache.errors import FeatureError
from lefcache.feature import (
    ALIASES,
    POOLS,
    check_layers,
    describe_layers,
    parse_features,
    parse_pool,
    split_list,
)
from lefcache.wording import did_you_mean

if TYPE_CHECKING:
    from lefcache.cache.pages import Pages
    from lefcache.cache.tree import Cache

HOW = (
    "a key is corpus[/model[/split]], or layers of that, such as sst2/mistral:24,last, "
    "sst2/mistral:24@max, sst2/mistral@max or sst2/mistral/train/mean/24"
)
_KEY = re.compile(r"([^:@]*)(?::([^@]+))?(?:@([^@]+))?")


@dataclass(frozen=True)
class Key:
    """A corpus, model or split, or layers of them; what is left empty is all that there is."""

    text: str
    corpus: str
    model: str = ""
    split: str = ""
    pool: str = ""
    layers: str = ""  # such as 16..32,last

    @classmethod
    def parse(cls, text: str) -> "Key":
        """Read a key: behind a model or a split, `:24@max` is another spelling of `/max/24`.

        Raises FeatureError, which says what to write, for anything else.
        """
        match = _KEY.fullmatch(text.strip("/"))
        if match is None:
            raise FeatureError(f"'{text}' is no key: {HOW}")
        place, layers, pool = (each or "" for each in match.groups())
        corpus, *below = place.split("/")
        model, *rest = below or [""]
        split = _split_called(rest[0]) if rest else ""
        if split:
            del rest[0]
        if rest and not (layers or pool):
            _check_pool(rest[0], text, f"{corpus}/{model}")
            pool, layers, rest = rest[0], "/".join(rest[1:]), []  # a step: 0..32/4
        if rest or "" in below:
            raise FeatureError(f"'{text}' is no key: {HOW}")
        if layers:
            check_layers(layers, HOW)
        return cls(text, corpus, model, split, parse_pool(pool, text) if pool else "", layers)

    @property
    def path(self) -> str:
        """The corpus, model or split."""
        return "/".join(filter(None, (self.corpus, self.model, self.split)))

    @property
    def in_part(self) -> bool:
        """Whether it names some layers, and not all that is there."""
        return bool(self.pool or self.layers)

    def whole(self) -> "Key":
        """The key itself; FeatureError, which names the right one, if it is of some layers only."""
        if self.in_part:
            raise FeatureError(
                f"{self.text} names some layers, and this works on whole splits: write {self.path}"
            )
        return self


def check_there(cache: "Cache", key: Key) -> None:
    """Refuse a key that names nothing; FeatureError with what was meant, and with what there is."""
    corpus = cache[key.corpus]
    if not key.model:
        if key.in_part:
            raise FeatureError(
                f"{key.text} names layers of no model: it is one of "
                f"{', '.join(f'{key.corpus}/{model}' for model in corpus) or 'none'}"
            )
        return
    model = corpus[key.model]
    if key.split and key.split not in model:
        raise FeatureError(
            f"{key.corpus}/{key.model} has no split {key.split}: it has {', '.join(model)}"
        )


def arrays_meant(key: Key, splits: Iterable[tuple["Pages", Sequence[str]]]) -> list[list[str]]:
    """Of each split of a model, with the arrays that it has, those that a key means.

    Raises FeatureError for a layer or a pool that none of the splits has.
    """
    held = [(pages, list(arrays)) for pages, arrays in splits]
    every = dict.fromkeys(name for _, arrays in held for name in arrays)
    wanted = [dict.fromkeys(_meant(key, pages, every)) for pages, _ in held]
    lacking = [name for name in dict.fromkeys(chain.from_iterable(wanted)) if name not in every]
    if lacking or not held:
        there = [f"{pool}: {describe_layers(each)}" for pool, each in by_pool(every).items()]
        raise FeatureError(
            f"{key.path} has no {', '.join(lacking) or 'splits'}: it has "
            f"{'; '.join(there) or 'nothing'}"
        )
    return [
        [name for name in arrays if name in meant]
        for (_, arrays), meant in zip(held, wanted, strict=True)
    ]


def _meant(key: Key, pages: "Pages", every: Iterable[str]) -> list[str]:
    """The arrays that a key means, whether this split has them or not."""
    if not key.layers:
        return [name for name in every if name.startswith(f"{key.pool}/")] or [key.pool]
    at = f"@{key.pool}" if key.pool else ""
    features = [
        feature.resolve(pages.depth)
        for item in split_list(key.layers)
        for feature in parse_features(f"{key.model}:{item}{at}", lambda _: pages)
    ]
    return [array_name(pages, feature, part) for feature in features for part in feature.parts]


def _split_called(word: str) -> str:
    """The split that a word means, or nothing."""
    return next((split for split, names in SPLITS.items() if word.lower() in names), "")


def _check_pool(word: str, text: str, above: str) -> None:
    if word in (*POOLS, *ALIASES):
        return
    layer = word[-1:].isdecimal()
    near = f" (did you mean {above}:{word}?)" if layer else did_you_mean(word, [*SPLITS, *POOLS])
    raise FeatureError(f"'{text}' is no key{near}: {word} is neither a split nor a pool; {HOW}")
