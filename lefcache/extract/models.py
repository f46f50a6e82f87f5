"""Which model is meant, and finding its files on this machine or the hub."""

import importlib.util
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from lefcache.bundled import bundled
from lefcache.errors import ModelError
from lefcache.feature import NAME, NAMES, RESERVED, name_like
from lefcache.files import lies_there, path_of
from lefcache.registry import MODELS, ModelEntry
from lefcache.wording import command_line, did_you_mean, shown

WEIGHTS = ("model.safetensors", "pytorch_model.bin")  # the first that is there is the one loaded
# What else a tokenizer may be made of, beside files that end in .json and .txt.
VOCABULARIES = ("*.model", "*.spm", "*.tiktoken", "bpe.codes")
BESIDE_WEIGHTS = ("*.json", "*.txt", "*.jinja", *VOCABULARIES)
NOT_WANTED = ["*/*", "consolidated*", "training_args.bin"]  # other formats of the same weights


@dataclass(frozen=True)
class ModelSource:
    """Which model is meant: its name in the cache, where it comes from, and its entry if any."""

    name: str
    source: str
    entry: ModelEntry | None = None


def resolve_model(text: str, name: str | None = None) -> ModelSource:
    """Read `mistral`, `org/name`, `FOLDER` or `NAME=any of these`.

    Raises ModelError for a name that a cache cannot hold.
    """
    given, equals, source = text.partition("=")
    if not equals or lies_there(path_of(text)):  # a folder such as `lr=3` is no NAME=
        given, equals, source = "", "", text
    entry = MODELS.get(source)
    # A hub id or folder is known by its last component; `--as` and NAME= win over that.
    own = source if entry else path_of(source).resolve().name
    chosen = name or (given if equals else re.sub(r"[^a-z0-9._-]+", "-", own.lower()))
    if not NAME.fullmatch(chosen) or chosen in RESERVED:
        near = name_like(chosen) or "NAME"
        raise ModelError(
            f"'{chosen}' cannot name a model in a cache ({NAMES}; not {', '.join(RESERVED)}): "
            f"name it with {command_line(['--model', f'{near}={source}'])}"
        )
    return ModelSource(chosen, source, entry)


def locate(model: ModelSource, revision: str | None = None, remote_code: bool = False) -> Path:
    """The local folder of a model, downloaded first if it is on the hub only.

    Without a `revision`, that of the model's entry is read, or else the newest. Raises ModelError
    that names the command or variable that helps.
    """
    source = model.entry.source if model.entry else model.source
    if folder := _carried(model.entry) or _local(source):
        return folder
    if not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", source):
        raise ModelError(f"no model at '{source}': give a folder, a hub id or {_aliases(source)}")
    beside = [*BESIDE_WEIGHTS, "*.py"] if remote_code else [*BESIDE_WEIGHTS]
    wanted = revision or _pinned(model.entry)
    return _cached(source, wanted, beside) or _download(source, wanted, beside, model)


def on_this_machine(name: str) -> Path | None:
    """Where the model of a short name lies; None for one that `locate` would have to download."""
    entry = MODELS[name]
    return _carried(entry) or _cached(entry.source, _pinned(entry), [*BESIDE_WEIGHTS])


def _pinned(entry: ModelEntry | None) -> str | None:
    return entry.revision or None if entry else None


def weight_files(folder: Path) -> list[Path]:
    """The files that hold the weights which transformers would load from a folder.

    Those that an index lists need not be there: a download may have been interrupted. Raises
    ModelError for an index that cannot be read.
    """
    for name in WEIGHTS:
        if (folder / name).is_file():
            return [folder / name]
        index = folder / f"{name}.index.json"
        if index.is_file():
            return [folder / shard for shard in _shards(index)]
    return []


def _shards(index: Path) -> list[str]:
    try:
        return sorted(
            {str(shard) for shard in json.loads(index.read_text())["weight_map"].values()}
        )
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise ModelError(
            f"{index} is no list of weight files ({shown(error, 200)}): delete it and get "
            "the model again"
        ) from error


def _absent(files: Iterable[Path]) -> list[str]:
    return [file.name for file in files if not file.is_file()]


def _aliases(source: str) -> str:
    return f"one of {', '.join(MODELS)}{did_you_mean(source, MODELS)}"


def _carried(entry: ModelEntry | None) -> Path | None:
    """The folder inside lefcache or another installed package that brings this model."""
    if entry and entry.bundled:
        return bundled(entry.source)
    found = importlib.util.find_spec(entry.package) if entry and entry.package else None
    if found is None or found.origin is None:
        return None
    return Path(found.origin).parent / "model"


def _local(source: str) -> Path | None:
    folder = path_of(source)
    if not (lies_there(folder) and folder.is_dir()):
        return None
    files = weight_files(folder)
    if not (folder / "config.json").is_file() or not files:
        raise ModelError(
            f"{folder} is no model folder: it needs config.json and "
            f"{' or '.join(WEIGHTS)}, as save_pretrained writes them"
        )
    if missing := _absent(files):
        raise ModelError(
            f"{folder} is incomplete: it lacks {', '.join(missing)} ({len(missing)} of "
            f"{len(files)} weight files); get them, or the whole model again"
        )
    return folder


def _cached(source: str, revision: str | None, beside: list[str]) -> Path | None:
    """A model that was downloaded whole; an interrupted download is to be gone on with."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        # Without patterns, a folder that lacks a file which we never fetch counts as incomplete.
        folder = Path(
            snapshot_download(
                source,
                revision=revision,
                local_files_only=True,
                allow_patterns=beside,
                ignore_patterns=NOT_WANTED,
            )
        )
    except (LocalEntryNotFoundError, HFValidationError):
        return None
    files = weight_files(folder)
    whole = (folder / "config.json").is_file() and files and not _absent(files)
    return folder if whole else None


def _download(source: str, revision: str | None, beside: list[str], model: ModelSource) -> Path:
    from huggingface_hub import HfApi, get_token, is_offline_mode, snapshot_download
    from huggingface_hub import errors as hub
    from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]

    gated = (
        f"{source} is gated: accept its licence at https://huggingface.co/{source}, then run "
        "`hf auth login` (or set HF_TOKEN)"
    )
    if model.entry and model.entry.gated and not (get_token() or is_offline_mode()):
        raise ModelError(gated)
    offline = _offline(source, revision, beside, model)
    try:
        # Asking first makes a wrong name or a missing network an answer in seconds; the
        # download itself would try again and again.
        info = HfApi().model_info(source, revision=revision, timeout=10)
        weights = _weights_pattern(each.rfilename for each in info.siblings or ())
        return Path(
            snapshot_download(
                source,
                revision=revision,
                allow_patterns=[*beside, weights],
                ignore_patterns=NOT_WANTED,
            )
        )
    except hub.HFValidationError as error:
        raise ModelError(
            f"'{source}' can be no model on the hub: give a folder, a hub id or {_aliases(source)}"
        ) from error
    except hub.GatedRepoError as error:
        raise ModelError(gated) from error
    except hub.RevisionNotFoundError as error:
        raise ModelError(
            f"{source} has no revision '{revision}': check --revision (main is the newest)"
        ) from error
    except hub.RepositoryNotFoundError as error:
        raise ModelError(
            f"the hub has no model '{source}', or you may not see it (`hf auth login`): give a "
            f"folder, a hub id or {_aliases(source)}"
        ) from error
    except hub.OfflineModeIsEnabled as error:
        raise ModelError(
            f"{source} is not on this machine and HF_HUB_OFFLINE is set: unset it, or {offline}"
        ) from error
    except (HTTPError, hub.HfHubHTTPError, OSError) as error:
        raise ModelError(
            f"{source} is not on this machine and the hub cannot be reached ({error}): {offline}"
        ) from error


def _offline(source: str, revision: str | None, beside: list[str], model: ModelSource) -> str:
    """What to do where a model that is not here cannot be downloaded either."""
    words = ["hf", "download", source, *(["--revision", revision] if revision else [])]
    advice = (
        f"get it where there is a network with `{command_line(words)}`, or use a copy with "
        f"--model {model.name}=FOLDER (HF_HOME names the folder of downloads)"
    )
    if model.entry and model.entry.gated:
        advice += f"; its licence is to be accepted first, at https://huggingface.co/{source}"
    if revision and _cached(source, None, beside):
        advice += "; another revision of it is here: --revision main reads that"
    if model.entry is None and "/" not in source:  # a short name misspelt, more likely than not
        advice += f"; or give {_aliases(source)}"
    return advice


def _weights_pattern(names: Iterable[str]) -> str:
    """Which of a repository's weights to download: never the same ones in two formats."""
    safe = {"model.safetensors", "model.safetensors.index.json"} & set(names)
    return "*.safetensors" if safe else "*.bin"
