"""One writer per split: a lock that dies with its holder, so nothing can go stale.

Where several processes write a split, each holds one beside its (`lefcache.cache.crew`).
"""

import getpass
import json
import os
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from lefcache.errors import BusyError
from lefcache.files import Url, parse_json, read_own
from lefcache.stores.disk import no_link, on_disk

LOCKS = ".locks"
HAND = "@"  # between the lock of a split and who writes it for its holder
CREW = ".crew"  # after it, what the holder says to them
HAND_SECONDS = 2.0  # for a hand to see that its leader has gone


@contextmanager
def exclusive(root: Path | Url, name: str, wait: float = 0.0) -> Iterator[None]:
    """Hold the lock `name` of the cache at `root`, waiting at most `wait` seconds for it.

    On an object store it is a lease. Raises BusyError that says who holds it and since when, or
    that hands of an earlier holder still write, and StorageError if nothing can be written.
    """
    with ExitStack() as holding:
        if isinstance(root, Url):
            from lefcache.cache.lease import leased

            holding.enter_context(leased(root, name, wait))
            yield
            return
        with on_disk(root):
            folder = root / LOCKS
            folder.mkdir(parents=True, exist_ok=True)
            for ours in (folder, folder / f"{name}.lock", folder / f"{name}.json"):
                no_link(ours)  # or a stranger's cache would have us write over any file
            try:
                holding.enter_context(FileLock(folder / f"{name}.lock", timeout=wait))
            except Timeout as error:
                raise BusyError(busy(name, _holder(folder, name))) from error
            (folder / f"{name}.json").write_text(json.dumps(ourselves()))
            if HAND not in name:
                _check_hands(folder, name)
        yield


def held(root: Path | Url, name: str) -> bool:
    """Whether any process holds this lock now."""
    if isinstance(root, Url):
        from lefcache.cache.lease import is_leased

        return is_leased(root, name)
    with on_disk(root):
        return _is_locked(root / LOCKS / f"{name}.lock")


def many_processes() -> str:
    """What has started this process as one of several; '' where nothing is known to have."""
    world = os.environ.get("WORLD_SIZE", "")
    if world.isdecimal() and int(world) > 1:
        return f"this is one of {world} processes that torchrun started (WORLD_SIZE)"
    return "this is a worker of ray" if "RAY_RAYLET_PID" in os.environ else ""


def busy(name: str, holder: Mapping[str, Any]) -> str:
    """Who has the lock, since when, and what to do about it."""
    try:
        who = f"process {holder['pid']} of {holder['user']} on {holder['host']}"
        since = f"{who}, since {holder['since']}"
    except KeyError:
        since = "it has only just started"
    return (
        f"another process is writing {split_of(name)} ({since}): wait for it, or stop it; "
        "what it finished is kept"
    )


def split_of(name: str) -> str:
    """What a lock is about: `sst2/mistral/train`."""
    return name.partition(HAND)[0].replace("+", "/")


def ourselves() -> dict[str, str | int]:
    """Who holds a lock that this process has, for others to read."""
    since = datetime.now().astimezone().isoformat(timespec="seconds")
    try:
        user = getpass.getuser()
    except (ImportError, KeyError, OSError):  # a container's user may be without a name
        user = f"user {os.getuid()}" if hasattr(os, "getuid") else "somebody"
    return {"pid": os.getpid(), "host": socket.gethostname(), "user": user, "since": since}


def _check_hands(folder: Path, name: str) -> None:
    """Refuse to write beside hands whose leader was killed; forget those that have ended."""
    (folder / f"{name}{CREW}.json").unlink(missing_ok=True)  # nobody joins them any more
    deadline = time.monotonic() + HAND_SECONDS
    for file in folder.glob(f"{name}{HAND}*.lock"):
        while _is_locked(file):
            if time.monotonic() > deadline:
                raise BusyError(busy(file.stem, _holder(folder, file.stem)))
            time.sleep(0.05)
        for gone in (file, file.with_suffix(".json")):
            gone.unlink(missing_ok=True)


def _is_locked(file: Path) -> bool:
    if not file.exists():
        return False
    no_link(file)
    try:
        with FileLock(file, timeout=0):
            return False
    except Timeout:
        return True


def _holder(folder: Path, name: str) -> dict[str, Any]:
    try:
        holder = parse_json(read_own(folder / f"{name}.json"))
        return holder if isinstance(holder, dict) else {}
    except (OSError, ValueError):
        return {}
