"""The files of a saved head: a card and its weights, without pickle."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor

from lefcache.errors import DamagedError, RecipeError, StorageError
from lefcache.files import parse_json, path_of, replace_file
from lefcache.recipe import Recipe
from lefcache.saved import CARD, read_card, read_file, weights_file
from lefcache.train.card import Card
from lefcache.train.readme import drop_model_card, write_model_card
from lefcache.wording import shown

MOST_WEIGHTS = 64 << 30  # bytes
# What values of the wrong kind or size in a card end in; torch raises the RuntimeErrors.
UNREADABLE = (
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    MemoryError,
    RuntimeError,
    SafetensorError,
)


def write(folder: Path, card: Card, state: Mapping[str, Tensor]) -> Path:
    """Write `head-<digest>.safetensors`, `head.json` and README.md; remove older weights.

    A kill leaves the older head or this one, never a part of each, nor a card of another. Raises
    what `check_savable` and `check_destination` do.
    """
    check_savable(card.recipe)
    check_destination(folder)
    weights = safetensors.torch.save(
        {name: value.contiguous().cpu() for name, value in state.items()}
    )
    document = card.to_json() | {"weights": _digest(weights)}
    name = weights_file(document["weights"])
    try:
        folder.mkdir(parents=True, exist_ok=True)
        replace_file(folder / name, weights)
        drop_model_card(folder)
        # The card names the weights: until it is there, the older head is.
        replace_file(folder / CARD, json.dumps(document, indent=1).encode() + b"\n")
        for older in folder.glob(f"head-{'[0-9a-f]' * 16}.safetensors"):
            if older.name != name:
                older.unlink(missing_ok=True)
        write_model_card(folder, card)
    except OSError as error:
        raise StorageError(f"cannot write {folder}: {error.strerror}") from error
    return folder


def check_destination(folder: str | Path) -> None:
    """Refuse a folder that a head should not be written to, before hours of training.

    Raises StorageError for a file, and for a folder that holds something else than a head.
    """
    folder = path_of(folder)
    if folder.exists() and not folder.is_dir():
        raise StorageError(f"{folder} is a file: save the head to a folder")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / CARD).is_file():
        raise StorageError(
            f"{folder} holds other files and no {CARD}: save the head to a folder of its own"
        )


def check_savable(recipe: Recipe) -> None:
    """Refuse to keep a head that no file can hold; raises RecipeError."""
    if not recipe.named:
        raise RecipeError(
            "a head whose op is a function of your own cannot be saved: its code would have "
            "to travel with it; keep its state_dict() yourself"
        )


def read(folder: Path) -> tuple[Card, dict[str, Tensor]]:
    """The card and the weights in a folder, neither of them run; raises what `load_head` does."""
    document = read_card(folder)
    try:
        values = parse_json(document)
        card, file = Card.from_json(values), folder / weights_file(values["weights"])
        weights = read_file(file, MOST_WEIGHTS)
        if values["weights"] != _digest(weights):
            raise ValueError(f"{file.name} is not the file that {CARD} speaks of")
        return card, safetensors.torch.load(weights)
    except UNREADABLE as error:
        raise unreadable(folder, error) from error


def load_card(folder: str | Path) -> Card:
    """Read what a saved head was made from, and not its weights; raises what `load_head` does."""
    folder = path_of(folder)
    document = read_card(folder)
    try:
        return Card.from_json(parse_json(document))
    except UNREADABLE as error:
        raise unreadable(folder, error) from error


def unreadable(folder: str | Path, error: Exception) -> DamagedError:
    """What to raise for a head whose files are not what `write` wrote."""
    return DamagedError(
        f"{folder} is no head that can be read ({shown(str(error), 200)}): save it again"
    )


def _digest(raw: bytes) -> str:
    return f"sha256:{hashlib.sha256(raw).hexdigest()}"
