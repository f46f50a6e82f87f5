"""Are texts turned into the tokens that the model was trained on: BOS once, cut where they must?"""

from collections.abc import Sequence
from typing import Any

from torch import nn

from lefcache.extract.backbone import Encoded
from lefcache.extract.checks.probe import TEXTS, Probe
from lefcache.extract.finding import Finding
from lefcache.extract.limits import token_rows
from lefcache.extract.windows import WINDOWS


def vocabulary(tokenizer: Any, network: nn.Module) -> Finding:
    """Every token that the tokenizer may give has its row in the model's table.

    Special tokens without one, which stand in no text, are a note: Gemma 3 shares its tokenizer
    with models that read images. A text that spells one is refused when it is met.
    """
    rows = token_rows(network)
    if rows is None:
        return Finding("vocabulary", "note", "the model has no table of tokens to compare with")
    known = tokenizer.get_vocab()
    beyond = {number: token for token, number in known.items() if number >= rows}
    found = f"token numbers up to {max(known.values(), default=0):,} for a table of {rows:,}"
    if not beyond:
        return Finding("vocabulary", "ok", found)
    if beyond.keys() <= _never_written(tokenizer):
        names = ", ".join(map(repr, list(beyond.values())[:4]))
        return Finding("vocabulary", "note", f"{found}: no text may hold {names}")
    return Finding(
        "vocabulary",
        "wrong",
        f"the tokenizer gives numbers up to {max(beyond):,} and the model has only {rows:,} tokens",
        "the tokenizer is that of another model: get both again, from the same place",
    )


def _never_written(tokenizer: Any) -> set[int]:
    """Special tokens that the tokenizer puts into no text and no padding by itself."""
    special = {number for number, each in tokenizer.added_tokens_decoder.items() if each.special}
    names = ("pad", "unk", "bos", "eos", "cls", "sep")
    return special - {getattr(tokenizer, f"{name}_token_id") for name in names}


def special(probe: Probe) -> Finding:
    """What the tokenizer puts around a text: once, and as the model's configuration says."""
    backbone = probe.backbone
    tokenizer, ids = backbone.tokenizer, list(probe.longest.ids)
    spelled = {number: token for token, number in tokenizer.get_vocab().items()}
    names = {number: spelled.get(number, str(number)) for number in ids}
    begin, end = _edges(tokenizer, probe)
    for side, edge, following in (("begin", begin, ids[1:2]), ("end", end, ids[-2:-1])):
        if edge is not None and edge in following:
            return Finding(
                "special tokens",
                "wrong",
                f"texts {side} with {names[edge]} twice",
                "the prompt, the chat template or the tokenizer adds it once too often: take it "
                "out of --prompt or --chat-template, or mend tokenizer.json",
            )
    around = [
        f"{word} {names[edge]!r}"
        for word, edge in (("begin with", begin), ("end in", end))
        if edge is not None
    ]
    found = f"texts {' and '.join(around)}" if around else "nothing is put around a text"
    odd = _odd(tokenizer, backbone.network.config, begin, end)
    return Finding("special tokens", "note" if odd else "ok", "; ".join([found, *odd]))


def _edges(tokenizer: Any, probe: Probe) -> tuple[int | None, int | None]:
    """The special tokens that the texts begin and end with; None where there is none."""
    ids = probe.longest.ids
    begin = ids[0] if ids[0] in {tokenizer.bos_token_id, tokenizer.cls_token_id} else None
    ends = len(ids) > 1 and ids[-1] in {tokenizer.eos_token_id, tokenizer.sep_token_id}
    return begin, ids[-1] if ends else None


def _odd(tokenizer: Any, config: Any, begin: int | None, end: int | None) -> list[str]:
    """Where tokenizer and config.json do not say the same."""
    config = config.get_text_config()
    lines = []
    for word, used, own in (
        ("bos_token_id", begin, tokenizer.bos_token_id),
        ("eos_token_id", end, tokenizer.eos_token_id),
    ):
        told = getattr(config, word, None)
        several: Sequence[Any] = told if isinstance(told, list | tuple) else [told]
        if used is not None and used == own and told is not None and used not in several:
            lines.append(f"config.json says {word} {told}, the tokenizer {used}")
    if begin is None and tokenizer.bos_token_id is not None:
        lines.append(f"the tokenizer knows {tokenizer.bos_token!r} and does not add it")
    return lines


def truncation(probe: Probe) -> Finding:
    """A text that is too long is cut to the limit and counted as cut, or read in windows."""
    backbone = probe.backbone
    limit = backbone.spec.max_length
    words = " ".join(TEXTS).split()
    long = " ".join((words * (1 + 4 * limit // len(words)))[: 4 * limit])
    [encoded] = backbone.tokenize([long])
    if backbone.spec.long == WINDOWS:
        return _in_windows(encoded, limit)
    if len(encoded) <= limit and encoded.cut:
        found = f"a text of {4 * limit:,} words is cut to {len(encoded):,} tokens"
        return Finding("truncation", "ok", found)
    what = "is not counted as cut" if len(encoded) <= limit else f"gives {len(encoded):,} tokens"
    return Finding(
        "truncation",
        "wrong",
        f"a text of {4 * limit:,} words {what}; the limit is {limit:,} tokens",
        "this tokenizer does not cut: cut the texts before, or use a fast tokenizer",
    )


def _in_windows(encoded: Encoded, limit: int) -> Finding:
    longest = max(map(len, encoded.windows))
    found = f"a text of {4 * limit:,} words is read in {encoded.count} windows of up to {longest:,}"
    if encoded.count > 1 and longest <= limit:
        return Finding("truncation", "ok", f"{found} tokens")
    fix = "this tokenizer cannot be cut apart: leave out --long windows"
    return Finding("truncation", "wrong", f"{found} tokens; the limit is {limit:,}", fix)
