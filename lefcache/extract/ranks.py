"""An extraction by the ranks of torchrun or `accelerate launch`, without a process group.

Rank 0 leads: it computes the first block of new arrays, publishes what is missing, and takes every
WORLD_SIZE-th block of it, as every other rank does. What a rank leaves undone, rank 0 takes on.
"""

import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from lefcache.cache import Cache, Request, Writer
from lefcache.cache.crew import (
    Crew,
    LeaderGoneError,
    at_work,
    leading,
    pause,
    report,
    reports,
    wait_for,
)
from lefcache.cache.writer import join, of_window, reserve
from lefcache.errors import BusyError
from lefcache.extract.backbone import Backbone
from lefcache.extract.compute import Assignment, Done, TextsOf, Watch, compute
from lefcache.files import Url
from lefcache.wording import count

LEADER_SECONDS = 1800.0  # for the leader to load its model, and to finish another split
LOOK_SECONDS = 2.0  # between two looks of a rank that waits whether all is finished
JOIN_SECONDS = 300.0  # for the other ranks to join, once the leader has done its own part
LOCK_SECONDS = 10.0  # a rank that waits looks, for a moment, whether somebody has the lock
REPORT_SECONDS = 1.0  # between two reports of a rank: each says all that it has done

# What tells the ranks that were started together from all others.
RUN = (
    *("TORCHELASTIC_RUN_ID", "TORCHELASTIC_RESTART_COUNT", "MASTER_ADDR", "MASTER_PORT"),
    *("SLURM_JOB_ID", "SLURM_STEP_ID"),
)


class Ranks:
    """One of `world` processes that were started together; all know the same `run_id`."""

    writers = ""

    def __init__(self, rank: int, world: int, run_id: str) -> None:
        self.rank, self.world, self.run_id = rank, world, run_id
        self._known: set[str] = set()  # the keys of crews that this rank has seen
        self._crew: Crew | None = None  # that it has joined last; None where all was finished

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> "Ranks | None":
        """What RANK and WORLD_SIZE say; None for a process that is alone."""
        found = [environment.get(name, "") for name in ("RANK", "WORLD_SIZE")]
        if not all(each.isdecimal() for each in found) or int(found[1]) < 2:
            return None
        run = "/".join(environment.get(name, "") for name in RUN)
        return cls(int(found[0]), int(found[1]), run)

    @property
    def leads(self) -> bool:
        """Rank 0 does."""
        return self.rank == 0

    def reserve(self, cache: Cache, request: Request) -> AbstractContextManager[Writer]:
        """Lock the split, or join the rank that has it; BusyError where none comes to have it."""
        if self.leads:
            return reserve(cache.store, request, LOCK_SECONDS)
        return self._join(cache, request)

    @contextmanager
    def _join(self, cache: Cache, request: Request) -> Iterator[Writer]:
        with ExitStack() as joined:
            while (crew := self._wait(cache, request)) is not None:
                window, hand = _around(crew.blocks), _hand(self.rank, crew)
                # Killed before: the leader of this run is yet to come.
                with suppress(LeaderGoneError):
                    split = join(cache.store, request, crew.key, hand, window)
                    writer = joined.enter_context(split)
                    break
            else:
                writer = of_window(cache.store, request, range(0))
            self._crew = crew
            yield writer

    def _wait(self, cache: Cache, request: Request) -> Crew | None:
        """The crew of this run; None where nothing is missing, maybe since this rank came late."""
        root, deadline = cache.store.root, time.monotonic() + LEADER_SECONDS
        while cache.missing(request):
            seconds = min(LOOK_SECONDS, LEADER_SECONDS)
            if crew := wait_for(root, request.lock, self.run_id, self._known, seconds):
                self._known.add(crew.key)
                return crew
            if time.monotonic() > deadline:
                raise BusyError(
                    f"rank {self.rank} waited {LEADER_SECONDS / 60:g} minutes for rank 0 to begin "
                    f"{request.path} and saw nothing of it: the ranks need one folder that they "
                    "share, or s3://, as --cache; what is finished is kept"
                )
        return None

    def run(
        self,
        backbone: Backbone,
        assignment: Assignment,
        texts_of: TextsOf,
        writer: Writer,
        watch: Watch,
    ) -> Generator[Done, None, None]:
        """See `Engine`; what the other ranks have done is told when the leader's part is done."""
        part = _Part(backbone, assignment, texts_of, writer, watch)
        if self.leads:
            return self._lead(part)
        return self._follow(part, self._crew) if self._crew else _nothing()

    def _follow(self, part: "_Part", crew: Crew) -> Generator[Done, None, None]:
        hand = _hand(self.rank, crew)
        done: list[Done] = []

        def tell() -> None:
            report(part.root, part.lock, hand, {"done": [asdict(each) for each in done]})

        tell()
        told = time.monotonic()
        try:
            for each in part.compute(crew.blocks[self.rank :: self.world], self.rank):
                done.append(each)
                if time.monotonic() > told + REPORT_SECONDS:
                    tell()
                    told = time.monotonic()
                yield each
        finally:
            tell()

    def _lead(self, part: "_Part") -> Generator[Done, None, None]:
        missing = [task.block for task in part.writer.missing()]
        if not missing:  # nor does any other rank wait for this one then
            return
        if not part.writer.begun:
            yield from part.compute(missing[:1], self.rank)
            missing = missing[1:]
        with leading(part.root, part.lock, self.run_id, missing) as crew:
            yield from part.compute(missing[:: self.world], self.rank)
            yield from self._await(part, crew)
            if left := part.left():
                part.watch.on_note(
                    f"rank 0 computes {count(len(left), 'block')} of ranks that have ended"
                )
                yield from part.compute(left, self.rank)

    def _await(self, part: "_Part", crew: Crew) -> Generator[Done, None, None]:
        """What the others have done, as they say it, until none of them is at work."""
        hands = [_hand(rank, crew) for rank in range(1, self.world)]
        told = dict.fromkeys(hands, 0)
        deadline = time.monotonic() + JOIN_SECONDS
        while True:
            # Looked at before their reports are read: the last one comes before a lock is free.
            working = any(at_work(part.root, part.lock, hand) for hand in hands)
            said = reports(part.root, part.lock, hands)
            for hand, words in said.items():
                for each in words["done"][told[hand] :]:
                    done = Done(**each)
                    part.watch.done(done)
                    yield done
                told[hand] = len(words["done"])
            absent = len(hands) - len(said)
            if not working and (not absent or not part.left()):
                return
            if not working and time.monotonic() > deadline:
                part.watch.on_note(f"{absent} of {self.world} ranks did not join within minutes")
                return
            time.sleep(pause(part.root))


@dataclass(frozen=True)
class _Part:
    """What a rank computes blocks of."""

    backbone: Backbone
    assignment: Assignment
    texts_of: TextsOf
    writer: Writer
    watch: Watch

    @property
    def root(self) -> Path | Url:
        """Where the cache is."""
        return self.writer.store.root

    @property
    def lock(self) -> str:
        """The name of the lock of the split."""
        return self.writer.request.lock

    def left(self) -> list[int]:
        """The blocks that are missing now, whoever was to compute them."""
        self.writer.look_again()
        return [task.block for task in self.writer.missing()]

    def compute(self, blocks: Sequence[int], rank: int) -> Generator[Done, None, None]:
        """These blocks, as far as the writer knows that they are missing."""
        wanted = {*blocks}
        tasks = [task for task in self.writer.missing(_around(blocks)) if task.block in wanted]
        found = compute(
            self.backbone, self.assignment, self.texts_of, tasks, self.writer, self.watch
        )
        with closing(found):
            for done in found:
                yield replace(done, worker=f"rank {rank}")


def _around(blocks: Sequence[int]) -> range:
    return range(min(blocks, default=0), max(blocks, default=-1) + 1)


def _nothing() -> Generator[Done, None, None]:
    yield from ()


def _hand(rank: int, crew: Crew) -> str:
    """What a rank is called as a hand: another name each time, so that no lock is an old one's."""
    return f"rank{rank}-{crew.key[:8]}"
