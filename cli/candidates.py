"""What a half-typed word may become: for the shell, which must neither wait nor see an error."""

from collections.abc import Callable, Iterable, Iterator
from functools import wraps
from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem

from lefcache.errors import FeatureError, LefError
from lefcache.feature import POOLS
from lefcache.files import REMOTE

if TYPE_CHECKING:
    from lefcache import Cache
    from lefcache.cache.nodes import CorpusNode

Candidates = Callable[[click.Context, click.Parameter, str], Iterator[str]]
Completer = Callable[[click.Context, click.Parameter, str], list[CompletionItem[str]]]

# A cache that is damaged in any way has no candidates; `lef ls` is where it says so.
DAMAGE = (LefError, OSError, LookupError, TypeError, ValueError, AttributeError)


def completer(candidates: Candidates) -> Completer:
    """Candidates that begin with the word, as click wants them; none where any cannot be had."""

    @wraps(candidates)
    def complete(
        ctx: click.Context, param: click.Parameter, word: str
    ) -> list[CompletionItem[str]]:
        try:
            return _beginning(word, candidates(ctx, param, word))
        except DAMAGE:
            return []

    return complete


def or_folder(candidates: Candidates) -> Completer:
    """The same for a word that may be a folder as well: the shell knows those."""
    named = completer(candidates)

    @wraps(candidates)
    def complete(
        ctx: click.Context, param: click.Parameter, word: str
    ) -> list[CompletionItem[str]]:
        return named(ctx, param, word) or [CompletionItem(word, type="dir")]

    return complete


@completer
def features(ctx: click.Context, param: click.Parameter, word: str) -> Iterator[str]:
    """Models of the corpus that is meant, after a colon their layers, after an @ their pools."""
    from lefcache.cache.hints import by_pool

    written, comma, last = word.rpartition(",")
    model, colon, rest = last.partition(":")
    layer, at, _ = rest.partition("@")
    found: list[str] = []
    for corpus in _meant(_cache(ctx), ctx.params.get("data")):
        if not colon:
            found += [f"{name}{end}" for name in corpus for end in ("", ":")]
        elif model in corpus:
            pages = next(iter(corpus[model].values()))
            stored = by_pool(pages.asked)
            if at:
                found += [f"{model}:{layer}@{pool}" for pool in stored]
            else:
                layers = [each for pool in stored.values() for each in pool]
                found += [f"{model}:{each}" for each in (*layers, *pages.aliases, "all")]
    yield from (f"{written}{comma}{each}" for each in dict.fromkeys(found))


@or_folder
def corpora(ctx: click.Context, param: click.Parameter, word: str) -> Iterator[str]:
    """The corpora in the cache, and the data sets that have a short name."""
    yield from dict.fromkeys([*_cache(ctx), *_data_sets()])


@completer
def several_corpora(ctx: click.Context, param: click.Parameter, word: str) -> Iterator[str]:
    """The corpora in the cache that a list does not have yet."""
    written, comma, _ = word.rpartition(",")
    listed = written.split(",")
    yield from (f"{written}{comma}{each}" for each in _cache(ctx) if each not in listed)


@completer
def data_sets(ctx: click.Context, param: click.Parameter, word: str) -> Iterator[str]:
    """Data sets that have a short name."""
    yield from _data_sets()


@completer
def keys(ctx: click.Context, param: click.Parameter, word: str) -> Iterator[str]:
    """`corpus`, `corpus/model` and `corpus/model/split` of everything in the cache."""
    for corpus, models in _cache(ctx).items():
        yield corpus
        for model, splits in models.items():
            yield f"{corpus}/{model}"
            yield from (f"{corpus}/{model}/{split}" for split in splits)


@completer
def result_ids(ctx: click.Context, param: click.Parameter, word: str) -> Iterator[str]:
    """The finished studies."""
    for path in sorted(_cache(ctx).results.glob("*/*.json")):
        yield path.stem


@completer
def short_names(ctx: click.Context, param: click.Parameter, word: str) -> Iterator[str]:
    """Models that have a short name."""
    yield from _models()


@or_folder
def models(ctx: click.Context, param: click.Parameter, word: str) -> Iterator[str]:
    """What `lef extract --model` takes: a short name, or a folder, perhaps after NAME=."""
    name, equals, _ = word.rpartition("=")
    yield from (f"{name}{equals}{model}" for model in _models())


@completer
def pools(ctx: click.Context, param: click.Parameter, word: str) -> Iterator[str]:
    """The poolings that `--pool` takes."""
    yield from POOLS


@completer
def splits(ctx: click.Context, param: click.Parameter, word: str) -> Iterator[str]:
    """The splits that a list does not have yet."""
    from lefcache.corpus import SPLITS

    written, comma, _ = word.rpartition(",")
    yield from (f"{written}{comma}{each}" for each in SPLITS if each not in written.split(","))


def _cache(ctx: click.Context) -> "Cache":
    import lefcache

    folder = ctx.params.get("cache")
    if str(folder).startswith(REMOTE):
        raise FeatureError("a shell does not wait for a network")
    return lefcache.open(folder)


def _meant(cache: "Cache", data: str | None) -> list["CorpusNode"]:
    """The corpus of --data or the only one; all of them where that is not said yet."""
    try:
        return [cache[cache.corpus(data)]]
    except FeatureError:
        return [] if data else list(cache.values())


def _models() -> Iterable[str]:
    from lefcache.registry import MODELS

    return MODELS


def _data_sets() -> Iterable[str]:
    from lefcache.aliases import HUB

    return ("demo", *HUB)


def _beginning(word: str, candidates: Iterable[str]) -> list[CompletionItem[str]]:
    return [CompletionItem(each) for each in candidates if each.startswith(word)]
