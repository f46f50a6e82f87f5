"""One writer per split on an object store: a lease that its holder renews, and that runs out.

It is an object that only one process can put, `put if there is none`. Who stops renewing it loses
it: its process writes nothing more well before anybody else may take it over. A holder on this
machine whose process has ended is replaced at once.
"""

import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event, Thread
from typing import Any
from uuid import uuid4

from lefcache.cache.lock import CREW, HAND, HAND_SECONDS, LOCKS, busy, ourselves, split_of
from lefcache.errors import BusyError, LefError, StorageError
from lefcache.files import Url
from lefcache.stores.objects import Bucket, bucket_at

SECONDS = 180.0  # from a renewal to the end of a lease
RENEWAL = 30.0
# A write that begins with less than this left could end after the lease did.
SAFETY = 110.0
GRACE = 30.0  # clocks of two machines differ by less
POLL = 1.0


@contextmanager
def leased(root: Url, name: str, wait: float = 0.0) -> Iterator[None]:
    """Hold the lease `name` of the cache at `root`, waiting at most `wait` seconds for it.

    Raises BusyError that says who holds it and since when, and from every write once it is lost.
    """
    lease = _Lease(bucket_at(root), name)
    deadline = time.monotonic() + wait
    while not lease.take():
        if time.monotonic() >= deadline:
            raise BusyError(busy(name, lease.holder))
        time.sleep(POLL)
    if HAND not in name:
        _check_hands(lease)
    lease.bucket.guards.append(lease.check)
    renewing = Thread(target=lease.renew, name="lef-lease", daemon=True)
    renewing.start()
    try:
        yield
    finally:
        lease.ended.set()
        renewing.join()
        lease.bucket.guards.remove(lease.check)
        # Kept, it runs out by itself: no reason to hide an error, or to spoil what is done.
        with suppress(LefError):
            lease.give_back()


def is_leased(root: Url, name: str) -> bool:
    """Whether any process holds this lease now."""
    found = bucket_at(root).get(f"{LOCKS}/{name}.json")
    return found is not None and not _over(_read(found))


def _check_hands(lease: "_Lease") -> None:
    """Refuse to write beside hands whose leader was killed; gives the lease back then."""
    names = lease.bucket.lengths(LOCKS)
    crew = f"{LOCKS}/{lease.name}{CREW}.json"
    lease.bucket.delete([crew] if crew in names else [])  # nobody joins them any more
    deadline = time.monotonic() + HAND_SECONDS
    for each in names:
        if not each.startswith(f"{LOCKS}/{lease.name}{HAND}"):
            continue
        while not _over(holder := _read(lease.bucket.get(each) or b"")):
            if time.monotonic() > deadline:
                lease.give_back()
                raise BusyError(busy(lease.name, holder))
            time.sleep(POLL)


class _Lease:
    """A lease as this process sees it: until when it may write, and who has it if not we."""

    def __init__(self, bucket: Bucket, name: str) -> None:
        self.bucket, self.name = bucket, name
        self.object = f"{LOCKS}/{name}.json"
        self.holder: dict[str, Any] = {}
        self.ended = Event()
        self._ours = {**ourselves(), "machine": _machine(), "lease": uuid4().hex}
        self._tag: str | None = None
        self._until = 0.0  # on the clock that is never set

    def take(self) -> bool:
        """Become the holder if there is none, or one whose lease has run out; whether we are."""
        self.bucket.fresh.clear()  # what another holder has changed is to be seen
        found = self.bucket.tagged(self.object)
        if found is not None:
            self.holder = _read(found[0])
            if not _over(self.holder):
                return False
        return self._put(found and found[1])

    def check(self) -> None:
        """Raise BusyError where this process may no longer write."""
        if time.monotonic() > self._until - SAFETY:
            raise BusyError(
                f"the lease on {split_of(self.name)} could not be renewed in time, so another "
                "process may write it now; what is finished is kept: run the same command "
                "again"
            )

    def renew(self) -> None:
        """Keep the lease until `ended`; for good where somebody else has it, or time is up."""
        while not self.ended.wait(RENEWAL):
            try:
                if not self._put(self._tag) and not (self._is_ours() and self._put(self._tag)):
                    self._until = 0.0
                    return
            except StorageError:  # the server may come back before the lease runs out
                continue

    def give_back(self) -> None:
        """Let others have it at once, unless it is no longer ours to give."""
        if time.monotonic() < self._until - SAFETY:
            self.bucket.delete([self.object])

    def _is_ours(self) -> bool:
        """Whether it is ours all the same: the answer to a renewal may have been lost."""
        found = self.bucket.tagged(self.object)
        if found is None or _read(found[0]).get("lease") != self._ours["lease"]:
            return False
        self._tag = found[1]
        return True

    def _put(self, tag: str | None) -> bool:
        asked = time.monotonic()
        content = json.dumps({**self._ours, "until": time.time() + SECONDS})
        tag = self.bucket.swap(self.object, content.encode(), tag)
        if tag is not None:
            self._tag, self._until = tag, asked + SECONDS
        return tag is not None


def _over(holder: Mapping[str, Any]) -> bool:
    """Whether a lease may be taken over: it ran out, or its process on this machine has ended."""
    until, machine = holder.get("until"), _machine()
    if not isinstance(until, int | float) or time.time() > until + GRACE:
        return True
    return bool(machine) and holder.get("machine") == machine and not _alive(holder.get("pid"))


def _read(content: bytes) -> dict[str, Any]:
    try:
        holder = json.loads(content)
    except ValueError:
        return {}
    return holder if isinstance(holder, dict) else {}


def _machine() -> str:
    """What tells this machine, and this container of it, from all others; "" where nothing does."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return ""


def _alive(pid: Any) -> bool:
    if not isinstance(pid, int) or pid < 1:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True
