"""Objects by name below an address such as s3://bucket/run1: the only file that knows obstore.

Each put is one request, so an object is there whole or not at all; what failed is tried again for
a while. Credentials, region and endpoint come from the ordinary AWS_* variables.
"""

import hashlib
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from functools import cached_property, lru_cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from lefcache.errors import StorageError
from lefcache.files import REMOTE, Url
from lefcache.wording import install_extra

if TYPE_CHECKING:
    from obstore.store import S3Store

FIRST_SECONDS = 5  # for a server that has never answered
PATIENCE_SECONDS = 45  # for one that has
REQUEST_SECONDS = 60
FRESH_SECONDS = 2.0  # metadata is taken for what it was, unless we have changed it
AT_ONCE = 16  # requests on their way
TRIES = 4  # of what the server took for done and was not
BATCH = 1000  # objects that one request can delete

ENDPOINTS = ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT")
# What else is taken for one ends in a panic of the library, which is no exception to catch.
_ADDRESS = re.compile(
    r"https?://(\[[0-9a-fA-F:.]+\]|[\w.-]+)(:[0-9]{1,5})?(/[\w./~%-]*)?", re.ASCII
)

Given = TypeVar("Given")
Found = TypeVar("Found")

_AGAIN = "run the same command again, what is finished is kept"


class Bucket:
    """The objects below one address; made by `bucket_at`, one for each address and process."""

    def __init__(self, url: Url) -> None:
        self.url = url
        self.guards: list[Callable[[], None]] = []  # asked before anything is changed
        self.fresh: dict[str, tuple[float, bytes | None]] = {}
        self._answered = False

    def look(self, name: str) -> bytes | None:
        """What `get` gives, or gave a moment ago: of small objects that are asked for often."""
        until, content = self.fresh.get(name, (0.0, None))
        if time.monotonic() > until:
            content = self.get(name)
            self.fresh[name] = time.monotonic() + FRESH_SECONDS, content
        return content

    def get(self, name: str) -> bytes | None:
        """The content of an object, None where there is none."""
        found = self.tagged(name)
        return None if found is None else found[0]

    def tagged(self, name: str) -> tuple[bytes, str] | None:
        """The content of an object and the tag of this version of it, None where there is none."""
        import obstore

        for left in reversed(range(TRIES)):
            try:
                with self._spoken():
                    found = obstore.get(self._store, name)
                    content = bytes(found.bytes())
                    return content, str(found.meta["e_tag"])
            except FileNotFoundError:
                return None
            except StorageError:  # the connection broke amid the content
                if not (left and self._answered):
                    raise
        raise AssertionError("the last try returns or raises")

    def put(self, name: str, content: bytes) -> None:
        """Write an object, and again where the server has come to have another one."""
        digest = hashlib.md5(content, usedforsecurity=False).hexdigest()
        for _ in range(TRIES):
            self.check()
            self.fresh.pop(name, None)
            tag = self._put(name, content, "overwrite")
            self.fresh.pop(name, None)
            # Of an object that is encrypted with a key of its owner, the tag is another one.
            if tag.strip('"') == digest or self.length(name) == len(content):
                return
        raise StorageError(f"{self.url}/{name} comes out shorter than it was written: {_AGAIN}")

    def swap(self, name: str, content: bytes, tag: str | None) -> str | None:
        """Write an object only over the version with this tag, or (None) where there is none.

        Returns its new tag; None where another one was there.
        """
        from obstore.exceptions import AlreadyExistsError, PreconditionError

        try:
            return self._put(name, content, "create" if tag is None else {"e_tag": tag})
        except (AlreadyExistsError, PreconditionError):
            # It may be our own: the answer to a first try may have been lost on the way.
            found = self.tagged(name)
            return found[1] if found and found[0] == content else None

    def length(self, name: str) -> int | None:
        """The bytes of an object, None where there is none."""
        import obstore

        try:
            with self._spoken():
                return int(obstore.head(self._store, name)["size"])
        except FileNotFoundError:
            return None

    def lengths(self, prefix: str) -> dict[str, int]:
        """The bytes of every object below a folder, by name."""
        import obstore

        with self._spoken():
            found = obstore.list(self._store, prefix or None, chunk_size=1000)
            return {each["path"]: int(each["size"]) for batch in found for each in batch}

    def folders(self, prefix: str) -> list[str]:
        """The names of the folders directly below a folder."""
        import obstore

        with self._spoken():
            found = obstore.list_with_delimiter(self._store, prefix or None)
        return sorted(each.rstrip("/").rpartition("/")[2] for each in found["common_prefixes"])

    def delete(self, names: Sequence[str]) -> None:
        """Take objects away; those that are not there do no harm."""
        import obstore

        for start in range(0, len(names), BATCH):
            batch = list(names[start : start + BATCH])
            self.check()
            for name in batch:
                self.fresh.pop(name, None)
            with self._spoken():
                obstore.delete(self._store, batch)

    def check(self) -> None:
        """Ask whoever has a say whether this process may still write; they raise if not."""
        for guard in tuple(self.guards):
            guard()

    def _put(
        self, name: str, content: bytes, mode: Literal["create", "overwrite"] | dict[str, str]
    ) -> str:
        import obstore

        with self._spoken():
            # In parts, a large object would leave some of them behind when it is given up.
            done = obstore.put(
                self._store,
                name,
                content,
                mode=mode,  # type: ignore[arg-type]
                use_multipart=False,
            )
        return str(done["e_tag"])

    @property
    def _store(self) -> "S3Store":
        return self._patient if self._answered else self._hasty

    @cached_property
    def _patient(self) -> "S3Store":
        return _connected(self.url, PATIENCE_SECONDS)

    @cached_property
    def _hasty(self) -> "S3Store":
        return _connected(self.url, FIRST_SECONDS)

    @contextmanager
    def _spoken(self) -> Iterator[None]:
        """Turn what obstore raises into ours, with the address and the fix."""
        from obstore.exceptions import AlreadyExistsError, BaseError, PreconditionError

        try:
            yield
        except (AlreadyExistsError, PreconditionError):
            self._answered = True
            raise
        except (BaseError, OSError) as error:
            told = str(error)
            if isinstance(error, FileNotFoundError) and "NoSuchBucket" not in told:
                self._answered = True
                raise
            raise StorageError(f"{self.url}: {_fix(told)}") from error
        self._answered = True


@lru_cache(maxsize=64)
def bucket_at(url: Url) -> Bucket:
    """The objects below an address, the same for all who ask: a lease guards them all.

    Raises StorageError for an address without a bucket, for an endpoint that is no address and,
    naming the extra, without obstore.
    """
    if not url.removeprefix(REMOTE).partition("/")[0]:
        raise StorageError(f"{url} names no bucket: write s3://BUCKET/FOLDER")
    if find_spec("obstore") is None:
        raise StorageError(f"{url}: object stores need obstore: {install_extra('s3')}")
    for name in ENDPOINTS:
        if (endpoint := os.environ.get(name)) and not _ADDRESS.fullmatch(endpoint):
            raise StorageError(
                f"{url}: {name} is no address: write http://HOST:PORT or https://HOST"
            )
    return Bucket(url)


def at_once(do: Callable[[Given], Found], each: Iterable[Given]) -> list[Found]:
    """What a function makes of each thing, in order, many of them on their way at a time."""
    things = list(each)
    if len(things) < 2:
        return [do(thing) for thing in things]
    with ThreadPoolExecutor(min(AT_ONCE, len(things)), thread_name_prefix="lef-s3") as threads:
        return list(threads.map(do, things))


def _connected(url: Url, seconds: int) -> "S3Store":
    from obstore.store import S3Store

    bucket, _, prefix = url.removeprefix(REMOTE).partition("/")
    client: Any = {"connect_timeout": "3s", "timeout": f"{REQUEST_SECONDS}s"}
    if os.environ.get("AWS_ALLOW_HTTP", "").lower() in ("1", "true", "yes", "on"):
        client["allow_http"] = True
    retrying: Any = {
        "max_retries": 1000,  # it is the time that counts
        "retry_timeout": timedelta(seconds=seconds),
        "backoff": {
            "init_backoff": timedelta(seconds=0.1),
            "max_backoff": timedelta(seconds=4),
            "base": 2,
        },
    }
    return S3Store(
        bucket, prefix=prefix.strip("/") or None, client_options=client, retry_config=retrying
    )


_CREDENTIALS = "credentials were found: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"

# What the errors of servers and of obstore have in them, and what to do about it.
_FIXES = {
    "NoSuchBucket": "there is no such bucket: create it, or correct --cache",
    "BadScheme": "this endpoint has no TLS: set AWS_ALLOW_HTTP=true to use it all the same",
    # Without any, a server is asked that only machines in the cloud have.
    "/latest/api/token": f"no {_CREDENTIALS}",
    "/latest/meta-data/": f"no {_CREDENTIALS}",
    "Missing AccessKeyId": f"half of the {_CREDENTIALS}",
    "Missing SecretAccessKey": f"half of the {_CREDENTIALS}",
    "InvalidAccessKeyId": "these credentials are unknown there: check AWS_ACCESS_KEY_ID",
    "SignatureDoesNotMatch": "this key is not the secret one: check AWS_SECRET_ACCESS_KEY",
    "status code: 403": "access is denied: these credentials may not do this here",
    "status code: 401": "access is denied: check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    "redirect without LOCATION": "the bucket lies in another region: set AWS_REGION",
    "non-2xx status code: 5": f"the server fails again and again; {_AGAIN}",
    "error sending request": f"no server answers: check AWS_ENDPOINT_URL and the network; {_AGAIN}",
}


def _fix(told: str) -> str:
    for sign, fix in _FIXES.items():
        if sign in told:
            return fix
    if "Config error" in told:
        return f"an AWS_* variable has a value that it cannot have: {told.splitlines()[0][:300]}"
    return f"{told.splitlines()[0][:300]}; {_AGAIN}"
