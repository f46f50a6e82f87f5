"""Data sets of the hub through `datasets`: a copy on this machine first, else a download."""

import glob
import os
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from lefcache.aliases import HubEntry
from lefcache.columns import Reading, Sheet
from lefcache.errors import CorpusError
from lefcache.wording import install_extra


def load_hub(entry: HubEntry, reading: Reading) -> dict[str, Sheet]:
    """Every split of a data set under the hub's own name, downloaded first if need be.

    `reading` must name the configuration and revision; columns are read when they are asked for.
    Raises CorpusError that names the command, flag or variable that helps.
    """
    try:
        import datasets
    except ImportError as error:
        raise CorpusError(
            f"reading {entry.id} needs the library datasets: {install_extra('hub')}"
        ) from error
    with _quiet(datasets):
        found = _certain_copy(entry.id, reading) or _download(entry.id, reading)
    return {
        str(name): Sheet(f"{entry.id}, split {name}", split.column_names, partial(_cells, split))
        for name, split in found.items()
    }


def _certain_copy(hub_id: str, reading: Reading) -> Any:
    """What is on this machine, if it is surely what was asked for; else None."""
    config = reading.config or "default"
    commits = _commits_here(hub_id, config)
    # Of two copies nobody knows which was meant, and a branch has moved on, perhaps.
    wanted = commits[0] if len(commits) == 1 else ""
    wanted = reading.data_revision or wanted
    return _copy(hub_id, config, wanted) if wanted in commits else None


def _copy(hub_id: str, config: str | None, commit: str = "auto") -> Any:
    """A copy on this machine; ValueError if there is none, or several configurations."""
    from datasets.packaged_modules.cache.cache import Cache

    builder = Cache(
        cache_dir=str(downloads()),
        dataset_name=hub_id.partition("/")[2],
        repo_id=hub_id,
        config_name=config,
        version=_version_of(hub_id, config, commit) if commit != "auto" else "auto",
        hash=commit,
    )
    return builder.as_dataset()


def _version_of(hub_id: str, config: str | None, commit: str) -> str:
    """The folder between configuration and commit, which `datasets` wants to be told with it."""
    return next(
        info.parent.parent.name
        for info in _copies(hub_id, config or "*")
        if info.parent.name == commit
    )


def _commits_here(hub_id: str, config: str) -> list[str]:
    """The commits of which this machine has a copy: `datasets` names folders after them."""
    return sorted({info.parent.name for info in _copies(hub_id, config)})


def _copies(hub_id: str, config: str) -> Iterator[Path]:
    """The description of each copy that was read to its end."""
    # The library writes TREC-QC as trec-qc and RottenTomatoes as rotten_tomatoes.
    wanted = hub_id.replace("/", "___").replace("_", "").lower()
    for folder in downloads().glob("*___*"):
        if folder.name.replace("_", "").lower() == wanted:
            for info in folder.glob(
                f"{glob.escape(config) if config != '*' else config}/*/*/*.json"
            ):
                if info.name == "dataset_info.json" and info.parent.suffix != ".incomplete":
                    yield info


def _download(hub_id: str, reading: Reading) -> Any:
    import datasets
    from datasets.exceptions import DatasetsError
    from huggingface_hub import HfApi
    from huggingface_hub import errors as hub
    from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]

    revision = reading.data_revision or None
    try:
        # Asking first makes a wrong name or a missing network an answer in seconds; the
        # download itself would try again and again.
        HfApi().dataset_info(hub_id, revision=revision, timeout=10)
        return datasets.load_dataset(
            hub_id, reading.config or None, revision=revision, cache_dir=str(downloads())
        )
    except hub.RevisionNotFoundError as error:
        raise CorpusError(
            f"{hub_id} has no revision '{revision}': check --data-revision"
        ) from error
    except hub.GatedRepoError as error:
        raise CorpusError(_refusal(_GATED, hub_id, reading)) from error
    except (hub.RepositoryNotFoundError, hub.HFValidationError) as error:
        raise CorpusError(
            f"there is no folder '{hub_id}' here, and the hub has no data set of this name, or you "
            "may not see it (`hf auth login`): `lef data` lists short names"
        ) from error
    except (HTTPError, ConnectionError) as error:
        return _any_copy(hub_id, reading, error)
    except (DatasetsError, OSError, RuntimeError, ValueError) as error:
        raise CorpusError(_refusal(str(error), hub_id, reading)) from error


def _any_copy(hub_id: str, reading: Reading, offline: Exception) -> Any:
    """What a machine without a network has of a data set, if there is just one copy of it."""
    from huggingface_hub.errors import OfflineModeIsEnabled

    commits = _commits_here(hub_id, reading.config or "*")
    if commits and (reading.data_revision or len(commits) > 1):
        asked = reading.data_revision
        raise CorpusError(
            f"{hub_id} is on this machine at {' and '.join(commits)}; without a network it cannot "
            f"be told {f'that this is {asked}' if asked else 'which is meant'}: choose with "
            f"--data-revision, or {_way_out(hub_id, reading)}"
        )
    try:
        found = _copy(hub_id, reading.config or None)
    except (ValueError, OSError) as error:
        told = isinstance(offline, OfflineModeIsEnabled)
        why = "HF_HUB_OFFLINE is set" if told else " ".join(str(offline).split())
        raise CorpusError(_refusal(str(error), hub_id, reading, why)) from error
    return found


def downloads() -> Path:
    """The folder in which `datasets` keeps what it has read, without importing it."""
    caches = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    home = os.environ.get("HF_HOME") or f"{caches}/huggingface"
    return Path(os.environ.get("HF_DATASETS_CACHE") or f"{home}/datasets").expanduser()


def is_here(entry: HubEntry) -> bool:
    """Whether a data set can be read without a network."""
    return any(_copies(entry.id, entry.reading.config or "*"))


def download_command(hub_id: str, reading: Reading) -> str:
    """What to type where there is a network; `hf download` alone is not found again offline."""
    words = [repr(hub_id)] + [repr(reading.config)] * bool(reading.config)
    if reading.data_revision:
        words.append(f"revision={reading.data_revision!r}")
    code = f"from datasets import load_dataset; load_dataset({', '.join(words)})"
    # Quoted as a person would; whatever could be read as more than words is quoted strictly.
    plain = not set(code) & set('"$`\\!')
    return f'python -c "{code}"' if plain else f"python -c {shlex.quote(code)}"


def _cells(split: Any, column: str) -> list[Any]:
    """One column as Python values; classes by their names, as numbers mean nothing elsewhere."""
    cells: list[Any] = split[column][:]
    names = getattr(split.features[column], "names", None)
    if names is None:
        return cells
    return [None if cell is None or cell < 0 else names[cell] for cell in cells]


@contextmanager
def _quiet(datasets: Any) -> Iterator[None]:
    """No advice in a log, and no bars where nobody watches."""
    level = datasets.logging.get_verbosity()
    hidden = datasets.are_progress_bars_disabled()
    datasets.logging.set_verbosity_error()
    if not sys.stderr.isatty():
        datasets.disable_progress_bars()
    try:
        yield
    finally:
        datasets.logging.set_verbosity(level)
        if not hidden:
            datasets.enable_progress_bars()


_GATED = "is a gated dataset"

# What `datasets` says when it cannot, and what we say: it tells its reasons apart in words only.
_REFUSALS = {
    _GATED: (
        "{id} is gated: accept its terms at https://huggingface.co/datasets/{id}, then run "
        "`hf auth login` (or set HF_TOKEN)"
    ),
    "scripts are no longer supported": (
        "{id} is made by a script, and `datasets` runs none any more: try --data-revision "
        "refs/convert/parquet (its configuration may have another name there), or another copy"
    ),
    "Config name is missing": "{id}: {words} (name it with --config)",
    "BuilderConfig '": "{id}: {words} (name one with --config)",
    "configurations in the cache": "{id}: {words} (name one with --config)",
    "Available configs in the cache": (
        "the hub cannot be reached ({offline}), and of {id} this machine has other configurations: "
        "{words} (name one with --config); {out}"
    ),
    "Couldn't find cache": (
        "there is no folder '{id}' here, the data set of this name is not on this machine, and the "
        "hub cannot be reached ({offline}): {out}"
    ),
}


def _refusal(said: str, hub_id: str, reading: Reading, offline: str = "") -> str:
    """What went wrong and what helps."""
    words = " ".join(said.split())
    unknown = "{id} cannot be read ({words}): {out}"
    say = next((say for mark, say in _REFUSALS.items() if mark in words), unknown)
    return say.format(id=hub_id, words=words, offline=offline, out=_way_out(hub_id, reading))


def _way_out(hub_id: str, reading: Reading) -> str:
    return (
        f"where there is a network, run {download_command(hub_id, reading)} (HF_HOME names the "
        "folder of downloads), or give its texts with --data FOLDER"
    )
