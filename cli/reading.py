"""The corpus and the cache that a command's flags name, read and described to the user."""

from collections.abc import Callable, Mapping
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

Say = Callable[[str], None]


def open_corpus(options: dict[str, Any], say: Say = say) -> tuple["Corpus", "Cache"]:
    """Read `--data` with the flags of Reading, and open `--cache`; says what is odd about it."""
    import lefcache

    cache = lefcache.open(options["cache"])
    source = options["data"] or cache.corpus()
    source, reading = _as_before(cache, source, Reading(**given(Reading, options)), say)
    corpus = lefcache.read_corpus(source, **asdict(reading))
    say(
        f"{corpus.name}: "
        + ", ".join(f"{split} {len(rows):,}" for split, rows in corpus.splits.items())
        + f" rows, {count(len(corpus.classes), 'class', 'classes')}"
    )
    for line in corpus.describe():
        say(f"  note: {line}")
    return corpus, cache


def _as_before(cache: "Cache", source: str, asked: Reading, say: Say) -> tuple[str, Reading]:
    """Where a corpus is read from and how: as the cache's own was, but for what is asked for.

    That is so for a corpus that the cache knows by name, and for the same folder once more, whose
    columns are still called what they were: this is said, as the texts would be others without it.
    """
    from lefcache.corpus import corpus_name, source_of

    if source in cache and not lies_there(Path(source)):
        attrs = cache[source].attrs
        return attrs.get("source", source), asked.over(_reading_in(attrs))
    name = corpus_name(source)
    attrs = cache[name].attrs if name in cache else {}
    if attrs.get("source") != source_of(source):
        return source, asked
    reading = asked.over(_reading_in(attrs))
    before = {flag: text for flag, text in reading.flags().items() if flag not in asked.flags()}
    if before:
        say(f"{name}: read as before, with {Reading.from_flags(before).words()}")
    return source, reading


def _reading_in(attrs: Mapping[str, Any]) -> Reading:
    return Reading.from_flags(attrs.get("options", {}))
