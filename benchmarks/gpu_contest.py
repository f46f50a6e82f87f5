"""The contenders of `gpu.py` over the texts of one data set, in turn and stage by stage."""

import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from gpu_bench import MAX_LENGTH, POOLS, Bench, batches_of, draw, work

import lefcache
from lefcache.cache import Writer
from lefcache.corpus import Corpus, Split
from lefcache.extract import Backbone, Encoded, extract, place_order
from lefcache.extract.embed import embed_batch, embed_in_memory


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

    def lefcache(
        self, name: str, limit: int | None = None, backbone: Backbone | None = None
    ) -> None:
        """Every layer into a new cache on disk."""
        folder = Path(tempfile.mkdtemp(dir=self.bench.folder))
        commit = Writer.commit

        def timed(*arguments: Any) -> list[int]:
            start = time.perf_counter()
            sums = commit(*arguments)
            self.commits.append(time.perf_counter() - start)
            return sums

        self.commits.clear()
        Writer.commit = timed  # type: ignore[method-assign]
        try:
            cache = lefcache.open(folder)
            choices = {"pools": POOLS[name], "limit": limit, **self.cut()}
            extract(backbone or self.bench.backbone, self.corpus, cache, **choices)
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
            "packed": lambda: self.lefcache("one", backbone=self.bench.packed),
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
    for backbone in (bench.backbone, bench.packed):
        contest.lefcache("two", limit=len(contest.texts) // 8, backbone=backbone)
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
        "packed_times_padded": ratio(rounds, "one", "packed"),
        "lefcache": {},
    }
    for name, floor in (("one", "floor"), ("two", "floor of two")):
        stages = contest.stages(name)
        stages["write"] = statistics.median(each[name]["write"] for each in rounds)
        document["lefcache"][name] = {
            "share_of_floor": ratio(rounds, floor, name),
            "share_of_matrix_rate": contest.tokens / seconds[name] * work(bench) / rate,
            "padding": contest.padded[name] / contest.tokens - 1,
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
