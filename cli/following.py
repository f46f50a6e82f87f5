"""The command that comes after the one that has just ended, or that was meant."""

from typing import TYPE_CHECKING

from cli.output import cache_words
from lefcache.errors import LefError
from lefcache.files import REMOTE
from lefcache.wording import command_line

if TYPE_CHECKING:
    from lefcache import Cache
    from lefcache.cache.nodes import CorpusNode


def next_sweep(
    cache: "Cache", folder: str, corpus: str, model: str, with_torch: bool = True
) -> str:
    """The sweep that comes next, or what it would refuse, with what to do instead.

    Without torch, which takes seconds to import, that it lacks rows to train on is all that shows.
    """
    from lefcache.cache.learnable import learnable

    pages, *_ = cache[corpus][model].values()
    # A model's name alone stands for its layers pooled by their mean, or for what was imported
    # without a pooling.
    plain = "mean" in pages.pools or (pages.spec.imported and "own" in pages.pools)
    models = model if plain else f"{model}:all@{pages.pools[0]}"
    ready_command = f"Next: lef sweep{cache_words(folder)} --data {corpus} --models {models}"
    if folder.startswith(REMOTE):  # to look closer would be to pull it all
        return ready_command
    try:
        tables = learnable(cache, models, corpus)
        if with_torch:
            from lefcache.study import check_tables

            check_tables(tables, seeds=[0])
    except LefError as error:
        return f"Before lef sweep can run: {error}"
    return ready_command


def example(study: str, folder: str | None, data: str | None) -> str:
    """A study of what is in the cache, for who named no models; or what puts something there."""
    import lefcache

    cache = lefcache.open(folder)
    words = cache_words(folder) if folder else ""
    here = [node for node in cache.values() if len(node)]
    named = [node for node in here if data and node.corpus == cache.corpus(data)]
    for corpus in named or here:
        models = (
            _two_features(corpus) if study in ("fuse", "pairs", "scale") else next(iter(corpus))
        )
        flags = command_line(["--data", corpus.corpus, "--models", models])
        return f"For example: lef {study}{words} {flags}"
    return f"Nothing is in the cache yet; start with: lef extract{words} --model minilm"


def _two_features(corpus: "CorpusNode") -> str:
    """The last layers of two models, or two layers of the only one."""
    found: list[list[str]] = []
    for model in corpus.values():
        pages = next(iter(model.values()))
        pool = pages.pools[0] if pages.pools else "mean"
        plain = "" if pool == "mean" else f"@{pool}"
        layers = pages.layers(pool) or ["last"]
        found.append([f"{model.model}:{layer}{plain}" for layer in layers])
    last = [features[-1] for features in found]
    middle = found[0][len(found[0]) // 2]
    return ",".join(dict.fromkeys(last[:2] if len(last) > 1 else [middle, last[0]]))
