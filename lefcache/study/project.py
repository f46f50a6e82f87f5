"""What more texts or a larger model would take: bytes and seconds, by two formulas.

Bytes: texts x (layers x width x bytes of a number + 4 of tokens + 12 of label and text), vectors
filled up to whole chunks, and what says that each block and array is there. Seconds: tokens x 2 x
parameters / rate, with 12 x depth x width squared for the parameters of the blocks: a linear layer
multiplies and adds once for each weight. Attention over T tokens adds about T / (6 x width) of
that, which is left out, and so are embeddings, which are looked up.
"""

from dataclasses import asdict, dataclass
from typing import Any

from lefcache.cache import Cache
from lefcache.cache.begin import chunk_rows
from lefcache.cache.documents import described
from lefcache.dtypes import dtype_of
from lefcache.errors import RecipeError

BLOCK_ROWS = 1024
NODE = 640  # bytes of metadata of an array
OF_A_TEXT = 12  # bytes of its label and its hash, which all models share
ENTRY = 4  # bytes of a token count, of a checksum and of a magnitude


@dataclass(frozen=True)
class Rate:
    """How fast one extraction of this cache ran: `flops` are those of the formula, a second."""

    model: str
    corpus: str
    flops: float
    tokens: int
    seconds: float
    tokens_a_text: float


@dataclass(frozen=True)
class Projection:
    """What extracting every layer of a model over so many texts would take.

    `bytes` are for each type that numbers may be stored in. `layers` counts the embeddings too, so
    that the model has one block fewer; of a single layer nobody knows what model it is of, and
    `parameters` is 0. `seconds` is None where these or the rate are not known.
    """

    rows: int
    layers: int
    width: int
    bytes: dict[str, int]
    parameters: float
    tokens: float | None
    rate: float | None
    seconds: float | None

    def to_json(self) -> dict[str, Any]:
        """The fields as plain values."""
        return asdict(self)


def bytes_on_disk(rows: int, layers: int, width: int, dtype: str) -> int:
    """Bytes of one split with every layer of one model in the type `dtype`."""
    item = dtype_of(dtype).itemsize
    chunk = chunk_rows(rows, width, item, BLOCK_ROWS)
    padded, blocks = -(-rows // chunk) * chunk, -(-rows // BLOCK_ROWS)
    arrays = layers + 1  # and the tokens
    vectors = padded * (layers * width * item + ENTRY)
    return vectors + rows * OF_A_TEXT + blocks * ENTRY * (2 * arrays + 2) + arrays * NODE


def parameters_of(depth: int, width: int) -> float:
    """Weights of so many transformer blocks: 4 squares for attention, 8 for the feed-forward."""
    return 12.0 * depth * width**2


def embed_time(tokens: float, parameters: float, rate: float) -> float:
    """Seconds for so many tokens at `rate` floating-point operations a second."""
    return tokens * 2 * parameters / rate


def measured_rate(cache: Cache) -> Rate | None:
    """The rate of the largest model whose extraction was timed; None where none was.

    Larger models keep a processor busier, so that of a larger one still is at least that.
    """
    models = {
        (corpus, model): described(cache.store, f"{corpus}/{model}")
        for corpus in cache
        for model in cache[corpus]
    }
    found = [
        _rate(*names, attrs)
        for names, attrs in models.items()
        if any(each["seconds"] > 0 for each in attrs.get("work", {}).values())
    ]
    return max(found, key=lambda pair: pair[0])[1] if found else None


def _rate(corpus: str, model: str, attrs: dict[str, Any]) -> tuple[tuple[float, int], Rate]:
    parts = attrs["work"].values()
    rows, tokens, seconds = (
        sum(each[name] for each in parts) for name in ("rows", "tokens", "seconds")
    )
    parameters = parameters_of(attrs["depth"], attrs["width"])
    rate = Rate(model, corpus, tokens * 2 * parameters / seconds, tokens, seconds, tokens / rows)
    return (parameters, tokens), rate


def project(
    rows: int,
    layers: int,
    width: int,
    *,
    tokens_a_text: float | None = None,
    rate: float | None = None,
    parameters: float | None = None,
) -> Projection:
    """What every layer of a model over so many texts would take.

    Args:
        rows: texts.
        layers: that are kept, with layer 0: 33 of a model of 32 blocks.
        width: numbers of a vector.
        tokens_a_text: on average.
        rate: floating-point operations a second.
        parameters: of the blocks, where 12 x depth x width squared is wrong: wider feed-forwards.

    Raises RecipeError for fewer than one of anything.
    """
    if min(rows, layers, width) < 1:
        raise RecipeError("--project takes texts x layers x width, such as 1000000x33x4096")
    weights = parameters or parameters_of(layers - 1, width)
    tokens = None if tokens_a_text is None else rows * tokens_a_text
    known = bool(tokens and rate and weights)
    return Projection(
        rows=rows,
        layers=layers,
        width=width,
        bytes={
            name: bytes_on_disk(rows, layers, width, name)
            for name in ("float32", "float16", "bfloat16")
        },
        parameters=weights,
        tokens=tokens,
        rate=rate,
        seconds=embed_time(tokens or 0, weights, rate or 0) if known else None,
    )
