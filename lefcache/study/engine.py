"""Who works at the members of a study: this process, or the workers of a cluster.

A task says how members are done once the tables are there; an engine says where. On a cluster no
vectors travel: a worker maps the cache itself, and what comes back are the members' results.
"""

import os
from collections.abc import Callable, Generator, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any, Protocol
from uuid import uuid4

import torch

from lefcache.cache import Cache
from lefcache.cache import open as open_cache
from lefcache.cluster import Cluster, here
from lefcache.errors import EngineError, LefError, StorageError
from lefcache.files import Url
from lefcache.results import result_id
from lefcache.rows import Table
from lefcache.study.identity import identity
from lefcache.train.fit import device_of
from lefcache.wording import count, some

Tables = Mapping[str, Table]
# Members of a study to members and their results: what they are is the study's own affair.
Done = Generator[tuple[Any, Any], None, None]
Does = Callable[[Sequence[Any]], Done]

SHARES = 2  # for each worker, of what is left: large ones first, small ones at the end


class Task(Hashable, Protocol):
    """How members of a study are done; it travels, so it is hashable and holds no vectors."""

    def begin(self, tables: Tables) -> Does:
        """What does members of a study of these tables, in their order."""


class Engine(Protocol):
    """Where members are done."""

    def begin(self, task: Task, tables: Tables) -> Does:
        """What does members of a study of these tables, and gives them in any order."""

    def device(self, device: str | torch.device) -> str | torch.device:
        """What a device is called there; RecipeError for one that cannot be."""


class Here:
    """This process."""

    def begin(self, task: Task, tables: Tables) -> Does:
        """What the task itself begins."""
        return task.begin(tables)

    def device(self, device: str | torch.device) -> torch.device:
        """The device itself."""
        return device_of(device)


HERE = Here()


class Spread:
    """The workers of a cluster, which map the cache themselves.

    The cache is a folder that every node sees under the same path, or on an object store: each node
    then pulls what its workers read into a mirror of its own, once. Results are kept by the process
    that asks for them.

    Args:
        cluster: whose workers.
        cache: where the tables of the studies come from.
        on_note: told of lost workers, in a line each.

    A study raises EngineError for a worker that does not see the cache, or sees another one.
    """

    def __init__(
        self, cluster: Cluster, cache: Cache, on_note: Callable[[str], None] = lambda _: None
    ) -> None:
        self.cluster, self.cache, self.on_note = cluster, cache, on_note

    def begin(self, task: Task, tables: Tables) -> Does:
        """What hands members of a study out in shares."""
        return partial(self._run, task, _Source.of(self.cache, tables))

    def device(self, device: str | torch.device) -> str | torch.device:
        """Left as it is: each worker knows its own."""
        return device

    def _run(self, task: Task, source: "_Source", items: Sequence[Any]) -> Done:
        done: set[Any] = set()

        def left(share: _Share) -> _Share | None:
            rest = tuple(each for each in share.items if each not in done)
            return replace(share, items=rest) if rest else None

        shares = (_Share(source, task, each) for each in _shared(items, self.cluster))
        for item, result in self.cluster.run(_worked_at, shares, left, self.on_note):
            done.add(item)
            yield item, result


@dataclass(frozen=True)
class _Source:
    """Where a worker finds the tables of a study, and what tells that they are the same.

    `run` is another one each time: a cache may have changed since.
    """

    cache: str
    corpus: str
    features: tuple[str, ...]
    splits: tuple[str, ...]
    digest: str
    run: str

    @classmethod
    def of(cls, cache: Cache, tables: Tables) -> "_Source":
        place = cache.path if isinstance(cache.path, Url) else os.path.abspath(cache.path)  # noqa: PTH100  links stay: another node may have others
        train = tables["train"]
        features = tuple(map(str, train.features))
        return cls(str(place), train.corpus, features, (*tables,), _digest(tables), uuid4().hex)

    def tables(self) -> dict[str, Table]:
        """The tables as this node sees them; EngineError, which names it, where it does not."""
        try:
            cache = open_cache(self.cache, later=True)
            if not cache.exists:
                raise EngineError(
                    f"{here()} sees no cache at {self.cache}: give a folder that all nodes share "
                    "under the same path, or one on an object store"
                )
            tables = {name: cache.table(self.features, name, self.corpus) for name in self.splits}
        except (EngineError, StorageError):
            raise
        except LefError as error:
            raise EngineError(f"{here()} cannot read {self.cache}: {error}") from error
        if _digest(tables) != self.digest:
            raise EngineError(
                f"{here()} sees other vectors or labels at {self.cache} than this run began with: "
                "give the tables of a cache that all nodes share"
            )
        return tables


def _digest(tables: Tables) -> str:
    return result_id(identity("source", tables, None, ()))


@dataclass(frozen=True)
class _Share:
    """Some members of a study, for one worker."""

    source: _Source
    task: Task
    items: tuple[Any, ...]

    def __str__(self) -> str:
        parts = count(len(self.items), "part")
        return f"{parts} of a study of {some(self.source.features)}"


def _shared(items: Sequence[Any], cluster: Cluster) -> Iterator[tuple[Any, ...]]:
    """Neighbours together, fewer of them the fewer are left, so that all end at about one time."""
    rest = tuple(items)
    while rest:
        size = -(-len(rest) // (SHARES * cluster.workers.number))
        yield rest[:size]
        rest = rest[size:]


def _worked_at(share: _Share) -> Done:
    """A share on its worker."""
    yield from _begun(share.source, share.task)(share.items)


@lru_cache(maxsize=1)
def _begun(source: _Source, task: Task) -> Does:
    """A task in this process, begun once for all of its shares."""
    return task.begin(source.tables())
