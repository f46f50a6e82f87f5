"""From raw text to a label: a saved head together with the frozen models that feed it."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from lefcache.cache import CUT, TOKENS
from lefcache.columns import text_of
from lefcache.dtypes import dtype_of, widened
from lefcache.errors import CorpusError, MismatchError, ModelError, NotFiniteError
from lefcache.extract.backbone import Backbone
from lefcache.extract.embed import NotFiniteRow, embed_block
from lefcache.extract.order import BATCH_TOKENS, BLOCK_ROWS
from lefcache.restore import load_models
from lefcache.rows import mean_of
from lefcache.spec import Origin
from lefcache.train.card import Card
from lefcache.train.fit import device_of
from lefcache.train.head import Head, load_head

ROWS = {True: BLOCK_ROWS[True], False: 256}  # texts labelled together on a GPU, or not


@dataclass(frozen=True)
class Prediction:
    """What a head says of one text: the likeliest class, and how likely each one is.

    `cut`: the text is longer than a model of the head reads, which saw a part of it only.
    """

    text: str
    label: str
    probabilities: dict[str, float]
    cut: bool = False

    def to_json(self) -> dict[str, Any]:
        """The answer as plain values."""
        return {"text": self.text, "label": self.label, "probabilities": self.probabilities}


class Predictor:
    """A trained head with its backbones, each run only as deep as the head reads it.

    Args:
        head: one that has a card, from `train` or `load_head`.
        models: where a model is now, by its name in the head, if not where it was.
        device: of backbones and head: `auto`, `cpu`, `cuda` or a torch device.
        device_map: `auto` spreads a backbone over all GPUs, the memory and the disk.
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
        device_map: str = "none",
        trust_remote_code: bool = False,
    ) -> None:
        if head.card is None:
            raise ModelError("this head does not know its features: use one that `train` made")
        self.card: Card = head.card
        self.where = device_of(device)
        self.head = head.to(self.where).eval()
        self.backbones = load_models(
            self.card,
            models or {},
            device=device,
            device_map=device_map,
            trust_remote_code=trust_remote_code,
        )

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
        parts = [self._judge(some)[0] for some in _portions(texts, self.rows)]
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
            for text, shares, cut in zip(some, *self._judge(some), strict=True):
                named = dict(zip(self.classes, shares.tolist(), strict=True))
                yield Prediction(text, self.classes[int(shares.argmax())], named, bool(cut))

    def features(self, texts: Sequence[str]) -> list[NDArray[Any]]:
        """K features (N, D_k) of the texts, rounded as the cache has them."""
        return self._read(texts)[0]

    def _read(self, texts: Sequence[str]) -> tuple[list[NDArray[Any]], NDArray[np.bool_]]:
        """The features of the texts, and which texts (N,) a model cut."""
        stored: dict[str, NDArray[Any]] = {}
        cut = np.zeros(len(texts), bool)
        for model, backbone in self.backbones.items():
            origins = [origin for origin in self.card.origins if origin.model == model]
            stored |= _embed(backbone, origins, texts)
            cut |= (stored[f"{model}/{TOKENS}"] & CUT) != 0
        made = [
            mean_of(stored[f"{origin.model}/{name}"] for name in origin.arrays)
            for origin in self.card.origins
        ]
        if wrong := [each.shape[1] for each in made if each.shape[1] not in self.card.widths]:
            raise MismatchError(f"the head reads no feature of width {wrong[0]}: train it again")
        return made, cut

    def _judge(self, texts: Sequence[str]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Probabilities (N, C), and which texts (N,) were cut."""
        features, cut = self._read(texts)
        with torch.inference_mode():
            given = [torch.from_numpy(each).to(self.where) for each in features]
            logits = self.head(*(each.float() for each in given))
            shares: NDArray[np.float32] = logits.softmax(dim=1).cpu().numpy()
        if not np.isfinite(shares).all():
            worst = texts[int(np.isnan(shares).any(axis=1).argmax())]
            raise NotFiniteError(f"the head answers {_start(worst)} with no number: train it again")
        return shares, cut

    def __repr__(self) -> str:
        features = ", ".join(map(str, self.card.features))
        return f"<Predictor of {', '.join(self.classes)} from {features}>"


def load(
    folder: str | Path,
    *,
    revision: str | None = None,
    models: Mapping[str, str] | None = None,
    device: str = "auto",
    device_map: str = "none",
    trust_remote_code: bool = False,
) -> Predictor:
    """Read a head that `Head.save` or `lef fuse --save` wrote, and load its models.

    `folder` may also be `hub:owner/name`, with a branch, tag or commit there as `revision` or
    after an @. See `Predictor` for the other arguments. Raises StorageError or DamagedError where
    there is no head, and what `Predictor` raises.
    """
    return Predictor(
        load_head(folder, revision),
        models=models,
        device=device,
        device_map=device_map,
        trust_remote_code=trust_remote_code,
    )


def _embed(
    backbone: Backbone, origins: Sequence[Origin], texts: Sequence[str]
) -> dict[str, NDArray[Any]]:
    """The (N, D) values of `model/pool/layer`, as precise as the cache, and `model/tokens` (N,)."""
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
    return {f"{backbone.name}/{name}": widened(each) for name, each in values.items()}


def _portions(texts: Iterable[str], rows: int) -> Iterator[list[str]]:
    if isinstance(texts, str) or not isinstance(texts, Iterable):
        raise CorpusError(f"{texts!r} is no list of texts: write predict([text])")
    remaining = (text_of(text, "the texts", number) for number, text in enumerate(texts))
    while some := list(islice(remaining, rows)):
        yield some


def _start(text: str) -> str:
    return repr(text if len(text) < 40 else f"{text[:40]}...")
