"""From raw text to a label: a saved head together with the frozen models that feed it."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PureWindowsPath
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from lefcache.columns import text_of
from lefcache.dtypes import dtype_of, widened
from lefcache.errors import CorpusError, MismatchError, ModelError, NotFiniteError
from lefcache.extract import load_backbone
from lefcache.extract.backbone import Backbone
from lefcache.extract.embed import NotFiniteRow, embed_block
from lefcache.extract.order import BATCH_TOKENS, BLOCK_ROWS
from lefcache.extract.pooling import POOLINGS
from lefcache.feature import Layer
from lefcache.rows import mean_of
from lefcache.spec import Origin, Spec
from lefcache.train.card import Card
from lefcache.train.fit import device_of
from lefcache.train.head import Head, load_head

ROWS = {True: BLOCK_ROWS[True], False: 256}  # texts labelled together on a GPU, or not


@dataclass(frozen=True)
class Prediction:
    """What a head says of one text: the likeliest class, and how likely each one is."""

    text: str
    label: str
    probabilities: dict[str, float]

    def to_json(self) -> dict[str, Any]:
        """The fields as plain values."""
        return {"text": self.text, "label": self.label, "probabilities": self.probabilities}


class Predictor:
    """A trained head with its backbones, each run only as deep as the head reads it.

    Args:
        head: one that has a card, from `train` or `load_head`.
        models: where a model is now, by its name in the head, if not where it was.
        device: of backbones and head: `auto`, `cpu`, `cuda` or a torch device.
        trust_remote_code: run code that comes with a model which needs it.

    Raises:
        ModelError: a model that cannot be found or loaded, or vectors that came without one.
        MismatchError: other weights or settings than those that the head was trained on.
    """

    def __init__(
        self,
        head: Head,
        *,
        models: Mapping[str, str] | None = None,
        device: str = "auto",
        trust_remote_code: bool = False,
    ) -> None:
        if head.card is None:
            raise ModelError("this head does not know its features: use one that `train` made")
        self.card: Card = head.card
        self.where = device_of(device)
        self.head = head.to(self.where).eval()
        self.backbones = {
            model: _backbone(model, self.card, models or {}, device, trust_remote_code)
            for model in dict.fromkeys(origin.model for origin in self.card.origins)
        }

    @property
    def rows(self) -> int:
        """How many texts are labelled together."""
        return ROWS[any(backbone.on_gpu for backbone in self.backbones.values())]

    @property
    def classes(self) -> tuple[str, ...]:
        """The labels, in the order of the columns of `predict_proba`."""
        return self.card.classes

    def predict(self, texts: Sequence[str]) -> list[str]:
        """The likeliest class of each text."""
        return [self.classes[number] for number in self.predict_proba(texts).argmax(axis=1)]

    def predict_proba(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """(N, C) probabilities, columns in the order of `classes`.

        Raises CorpusError for what is no text, NotFiniteError where a model gives NaN or a value
        that its head has never seen.
        """
        if isinstance(texts, str):
            raise TypeError("predict takes a list of texts: write predict([text])")
        parts = [self._probabilities(some) for some in _portions(texts, self.rows)]
        return np.concatenate(parts) if parts else np.empty((0, len(self.classes)), np.float32)

    def stream(self, texts: Iterable[str], rows: int | None = None) -> Iterator[Prediction]:
        """A prediction for each text, as they come: `rows` are read before they are answered.

        By default as many as the device is fast with. Raises what `predict_proba` does.
        """
        if rows is not None and rows < 1:
            raise CorpusError(f"rows is {rows}: read at least 1 text before answering")
        return self._stream(texts, rows or self.rows)

    def _stream(self, texts: Iterable[str], rows: int) -> Iterator[Prediction]:
        for some in _portions(texts, rows):
            for text, shares in zip(some, self._probabilities(some), strict=True):
                named = dict(zip(self.classes, shares.tolist(), strict=True))
                yield Prediction(text, self.classes[int(shares.argmax())], named)

    def features(self, texts: Sequence[str]) -> list[NDArray[Any]]:
        """K features (N, D_k) of the texts, rounded as the cache has them."""
        stored: dict[str, NDArray[Any]] = {}
        for model, backbone in self.backbones.items():
            origins = [origin for origin in self.card.origins if origin.model == model]
            stored |= _embed(backbone, origins, texts)
        made = [
            mean_of(stored[f"{origin.model}/{name}"] for name in origin.arrays)
            for origin in self.card.origins
        ]
        if wrong := [each.shape[1] for each in made if each.shape[1] not in self.card.widths]:
            raise MismatchError(f"the head reads no feature of width {wrong[0]}: train it again")
        return made

    def _probabilities(self, texts: Sequence[str]) -> NDArray[np.float32]:
        with torch.inference_mode():
            given = [torch.from_numpy(each).to(self.where) for each in self.features(texts)]
            logits = self.head(*(each.float() for each in given))
            shares: NDArray[np.float32] = logits.softmax(dim=1).cpu().numpy()
        if not np.isfinite(shares).all():
            worst = texts[int(np.isnan(shares).any(axis=1).argmax())]
            raise NotFiniteError(f"the head answers {_start(worst)} with no number: train it again")
        return shares

    def __repr__(self) -> str:
        features = ", ".join(map(str, self.card.features))
        return f"<Predictor of {', '.join(self.classes)} from {features}>"


def load(
    folder: str | Path,
    *,
    models: Mapping[str, str] | None = None,
    device: str = "auto",
    trust_remote_code: bool = False,
) -> Predictor:
    """Read a head that `Head.save` or `lef fuse --save` wrote, and load its models.

    See `Predictor` for the arguments. Raises StorageError or DamagedError for a folder that holds
    no head, and what `Predictor` raises.
    """
    return Predictor(
        load_head(folder), models=models, device=device, trust_remote_code=trust_remote_code
    )


def _backbone(
    model: str, card: Card, models: Mapping[str, str], device: str, trust_remote_code: bool
) -> Backbone:
    """One of the head's models, loaded up to its deepest layer and checked against its Spec."""
    used = [
        (origin, spec)
        for origin, spec in zip(card.origins, card.specs, strict=True)
        if origin.model == model
    ]
    origin, spec = used[0]
    moved = models.get(model)
    source = moved or origin.source
    if source is None:
        raise ModelError(
            f"the vectors of {model} were brought along, not made here: this head can score "
            f"cached rows of {model}, but no raw text"
        )
    # An attention with a slash is the name of a repository on the hub.
    if (origin.remote_code or "/" in spec.attention) and not trust_remote_code:
        raise ModelError(
            f"{model} needs the code that comes with it or with its attention "
            f"{spec.attention!r}: if you trust its authors, allow that with --trust-remote-code"
        )
    layers = _layers(origin for origin, _ in used)
    _check_place(model, source)
    backbone = load_backbone(
        f"{model}={source}",
        device=device,
        revision=None if moved else origin.revision,
        trust_remote_code=trust_remote_code and origin.remote_code,
        layers=layers,
        **_settings(spec),
    )
    _check_backbone(backbone, card)
    return backbone


def _check_place(model: str, source: str) -> None:
    """Refuse a folder that is gone, as on another machine, and what can be no place at all."""
    where = f"with --model {model}=FOLDER (in Python: models={{'{model}': 'FOLDER'}})"
    try:
        there = Path(source).expanduser().resolve().exists()
    except (OSError, RuntimeError, ValueError) as error:
        raise ModelError(
            f"'{source[:80]}' can be no place of {model} ({error}): say where it is {where}"
        ) from error
    absolute = Path(source).is_absolute() or PureWindowsPath(source).is_absolute()
    if absolute and not there:
        raise ModelError(f"{model} is not in {source} any more: say where it is now {where}")


def _check_backbone(backbone: Backbone, card: Card) -> None:
    """Refuse a model that is not the one which every feature of it was made with."""
    model = backbone.name
    for width, spec, origin in zip(card.widths, card.specs, card.origins, strict=True):
        if origin.model != model:
            continue
        difference = spec.difference(backbone.spec, "head")
        # OPT's `last` may be narrower than its blocks: what it is shows when it is made.
        if width != backbone.width and "last" not in {layer for _, layer in origin.layers}:
            difference.append(f"width: {width} in the head, {backbone.width} now")
        if difference:
            raise MismatchError(
                f"{model} is not the model that this head was trained on "
                f"({'; '.join(difference)}): say where that one is with --model {model}=FOLDER"
            )
        for layer in _layers([origin]):
            if layer not in backbone.layers:
                raise ModelError(f"{model} has no layer {layer}, which this head reads")
        if backbone.own is None and "own/last" in origin.arrays:
            raise ModelError(f"{model} has no pooled vector of its own, which this head reads")


def _layers(origins: Iterable[Origin]) -> list[Layer]:
    """The layers that features are made of; a stranger's head may name any pooling."""
    layers: list[Layer] = []
    for origin in origins:
        try:
            named = origin.layers
        except ValueError as error:
            raise ModelError(str(error)) from error
        for pool, layer in named:
            if pool not in POOLINGS and (pool, layer) != ("own", "last"):
                raise ModelError(f"no pooling of layer {layer} is called {pool}")
        layers += [layer for _, layer in named]
    return layers


def _settings(spec: Spec) -> dict[str, Any]:
    """The settings that load a model as it was when its features were made."""
    return {name: getattr(spec, name) for name in Spec.settings()}


def _embed(
    backbone: Backbone, origins: Sequence[Origin], texts: Sequence[str]
) -> dict[str, NDArray[Any]]:
    """The (N, D) values of `model/pool/layer`, in the precision in which the cache keeps them."""
    dtypes = {
        name: dtype_of(dtype)
        for origin in origins
        for name, dtype in zip(origin.arrays, origin.dtypes, strict=True)
    }
    budget = BATCH_TOKENS[backbone.on_gpu]
    try:
        values = embed_block(backbone, texts, list(dtypes), dtypes, budget)
    except NotFiniteRow as error:
        different = list(dict.fromkeys(texts))  # it counts equal texts once
        raise NotFiniteError(
            f"{backbone.name}, {error.array}: the values of {_start(different[error.row])} reach "
            f"{error.largest:g}, beyond all that the head was trained on"
        ) from error
    return {f"{backbone.name}/{name}": widened(values[name]) for name in dtypes}


def _portions(texts: Iterable[str], rows: int) -> Iterator[list[str]]:
    remaining = (text_of(text, "the texts", number) for number, text in enumerate(texts))
    while some := list(islice(remaining, rows)):
        yield some


def _start(text: str) -> str:
    return repr(text if len(text) < 40 else f"{text[:40]}...")
