"""Who computes the missing blocks of a split: a plan of them goes in, receipts come out.

A block has the same bytes whoever computes it. The process that computed one writes its arrays and
then its ledger row; only the leader makes arrays and writes attributes.
"""

import os
from collections.abc import Generator, Mapping
from contextlib import AbstractContextManager
from typing import Protocol

from lefcache.cache import Cache, Request, Writer
from lefcache.extract.backbone import Backbone
from lefcache.extract.compute import Assignment, Done, TextsOf, Watch, compute


class Engine(Protocol):
    """What distributes the blocks of an extraction."""

    @property
    def leads(self) -> bool:
        """Whether this process writes attributes, and answers for the whole."""

    @property
    def writers(self) -> str:
        """Who else writes the blocks, in words; '' where the environment tells, or nobody does."""

    def reserve(self, cache: Cache, request: Request) -> AbstractContextManager[Writer]:
        """Be at work on a split: as its one writer, or as a hand of the process that leads."""

    def run(
        self,
        backbone: Backbone,
        assignment: Assignment,
        texts_of: TextsOf,
        writer: Writer,
        watch: Watch,
    ) -> Generator[Done, None, None]:
        """Compute what the writer says is missing; a receipt for each block once it is written.

        Closed early, it ends when nobody writes any more.
        """


class Local:
    """This process computes all blocks, one after the other."""

    leads = True
    writers = ""

    def reserve(self, cache: Cache, request: Request) -> AbstractContextManager[Writer]:
        """Be the one writer of the split."""
        return cache.reserve(request)

    def run(
        self,
        backbone: Backbone,
        assignment: Assignment,
        texts_of: TextsOf,
        writer: Writer,
        watch: Watch,
    ) -> Generator[Done, None, None]:
        """See `Engine`."""
        return compute(backbone, assignment, texts_of, writer.missing(), writer, watch)


def engine_here(environment: Mapping[str, str] = os.environ) -> Engine:
    """The engine of a process that was given none: one of several ranks, or the only one."""
    from lefcache.extract.ranks import Ranks

    return Ranks.of(environment) or Local()
