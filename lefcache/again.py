"""The texts of a corpus, read again from where they came, for what only they can tell."""

from dataclasses import asdict

from lefcache.aliases import hub_entry
from lefcache.cache import Cache
from lefcache.columns import Reading
from lefcache.corpus import place_of, read_corpus
from lefcache.errors import CorpusError
from lefcache.files import path_of
from lefcache.hub import is_here


def read_again(cache: Cache, corpus: str) -> dict[int, str]:
    """Every text of a corpus by its hash, which is what the rows of a table are known by.

    A cache holds no texts, only where they came from. Nothing is downloaded: raises CorpusError
    where they are not on this machine any more, or cannot be read.
    """
    attrs = cache[corpus].attrs
    source = attrs.get("source", "")
    place = place_of(source)
    if place != "demo" and not path_of(place).exists():
        entry = hub_entry(place)
        if entry is None or not is_here(entry):
            raise CorpusError(
                f"the texts of {corpus} are not on this machine ({place or 'unknown'})"
            )
    found = read_corpus(source, **asdict(Reading.from_flags(attrs.get("options", {}))))
    return {
        int(hashed): text
        for split in found.splits.values()
        for hashed, text in zip(split.hashes, split.texts, strict=True)
    }
