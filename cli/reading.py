"""The corpus and the cache that a command's flags name, read and described to the user."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cli.output import say
from cli.params import given
from lefcache.columns import Reading
from lefcache.files import lies_there
from lefcache.wording import count

if TYPE_CHECKING:
    from lefcache import Cache, Corpus


def open_corpus(options: dict[str, Any]) -> tuple["Corpus", "Cache"]:
    """Read `--data` with the flags of Reading, and open `--cache`; says what is odd about it."""
    import lefcache

    cache = lefcache.open(options["cache"])
    source = options["data"] or cache.corpus()
    reading = Reading(**given(Reading, options))
    if source in cache and not lies_there(Path(source)):
        # A corpus that the cache knows by name is read again from where it came.
        known = cache[source].attrs
        source = known.get("source", source)
        reading = reading.over(Reading.from_flags(known.get("options", {})))
    corpus = lefcache.read_corpus(source, **asdict(reading))
    say(
        f"{corpus.name}: "
        + ", ".join(f"{split} {len(rows):,}" for split, rows in corpus.splits.items())
        + f" rows, {count(len(corpus.classes), 'class', 'classes')}"
    )
    for line in corpus.describe():
        say(f"  note: {line}")
    return corpus, cache
