"""Every layer of a large model under the paper's full recipe on a GPU, and one layer by itself.

    python benchmarks/sweep_gpu.py

The vectors are made up: training takes as long on them as on real ones. `together` trains all
layers as stacks in captured graphs; `one by one` is the plain loop, torch's Adam and a batch's rows
gathered on the GPU, on one layer, times the number of layers. Each is run for a few epochs and for
a few more: the difference is what an epoch takes, the rest what moving the rows takes, once, and
the recipe's 120 epochs are reckoned from both. `--whole` runs all of them together once, as a
check. Reading a cache from disk is no part of it.
"""

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from statistics import median
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


def made_up(layer: int, rows: int, width: int, split: str, where: torch.device) -> Table:
    """One layer's float16 vectors of two classes that lie a little apart; all have one corpus."""
    corpus = torch.Generator(where).manual_seed(int(split == "train"))
    labels = torch.randint(2, (rows,), generator=corpus, device=where)
    generator = torch.Generator(where).manual_seed(1 + layer)
    vectors = torch.randn(rows, width, generator=generator, device=where)
    vectors = (vectors + 0.05 * labels[:, None]).half()
    return Table(
        features=(Feature.parse(f"made-up:{layer}"),),
        rows=(vectors.cpu().numpy(),),
        labels=labels.cpu().numpy().astype(np.int32),
        classes=("a", "b"),
        specs=(SPEC,),
        texts=np.arange(rows, dtype=np.uint64),
        corpus="made-up",
        split=split,
    )


SPEC = Spec(weights="made up", tokenizer="")


def together(jobs: list[Job], recipe: Recipe, where: torch.device, memory: int | None) -> float:
    """Seconds for all heads, from rows in the memory of the host."""
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


@dataclass(frozen=True)
class Taken:
    """Seconds that hold for any number of epochs, and those of one more."""

    once: float
    an_epoch: float

    def whole(self) -> float:
        """Seconds of the recipe's epochs."""
        return self.once + EPOCHS * self.an_epoch


def taken(run: Callable[[Recipe], float], recipe: Recipe, times: int = 1) -> Taken:
    """Run for the recipe's epochs and for three times as many; `times` is how many stand for one.

    What is paid once is so for each of them: to the plain loop, too, rows are moved layer by layer.
    """
    few = recipe.epochs
    short, long = run(recipe), run(replace(recipe, epochs=3 * few))
    an_epoch = (long - short) / (2 * few)
    return Taken(times * (short - few * an_epoch), times * an_epoch)


def jobs_of(options: argparse.Namespace, where: torch.device) -> list[Job]:
    """A head on each layer."""
    few = max(2, options.rows // 77)
    return [
        Job(
            made_up(layer, options.rows, options.width, "train", where),
            made_up(layer, few, options.width, "validation", where),
        )
        for layer in range(options.layers)
    ]


def measure(jobs: list[Job], options: argparse.Namespace, precision: str) -> dict[str, Any]:
    """Both ways, alternating, and what 120 epochs of every layer come to."""
    where = device_of(options.device)
    recipe = Recipe(epochs=options.epochs, precision=precision)
    many = partial(together, jobs, where=where, memory=options.memory)
    many(replace(recipe, epochs=1))  # the device's libraries, and the first graph
    ours, plain = [], []
    for _ in range(options.rounds):
        ours.append(taken(many, recipe))
        plain.append(taken(partial(one_by_one, jobs[0], where=where), recipe, options.layers))
    ratios = sorted(b.whole() / a.whole() for a, b in zip(ours, plain, strict=True))
    return {
        "device": torch.cuda.get_device_name(where) if where.type == "cuda" else "cpu",
        "torch": torch.__version__,
        **{name: getattr(options, name) for name in ("layers", "rows", "width", "epochs")},
        **{name: getattr(options, name) for name in ("rounds", "matmul")},
        "precision": precision,
        "together_seconds": median(each.whole() for each in ours),
        "together_once": median(each.once for each in ours),
        "one_by_one_seconds": median(each.whole() for each in plain),
        "ratio": {"median": median(ratios), "lowest": ratios[0], "highest": ratios[-1]},
        "whole_seconds": many(replace(recipe, epochs=EPOCHS)) if options.whole else None,
    }


def main() -> None:
    """Parse, run, print; without a GPU the size is tiny, and says nothing of a GPU's."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    large = torch.cuda.is_available()
    parser.add_argument("--device", default="auto")
    parser.add_argument("--layers", type=int, default=33 if large else 3)
    parser.add_argument("--rows", type=int, default=67_349 if large else 400)
    parser.add_argument("--width", type=int, default=4096 if large else 32)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--whole", action="store_true", help="run the recipe's epochs once as well")
    parser.add_argument("--memory", type=int, help="bytes that a stack may take")
    parser.add_argument("--precision", default="float32,bfloat16" if large else "float32")
    parser.add_argument("--matmul", choices=["highest", "high"], default="high", help="high: TF32")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_float32_matmul_precision(options.matmul)
    jobs = jobs_of(options, device_of(options.device))
    for precision in options.precision.split(","):
        found = measure(jobs, options, precision)
        print(json.dumps(found) if options.json else said(found), flush=True)


def said(found: dict[str, Any]) -> str:
    """The figures of one precision for a person."""
    lines = [
        f"{found['device']}, {found['precision']}: {found['layers']} layers, "
        f"{found['rows']:,} x {found['width']:,}",
        f"together    {found['together_seconds']:,.0f} s of {EPOCHS} epochs, goal {GOAL_SECONDS}",
        f"one by one  {found['one_by_one_seconds']:,.0f} s",
        "ratio       {median:.2f} ({lowest:.2f}..{highest:.2f})".format(**found["ratio"])
        + f", goal {GOAL_RATIO}",
    ]
    if found["whole_seconds"] is not None:
        lines.insert(2, f"            {found['whole_seconds']:,.0f} s when all epochs were run")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
