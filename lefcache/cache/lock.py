"""One writer per split: a lock that dies with its holder, so nothing can go stale."""

import getpass
import json
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path

from filelock import FileLock, Timeout

from lefcache.errors import BusyError, StorageError


@contextmanager
def exclusive(root: Path, name: str, wait: float = 0.0) -> Iterator[None]:
    """Hold the lock `name` of the cache at `root`, waiting at most `wait` seconds for it.

    Raises BusyError that says who holds it and since when, StorageError if nothing can be written.
    """
    with ExitStack() as held:
        with _writable(root):
            folder = root / ".locks"
            folder.mkdir(parents=True, exist_ok=True)
            try:
                held.enter_context(FileLock(folder / f"{name}.lock", timeout=wait))
            except Timeout as error:
                raise BusyError(
                    f"another process is writing {name.replace('+', '/')} "
                    f"({_holder(folder, name)}): wait for it, or stop it; what it finished is kept"
                ) from error
            (folder / f"{name}.json").write_text(json.dumps(_ourselves()))
        yield


def many_processes() -> str:
    """What has started this process as one of several; '' where nothing is known to have."""
    world = os.environ.get("WORLD_SIZE", "")
    if world.isdecimal() and int(world) > 1:
        return f"this is one of {world} processes that torchrun started (WORLD_SIZE)"
    return "this is a worker of ray" if "RAY_RAYLET_PID" in os.environ else ""


@contextmanager
def _writable(root: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"{root} cannot be written: {error.strerror}: free some space, or choose another "
            "folder with --cache"
        ) from error


def _ourselves() -> dict[str, str | int]:
    since = datetime.now().astimezone().isoformat(timespec="seconds")
    try:
        user = getpass.getuser()
    except (ImportError, KeyError, OSError):  # a container's user may be without a name
        user = f"user {os.getuid()}" if hasattr(os, "getuid") else "somebody"
    return {"pid": os.getpid(), "host": socket.gethostname(), "user": user, "since": since}


def _holder(folder: Path, name: str) -> str:
    try:
        holder = json.loads((folder / f"{name}.json").read_text())
        who = f"process {holder['pid']} of {holder['user']} on {holder['host']}"
        return f"{who}, since {holder['since']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "it has only just started"
