"""Extraction on a GPU against the floor, the plain loop and one truncated pass per layer.

    python benchmarks/gpu.py                # Mistral-7B's shape on a GPU, 8 minutes at most
    python benchmarks/gpu.py --size tiny    # what a machine without one does anyway
    python benchmarks/gpu.py --json         # the document alone

Nothing is downloaded: random weights are made on the device, and texts of numbered words, whose
lengths are drawn from quantiles like those of SST-2 and R8, so that a word is a token. Contenders
take turns, figures are medians over the rounds, ratios are taken round by round.

    floor       the forward pass alone, over the very batches of lefcache, tokenised beforehand
    one, two    lefcache: texts to every layer on disk, pooled one way (mean) or two (mean, last)
    plain       `output_hidden_states`, data order, batches of 32, every layer mean-pooled and kept
    per layer   the model once for each layer, only as deep as that layer; a sample, scaled

The stages are timed one after the other, waiting for the device each time, on a sample, scaled;
writing is what the writing thread took. In an extraction they overlap, so that their sum is what
it would take without. The matrix rate is that of one large
product. Of the model's work only its matrices are counted, not attention itself.
"""

import argparse
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

import lefcache
from lefcache.cache import Writer
from lefcache.corpus import Corpus, Split
from lefcache.extract import Backbone, Encoded, extract, place_order
from lefcache.extract.batching import plan_batches
from lefcache.extract.embed import embed_batch, embed_in_memory
from lefcache.extract.huggingface import HuggingFaceBackbone
from lefcache.extract.models import resolve_model
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


class Contest:
    """The contenders over the texts of one data set."""

    def __init__(self, bench: Bench, kind: str) -> None:
        self.bench, self.kind = bench, kind
        self.texts = draw(kind, bench.size.rows[kind])
        self.corpus = Corpus("bench", (), {"train": Split(self.texts)})
        self.batches = {}
        for name, pools in POOLS.items():
            order = place_order(bench.backbone, self.corpus, pools=pools, **self.cut())
            self.batches[name] = batches_of(
                bench.backbone, self.texts, order.block_rows, order.batch_tokens
            )
        self.tokens = sum(len(each) for batch in self.batches["one"] for each in batch)
        self.padded = {
            name: sum(len(batch) * max(map(len, batch)) for batch in batches)
            for name, batches in self.batches.items()
        }
        self.commits: list[float] = []

    def cut(self) -> dict[str, int | None]:
        """How extraction is to cut the work."""
        size = self.bench.size
        return {"batch_tokens": size.batch_tokens, "block_rows": size.block_rows}

    def floor(self, name: str) -> None:
        """The forward pass alone."""
        for batch in self.batches[name]:
            self.forward(batch)

    def forward(self, batch: Sequence[Encoded]) -> None:
        """One pass of which nothing is kept."""
        self.bench.backbone.forward(batch, ["last"], lambda *_: None)

    def lefcache(self, name: str, limit: int | None = None) -> None:
        """Every layer into a new cache on disk."""
        folder = Path(tempfile.mkdtemp(dir=self.bench.folder))
        commit = Writer.commit

        def timed(*arguments: Any) -> None:
            start = time.perf_counter()
            commit(*arguments)
            self.commits.append(time.perf_counter() - start)

        self.commits.clear()
        Writer.commit = timed  # type: ignore[method-assign]
        try:
            cache = lefcache.open(folder)
            choices = {"pools": POOLS[name], "limit": limit, **self.cut()}
            extract(self.bench.backbone, self.corpus, cache, **choices)
        finally:
            Writer.commit = commit  # type: ignore[method-assign]
            shutil.rmtree(folder)

    @torch.inference_mode()
    def plain(self) -> None:
        """The loop that everybody writes first."""
        backbone, device, kept = self.bench.backbone, self.bench.device, []
        for start in range(0, len(self.texts), 32):
            batch = backbone.tokenizer(
                self.texts[start : start + 32],
                padding=True,
                truncation=True,
                max_length=MAX_LENGTH,
                return_tensors="pt",
            ).to(device)
            states = backbone.network(**batch, output_hidden_states=True).hidden_states
            mask = batch["attention_mask"][..., None]
            kept.append(torch.stack([(each * mask).sum(1) / mask.sum(1) for each in states]).cpu())

    def sample(self, name: str, every: int) -> tuple[list[list[Encoded]], float]:
        """Some of the batches, and the share of the tokens that is in them."""
        some = self.batches[name][::every]
        return some, sum(len(each) for batch in some for each in batch) / self.tokens

    def per_layer(self) -> float:
        """Seconds that a truncated pass for each layer would take over all texts."""
        sample, share = self.sample("one", self.bench.size.sample)

        def run() -> None:
            for layer in self.bench.backbone.layers:
                for batch in sample:
                    embed_in_memory(self.bench.backbone, batch, [f"mean/{layer}"])

        return self.bench.seconds(run) / share

    def round(self) -> dict[str, dict[str, float]]:
        """Seconds and peak bytes of each contender, once."""
        runs: dict[str, Callable[[], Any]] = {
            "floor": lambda: self.floor("one"),
            "one": lambda: self.lefcache("one"),
            "floor of two": lambda: self.floor("two"),
            "two": lambda: self.lefcache("two"),
            "plain": self.plain,
        }
        found = {}
        for name, run in runs.items():
            took, held = self.bench.peak(run)
            found[name] = {"seconds": took, "peak_bytes": held}
            if name in POOLS:
                found[name]["write"] = sum(self.commits)
        return found

    def stages(self, name: str) -> dict[str, float]:
        """Seconds of each stage on its own, without the others beside it."""
        bench, arrays = self.bench, self.bench.arrays[name]
        batches, share = self.sample(name, bench.size.staged)

        def each(run: Callable[[list[Encoded]], Any]) -> float:
            return bench.seconds(lambda: [run(batch) and None for batch in batches]) / share

        forward = each(self.forward)
        pooled = each(lambda batch: embed_batch(bench.backbone, batch, arrays))
        copied = each(lambda batch: embed_in_memory(bench.backbone, batch, arrays))
        return {
            "tokenise": bench.seconds(lambda: bench.backbone.tokenize(self.texts)),
            "forward": forward,
            "pool": max(0.0, pooled - forward),
            "copy": max(0.0, copied - pooled),
        }


def measure(bench: Bench, kind: str, rate: float, deadline: float) -> dict[str, Any]:
    """Everything about one data set: contenders in turn until the rounds or the time are over."""
    contest, rounds = Contest(bench, kind), []
    for batch in contest.batches["one"][:8]:  # kernels are chosen, memory is reserved
        contest.forward(batch)
    contest.lefcache("two", limit=len(contest.texts) // 8)
    longest = 0.0
    for _ in range(bench.size.rounds):
        if rounds and time.monotonic() + longest > deadline:
            break
        start = time.monotonic()
        rounds.append(contest.round())
        longest = max(longest, time.monotonic() - start)
        print(f"{kind}: round {len(rounds)} of {bench.size.rounds} done", file=sys.stderr)
    seconds = {n: statistics.median(each[n]["seconds"] for each in rounds) for n in rounds[0]}
    seconds["per layer"] = contest.per_layer()
    peaks = {n: max(each[n]["peak_bytes"] for each in rounds) for n in rounds[0]}
    numbers = len(contest.texts) * bench.backbone.width
    document: dict[str, Any] = {
        "data": kind,
        "rows": len(contest.texts),
        "tokens": contest.tokens,
        "rounds": len(rounds),
        "tokens_per_second": {n: contest.tokens / took for n, took in seconds.items()},
        "peak_bytes": peaks,
        "per_layer_sample": 1 / bench.size.sample,
        "lefcache": {},
    }
    for name, floor in (("one", "floor"), ("two", "floor of two")):
        stages = contest.stages(name)
        stages["write"] = statistics.median(each[name]["write"] for each in rounds)
        document["lefcache"][name] = {
            "share_of_floor": ratio(rounds, floor, name),
            "share_of_matrix_rate": contest.tokens / seconds[name] * work(bench) / rate,
            "padded_over_real": contest.padded[name] / contest.tokens,
            "batches": len(contest.batches[name]),
            "times_plain": ratio(rounds, "plain", name),
            "times_per_layer": seconds["per layer"] / seconds[name],
            "stages": stages,
            "bytes": numbers * 2 * len(bench.arrays[name]),
            "bytes_per_second": numbers * 2 * len(bench.arrays[name]) / seconds[name],
        }
    return document


def ratio(rounds: Sequence[dict[str, dict[str, float]]], one: str, other: str) -> float:
    """The median over the rounds of how many times longer `one` takes than `other`."""
    return statistics.median(each[one]["seconds"] / each[other]["seconds"] for each in rounds)


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


def run(options: argparse.Namespace) -> dict[str, Any]:
    """The whole benchmark as one document."""
    began = time.monotonic()
    device = torch.device(options.device)
    name = options.size or ("mistral" if device.type == "cuda" else "tiny")
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        bench = Bench(SIZES[name], device, dtype, Path(folder))
        rate, disk = matrix_rate(bench), disk_rate(bench)
        budget = options.minutes * 60 * 0.9 - (time.monotonic() - began)
        data, start = [], time.monotonic()
        for number, kind in enumerate(LENGTHS, 1):
            # What comes after the rounds takes about a fifth.
            share = (number - 0.2) / len(LENGTHS)
            data.append(measure(bench, kind, rate, start + budget * share))
    for each in data:
        for found in each["lefcache"].values():
            found["disk_is_the_limit"] = found["bytes_per_second"] > 0.8 * disk
    provenance = bench.backbone.provenance
    return {
        "size": name,
        "dtype": bench.backbone.spec.dtype,
        "attention": bench.backbone.spec.attention,
        **{key: provenance[key] for key in ("device", "torch", "transformers", "python")},
        "matrix_rate": rate,
        "disk_rate": disk,
        "seconds": time.monotonic() - began,
        "data": data,
    }


def report(found: dict[str, Any]) -> None:
    """Tables for a person, in Markdown."""
    print(
        f"\n{found['size']} shape, {found['dtype']}, {found['attention']}, on {found['device']}, "
        f"torch {found['torch']}, transformers {found['transformers']}; "
        f"one large product {found['matrix_rate'] / 1e12:,.2f} TFLOP/s, "
        f"disk {found['disk_rate'] / 1e9:,.2f} GB/s; {found['seconds']:,.0f} s in all"
    )
    for each in found["data"]:
        print(
            f"\n{each['data']}: {each['rows']:,} texts, {each['tokens']:,} tokens, "
            f"median of {each['rounds']} rounds\n\n"
            "| | tokens/s | peak device memory, GB |\n|---|--:|--:|"
        )
        for name, rate in each["tokens_per_second"].items():
            peak = each["peak_bytes"].get(name)
            said = f"{peak / 1e9:,.2f}" if peak else ""
            scaled = f" (from 1/{1 / each['per_layer_sample']:.0f})" if name == "per layer" else ""
            print(f"| {name}{scaled} | {rate:,.0f} | {said} |")
        one, two = each["lefcache"]["one"], each["lefcache"]["two"]
        print("\n| lefcache | one pooling | two | goal |\n|---|--:|--:|--:|")
        for key, goal in (
            ("share_of_floor", "0.95"),
            ("share_of_matrix_rate", "0.60"),
            ("times_plain", "2"),
            ("times_per_layer", ""),
            ("padded_over_real", ""),
        ):
            print(f"| {key.replace('_', ' ')} | {one[key]:.3f} | {two[key]:.3f} | {goal} |")
        for stage in one["stages"]:
            print(
                f"| seconds: {stage} | {one['stages'][stage]:.2f} | {two['stages'][stage]:.2f} | |"
            )
        rates = [f"{kind['bytes_per_second'] / 1e9:.2f}" for kind in (one, two)]
        print(f"| GB/s to disk | {rates[0]} | {rates[1]} | |")
        for name, kind in each["lefcache"].items():
            if kind["disk_is_the_limit"]:
                print(f"\nThe disk is the limit of lefcache with poolings: {name}.")


def main() -> None:
    """Parse, run, print; `--json` for the document alone."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--size", choices=list(SIZES), help="mistral on a GPU, else tiny")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--minutes", type=float, default=8.0, help="no round begins that is later")
    parser.add_argument("--folder", help="where caches are written; the system's temporary one")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found = run(options)
    if options.json:
        print(json.dumps(found))
    else:
        report(found)


if __name__ == "__main__":
    main()
