"""What `gpu.py` measures: a model on a device, texts for it, and how fast both could be at best."""

import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lefcache.extract import Backbone, Encoded
from lefcache.extract.batching import plan_batches
from lefcache.extract.huggingface import HuggingFaceBackbone
from lefcache.extract.models import resolve_model
from lefcache.extract.packing import PACKED
from lefcache.extract.quick import quick
from lefcache.spec import Spec

WORDS = 1000
MAX_LENGTH = 512
# Tokens of a text at the 0, 10, 20, ... 100 % of the training texts, roughly, with Mistral's BOS.
LENGTHS = {
    "SST-2-like": (3, 4, 5, 7, 9, 11, 15, 19, 25, 34, 66),
    "R8-like": (12, 35, 48, 58, 70, 85, 105, 130, 175, 270, 512),
}
POOLS = {"one": ("mean",), "two": ("mean", "last")}


@dataclass(frozen=True)
class Size:
    """How large the model, the data and the measurements are."""

    shape: dict[str, int]
    rows: dict[str, int]
    sample: int  # every so many-th batch goes through the model once per layer
    staged: int  # and through the stages one by one
    product: int  # rows and columns of the large matrices
    written: int  # bytes, to measure the disk
    rounds: int
    batch_tokens: int | None = None
    block_rows: int | None = None


SIZES = {
    "mistral": Size(
        {
            "vocab_size": 32_000,
            "hidden_size": 4096,
            "intermediate_size": 14_336,
            "num_hidden_layers": 32,
            "num_attention_heads": 32,
            "num_key_value_heads": 8,
        },
        {"SST-2-like": 20_480, "R8-like": 3072},
        sample=24,
        staged=4,
        product=8192,
        written=2 << 30,
        rounds=3,
    ),
    "tiny": Size(
        {
            "vocab_size": 2000,
            "hidden_size": 64,
            "intermediate_size": 128,
            "num_hidden_layers": 4,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
        },
        {"SST-2-like": 192, "R8-like": 24},
        sample=3,
        staged=1,
        product=256,
        written=4 << 20,
        rounds=1,
        block_rows=64,
    ),
}


class Bench:
    """One model on one device, and the clock that waits for it."""

    def __init__(self, size: Size, device: torch.device, dtype: torch.dtype, folder: Path) -> None:
        self.size, self.device, self.dtype, self.folder = size, device, dtype, folder
        self.backbone = make_backbone(size, device, dtype)
        self.packed = packed(self.backbone)
        self.arrays = {
            name: [f"{pool}/{layer}" for layer in self.backbone.layers for pool in pools]
            for name, pools in POOLS.items()
        }

    def seconds(self, run: Callable[[], Any]) -> float:
        """How long one call takes until the device has done its work."""
        self.wait()
        start = time.perf_counter()
        run()
        self.wait()
        return time.perf_counter() - start

    def wait(self) -> None:
        """Return when the device is idle."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def peak(self, run: Callable[[], Any]) -> tuple[float, int]:
        """Seconds of one call, and the most bytes that the device held meanwhile."""
        on_gpu = self.device.type == "cuda"
        if on_gpu:
            torch.cuda.reset_peak_memory_stats(self.device)
        took = self.seconds(run)
        return took, torch.cuda.max_memory_allocated(self.device) if on_gpu else 0


def make_backbone(size: Size, device: torch.device, dtype: torch.dtype) -> HuggingFaceBackbone:
    """Random weights of a Mistral, made on the device, and a tokenizer of numbered words."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import AutoModel, MistralConfig, PreTrainedTokenizerFast

    vocabulary = {word: n for n, word in enumerate(["<s>", *(f"w{n}" for n in range(WORDS))])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="w0"))  # noqa: S106
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", 0)]
    )
    special = {"bos_token": "<s>", "pad_token": "<s>", "unk_token": "w0"}
    words = PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special)
    torch.manual_seed(0)
    config = MistralConfig(**size.shape, sliding_window=None, use_cache=False)
    with torch.device(device):
        network = AutoModel.from_config(config, dtype=dtype)
    network = network.eval().requires_grad_(False)
    spec = Spec(
        weights="random", tokenizer="words", max_length=MAX_LENGTH, dtype=str(dtype).split(".")[1]
    )
    # Any folder: nothing is read from it.
    source = resolve_model(f"bench={tempfile.gettempdir()}", None)
    return HuggingFaceBackbone(source, spec, words, network, config.num_hidden_layers, [])


def packed(backbone: HuggingFaceBackbone) -> HuggingFaceBackbone:
    """The same network, its texts packed into one row, held against itself first."""
    other = copy(backbone)
    other.spec = replace(backbone.spec, attention=PACKED)
    quick(other)
    return other


def draw(kind: str, rows: int) -> list[str]:
    """Different texts of random words, their lengths in tokens by the quantiles of a data set."""
    generator = np.random.default_rng(7)
    marks = np.linspace(0, 1, len(LENGTHS[kind]))
    lengths = np.interp(generator.random(rows), marks, LENGTHS[kind]).round().astype(int)
    return [" ".join(f"w{n}" for n in generator.integers(0, WORDS, t - 1)) for t in lengths]


def batches_of(
    backbone: Backbone, texts: Sequence[str], block_rows: int, budget: int
) -> list[list[Encoded]]:
    """The very batches that extraction makes of the texts."""
    batches = []
    for start in range(0, len(texts), block_rows):
        encoded = backbone.tokenize(list(dict.fromkeys(texts[start : start + block_rows])))
        plan = plan_batches([len(each) for each in encoded], budget)
        batches += [[encoded[i] for i in batch] for batch in plan]
    return batches


def work(bench: Bench) -> float:
    """Floating point operations for one token: two for each number of the blocks' matrices."""
    blocks = bench.backbone.blocks
    assert blocks is not None
    return 2.0 * sum(weight.numel() for weight in blocks.parameters() if weight.dim() == 2)


def matrix_rate(bench: Bench) -> float:
    """Operations per second of a large product in the model's arithmetic."""
    side = bench.size.product
    one = torch.randn(side, side, device=bench.device, dtype=bench.dtype)
    for _ in range(3):
        one @ one
    times = [bench.seconds(lambda: one @ one) for _ in range(20)]
    return 2.0 * side**3 / statistics.median(times)


def disk_rate(bench: Bench) -> float:
    """Bytes per second that reach the disk of the cache."""
    part = os.urandom(1 << 20) * max(1, min(64, bench.size.written >> 20))
    path = bench.folder / "disk"

    def write() -> None:
        with path.open("wb") as stream:
            for _ in range(bench.size.written // len(part)):
                stream.write(part)
            stream.flush()
            os.fsync(stream.fileno())

    took = bench.seconds(write)
    path.unlink()
    return bench.size.written / took
