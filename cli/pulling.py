"""A cache that a command's flags name, opened; what is pulled from an object store is said."""

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli.output import LOG_SECONDS, duration, say
from lefcache.files import REMOTE, lies_there

if TYPE_CHECKING:
    from lefcache import Cache
    from lefcache.rows import Table


def open_cache(folder: str, later: bool = False) -> "Cache":
    """Open `--cache`; of one on an object store, lines on stderr say what is on its way."""
    import lefcache

    cache = lefcache.open(folder, later=later)
    if str(cache.path).startswith(REMOTE):
        from lefcache.cache.remote import RemoteCache

        assert isinstance(cache, RemoteCache)
        cache.on_pull = Pulling()
    return cache


def open_for_study(folder: str, later: bool = False) -> "Cache":
    """The same, with the finished studies of others, which come to see those of this command.

    With `later`, vectors on an object store are pulled here as they are read, if they are.
    """
    cache = open_cache(folder, later)
    click.get_current_context().with_resource(cache.sharing_results())
    return cache


def tables_for_study(cache: "Cache", models: str, data: str | None) -> "dict[str, Table]":
    """The tables of the features that `--models` names; splits that a study lacks are said."""
    from lefcache.cache.learnable import learnable
    from lefcache.corpus import place_of, source_of

    tables = learnable(cache, models, data)
    source = tables["train"].source
    if data and lies_there(Path(place_of(data))) and source_of(data) != source:
        say(f"  note: the cache's {tables['train'].corpus} was made from {source}, not from {data}")
    for line in cache.unextracted(models, data):
        say(f"  note: {line}")
    return tables


class Pulling:
    """Told of each block that has come: a line for each split, and one now and then."""

    def __init__(self) -> None:
        self.done = 0
        self.began = self.told = time.monotonic()

    def __call__(self, path: str, total: int, rows: int) -> None:
        """So many vectors more have come, or with none a split begins."""
        now = time.monotonic()
        if not rows:
            self.done, self.began, self.told = 0, now, now
            say(f"{path}: pulling {total:,} vectors")
            return
        self.done += rows
        if self.done >= total:
            say(f"{path}: {self.done:,} vectors pulled and checked in {duration(now - self.began)}")
        elif now - self.told > LOG_SECONDS:
            self.told = now
            say(f"{path}: {self.done:,} of {total:,} vectors")
