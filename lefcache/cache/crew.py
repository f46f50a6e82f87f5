"""Several processes at one split: one leads, and the others, its hands, write for it.

The leader holds the lock of the split, makes its arrays, and publishes who it is and what there is
to do (`.locks/<lock>.crew.json`). A hand that finds this has a lock of its own while it writes,
`<lock>@<hand>`, so that who takes the lock of the split after a leader was killed is told of hands
that are still at work. What a hand has finished it says in `.locks/<lock>.crew-<hand>.json`.
"""

import json
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from lefcache.cache.lock import CREW, HAND, LOCKS, exclusive, held
from lefcache.errors import MismatchError, StorageError
from lefcache.files import Url, parse_json, read_own, replace_file
from lefcache.stores.disk import no_link, on_disk
from lefcache.version import __version__

LOOK_SECONDS = 10.0  # a hand that joins waits no longer for those who look whether it has


class LeaderGoneError(StorageError):
    """What a leader published is not there: it has gone, or another folder has the same path."""


@dataclass(frozen=True)
class Crew:
    """What a leader publishes: the run that its hands are of, and the blocks to share out.

    `key` is another one each time, so that nobody works for a leader that is gone.
    """

    run: str
    key: str
    blocks: tuple[int, ...] = ()
    version: str = __version__


@contextmanager
def leading(root: Path | Url, name: str, run: str, blocks: Sequence[int] = ()) -> Iterator[Crew]:
    """Let hands of a run write the split whose lock `name` this process holds."""
    crew = Crew(run, uuid4().hex, tuple(blocks))
    _forget(root, name)
    _write(root, f"{name}{CREW}", asdict(crew))
    try:
        yield crew
    finally:
        with suppress(StorageError):  # left there, it is taken for nobody's
            _forget(root, name)


def published(root: Path | Url, name: str) -> Crew | None:
    """The crew of a split, if a leader published one and nobody took it away."""
    found = _read(root, f"{name}{CREW}")
    try:
        return Crew(**{**found, "blocks": tuple(found["blocks"])}) if found else None
    except (KeyError, TypeError):
        return None


def wait_for(
    root: Path | Url, name: str, run: str, known: Collection[str], seconds: float
) -> Crew | None:
    """A crew of this run, once its leader has published it; None after so many seconds.

    One whose leader was killed is none: nobody holds the lock then. Nor is one of a `known` key.
    """
    deadline = time.monotonic() + seconds
    while True:
        crew = published(root, name)
        fresh = crew is not None and crew.run == run and crew.key not in known
        if fresh and held(root, name):
            return crew
        if time.monotonic() > deadline:
            return None
        time.sleep(pause(root))


def pause(root: Path | Url) -> float:
    """Seconds between two looks at what others have written: a look at a bucket is a request."""
    return 2.0 if isinstance(root, Url) else 0.2


@contextmanager
def hand_of(root: Path | Url, name: str, key: str, hand: str) -> Iterator[None]:
    """Write for the leader that published this key, under a lock of one's own.

    Raises LeaderGoneError where that is not to be seen, MismatchError for another lefcache.
    """
    _check_leader(root, name, key)  # first, to leave nothing in a folder that is another one
    # Who looks whether a hand is at work has its lock for that moment.
    with exclusive(root, f"{name}{HAND}{hand}", wait=LOOK_SECONDS):
        _check_leader(root, name, key)
        yield


def _check_leader(root: Path | Url, name: str, key: str) -> None:
    crew = published(root, name)
    if crew is None or crew.key != key:
        raise LeaderGoneError(
            f"the cache at {root} is not the one that this run writes to, as seen from here: "
            "keep it in a folder that all machines share under the same path, or on s3://"
        )
    if crew.version != __version__:
        raise MismatchError(
            f"this process has lefcache {__version__}, and the one that leads {crew.version}: "
            "install the same version on every machine"
        )


def report(root: Path | Url, name: str, hand: str, said: dict[str, Any]) -> None:
    """Let the leader know what a hand has done so far."""
    _write(root, f"{name}{CREW}-{hand}", said)


def reports(root: Path | Url, name: str, hands: Sequence[str]) -> dict[str, dict[str, Any]]:
    """What hands have let the leader know; without those that have said nothing yet."""
    found = {hand: _read(root, f"{name}{CREW}-{hand}") for hand in hands}
    return {hand: said for hand, said in found.items() if said is not None}


def at_work(root: Path | Url, name: str, hand: str) -> bool:
    """Whether a hand holds its lock."""
    return held(root, f"{name}{HAND}{hand}")


def _write(root: Path | Url, name: str, content: dict[str, Any]) -> None:
    written = json.dumps(content).encode()
    if isinstance(root, Url):
        from lefcache.stores.objects import bucket_at

        bucket_at(root).put(f"{LOCKS}/{name}.json", written)
        return
    with on_disk(root):
        no_link(root / LOCKS)
        replace_file(root / LOCKS / f"{name}.json", written, sync=False)


def _read(root: Path | Url, name: str) -> dict[str, Any] | None:
    try:
        if isinstance(root, Url):
            from lefcache.stores.objects import bucket_at

            content = bucket_at(root).get(f"{LOCKS}/{name}.json")
        else:
            content = read_own(root / LOCKS / f"{name}.json")
        found = None if content is None else parse_json(content)
    except (FileNotFoundError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _forget(root: Path | Url, name: str) -> None:
    """Take away what a leader and its hands have said."""
    if isinstance(root, Url):
        from lefcache.stores.objects import bucket_at

        bucket = bucket_at(root)
        begins = f"{LOCKS}/{name}{CREW}"
        bucket.delete([each for each in bucket.lengths(LOCKS) if each.startswith(begins)])
        return
    with on_disk(root):
        for file in (root / LOCKS).iterdir():
            if file.name.startswith(f"{name}{CREW}"):
                file.unlink(missing_ok=True)
