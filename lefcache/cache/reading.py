"""How the texts of a corpus were read: its columns and its template, as the cache remembers."""

from lefcache.aliases import hub_entry
from lefcache.cache.documents import described
from lefcache.columns import Reading
from lefcache.corpus import Corpus
from lefcache.stores import Store


def reading_of(store: Store, corpus: str) -> Reading:
    """How a corpus was read: as its flags say, and a data set's short name where they do not."""
    attrs = described(store, corpus)
    given = Reading.from_flags(attrs.get("options", {}))
    entry = hub_entry(str(attrs.get("source", "")).rpartition("=")[2])
    return given.over(entry.reading) if entry else given


def read_unlike(store: Store, corpus: Corpus) -> str:
    """`; the cache's were read with --text-column body` where a corpus is read otherwise now."""
    before = Reading.from_flags(described(store, corpus.name).get("options", {}))
    if before == Reading.from_flags(corpus.options):
        return ""
    return f"; the cache's were read with {before.words() or 'no flags'}"
