"""One writer per split: a lock that dies with its holder, so nothing can go stale."""

import getpass
import json
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from lefcache.errors import BusyError
from lefcache.files import Url, parse_json, read_own
from lefcache.stores.disk import no_link, on_disk


@contextmanager
def exclusive(root: Path | Url, name: str, wait: float = 0.0) -> Iterator[None]:
    """Hold the lock `name` of the cache at `root`, waiting at most `wait` seconds for it.

    On an object store it is a lease. Raises BusyError that says who holds it and since when,
    StorageError if nothing can be written.
    """
    with ExitStack() as held:
        if isinstance(root, Url):
            from lefcache.cache.lease import leased

            held.enter_context(leased(root, name, wait))
            yield
            return
        with on_disk(root):
            folder = root / ".locks"
            folder.mkdir(parents=True, exist_ok=True)
            for ours in (folder, folder / f"{name}.lock", folder / f"{name}.json"):
                no_link(ours)  # or a stranger's cache would have us write over any file
            try:
                held.enter_context(FileLock(folder / f"{name}.lock", timeout=wait))
            except Timeout as error:
                raise BusyError(busy(name, _holder(folder, name))) from error
            (folder / f"{name}.json").write_text(json.dumps(ourselves()))
        yield


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
        f"another process is writing {name.replace('+', '/')} ({since}): wait for it, or stop it; "
        "what it finished is kept"
    )


def ourselves() -> dict[str, str | int]:
    """Who holds a lock that this process has, for others to read."""
    since = datetime.now().astimezone().isoformat(timespec="seconds")
    try:
        user = getpass.getuser()
    except (ImportError, KeyError, OSError):  # a container's user may be without a name
        user = f"user {os.getuid()}" if hasattr(os, "getuid") else "somebody"
    return {"pid": os.getpid(), "host": socket.gethostname(), "user": user, "since": since}


def _holder(folder: Path, name: str) -> dict[str, Any]:
    try:
        holder = parse_json(read_own(folder / f"{name}.json"))
        return holder if isinstance(holder, dict) else {}
    except (OSError, ValueError):
        return {}
