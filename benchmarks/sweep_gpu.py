"""Every layer of a large model under the paper's full recipe on a GPU, and one layer by itself.

    python benchmarks/sweep_gpu.py

The vectors are made up: training takes as long on them as on real ones. `together` trains all
layers as stacks in captured graphs; `one by one` is the plain loop, torch's Adam and a batch's rows
gathered on the GPU, on one layer, times the number of layers. Both do `--epochs` epochs, and their
seconds are multiplied up to the recipe's 120. Reading a cache from disk is no part of it.
"""

import argparse
import json
import time
from typing import Any

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from lefcache.feature import Feature
from lefcache.rows import Table
from lefcache.spec import Spec
from lefcache.train import Recipe
from lefcache.train.fit import Job, device_of, train_all
from lefcache.train.head import new_head

EPOCHS = 120
GOAL_SECONDS, GOAL_RATIO = 240, 5


def made_up(layer: int, rows: int, width: int, split: str) -> Table:
    """One layer's float16 vectors of two classes that lie a little apart."""
    generator = torch.Generator().manual_seed(2 * layer + (split == "train"))
    labels = torch.randint(2, (rows,), generator=generator)
    vectors = torch.randn(rows, width, generator=generator) + 0.05 * labels[:, None]
    return Table(
        features=(Feature.parse(f"made-up:{layer}"),),
        rows=(vectors.half().numpy(),),
        labels=labels.numpy().astype(np.int32),
        classes=("a", "b"),
        specs=(SPEC,),
        texts=np.arange(rows, dtype=np.uint64),
        corpus="made-up",
        split=split,
    )


SPEC = Spec(weights="made up", tokenizer="")


def together(jobs: list[Job], recipe: Recipe, where: torch.device, memory: int | None) -> float:
    """Seconds for all heads."""
    start = time.perf_counter()
    assert len([*train_all(jobs, recipe, device=where, memory=memory)]) == len(jobs)
    return time.perf_counter() - start


def one_by_one(job: Job, recipe: Recipe, where: torch.device) -> float:
    """Seconds for one head by the plain loop."""
    start = time.perf_counter()
    rows = torch.from_numpy(job.table.rows[0]).to(where)
    labels = torch.from_numpy(job.table.labels).long().to(where)
    head = new_head(job.table.widths, 2, recipe).to(where)
    optimiser = torch.optim.Adam(head.parameters(), lr=recipe.lr)
    for _ in range(recipe.epochs):
        for chosen in torch.randperm(len(rows), device=where).split(recipe.batch):
            optimiser.zero_grad()
            cross_entropy(head(rows[chosen].float()), labels[chosen]).backward()
            optimiser.step()
    float(next(head.parameters()).detach().sum())  # waits for the GPU
    return time.perf_counter() - start


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Both ways, alternating, and what 120 epochs of every layer come to."""
    where = device_of(options.device)
    torch.set_float32_matmul_precision(options.matmul)
    recipe = Recipe(epochs=options.epochs, precision=options.precision)
    jobs = [
        Job(
            made_up(layer, options.rows, options.width, "train"),
            made_up(layer, max(2, options.rows // 77), options.width, "validation"),
        )
        for layer in range(options.layers)
    ]
    found = []
    for _ in range(options.rounds):
        all_of_them = together(jobs, recipe, where, options.memory)
        found.append((all_of_them, options.layers * one_by_one(jobs[0], recipe, where)))
    scale = EPOCHS / options.epochs
    ratios = sorted(plain / ours for ours, plain in found)
    return {
        "device": torch.cuda.get_device_name(where) if where.type == "cuda" else "cpu",
        "layers": options.layers,
        "rows": options.rows,
        "width": options.width,
        "epochs": options.epochs,
        "precision": options.precision,
        "matmul": options.matmul,
        "together_seconds": scale * sorted(ours for ours, _ in found)[len(found) // 2],
        "one_by_one_seconds": scale * sorted(plain for _, plain in found)[len(found) // 2],
        "ratio": {"median": ratios[len(ratios) // 2], "lowest": ratios[0], "highest": ratios[-1]},
    }


def main() -> None:
    """Parse, run, print; without a GPU the size is tiny, and says nothing of a GPU's."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    large = torch.cuda.is_available()
    parser.add_argument("--device", default="auto")
    parser.add_argument("--layers", type=int, default=33 if large else 3)
    parser.add_argument("--rows", type=int, default=67_349 if large else 400)
    parser.add_argument("--width", type=int, default=4096 if large else 32)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--memory", type=int, help="bytes that a stack may take")
    parser.add_argument("--precision", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--matmul", choices=["highest", "high"], default="high", help="high: TF32")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found = measure(options)
    if options.json:
        print(json.dumps(found))
        return
    print(f"{found['device']}: {found['layers']} layers, {found['rows']:,} x {found['width']:,}")
    print(f"together    {found['together_seconds']:,.0f} s of {EPOCHS} epochs, goal {GOAL_SECONDS}")
    print(f"one by one  {found['one_by_one_seconds']:,.0f} s")
    spread = "{lowest:.2f}..{highest:.2f}".format(**found["ratio"])
    print(f"ratio       {found['ratio']['median']:.2f} ({spread}), goal {GOAL_RATIO}")


if __name__ == "__main__":
    main()
