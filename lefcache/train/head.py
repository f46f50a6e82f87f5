"""The trained part: project each feature, fuse, classify; saved without pickle."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from lefcache.errors import DamagedError, RecipeError, StorageError
from lefcache.files import path_of, replace_file
from lefcache.recipe import Recipe
from lefcache.saved import CARD, no_head, read_card
from lefcache.train.card import Card
from lefcache.train.fusion import fused_width, operator_of

DIGEST = re.compile("sha256:([0-9a-f]{16})[0-9a-f]{48}")
# What values of the wrong kind or size in a card end in; torch raises the RuntimeErrors.
UNREADABLE = (
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    RuntimeError,
    SafetensorError,
)


class Head(nn.Module):
    """K features in, C logits out, as the method's paper describes it (arXiv 2504.05764).

    `project[k]` is e' = ReLU(W e + b) to the recipe's width, `fuse` the recipe's operator,
    `classify` linear layers with ReLU and dropout between them. The result is logits: no softmax
    before cross-entropy. A head that `train` made has a `card`, which says what its features and
    classes are; without one it is a module like any other and cannot be saved.

    Args:
        widths: D_k of each feature, K of them.
        classes: C.
        recipe: op, width, hidden and dropout.
    """

    card: Card | None = None

    def __init__(self, widths: Sequence[int], classes: int, recipe: Recipe) -> None:
        super().__init__()
        self.project = nn.ModuleList(
            nn.Sequential(nn.Linear(width, recipe.width), nn.ReLU()) for width in widths
        )
        self.fuse = operator_of(recipe)
        layers: list[nn.Module] = []
        sizes = [fused_width(self.fuse, len(widths), recipe.width), *recipe.hidden]
        for (size, following), rate in zip(pairwise(sizes), recipe.dropout, strict=True):
            layers += [nn.Linear(size, following), nn.ReLU(), nn.Dropout(rate)]
        self.classify = nn.Sequential(*layers, nn.Linear(sizes[-1], classes))

    def forward(self, *features: Tensor) -> Tensor:
        """(B, D_k) for each of the K features to logits (B, C)."""
        projected = [layer(each) for layer, each in zip(self.project, features, strict=True)]
        logits: Tensor = self.classify(self.fuse(projected))
        return logits

    def save(self, folder: str | Path) -> Path:
        """Write `head-<digest>.safetensors` and `head.json` to a folder, replacing an older head.

        A kill leaves the older one or this one, never a part of each. Raises what
        `check_destination` does, and RecipeError for a head that has no card or whose operator is
        a function of your own, which no file can hold.
        """
        folder = path_of(folder)
        if self.card is None:
            raise RecipeError("only a head that `train` made knows its features: save that one")
        check_savable(self.card.recipe)
        check_destination(folder)
        weights = safetensors.torch.save(
            {name: value.contiguous().cpu() for name, value in self.state_dict().items()}
        )
        document = self.card.to_json() | {"weights": _digest(weights)}
        name = _file_of(document["weights"])
        try:
            folder.mkdir(parents=True, exist_ok=True)
            replace_file(folder / name, weights)
            # The card names the weights: until it is there, the older head is.
            replace_file(folder / CARD, json.dumps(document, indent=1).encode() + b"\n")
            for older in folder.glob(f"head-{'[0-9a-f]' * 16}.safetensors"):
                if older.name != name:
                    older.unlink(missing_ok=True)
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


def load_head(folder: str | Path) -> Head:
    """Read a head that `save` wrote, on the CPU and ready to judge.

    Nothing in the files is run, and no tensor is made that the weights do not hold. Raises
    StorageError where there is no head, DamagedError where its files are not what `save` wrote.
    """
    folder = path_of(folder)
    document = read_card(folder)
    try:
        values = json.loads(document)
        card, file = Card.from_json(values), folder / _file_of(values["weights"])
        weights = _read(folder, file)
        if values["weights"] != _digest(weights):
            raise ValueError(f"{file.name} is not the file that {CARD} speaks of")
        head = _rebuild(card, safetensors.torch.load(weights))
    except UNREADABLE as error:
        raise _unreadable(folder, error) from error
    head.card = card
    return head.eval()


def load_card(folder: str | Path) -> Card:
    """Read what a saved head was made from, and not its weights; raises what `load_head` does."""
    folder = path_of(folder)
    document = read_card(folder)
    try:
        return Card.from_json(json.loads(document))
    except UNREADABLE as error:
        raise _unreadable(folder, error) from error


def _unreadable(folder: Path, error: Exception) -> DamagedError:
    return DamagedError(f"{folder} is no head that can be read ({error}): save it again")


def _rebuild(card: Card, weights: Mapping[str, Tensor]) -> Head:
    # On no device nothing is allocated, however large a hostile card says that its layers are.
    with torch.device("meta"):
        head = Head(card.widths, len(card.classes), card.recipe)
    wanted: dict[str, Any] = {
        name: (tuple(value.shape), value.dtype) for name, value in head.state_dict().items()
    }
    found = {name: (tuple(value.shape), value.dtype) for name, value in weights.items()}
    if wanted != found:
        wrong = sorted(name for name in {*wanted, *found} if wanted.get(name) != found.get(name))
        raise ValueError(f"its weights are not those of its recipe: {', '.join(wrong[:4])}")
    if not all(bool(value.isfinite().all()) for value in weights.values()):
        raise ValueError("not all of its weights are finite numbers")
    head.load_state_dict(dict(weights), assign=True)
    return head


def _read(folder: Path, file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise no_head(folder, error) from error


def _file_of(digest: str) -> str:
    """The file of weights with this digest; ValueError for what is none."""
    match = DIGEST.fullmatch(digest)
    if match is None:
        raise ValueError("it names no weights")
    return f"head-{match[1]}.safetensors"


def _digest(raw: bytes) -> str:
    return f"sha256:{hashlib.sha256(raw).hexdigest()}"
