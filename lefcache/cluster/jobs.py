"""Stateless jobs on a cluster, handed out again when a worker or a node is lost."""

import os
import sys
import time
from collections.abc import Callable, Collection, Generator, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from lefcache.cluster.nodes import connect, has_room, one_line, room, the_ray, workers_of
from lefcache.cluster.token import MODE, forget
from lefcache.errors import EngineError, LefError, StorageError
from lefcache.version import __version__
from lefcache.wording import count, install_extra

Job = TypeVar("Job")
Receipt = TypeVar("Receipt")

TRIES = 3  # of a job that fails by an error which may pass, and makes no headway
CRASHES = 5  # of the worker that has it: such a job takes its worker with it, wherever it goes
ALONE = 60.0  # seconds without any node that could work, after which waiting is given up
PATIENCE = 5.0  # seconds between two looks at the nodes
ENDING = 20.0  # seconds that workers have to finish what they are about when they are stopped


@dataclass
class _Running(Generic[Job]):
    """A job at work, and what became of it before: tries and crashes without any headway."""

    job: Job
    tries: int = 0
    crashes: int = 0


class Cluster:
    """Workers of a Ray cluster; a context that ends a cluster which it began itself.

    Args:
        address: of a running cluster (`auto`: the one on this machine, `HOST:6379`); None for
            $RAY_ADDRESS, or else workers on this machine alone.
        workers: how many; None for one on each GPU (or so many GPUs), without GPUs one a node.
        gpus_per_worker: how many GPUs each has to itself; None for one where there are GPUs.
        cpus_per_worker: how many cores each computes on; None for an equal part of its node's.

    Raises EngineError without Ray, without a cluster at that address, and for workers that no
    node has room for.
    """

    def __init__(
        self,
        address: str | None = None,
        *,
        workers: int | None = None,
        gpus_per_worker: float | None = None,
        cpus_per_worker: int | None = None,
    ) -> None:
        self._ray = the_ray()
        self._began, self._mode = not self._ray.is_initialized(), os.environ.get(MODE)
        if self._began:
            connect(self._ray, address or os.environ.get("RAY_ADDRESS") or "local")
        try:
            self.workers = workers_of(self.nodes(), workers, gpus_per_worker, cpus_per_worker)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "Cluster":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Leave the cluster, and end it if it was begun here."""
        if self._began:
            self._ray.shutdown()
            forget(self._mode)

    @property
    def fitting(self) -> int:
        """How many of the workers the nodes have room for, as they are now."""
        return min(self.workers.number, room(self.nodes(), self.workers.cpus, self.workers.gpus))

    def nodes(self) -> list[dict[str, float]]:
        """What each living node has: CPU, GPU, memory."""
        return [node["Resources"] for node in self._ray.nodes() if node["Alive"]]

    def pickled(self, thing: Any) -> bytes:
        """What workers `pickle.loads`: functions of a script or a notebook too, by what they do."""
        content: bytes = self._ray.cloudpickle.dumps(thing)
        return content

    def run(
        self,
        work: Callable[[Job], Iterator[Receipt]],
        jobs: Iterator[Job],
        left: Callable[[Job], Job | None],
        on_note: Callable[[str], None] = lambda _: None,
    ) -> Generator[Receipt, None, None]:
        """Do all jobs, each on some worker; gives what they give as soon as it is there.

        A job is taken from `jobs` when a worker is free for it, so no more are under way than there
        are workers. If its worker or node is lost, what is `left` of it (None: nothing) is handed
        out again, a lost node's as often as it takes. A LefError of a job ends the run, a
        StorageError or any other error only once the job has failed TRIES times without headway.
        However this ends, no worker is at work when it has ended.

        Args:
            work: a function of a module that the workers can import; it may be called on a job more
                than once, and two calls must come to the same.
            jobs: what there is to do; each is pickled, and its `str` names it in an error.
            left: what is still to do of a job whose worker is gone or has failed.
            on_note: told of losses, in a line each.

        Raises EngineError when no node is left that could work, or a job ends every worker that
        gets it.
        """
        submit = self._task(work)
        running: dict[Any, _Running[Job]] = {}
        again: list[_Running[Job]] = []
        seen = time.monotonic()
        try:
            while True:
                while len(running) < self.workers.number:
                    following = again.pop(0) if again else _next(jobs)
                    if following is None:
                        break
                    running[submit(following.job)] = following
                if not running:
                    return
                ready, _ = self._ray.wait([*running], num_returns=1, timeout=PATIENCE)
                if not ready:
                    seen = self._look(seen)
                    continue
                seen, (stream,) = time.monotonic(), ready
                try:
                    yield self._ray.get(next(stream))
                except StopIteration:
                    del running[stream]
                except self._ray.exceptions.RayError as error:
                    lost = _after(self._ray, running.pop(stream), error, left, on_note)
                    again += [lost] if lost else []
        finally:
            self._stop([*running])

    def _task(self, work: Callable[[Job], Iterator[Receipt]]) -> Callable[[Job], Any]:
        options = {
            "num_cpus": self.workers.cpus,
            "num_gpus": self.workers.gpus,
            "num_returns": "streaming",
            "max_retries": 0,  # what is left of a lost job is known here, and nowhere else
            "scheduling_strategy": "SPREAD",
            "name": f"lefcache {getattr(work, '__name__', 'work')}",
        }
        remote = self._ray.remote(**options)(_checked)
        threads = self.workers.cpus
        return lambda job: remote.remote(__version__, threads, work, job)

    def _look(self, seen: float) -> float:
        """When a node that could work was last seen; EngineError if that is too long ago."""
        need = self.workers
        if any(has_room(node, need.cpus, need.gpus) for node in self.nodes()):
            return time.monotonic()
        if time.monotonic() - seen > ALONE:
            raise EngineError(
                "no node is left that could go on; what is finished is kept: run the same command "
                "again when there are nodes"
            )
        return seen

    def _stop(self, streams: Sequence[Any]) -> None:
        """End what is under way: as one would by Ctrl-C, and after a while by force."""
        for force, patience in ((False, ENDING), (True, ENDING)):
            for stream in streams:
                with suppress(self._ray.exceptions.RayError, ValueError):
                    self._ray.cancel(stream, force=force)
            ends = [stream.completed() for stream in streams]
            if not ends or not self._ray.wait(ends, num_returns=len(ends), timeout=patience)[1]:
                return


def _checked(
    version: str, threads: int, work: Callable[[Job], Iterator[Receipt]], job: Job
) -> Iterator[Receipt]:
    """A job on its worker, if that has the same lefcache."""
    if version != __version__:
        raise EngineError(
            f"{here()} has lefcache {__version__}, and this run is of {version}: install the same "
            "version on every node"
        )
    whole = {*sys.modules}
    try:
        import torch

        torch.set_num_threads(threads)
        # `yield from` would pass on what Ray sends, and not every iterator takes that.
        for receipt in work(job):  # noqa: UP028
            yield receipt
    except KeyboardInterrupt:
        _forget_halves(whole)
        raise


def _forget_halves(whole: Collection[str]) -> None:
    """Forget what is left of packages whose import was interrupted, for those who work here next.

    Python forgets such a package and not its modules, of which it is not put together again.
    """
    while halves := [
        name
        for name in sys.modules
        if name not in whole and "." in name and name.rpartition(".")[0] not in sys.modules
    ]:
        for name in halves:
            del sys.modules[name]


def here() -> str:
    """The node and process that this is, as messages name a worker."""
    return f"{os.uname().nodename}:{os.getpid()}"


def _next(jobs: Iterator[Job]) -> _Running[Job] | None:
    return next((_Running(job) for job in jobs), None)


def _after(
    ray: Any,
    was: _Running[Job],
    error: Exception,
    left: Callable[[Job], Job | None],
    on_note: Callable[[str], None],
) -> _Running[Job] | None:
    """What to hand out again after a loss or an error that may pass; raises what may not."""
    raised = ray.exceptions
    cause = error.cause if isinstance(error, raised.RayTaskError) else error
    if isinstance(cause, LefError) and not isinstance(cause, StorageError):
        raise cause
    job = left(was.job)
    if job is None:
        return None
    headway = job != was.job
    again = _Running(job, *((0, 0) if headway else (was.tries, was.crashes)))
    if isinstance(error, raised.WorkerCrashedError | raised.OutOfMemoryError):
        again.crashes += 1
        if again.crashes >= CRASHES:
            raise EngineError(
                f"{CRASHES} workers ended one after the other at {job}, without "
                "an error of their own: the memory of a node may not be enough for it, or the "
                "model's code ends its process; what is finished is kept"
            ) from error
        on_note("a worker was lost; its work is handed out again")
    elif isinstance(error, raised.NodeDiedError | raised.ObjectLostError):
        on_note("a node was lost; its work is handed out again")
    else:
        again.tries += 1
        if again.tries >= TRIES:
            raise _final(cause, again.tries) from cause
        on_note(f"a worker failed ({one_line(cause)}); its work is tried again")
    return again


def _final(cause: Exception, tries: int) -> LefError:
    """The error that ends a run after so many tries."""
    if isinstance(cause, LefError):
        return cause
    known = isinstance(cause, ModuleNotFoundError) and str(cause.name).startswith("lefcache")
    way = f": on every node, {install_extra('ray')}" if known else ""
    return EngineError(
        f"a worker failed {count(tries, 'time')} at the same work: {one_line(cause)}{way}"
    )
