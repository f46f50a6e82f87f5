"""Extraction on a GPU against the floor, the plain loop and one truncated pass per layer.

    python benchmarks/gpu.py                # Mistral-7B's shape on a GPU, 8 minutes at most
    python benchmarks/gpu.py --size tiny    # what a machine without one does anyway
    python benchmarks/gpu.py --json         # the document alone

Nothing is downloaded: random weights are made on the device, and texts of numbered words, whose
lengths are drawn from quantiles like those of SST-2 and R8, so that a word is a token. Contenders
take turns, figures are medians over the rounds, ratios are taken round by round.

    floor       the forward pass alone, over the very batches of lefcache, tokenised beforehand
    one, two    lefcache: texts to every layer on disk, pooled one way (mean) or two (mean, last)
    packed      lefcache pooled one way, with `--attention packed`: no padding in the model
    plain       `output_hidden_states`, data order, batches of 32, every layer mean-pooled and kept
    per layer   the model once for each layer, only as deep as that layer; a sample, scaled

The stages are timed one after the other, waiting for the device each time, on a sample, scaled;
writing is what the writing thread took. In an extraction they overlap, so that their sum is what
it would take without. The matrix rate is that of one large product. Of the model's work only its
matrices are counted, not attention itself. Padding is that of lefcache's batches, for each real
token: packing texts, of which the batches are the same ones, can gain no more.

The model, its texts and the rates are in gpu_bench.py, the contenders in gpu_contest.py.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from gpu_bench import LENGTHS, SIZES, Bench, disk_rate, matrix_rate
from gpu_contest import measure

# What is said of each figure of lefcache, and what it is to reach.
ROWS = (
    ("share_of_floor", "share of the floor", "0.95"),
    ("share_of_matrix_rate", "share of the matrix rate", "0.60"),
    ("times_plain", "times the plain loop", "2"),
    ("times_per_layer", "times one pass per layer", ""),
    ("padding", "padding for each real token", ""),
)


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
        for number, kind in enumerate(options.texts, 1):
            # What comes after the rounds takes about a fifth.
            share = (number - 0.2) / len(options.texts)
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
        for key, said, goal in ROWS:
            print(f"| {said} | {one[key]:.3f} | {two[key]:.3f} | {goal} |")
        for stage in one["stages"]:
            print(
                f"| seconds: {stage} | {one['stages'][stage]:.2f} | {two['stages'][stage]:.2f} | |"
            )
        print(f"| packed: times as fast | {each['packed_times_padded']:.3f} | | |")
        rates = [f"{kind['bytes_per_second'] / 1e9:.2f}" for kind in (one, two)]
        print(f"| GB/s to disk | {rates[0]} | {rates[1]} | |")
        for name, kind in each["lefcache"].items():
            if kind["disk_is_the_limit"]:
                print(f"\nThe disk is the limit of lefcache with poolings: {name}.")


def main() -> None:
    """Parse, run, print; `--json` for the document alone."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--size", choices=list(SIZES), help="mistral on a GPU, else tiny")
    parser.add_argument(
        "--texts", action="append", choices=list(LENGTHS), help="of which lengths (default: both)"
    )
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--minutes", type=float, default=8.0, help="no round begins that is later")
    parser.add_argument("--folder", help="where caches are written; the system's temporary one")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    options.texts = options.texts or list(LENGTHS)
    found = run(options)
    if options.json:
        print(json.dumps(found))
    else:
        report(found)


if __name__ == "__main__":
    main()
