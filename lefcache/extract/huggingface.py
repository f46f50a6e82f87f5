"""Any Hugging Face encoder, decoder or T5 as a Backbone."""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lefcache.errors import ModelError
from lefcache.extract.backbone import Deliver, Encoded
from lefcache.extract.blocks import Enough, agree, candidate_blocks, listening
from lefcache.extract.chat import OWN, TEXT, check_frame, frame_of, in_frame
from lefcache.extract.identity import architecture_of, provenance
from lefcache.extract.limits import clamp, first_position, token_rows
from lefcache.extract.memory import out_of_memory
from lefcache.extract.models import ModelSource
from lefcache.extract.packing import PACKED, Unpack, pack, packed_attention
from lefcache.extract.placement import Placement, input_device
from lefcache.extract.pooling import Pooling
from lefcache.extract.transfer import to_device
from lefcache.extract.windows import WINDOWS, check_windows, in_windows, together
from lefcache.feature import Layer
from lefcache.spec import Spec

PROBE = ["A cat sat on the mat.", "No."]  # two lengths, so that padding is part of the check
# What a model's own code raises where it wants more than text, or nothing of the sort.
UNFIT = (AttributeError, LookupError, RuntimeError, TypeError, ValueError)


class HuggingFaceBackbone:
    """A frozen transformers model, its blocks found once and checked on a probe.

    `depth` is that of the model; the network may be made of its first blocks only.
    """

    placement: Placement | None = None  # its temporary folder lives as long as the model does
    own: Pooling | None = None

    def __init__(
        self,
        model: ModelSource,
        spec: Spec,
        tokenizer: Any,
        network: nn.Module,
        depth: int,
        notes: list[str],
    ) -> None:
        self.name, self.source, self.notes = model.name, model.source, notes
        self.tokenizer, self.network = tokenizer, network
        config: Any = network.config
        self.device = input_device(network)
        self.on_gpu = self.device.type != "cpu"
        self.provenance = provenance(self.device, torch.get_num_threads())
        if architecture := architecture_of(config):
            self.provenance["architecture"] = architecture
        if spec.attention != PACKED:  # there, the model's own is what it is held against
            spec = replace(spec, attention=config._attn_implementation or "auto")
        if spec.chat_template:
            spec = _in_chat(spec, tokenizer, model.name)
        check_windows(spec, tokenizer, model.name)
        self.spec = clamp(spec, tokenizer, network, notes)
        tokenizer.truncation_side = self.spec.truncation_side
        self._pad = next(
            (i for i in (tokenizer.pad_token_id, tokenizer.eos_token_id) if i is not None), 0
        )
        around = tokenizer("")
        opener = around["input_ids"][:1]
        # What stands around a text may have a type of its own (XLNet's is 2); all else has 0.
        types = around.get("token_type_ids", ())
        self._types = dict(zip(around["input_ids"], types, strict=False))
        begins = {tokenizer.bos_token_id, tokenizer.cls_token_id}
        self._bos = opener[0] if opener and opener[0] in begins else None
        self._rows, self._first = token_rows(network), first_position(network)
        self.depth, self.loaded = depth, int(config.get_text_config().num_hidden_layers)
        if self.loaded < depth:
            notes.append(f"of its {depth} blocks only the first {self.loaded} are loaded")
        self._read_layers(self.loaded)

    @torch.inference_mode()
    def _read_layers(self, loaded: int) -> None:
        inputs = self._inputs(self.tokenize(PROBE))
        self.blocks: nn.ModuleList | None = None
        self.listed, normed = 0, True
        states, last = self._told(inputs)
        candidates = candidate_blocks(self.network, loaded)
        for blocks in candidates:
            if (verdict := agree(self.network, blocks, inputs)) is not None:
                self.blocks, (self.listed, normed) = blocks, verdict
                break
        # OPT may project its last state to another width than that of its blocks.
        self.width = max(int(each.shape[-1]) for each in (*states, last))
        if self.blocks is not None:
            every: tuple[Layer, ...] = tuple(range(loaded + 1))
            whole = loaded == self.depth
            self.layers = (*every, "last") if whole and normed else every
            # No norm after the first blocks is no norm after all of them.
            self.aliases: dict[str, Layer] = {} if normed else {"last": self.depth}
            return
        if self.spec.attention == PACKED:
            raise ModelError(
                f"{self.name} has no blocks to listen to: leave out --attention {PACKED}"
            )
        # Gemma 3n has four for each token, Funnel one for several tokens.
        tokens = inputs["input_ids"].shape
        if len(states) != loaded + 1 or any(each.shape[:-1] != tokens for each in states):
            raise ModelError(
                f"{self.name} does not report one state of each token for each of its layers"
            )
        # Without blocks to listen to, the raw last one cannot be told from the normed one.
        self.layers, self.aliases = (*range(loaded), "last"), {}
        why = "reports other states than its blocks hold" if candidates else "has no list of blocks"
        self.notes.append(f"{self.name} {why}: layer {self.depth} is only `last`")

    def _told(self, inputs: dict[str, Tensor]) -> tuple[tuple[Tensor, ...], Tensor]:
        """What the model reports of a batch: every layer's states, if it does, and its last."""
        try:
            output = self.network(**inputs, output_hidden_states=True)
            return tuple(output.hidden_states or ()), output.last_hidden_state
        except UNFIT as error:
            if isinstance(error, RuntimeError) and out_of_memory(error):
                raise
            raise ModelError(
                f"{self.source} cannot be run on text alone, as an encoder or decoder of "
                f"transformers can: {type(error).__name__}: {error}"
            ) from error

    def tokenize(self, texts: Sequence[str]) -> list[Encoded]:
        """Texts to tokens, the prompt and instruction in front, at most max_length in a window."""
        spec = self.spec
        if spec.long == WINDOWS:
            return self._in_windows(texts)
        read = [self._written(text) for text in texts]
        if spec.chat_template:
            every, cuts = in_frame(self.tokenizer, spec.chat_template, read, spec.max_length)
            return [
                Encoded(ids or [self._pad], bos=ids[:1] == [self._bos], cut=cut)
                for ids, cut in zip(every, cuts, strict=True)
            ]
        batch = self.tokenizer(
            read, truncation=True, max_length=spec.max_length, return_attention_mask=False
        )
        cuts = self._cuts(read, batch)
        skips = self._skips(batch) if spec.instruction else [0] * len(read)
        return [
            Encoded(ids or [self._pad], skip, bool(ids) and ids[0] == self._bos, cut)
            for ids, skip, cut in zip(batch["input_ids"], skips, cuts, strict=True)
        ]

    def _written(self, text: str) -> str:
        """A text as it is tokenised."""
        return self.spec.instruction + self.spec.prompt + text

    def _in_windows(self, texts: Sequence[str]) -> list[Encoded]:
        """Texts, whole, in windows, each with all that stands around a text."""
        spec = self.spec
        opens, _, closes = spec.chat_template.partition(TEXT)
        read = [f"{opens}{self._written(text)}{closes}" for text in texts]
        start = len(opens + spec.instruction + spec.prompt)
        batch = self.tokenizer(
            read,
            add_special_tokens=not spec.chat_template,
            return_attention_mask=False,
            verbose=False,  # it would warn of texts that are too long to be read at once
        )
        skips = self._skips(batch) if spec.instruction else [0] * len(read)
        every = [
            in_windows(encoding, spec.max_length, start, start + len(text), len(whole))
            for encoding, text, whole in zip(batch.encodings, texts, read, strict=True)
        ]
        return [
            together([Encoded(ids or [self._pad], skip, ids[:1] == [self._bos]) for ids in windows])
            for windows, skip in zip(every, skips, strict=True)
        ]

    def _cuts(self, texts: list[str], batch: Any) -> list[bool]:
        if batch.encodings is not None:
            return [bool(encoding.overflowing) for encoding in batch.encodings]
        limit = self.spec.max_length
        return [len(self.tokenizer(text)["input_ids"]) > limit for text in texts]

    def _skips(self, batch: Any) -> list[int]:
        """How many tokens lie in the instruction, BOS before it included."""
        if batch.encodings is None:
            raise ModelError(f"{self.name}: an instruction needs a fast tokenizer")
        end = len(self.spec.instruction)
        skips = []
        for encoding in batch.encodings:
            beyond = [i for i, (_, stop) in enumerate(encoding.offsets) if stop > end]
            skips.append(beyond[0] if beyond else len(encoding.ids) - 1)
        return skips

    def _inputs(self, batch: Sequence[Encoded]) -> dict[str, Tensor]:
        """Right-padded ids and mask, (B, T) each."""
        arrays = self._arrays(batch)
        return {name: to_device(array, self.device) for name, array in arrays.items()}

    def _arrays(self, batch: Sequence[Encoded]) -> dict[str, NDArray[np.int64]]:
        """What `_inputs` moves to the device."""
        longest = max(len(encoded) for encoded in batch)
        ids = np.full((len(batch), longest), self._pad, np.int64)
        mask = np.zeros((len(batch), longest), np.int64)
        for row, encoded in enumerate(batch):
            ids[row, : len(encoded)] = encoded.ids
            mask[row, : len(encoded)] = 1
        if self._rows is not None and ids.max() >= self._rows:
            self._refuse_token(ids, self._rows)
        arrays = {"input_ids": ids, "attention_mask": mask}
        if any(self._types.values()):
            arrays["token_type_ids"] = np.zeros_like(ids)
            for number, kind in self._types.items():
                arrays["token_type_ids"][ids == number] = kind
        return arrays

    def _refuse_token(self, ids: NDArray[np.int64], rows: int) -> None:
        """Say which text holds a token that the model has no vector of."""
        row, place = (int(each) for each in np.argwhere(ids >= rows)[0])
        token = self.tokenizer.convert_ids_to_tokens(int(ids[row, place]))
        raise ModelError(
            f"{self.name} has no vector of {token!r}, which its tokenizer knows: take it out of "
            f"the text {self.tokenizer.decode(ids[row], skip_special_tokens=False)[:80]!r}"
        )

    @torch.inference_mode()
    def forward(
        self, batch: Sequence[Encoded], layers: Collection[Layer], deliver: Deliver
    ) -> None:
        """One pass over the texts, packed or right-padded; see `Backbone.forward`."""
        if self.blocks is None:
            output = self.network(**self._inputs(batch), output_hidden_states=True)
            for layer in layers:
                last = layer == "last"
                deliver(layer, output.last_hidden_state if last else output.hidden_states[layer])
            return
        with self._fed(batch) as (inputs, apart):
            try:
                with listening(self.blocks, layers, lambda k, states: deliver(k, apart(states))):
                    output = self.network(**inputs)
            except Enough:
                return
            if "last" in layers:
                deliver("last", apart(output.last_hidden_state))

    @contextmanager
    def _fed(self, batch: Sequence[Encoded]) -> Iterator[tuple[dict[str, Any], Unpack]]:
        """What the network is fed of a batch, and how its states become (B, T, D) again."""
        if self.spec.attention != PACKED:
            yield self._inputs(batch), lambda states: states
            return
        inputs, apart = pack(self._arrays(batch), self._first, self.device)
        with packed_attention(self.network.config):
            yield inputs, apart

    def padded(self) -> "HuggingFaceBackbone":
        """The same model with its own attention, texts side by side: what packing is held to."""
        other = copy(self)
        other.spec = replace(self.spec, attention="auto")
        return other


def _in_chat(spec: Spec, tokenizer: Any, name: str) -> Spec:
    """The Spec with the chat template as it is fed, checked."""
    if spec.instruction:
        raise ModelError("an instruction has no place in a chat template: give it as the prompt")
    if spec.chat_template == OWN:
        spec = replace(spec, chat_template=frame_of(tokenizer, name))
    check_frame(spec.chat_template, tokenizer, name, spec.truncation_side)
    return spec
