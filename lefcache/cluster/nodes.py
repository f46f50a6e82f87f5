"""What a Ray cluster has, and which workers fit in it."""

import os
import signal
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from typing import Any

from lefcache.cluster.token import as_asked
from lefcache.errors import EngineError
from lefcache.wording import count, install_extra, shown

ANSWERS = 10.0  # seconds that a cluster has to answer


@dataclass(frozen=True)
class Workers:
    """How many workers there are, and what each of them has to itself."""

    number: int
    cpus: int
    gpus: float


def the_ray() -> Any:
    """The module; EngineError where it is not installed."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nobody is told that this ran
    try:
        import ray
    except ImportError as error:
        raise EngineError(
            f"--engine ray needs Ray on every node: {install_extra('ray')}"
        ) from error
    return ray


def connect(ray: Any, address: str) -> None:
    """Join the cluster at an address, or begin one on this machine for `local`; or EngineError."""
    if address.startswith("ray://"):
        raise EngineError(
            f"{address} is Ray's client, through which no worker can be watched: run this on a "
            "node of the cluster, with --address auto"
        )
    local = {"include_dashboard": False} if address == "local" else {}
    try:
        _knock(address)
        with _own_signals(), nullcontext() if local else as_asked(address):
            ray.init(address, log_to_driver=False, logging_level="ERROR", **local)
        hush(ray)
    except (RuntimeError, ValueError, OSError, OverflowError) as error:
        raise EngineError(
            f"no Ray cluster at {address} ({one_line(error)}): start one with `ray start --head`, "
            "or leave out --address to work on this machine alone"
        ) from error


def hush(ray: Any) -> None:
    """Say nothing of lost workers in Ray's words: it does so on stdout, where a document may go.

    No setting of Ray's is for that. What is lost is said by `Cluster.run`.
    """
    with suppress(AttributeError):  # of another version
        ray._private.worker._worker_logs_enabled = False


@contextmanager
def _own_signals() -> Iterator[None]:
    """Keep this process's answer to SIGTERM, which Ray replaces by one that ends it at once."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)


def _knock(address: str) -> None:
    """Raise OSError where nobody listens at HOST:PORT: Ray itself would try for minutes."""
    host, _, port = address.rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), timeout=ANSWERS).close()


def workers_of(
    nodes: Sequence[dict[str, float]],
    workers: int | None,
    gpus_per_worker: float | None,
    cpus_per_worker: int | None,
) -> Workers:
    """How many workers of which size, by what the nodes have."""
    graphics = sum(node.get("GPU", 0) for node in nodes)
    gpus = gpus_per_worker if gpus_per_worker is not None else float(graphics > 0)
    cores = max((node.get("CPU", 0) for node in nodes), default=0)
    cpus = cpus_per_worker or max(1, _cores(nodes, workers, gpus))
    if gpus:
        most = sum(int(node.get("GPU", 0) // gpus) for node in nodes)
    else:
        most = sum(has_room(node, cpus, gpus) for node in nodes)
    number = workers or most
    if not any(has_room(node, cpus, gpus) for node in nodes):
        cards = max((node.get("GPU", 0) for node in nodes), default=0)
        largest = f"{count(int(cores), 'core')} and {_gpus(cards)}"
        raise EngineError(
            f"no node has room for a worker with {count(cpus, 'core')} and {_gpus(gpus)}: the "
            f"largest has {largest} (--workers, --gpus-per-worker)"
        )
    return Workers(max(1, number), cpus, gpus)


def _cores(nodes: Sequence[dict[str, float]], workers: int | None, gpus: float) -> int:
    """How many cores each worker has, of those that the workers of one node share."""
    hosts = [node for node in nodes if node.get("GPU", 0) >= gpus]
    if gpus and workers is None:  # as many as every GPU's worker can have
        return min((int(node.get("CPU", 0) // (node["GPU"] // gpus)) for node in hosts), default=0)
    # Nobody knows beforehand which node gets how many.
    a_node = -(-(workers or len(nodes)) // max(1, len(hosts)))
    return int(max((node.get("CPU", 0) for node in hosts), default=0) // max(1, a_node))


def _gpus(number: float) -> str:
    return f"{number:g} GPU{'' if number == 1 else 's'}"


def room(nodes: Sequence[dict[str, float]], cpus: int, gpus: float) -> int:
    """How many such workers the nodes have room for."""
    on_each = [
        min(node.get("CPU", 0) // cpus, node.get("GPU", 0) // gpus if gpus else float("inf"))
        for node in nodes
    ]
    return int(sum(on_each))


def has_room(node: dict[str, float], cpus: int, gpus: float) -> bool:
    """Whether a node is large enough for such a worker."""
    return node.get("CPU", 0) >= cpus and node.get("GPU", 0) >= gpus


def one_line(error: Exception) -> str:
    """An error in a line: what kind it is, and the last thing that it says."""
    said = str(error).strip().splitlines()
    return shown(f"{type(error).__name__}: {said[-1] if said else ''}", 200)
