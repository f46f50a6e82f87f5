"""How many tokens of a text a model can read, and that they leave room for the text."""

import sys
from dataclasses import replace
from typing import Any

from torch import nn

from lefcache.errors import ModelError
from lefcache.extract.chat import in_frame
from lefcache.extract.windows import WINDOWS
from lefcache.spec import Spec

# A tokenizer without a limit says so with a huge number.
UNLIMITED = 1 << 30


def clamp(spec: Spec, tokenizer: Any, network: nn.Module, notes: list[str]) -> Spec:
    """Texts can be no longer than the model has positions for, and a note says so."""
    reads, turns = _positions(network), _unturned(network)
    limits = [tokenizer.model_max_length, reads, turns]
    limit = min([spec.max_length, *(int(each) for each in limits if each and 0 < each < UNLIMITED)])
    _leave_room(spec, tokenizer, limit)
    if limit < spec.max_length:
        how = "read in windows of" if spec.long == WINDOWS else "cut at"
        why = "the most this model reads"
        if limit == turns != reads:
            why = "as one that is longer would change the vectors of those beside it (long-RoPE)"
        notes.append(f"texts are {how} {limit} tokens, {why}")
    return replace(spec, max_length=limit)


def _positions(network: Any) -> int | None:
    """How many tokens a model has positions for; None where it says nothing of it.

    A table that has a row for padding is, since RoBERTa, read from the row after that one on.
    """
    positions = getattr(network.config, "max_position_embeddings", None)
    return positions - first_position(network) if positions else None


def first_position(network: nn.Module) -> int:
    """The position of a text's first token: 0, but after the row for padding if there is one."""
    unread = [
        module.padding_idx + 1
        for name, module in network.named_modules()
        if "position" in name.rpartition(".")[2]
        and isinstance(getattr(module, "padding_idx", None), int)
    ]
    return max(unread, default=0)


def _unturned(network: Any) -> int | None:
    """The length up to which a text's positions are its own; None where they always are.

    Long-RoPE turns the positions of all texts in a batch otherwise if one of them is longer.
    """
    rope = getattr(network.config.get_text_config(), "rope_parameters", None) or {}
    kinds = [rope, *(each for each in rope.values() if isinstance(each, dict))]
    lengths = [
        int(each["original_max_position_embeddings"])
        for each in kinds
        if each.get("rope_type") == "longrope"
    ]
    return min(lengths, default=None)


def token_rows(network: Any) -> int | None:
    """How many tokens the model has a vector of; None where it has no table of them."""
    try:
        table = network.get_input_embeddings()
    except NotImplementedError:
        return None
    return table.num_embeddings if isinstance(table, nn.Embedding) else None


def _leave_room(spec: Spec, tokenizer: Any, limit: int) -> None:
    """Refuse what would cut the text away instead of a part of it: every vector would be equal."""
    before = spec.instruction + spec.prompt
    if spec.chat_template:
        [ids], _ = in_frame(tokenizer, spec.chat_template, [before], sys.maxsize)
        taken = len(ids)
    else:
        taken = len(tokenizer(before)["input_ids"])
    around = before or spec.chat_template
    if limit <= taken:
        takes = "what stands around it and the tokenizer's own take"
        raise ModelError(
            f"max_length {limit} leaves no room for text: "
            f"{takes if around else 'the tokenizer itself adds'} {taken} tokens; give a higher "
            f"--max-length{' or a shorter prompt' if around else ''}"
        )
    if before and spec.truncation_side == "left":
        raise ModelError(
            f"truncation_side left would cut off {before[:40]!r}, which stands before each text: "
            "cut on the right, or give --prompt '' and no --instruction"
        )
