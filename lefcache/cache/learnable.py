"""The tables that a study learns from, or the command that brings what it lacks."""

from collections.abc import Iterable

from lefcache.cache.documents import described
from lefcache.cache.hints import spelled
from lefcache.cache.register import labelled_splits
from lefcache.cache.tree import Cache
from lefcache.errors import CorpusError
from lefcache.feature import Feature
from lefcache.rows import Table


def learnable(
    cache: Cache, features: str | Iterable[str | Feature], data: str | None = None
) -> dict[str, Table]:
    """What `cache.tables` gives, with a train among them.

    Raises CorpusError, with the command, where train was not extracted or no row of it has a label.
    """
    chosen = cache.features(features, data)
    tables = cache.tables(chosen, data)
    if "train" not in tables:
        raise CorpusError(_lacking(cache, chosen, cache.corpus(data)))
    return tables


def _lacking(cache: Cache, chosen: list[Feature], corpus: str) -> str:
    if "train" not in described(cache.store, corpus)["splits"]:
        return f"{corpus} has no split train, which a study learns from: add one to its data"
    if "train" in labelled_splits(cache.store, corpus):
        return "; ".join(cache.unextracted(chosen, corpus))
    pages = next(iter(cache[corpus][chosen[0].model].values()))
    again = [[*words, "--label-column", "COLUMN"] for words in pages.resume_words()]
    return (
        f"no text of {corpus}/train has a label, and a study learns from them; if its data has a "
        f"column of labels, name it (nothing is computed again): {spelled(again)}"
    )
