"""Long texts in windows: cut apart for a model, their vectors put together after it."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from lefcache.errors import ModelError
from lefcache.extract.backbone import Encoded
from lefcache.spec import Spec

WINDOWS = "windows"  # the value of `Spec.long`


def check_windows(spec: Spec, tokenizer: Any, name: str) -> None:
    """Refuse windows where a text's own tokens cannot be told, or a side to cut at is named."""
    if spec.long != WINDOWS:
        return
    if not tokenizer.is_fast:
        raise ModelError(f"{name}: windows need a fast tokenizer; leave --long {WINDOWS} out")
    if spec.truncation_side == "left":
        raise ModelError(
            f"windows cut nothing off: leave out --truncation-side left, or --long {WINDOWS}"
        )


def in_windows(encoding: Any, limit: int, start: int, stop: int, length: int) -> list[list[int]]:
    """The token ids of a text in as many windows as it takes, each of at most `limit` tokens.

    The text is the characters start..stop of the `length` that were tokenised. All that stands
    around it (the tokenizer's special tokens, a prompt, an instruction, a chat template) is in
    every window, so that each is read as a short text would be. They do not overlap.
    """
    ids: list[int] = encoding.ids
    if len(ids) <= limit:
        return [ids]
    own = [
        place
        for place, ((begin, end), special) in enumerate(
            zip(encoding.offsets, encoding.special_tokens_mask, strict=True)
        )
        if not special and (end > start or start == 0) and (begin < stop or stop == length)
    ]
    head, tail = (own[0], len(ids) - own[-1] - 1) if own else (0, 0)
    # There is room for a text. But blanks of its own may claim to stand beside it, and before it
    # a prompt may be split into more tokens than alone.
    tail = min(tail, limit - 1)
    head = min(head, limit - tail - 1)
    size, end = limit - head - tail, len(ids) - tail
    return [ids[:head] + ids[at : min(at + size, end)] + ids[end:] for at in range(head, end, size)]


def together(windows: Sequence[Encoded]) -> Encoded:
    """A text of one window or more."""
    return replace(windows[0], rest=tuple(windows[1:]))


class Windows:
    """The vectors of a block's texts from those of their windows, in whatever batch each one is.

    The windows of a text are pooled one by one. `first` is then the first one's, `last` the last
    one's, `max` the largest of all; a mean is that over all tokens that the windows pool.
    `rows` are all windows. Only texts that lack some of theirs are kept here.
    """

    def __init__(self, encoded: Sequence[Encoded]) -> None:
        self.encoded = encoded
        self.rows = [window for each in encoded for window in each.windows]
        self._place = [
            (text, number) for text, each in enumerate(encoded) for number in range(each.count)
        ]
        self._left = [each.count for each in encoded]
        self._tokens = {  # of texts with several windows, with BOS and without
            text: [sum(window.pooled(bare) for window in each.windows) for bare in (False, True)]
            for text, each in enumerate(encoded)
            if each.rest
        }
        self._begun: dict[int, dict[str, Tensor]] = {}

    def join(
        self, batch: Sequence[int], arrays: Sequence[str], parts: Sequence[Tensor]
    ) -> tuple[list[int], list[Tensor]]:
        """The texts that are whole with a batch of windows, and their values (texts, D).

        The result depends on the order of batches, and that on the block alone.
        """
        texts = [self._place[row][0] for row in batch]
        alone = [at for at, text in enumerate(texts) if text not in self._tokens]
        if len(alone) == len(batch):
            return texts, list(parts)
        whole = [texts[at] for at in alone]
        vectors = [[part[alone]] for part in parts]
        for at, text in enumerate(texts):
            if text not in self._tokens:
                continue
            sums = self._begun.setdefault(text, {})
            for name, part in zip(arrays, parts, strict=True):
                self._add(sums, name, part[at], batch[at])
            self._left[text] -= 1
            if self._left[text] == 0:
                whole.append(text)
                done = self._begun.pop(text)
                for name, vector in zip(arrays, vectors, strict=True):
                    vector.append(done[name][None])
        return whole, [torch.cat(vector) for vector in vectors]

    def _add(self, sums: dict[str, Tensor], name: str, vector: Tensor, row: int) -> None:
        """Add one window's vector (D,) of an array to what its text has so far."""
        pool = name.partition("/")[0]
        text, number = self._place[row]
        if pool in ("first", "last"):
            if number == (0 if pool == "first" else self.encoded[text].count - 1):
                sums[name] = vector.clone()
            return
        if pool == "max":
            sums[name] = torch.maximum(sums.get(name, vector), vector)
            return
        bare = pool == "mean_nobos"
        share = vector * (self.rows[row].pooled(bare) / self._tokens[text][bare])
        sums[name] = sums[name] + share if name in sums else share
