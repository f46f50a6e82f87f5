"""Texts as messages of a chat: in a template that stays whole where a text is cut."""

from collections.abc import Sequence
from typing import Any

from jinja2 import TemplateError

from lefcache.errors import ModelError

OWN = "own"  # the template that came with the tokenizer
TEXT = "{text}"  # where the text stands in a frame
# What a template ends in that does not know this message, or wants more of Python than it may
# have: transformers runs it in a sandbox.
REFUSED = (
    TemplateError,
    ArithmeticError,
    AttributeError,
    LookupError,
    MemoryError,
    RecursionError,
    TypeError,
    ValueError,
)


def frame_of(tokenizer: Any, name: str) -> str:
    """What the tokenizer's chat template puts around a user's message, up to the model's answer.

    It is kept as text, since a template may hold today's date, and a cache must be the same
    tomorrow. Raises ModelError for a tokenizer without a chat template.
    """
    if not getattr(tokenizer, "chat_template", None):
        raise ModelError(
            f"{name} has no chat template (only models that were tuned to chat have one): leave "
            f"--chat-template out, or write it yourself with {TEXT} where the text stands"
        )
    message = [{"role": "user", "content": TEXT}]
    try:
        frame: str = tokenizer.apply_chat_template(
            message, tokenize=False, add_generation_prompt=True
        )
    except REFUSED as error:
        raise ModelError(
            f"{name}: its chat template refuses a user's message ({error}): write it yourself with "
            f"--chat-template and {TEXT} where the text stands"
        ) from error
    return frame


def check_frame(frame: str, tokenizer: Any, name: str, truncation_side: str) -> None:
    """Refuse a frame that could not hold a text, or could not be kept whole."""
    if frame.count(TEXT) != 1:
        raise ModelError(
            f"the chat template {frame[:60]!r} holds {TEXT} {frame.count(TEXT)} times: write it "
            "once, where the text stands"
        )
    if not tokenizer.is_fast:
        raise ModelError(f"{name}: a chat template needs a fast tokenizer")
    if truncation_side == "left":
        raise ModelError("a chat template keeps both its ends: cut long texts on the right")


def in_frame(
    tokenizer: Any, frame: str, texts: Sequence[str], limit: int
) -> tuple[list[list[int]], list[bool]]:
    """The token ids of each text in its frame, and whether the text was cut to fit the limit.

    The frame holds its special tokens itself, so none are added. Of a long text the end is cut,
    never the frame after it, which is what the model answers to.
    """
    before, _, after = frame.partition(TEXT)
    read = [f"{before}{text}{after}" for text in texts]
    batch = tokenizer(read, add_special_tokens=False, return_attention_mask=False)
    ids, cuts = [], []
    for whole, encoding in zip(read, batch.encodings, strict=True):
        cut = len(encoding.ids) > limit
        tail = _tail(encoding.offsets, len(whole) - len(after)) if cut else 0
        kept = encoding.ids[: limit - tail] + encoding.ids[len(encoding.ids) - tail :]
        ids.append(kept if cut else encoding.ids)
        cuts.append(cut)
    return ids, cuts


def _tail(offsets: Sequence[tuple[int, int]], start: int) -> int:
    """How many of the last tokens begin at or after a character."""
    return sum(begin >= start for begin, _ in offsets)
