"""A saved head on the hub: which one is meant, how it comes here, and what the hub's refusals mean.

A head from the hub is as untrusted as any folder: its files are only brought here, and
`load_head` reads them.
"""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lefcache.errors import LefError, StorageError
from lefcache.files import path_of
from lefcache.saved import CARD, MODEL_CARD, weights_file
from lefcache.wording import shown

PREFIX = "hub:"
_PLACE = re.compile(rf"{PREFIX}([\w.-]+/[\w.-]+)(?:@([\w./-]+))?", re.A)


def head_folder(place: str | Path, revision: str | None = None) -> Path:
    """The folder of a saved head, downloaded first if it is `hub:owner/name[@revision]`.

    Raises StorageError for a place on the hub where no head is, or that cannot be reached.
    """
    written = str(place)
    if not written.startswith(PREFIX):
        if revision is not None:
            raise StorageError(f"{written} is a folder, which has no revisions: leave it out")
        return path_of(place)
    match = _PLACE.fullmatch(written)
    if match is None:
        raise StorageError(f"'{shown(written, 200)}' is no place on the hub: write hub:owner/name")
    return fetch(match[1], revision or match[2])


def fetch(repo_id: str, revision: str | None = None, **options: Any) -> Path:
    """Bring a head's files here, both of one commit; returns their folder.

    What is here already is not fetched again, and is good enough where there is no network.
    `options` are those of `hf_hub_download`. Raises what `head_folder` does.
    """
    from huggingface_hub import hf_hub_download

    with refusals(repo_id, revision):
        card = _card(repo_id, revision, options)
        try:
            name = weights_file(json.loads(card.read_bytes())["weights"])
        except (ValueError, LookupError, TypeError, RecursionError):
            return card.parent  # `load_head` says what is wrong with it
        # The branch may have moved on: its folder is named after the commit that the card is of.
        hf_hub_download(repo_id, name, revision=card.parent.name, **options)
    return card.parent


def _card(repo_id: str, revision: str | None, options: dict[str, Any]) -> Path:
    """The card of a head at a revision, or as it was here before where the hub does not answer."""
    from huggingface_hub import HfApi, hf_hub_download
    from huggingface_hub.errors import (  # type: ignore[attr-defined]
        HTTPError,
        LocalEntryNotFoundError,
    )

    if options.get("local_files_only"):
        return Path(hf_hub_download(repo_id, CARD, revision=revision, **options))
    try:
        # Asked first, a missing network is known at once: a download tries again for half a minute.
        HfApi(token=options.get("token")).model_info(repo_id, revision=revision, timeout=10)
    except (HTTPError, ConnectionError) as error:
        if 0 < status_of(error) < 500:
            raise
        try:
            options["local_files_only"] = True  # of the weights, too, that are fetched next
            return Path(hf_hub_download(repo_id, CARD, revision=revision, **options))
        except LocalEntryNotFoundError:
            raise error from None
    # By its own name, which is then known here without a network, too.
    return Path(hf_hub_download(repo_id, CARD, revision=revision, **options))


def raised_first(error: BaseException) -> BaseException:
    """What an error began as: the library wraps some refusals in errors that say less."""
    from huggingface_hub.errors import LocalEntryNotFoundError

    while error.__cause__ is not None and isinstance(error, RuntimeError | LocalEntryNotFoundError):
        error = error.__cause__
    return error


def status_of(error: BaseException) -> int:
    """The status of the answer that an error is about; 0 if none came."""
    return int(getattr(getattr(error, "response", None), "status_code", 0))


def in_a_line(error: BaseException) -> str:
    """What the library says of an error."""
    return " ".join(f"{type(error).__name__} {error}".split())[:300]


def readme_there(repo_id: str, revision: str | None = None, token: str | None = None) -> bytes:
    """README.md of a repository as it is now; nothing if it has none, or is not there yet."""
    from huggingface_hub import errors as hub
    from huggingface_hub import hf_hub_download

    with refusals(repo_id, revision):
        try:
            file = hf_hub_download(repo_id, MODEL_CARD, revision=revision, token=token)
        except (
            hub.RepositoryNotFoundError,
            hub.RevisionNotFoundError,
            hub.RemoteEntryNotFoundError,
        ):
            return b""
    return Path(file).read_bytes()


@contextmanager
def refusals(repo_id: str, revision: str | None = None) -> Iterator[None]:
    """What the hub refuses, as StorageErrors that name the fix."""
    from huggingface_hub import errors as hub
    from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]

    try:
        yield
    except LefError:
        raise
    except (HTTPError, hub.HFValidationError, OSError, RuntimeError) as error:
        found = raised_first(error)
        say = next((say for kind, say in _sayings(hub) if isinstance(found, kind)), "")
        say = say or _STATUS.get(
            status_of(found), "the hub cannot be reached, or does not answer ({why})"
        )
        said = say.format(why=in_a_line(found), revision=revision, id=repo_id)
        raise StorageError(f"{PREFIX}{repo_id}: {said}") from error


LOG_IN = "run `hf auth login` (or set HF_TOKEN)"
STRANGER = f"the hub does not know this token: {LOG_IN} with another"
_STATUS = {
    401: STRANGER,
    403: f"this token may not do that: make one with write access, then {LOG_IN}",
    429: "the hub asks for fewer requests: wait a while, then try again",
}


def _sayings(hub: Any) -> list[tuple[type[BaseException], str]]:
    """What a refusal means, the most special first."""
    return [
        (
            hub.GatedRepoError,
            f"gated: accept its terms at https://huggingface.co/{{id}}; {LOG_IN}",
        ),
        (hub.RepositoryNotFoundError, f"no such repository, or not for you to see: {LOG_IN}"),
        (hub.RevisionNotFoundError, "it has no revision '{revision}': check its spelling"),
        (hub.RemoteEntryNotFoundError, "no saved head is there: `Head.push_to_hub` puts one"),
        (hub.OfflineModeIsEnabled, "not on this machine, and HF_HUB_OFFLINE is set: unset it"),
        (hub.LocalTokenNotFoundError, f"nobody is logged in to the hub: {LOG_IN}"),
        (hub.HFValidationError, "no name that the hub can have: write owner/name"),
    ]
