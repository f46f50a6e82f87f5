"""The one place that talks to the hub: a data set's files, one commit, and what it says in words.

Nothing of a cache is known here.
"""

import hashlib
import io
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
from huggingface_hub import errors as hub
from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]
from huggingface_hub.utils import (  # type: ignore[attr-defined]
    are_progress_bars_disabled,
    disable_progress_bars,
    enable_progress_bars,
    logging,
)

from lefcache.errors import LefError, MismatchError, StorageError
from lefcache.stores.disk import on_disk
from lefcache.travel import LOG_IN, PREFIX, STRANGER, in_a_line, raised_first, status_of
from lefcache.wording import shown

_NAME = r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9_])?"
_PLACE = re.compile(rf"{PREFIX}({_NAME}/{_NAME})(?:@([A-Za-z0-9][A-Za-z0-9._/-]*))?")
_COMMIT = re.compile("[0-9a-f]{40}")
MOST_FILES = 2_000_000  # a listing without an end would fill the memory
QUIET = 50  # of a log: nothing but what ends a program
AT_ONCE = 8  # files on their way
BATCH = 128  # files that are uploaded before progress is told

OnBytes = Callable[[int], None]


@dataclass(frozen=True)
class Place:
    """A data set repository of the hub, at a branch, tag or commit where one is said."""

    id: str
    revision: str | None = None

    @classmethod
    def parse(cls, text: str, revision: str | None = None) -> "Place":
        """Read `hub:owner/name` or `hub:owner/name@REVISION`; StorageError for anything else."""
        match = _PLACE.fullmatch(text)
        if match is None or ".." in text or "--" in match[1]:
            raise StorageError(f"'{shown(text, 200)}' is no place on the hub: write hub:owner/name")
        return cls(match[1], revision or match[2])

    def __str__(self) -> str:
        return f"{PREFIX}{self.id}" + (f"@{self.revision}" if self.revision else "")


@dataclass(frozen=True)
class RemoteFile:
    """A file of a repository: its bytes, and the hash by which the hub knows it."""

    size: int
    digest: str  # `sha256:...` of large files, `git:...` of those that git itself holds

    def is_like(self, local: Path | bytes) -> bool:
        """Whether a file of this machine is the same; it is read only if its size is."""
        size = len(local) if isinstance(local, bytes) else local.stat().st_size
        if size != self.size:
            return False
        kind, _, wanted = self.digest.partition(":")
        with io.BytesIO(local) if isinstance(local, bytes) else local.open("rb") as file:
            if kind == "sha256":
                return hashlib.file_digest(file, "sha256").hexdigest() == wanted
            blob = b"blob %d\0" % size + file.read()
        return hashlib.sha1(blob, usedforsecurity=False).hexdigest() == wanted


@dataclass(frozen=True)
class Snapshot:
    """A repository at one commit, which is its place's revision."""

    place: Place
    private: bool
    licence: str
    files: Mapping[str, RemoteFile] = field(repr=False)


class Hub:
    """One data set repository; whatever goes wrong is a StorageError that names the fix."""

    def __init__(self, place: Place) -> None:
        self.place = place

    def look(self) -> Snapshot:
        """The commit that is there now, with the files in it."""
        with self._asked() as api:
            info = api.dataset_info(self.place.id, revision=self.place.revision, timeout=30)
            commit = str(info.sha)
            if not _COMMIT.fullmatch(commit):
                raise StorageError(f"{self.place}: the hub names no commit of it: try again later")
            tree = api.list_repo_tree(
                self.place.id, recursive=True, revision=commit, repo_type="dataset"
            )
            files = _files(self.place, tree)
        card = info.card_data
        words = (card.get("license"), card.get("license_name")) if card else ()
        licence = ", ".join(str(word)[:200] for word in words if word)
        return Snapshot(replace(self.place, revision=commit), bool(info.private), licence, files)

    def find(self) -> Snapshot | None:
        """What `look` gives, or None where there is no such repository, or not for us to see."""
        try:
            return self.look()
        except StorageError as error:
            if type(error.__cause__) is hub.RepositoryNotFoundError:
                return None
            raise

    def fetch(self, paths: Sequence[str], folder: Path, on_bytes: OnBytes | None = None) -> None:
        """Download files at the commit that is the place's revision into a folder.

        Those that are there stay, and one that was begun goes on where it was stopped.
        """
        where: dict[str, Any] = {"repo_type": "dataset", "revision": self.place.revision}
        where["local_dir"] = folder
        with self._asked() as api, ThreadPoolExecutor(AT_ONCE) as pool:
            fetch: Any = api.hf_hub_download
            begun = [pool.submit(fetch, self.place.id, path, **where) for path in paths]
            try:
                for done in as_completed(begun):
                    size = Path(done.result()).stat().st_size
                    if on_bytes:
                        on_bytes(size)
            finally:
                pool.shutdown(wait=False, cancel_futures=True)

    def check_token(self) -> None:
        """Find out whether anybody is logged in, before hours of work."""
        with self._asked() as api:
            api.whoami()

    def create(self, private: bool) -> None:
        """Make the repository, if it is not there."""
        with self._asked() as api:
            api.create_repo(self.place.id, repo_type="dataset", private=private, exist_ok=True)

    def commit(
        self,
        added: Mapping[str, Path | bytes],
        gone: Iterable[str],
        message: str,
        parent: str | None = None,
        on_bytes: OnBytes | None = None,
    ) -> tuple[str, str]:
        """Upload files and make one commit of them; its hash and its address.

        What was uploaded before a kill is not uploaded again. MismatchError if somebody else made
        a commit after `parent`.
        """
        operations = [
            CommitOperationAdd(path, content if isinstance(content, bytes) else str(content))
            for path, content in added.items()
        ]
        where: dict[str, Any] = {"repo_type": "dataset", "revision": self.place.revision}
        with self._asked() as api:
            for start in range(0, len(operations), BATCH):
                batch = operations[start : start + BATCH]
                api.preupload_lfs_files(
                    self.place.id, batch, num_threads=AT_ONCE, free_memory=False, **where
                )
                if on_bytes:
                    on_bytes(sum(each.upload_info.size for each in batch))
            made = api.create_commit(
                self.place.id,
                [*operations, *map(CommitOperationDelete, gone)],
                commit_message=message,
                parent_commit=parent,
                **where,
            )
        return str(made.oid), str(made.commit_url)

    @contextmanager
    def _asked(self) -> Iterator[HfApi]:
        """The hub's interface, without bars and advice, its refusals in our words."""
        level, hidden = logging.get_verbosity(), are_progress_bars_disabled()
        logging.set_verbosity(QUIET)
        if not hidden:
            disable_progress_bars()
        try:
            yield HfApi(library_name="lefcache")
        except LefError:
            raise
        except _PROBLEMS as error:
            cause = raised_first(error)
            if isinstance(cause, OSError) and cause.errno:  # of this machine's disk
                with on_disk(Path(cause.filename or ".")):
                    raise cause from error
            kind = MismatchError if status_of(cause) == 412 else StorageError
            raise kind(_words(cause, self.place)) from cause
        finally:
            logging.set_verbosity(level)
            if not hidden:
                enable_progress_bars()


def _files(place: Place, tree: Iterable[Any]) -> dict[str, RemoteFile]:
    files: dict[str, RemoteFile] = {}
    for each in tree:
        if len(files) == MOST_FILES:
            raise StorageError(f"{place} has more than {MOST_FILES:,} files: that is no cache")
        if hasattr(each, "size"):  # folders have none
            digest = f"sha256:{each.lfs.sha256}" if each.lfs else f"git:{each.blob_id}"
            files[str(each.path)] = RemoteFile(int(each.size), digest)
    return files


# What the library raises for reasons that are not its user's: of another's answer, KeyError too.
_PROBLEMS = (HTTPError, OSError, ValueError, KeyError, TypeError, RuntimeError)

_KEPT = "then run the same command again: what is done is kept"

# By the kind of refusal, then by the status of the answer.
_REFUSALS: dict[type[BaseException], str] = {
    hub.OfflineModeIsEnabled: "the hub is not asked while HF_HUB_OFFLINE is set: unset it",
    hub.LocalTokenNotFoundError: f"nobody is logged in to the hub: {LOG_IN}",
    hub.GatedRepoError: (
        "{place} is gated: accept its terms at https://huggingface.co/datasets/{id}, then " + LOG_IN
    ),
    hub.RevisionNotFoundError: "{place}: there is no such revision of {id}: check its spelling",
    hub.RepositoryNotFoundError: (
        "the hub has no data set {id}, or you may not see it: check the name, or " + LOG_IN
    ),
    hub.RemoteEntryNotFoundError: "{place}: a file of its own list is not there; try again later",
}
_STATUS = {
    401: STRANGER,
    403: "this token may not do that in {id}: make one with write access to it, then " + LOG_IN,
    404: "the hub has no data set {id}: check the name",
    409: "{id} is being changed by somebody else: wait a moment, then run the same command again",
    412: "{id} was changed by somebody else meanwhile: run the same command again",
    413: "the hub takes no file or commit of this size: push fewer layers at a time",
    429: "the hub asks for fewer requests (rate limit){wait}: wait, " + _KEPT,
}


def _words(error: BaseException, place: Place) -> str:
    status = status_of(error)
    say = next((say for kind, say in _REFUSALS.items() if type(error) is kind), "")
    say = say or _STATUS.get(status, "")
    if not say and status >= 500:
        say = f"the hub has trouble of its own ({status}): wait, {_KEPT}"
    elif not say and isinstance(error, HTTPError) and not status:
        say = "the hub cannot be reached ({why}): check the network, " + _KEPT
    say = say or "{place}: the hub's answer cannot be used ({why}): try again later"
    seconds = error.response.headers.get("Retry-After", "") if status == 429 else ""  # type: ignore[attr-defined]
    wait = f" for {seconds} s" if seconds.isdecimal() else ""
    return say.format(place=place, id=place.id, wait=wait, why=in_a_line(error))
