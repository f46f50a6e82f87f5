"""The notation `llama2:24@mean`: which layer of which model, pooled how.

Layer 0 is the embedding output, layer k the raw output of block k, `last` the model's own final
output. `-1` counts from the end, `20~24` and `4+8+12` are the mean of those layers, and
`a..b`, `a..b/step` and `all` stand for several features.
"""

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Protocol

from lefcache.errors import FeatureError
from lefcache.wording import did_you_mean

POOLS = ("mean", "mean_nobos", "last", "first", "max", "own")
ALIASES = {"cls": "first"}
# Of models and corpora, which are folders: also on Windows, which drops a dot at the end and takes
# `nul` or `con.txt` for a device.
NAME = re.compile(
    r"(?!(?:con|prn|aux|nul|com[0-9]|lpt[0-9])(?:\.|$))[a-z0-9](?:[a-z0-9._-]*[a-z0-9_-])?"
)
NAMES = "lower-case letters, digits, '.', '_', '-'; no '.' at the end, no device such as con or nul"
RESERVED = ("labels", "rows", "results", "ledger")

# What nobody has to choose: always taking this share of the depth loses less than always taking the
# last layer, on three models of Skean et al.'s released results ("Layer by Layer", 2025).
DEPTH = 0.6
FIRST, LAST, FIXED = "layer 0", "last layer", f"fixed depth {DEPTH}"

Layer = int | str  # a number, "last", or a mean such as "20~24" and "4+8+12"

_NUMBER = r"-?[0-9]{1,6}"  # of a layer: no model has a million
_PART = rf"(?:{_NUMBER}|last)"
_RANGE = re.compile(rf"({_NUMBER})\.\.({_NUMBER})(?:/([0-9]{{1,6}}))?")
_SPAN = re.compile(rf"({_NUMBER})~({_NUMBER})")
_LAYERS = re.compile(rf"{_PART}|{_NUMBER}(?:\.\.|~){_NUMBER}|all")
_SUM = re.compile(rf"{_PART}(?:\+{_PART})+")
_HOW = (
    "write MODEL:LAYER[@POOL], for example llama2:24, nvembed:last or bert:3@first; "
    "LAYER is a number, last, -1, 20~24 or 4+8+12"
)
_HOW_LAYERS = (
    "--layers takes numbers, ranges, last and all, without a model: for example 16..32,last, "
    "-4..-1 or 0..32/4"
)


class Depth(Protocol):
    """What a list such as `all` needs to know of a model that is already extracted."""

    @property
    def depth(self) -> int:
        """The number of blocks n."""

    @property
    def aliases(self) -> Mapping[str, Layer]:
        """The layers that are another one by another name: `last` where the model ends so."""

    def layers(self, pool: str) -> Sequence[Layer]:
        """The layers stored with this pooling, in order."""


@dataclass(frozen=True)
class Feature:
    """One layer of one model, pooled one way.

    `pool` is None only for the layer `last`, where it stands for the model's own pooled vector
    if it has one and for `mean` otherwise; every other layer without a pool is `mean`.
    """

    model: str
    layer: Layer
    pool: str | None = "mean"

    @classmethod
    def parse(cls, text: str) -> "Feature":
        """Read one feature; `Feature.parse(str(f)) == f`.

        Raises FeatureError for anything that is not the notation of exactly one feature.
        """
        model, colon, rest = text.strip().partition(":")
        layer, at, pool = rest.partition("@")
        if not NAME.fullmatch(model) or not colon or not layer or (at and not pool):
            corpus, slash, name = model.rpartition("/")
            near = f" (did you mean {name}:{rest} --data {corpus}?)" if slash and colon else ""
            raise FeatureError(f"'{text}' is no feature{near}: {_HOW}")
        if layer == "all" or _RANGE.fullmatch(layer):
            raise FeatureError(f"'{text}' stands for several features; one is wanted here")
        parsed = _parse_layer(layer, text)
        return cls(model, parsed, parse_pool(pool, text) if at else default_pool(parsed))

    def __str__(self) -> str:
        bare = self.pool == default_pool(self.layer)
        return f"{self.model}:{self.layer}" + ("" if bare else f"@{self.pool}")

    def resolve(self, depth: int) -> "Feature":
        """The same feature with negative layers counted from a depth of n blocks."""
        return replace(self, layer=_resolve(self.layer, depth))

    @property
    def parts(self) -> Sequence[Layer]:
        """The stored layers that this feature is the mean of; most often just one."""
        if isinstance(self.layer, int) or self.layer == "last":
            return (self.layer,)
        if span := _SPAN.fullmatch(self.layer):
            return range(int(span[1]), int(span[2]) + 1)
        return tuple(part if part == "last" else int(part) for part in self.layer.split("+"))


def name_like(text: str) -> str:
    """A name that a cache can hold, as near to this one as can be; '' where none is."""
    letters = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    name = re.sub(r"[^a-z0-9._-]+", "-", letters).strip("-._")
    return name if NAME.fullmatch(name) and name not in RESERVED else ""


def parse_pool(text: str, whole: str = "") -> str:
    """A pooling by either of its names, in the feature `whole`; FeatureError for any other."""
    pool = ALIASES.get(text, text)
    if pool not in POOLS:
        where = f"'{whole}' has " if whole else ""
        near = did_you_mean(text, [*POOLS, *ALIASES])
        raise FeatureError(f"{where}no pool '{text}': it is one of {', '.join(POOLS)}{near}")
    return pool


def check_layers(text: str, how: str = _HOW_LAYERS) -> None:
    """Refuse a misspelt `16..32,last`, of a model that nobody has looked at yet."""
    for item in split_list(text, how):
        if item != "all" and not _RANGE.fullmatch(item):
            _parse_layer(item, text, how)


def deepest_layer(text: str) -> int | None:
    """The deepest layer of `0..3,8`; None where only the model can tell, as for `-1`."""
    ends: list[str] = []
    for item in split_list(text):
        match = _RANGE.fullmatch(item)
        ends += match.group(1, 2) if match else [item]
    return max(map(int, ends)) if all(end.isdecimal() for end in ends) else None


def default_pool(layer: Layer) -> str | None:
    """The pooling that a feature has when none is written."""
    return None if layer == "last" else "mean"


def parse_layers(text: str, depth: int, available: Iterable[Layer]) -> list[Layer]:
    """Expand `16..32,last` or `all` to the layers of a model with n blocks, in the order written.

    Raises FeatureError that lists `available` where the model has no such layer.
    """
    offered = list(available)
    wanted: list[Layer] = []
    check_layers(text)
    for item in split_list(text):
        for layer in _expand(item, depth, offered, text):
            if layer not in offered:
                raise FeatureError(
                    f"no layer {layer} in this model: it has {describe_layers(offered)}"
                )
            wanted.append(layer)
    return list(dict.fromkeys(wanted))


def parse_features(text: str, model: Callable[[str], Depth]) -> list[Feature]:
    """Expand a list such as `llama2:20..24,nvembed:last` or `mistral` (all layers).

    `model` looks a model's name up; duplicates, under whatever name, are kept once, as they are
    written first, in the order written.
    """
    model = cache(model)
    features: list[Feature] = []
    for item in split_list(text):
        name, colon, rest = item.partition(":")
        layer, at, pool = rest.partition("@")
        if not colon and features and _LAYERS.fullmatch(name):
            near = f"{features[-1].model}:{name}"
            raise FeatureError(f"'{text}': {name} is a layer of no model: write {near}")
        if not colon and NAME.fullmatch(name):
            layer = "all"
        if layer == "all" or _RANGE.fullmatch(layer):
            chosen = parse_pool(pool, item) if at else "mean"
            known = model(name)
            offered = known.layers(chosen) if at else _unpooled(known)
            if layer == "all" and not offered:
                pools = [each for each in POOLS if known.layers(each)]
                instead = " or ".join(f"{name}:all@{each}" for each in pools) or "nothing"
                raise FeatureError(
                    f"'{item}' names no feature: {name} is not stored with the pool {chosen}; "
                    f"write {instead}"
                )
            for each in _expand(layer, known.depth, offered, item):
                unwritten = default_pool(each) if not at else chosen
                features.append(Feature(name, each, unwritten))
        else:
            feature = Feature.parse(item)
            features.append(feature.resolve(model(feature.model).depth))
    first: dict[Feature, Feature] = {}
    for feature in features:
        first.setdefault(_stored(feature, model(feature.model)), feature)
    return list(first.values())


def _stored(feature: Feature, model: Depth) -> Feature:
    """The feature by the one name that its vectors are stored under."""
    own = feature.pool is None and "last" in model.layers("own")
    layer = model.aliases.get(str(feature.layer), feature.layer)
    return Feature(feature.model, layer, feature.pool or ("own" if own else "mean"))


def _unpooled(model: Depth) -> list[Layer]:
    """The layers that a model's features without a written pooling have."""
    layers = [*model.layers("mean")]
    own = "last" in model.layers("own") and "last" not in layers
    return layers + ["last"] * own


def split_list(text: str, how: str = _HOW) -> list[str]:
    """The items of a comma-separated list; an empty one is an error that says `how` to write it."""
    items = [item.strip() for item in text.split(",")]
    if not all(items):
        raise FeatureError(f"'{text}' has an empty item between commas: {how}")
    return items


def describe_layers(layers: Iterable[Layer]) -> str:
    """`0..6, last` for the layers 0 to 6 and last: runs of numbers are shortened."""
    numbers = sorted(layer for layer in layers if isinstance(layer, int))
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    words = [f"{run[0]}..{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs]
    return ", ".join([*words, *(str(layer) for layer in layers if not isinstance(layer, int))])


def _parse_layer(text: str, whole: str, how: str = _HOW) -> Layer:
    if text == "last":
        return text
    if re.fullmatch(_NUMBER, text):
        return int(text)
    if span := _SPAN.fullmatch(text):
        first, last = int(span[1]), int(span[2])
        if (first < 0) == (last < 0) and first >= last:
            raise FeatureError(f"'{whole}': the mean {text} runs backwards or has one layer only")
        return f"{first}~{last}"
    if _SUM.fullmatch(text):
        parts = [part if part == "last" else str(int(part)) for part in text.split("+")]
        if len(set(parts)) < len(parts):
            raise FeatureError(f"'{whole}': a layer stands twice in the mean {text}")
        return "+".join(parts)
    where = f"'{whole}': " if whole != text else ""
    near = did_you_mean(text, ["last", "all"])
    raise FeatureError(f"{where}there is no layer '{text}'{near}: {how}")


def _resolve(layer: Layer, depth: int) -> Layer:
    def count(number: int) -> int:
        # Counting beyond layer 0 would give a negative number, which means another layer again.
        if number < -depth - 1:
            raise FeatureError(
                f"no layer {number} in a model of {depth} blocks: -1 is the last of them, "
                f"{-depth - 1} what enters the first"
            )
        return number if number >= 0 else depth + 1 + number

    if isinstance(layer, int):
        return count(layer)
    if span := _SPAN.fullmatch(layer):
        return _parse_layer(f"{count(int(span[1]))}~{count(int(span[2]))}", layer)
    parts = [part if part == "last" else str(count(int(part))) for part in layer.split("+")]
    return _parse_layer("+".join(parts), layer)


def _expand(text: str, depth: int, offered: Sequence[Layer], whole: str) -> list[Layer]:
    if text == "all":
        return list(offered)
    if match := _RANGE.fullmatch(text):
        first, last = (_resolve(int(end), depth) for end in match.group(1, 2))
        assert isinstance(first, int)
        assert isinstance(last, int)
        step = int(match[3] or 1)
        if first > last or step == 0:
            raise FeatureError(f"'{whole}': the range {text} is empty; write it low..high/step")
        return list(range(first, last + 1, step))
    return [_resolve(_parse_layer(text, whole), depth)]
