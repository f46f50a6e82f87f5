"""Which score of two features foretells what fusing them gains, asked of real data.

    python benchmarks/pairs.py --cache CACHE --models minilm,smalldecoder [--only mr,r8]

CACHE holds all layers of the two models over mr, r8, r52 and sst2 (`lef extract`). On each, the
pairs are settled beforehand: layers 0, 2, 4, 6 and the last one of each model, every one of the
first model with every one of the second, and within a model each with the next. All of them, and
each feature alone, are trained by the same heads as those of `benchmarks/fusion.py`, three seeds of
each, by hadamard-res. Every head is kept in the cache's results by its id, so an interrupted run
goes on where it was; `benchmarks/results/pairs.md` and `.json` are written anew after each corpus.

The scores are those of `lef pairs`, from train and validation; they are held against the gain on
the test over that one of the two which is better on validation. SST-2 takes part with a fixed
stratified choice of 8,000 of its training rows. Two cores take some hours.

It also times 21 pairs of seven features on 10,000 rows, by leave-one-out and in a process of its
own: real ones of the corpus that comes last, and made-up ones 4,096 wide, which are projected.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import numpy as np
from fusion import CORPORA, EARLY, RESULTS, WIDTH, Job
from pairs_findings import summarised
from pairs_report import write

import lefcache
from lefcache import Cache, Feature
from lefcache import results as store
from lefcache.rows import Table
from lefcache.spec import Spec
from lefcache.study import Fused, Pairs, compare, pairs

LAYERS = (0, 2, 4, 6)
OP = "hadamard-res"
TIMED, TIMED_ROWS, MADE_UP = 7, 10_000, 4096

FIGURES = ("n_train", "n_val", "n_test", "selected_by", "seconds")

Couple = tuple[str, str]


def features_of(cache: Cache, model: str, corpus: str) -> list[str]:
    """The layers of LAYERS that a model has, and its last one."""
    every = cache.features(f"{model}:all", corpus)
    return [str(each) for each in every if each.layer in LAYERS or each is every[-1]]


def couples_of(models: list[list[str]]) -> Iterator[Couple]:
    """Every feature of a model with every one of the next, and each with the next of its own."""
    for one, other in pairwise(models):
        yield from product(one, other)
    for mine in models:
        yield from pairwise(mine)


def ask(cache: Cache, models: list[str], corpus: str, trial: bool) -> dict[str, Any]:
    """Train what is needed on a corpus; what was told of each pair, and what came of it."""
    rows = CORPORA[corpus]
    layers = [features_of(cache, model, corpus) for model in models]
    names = [name for mine in layers for name in mine]
    couples = [*couples_of(layers)]
    alone = {name: train(cache, Job(corpus, name, n_train=rows), trial) for name in names}
    fused = {
        couple: train(cache, Job(corpus, ",".join(couple), OP, n_train=rows), trial)
        for couple in couples
    }
    tables = cache.tables(names, corpus)
    found = pairs(tables, **({"rows": rows} if rows else {}), results=cache.results)
    records = []
    for row in found.rows:
        couple = (row.first, row.second)
        if couple in fused:
            told = {name: value for name, value in asdict(row).items() if name != "measured"}
            measured = held_against(cache, fused[couple], [alone[name] for name in couple])
            records.append(told | {"measured": measured})
    return {
        "corpus": corpus,
        **{name: getattr(found, name) for name in FIGURES},
        "singles": [asdict(one) | head_of(alone[one.feature]) for one in found.singles],
        "pairs": records,
    }


def train(cache: Cache, job: Job, trial: bool) -> Fused:
    """A head, or what is kept of it, with a line of progress."""
    start = time.perf_counter()
    found = job.train(cache, trial)
    assert found.test_accuracy is not None  # all four corpora have a labelled test
    figure = f"{100 * found.test_accuracy.mean:.1f} % of {found.n_test:,}"
    took = time.perf_counter() - start
    print(f"{job.corpus} {job.models} {job.op}: {figure}, {took:.0f} s", flush=True)
    return found


def head_of(fused: Fused) -> dict[str, Any]:
    """What a head came to."""
    assert fused.test_accuracy is not None
    return {
        "id": fused.id,
        "seeds": fused.seeds,
        "head_val_accuracy": fused.val_accuracy.mean,
        "head_test_accuracy": fused.test_accuracy.mean,
        "head_test_ci95": fused.test_accuracy.ci95,
    }


def held_against(cache: Cache, pair: Fused, alone: list[Fused]) -> dict[str, Any]:
    """A fused pair against that one of the two which is better on validation."""
    better = max(alone, key=lambda one: one.val_accuracy.mean)
    found = compare(*(store.look_up(cache.results, each.id) for each in (pair, better)))
    gain = {"better": better.features[0], "gain": found.difference, "gain_ci95": found.ci95}
    return head_of(pair) | gain


def timed(cache: Cache, models: list[str], corpus: str) -> dict[str, Any]:
    """Seconds and memory for the pairs of seven features, real and made-up ones."""
    names = [name for model in models for name in features_of(cache, model, corpus)][-TIMED:]
    real = [str(cache.path), corpus, ",".join(names)]
    return {"real": timed_apart(real), "made up": timed_apart([])}


def timed_apart(words: list[str]) -> dict[str, Any]:
    """The same in a process of its own, whose memory is its own."""
    command = [sys.executable, __file__, "--time", *words]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return figures


def time_here(words: list[str]) -> None:
    """What `timed_apart` starts: the study once, and its figures as JSON."""
    with tempfile.TemporaryDirectory() as folder:
        if words:
            tables = lefcache.open(words[0]).tables(words[2], words[1])
            tables = {"train": tables["train"]}  # leaving rows out takes longer than holding out
        else:
            tables = made_up(Path(folder))
        pairs(tables, rows=200)  # whatever is set up once is set up now
        before, start = peak_mb(), time.process_time()
        found: Pairs = pairs(tables, rows=TIMED_ROWS)
        work = time.process_time() - start
    figures = {
        "features": [str(one.feature) for one in found.singles],
        "widths": [one.width for one in found.singles],
        "rows": found.n_train,
        "pairs": len(found.rows),
        "seconds": found.seconds,
        "processor_seconds": work,
        "before_mb": before,
        "peak_mb": peak_mb(),
    }
    print(json.dumps(figures))


def made_up(folder: Path) -> dict[str, Table]:
    """A train of 10,000 rows and seven wide features, in files, whose variance falls off slowly."""
    draw = np.random.default_rng(0)
    labels = np.arange(TIMED_ROWS, dtype=np.int32) % 2
    matrices = []
    for place in range(TIMED):
        rows = draw.standard_normal((TIMED_ROWS, MADE_UP), np.float32)
        rows *= np.arange(1, MADE_UP + 1, dtype=np.float32) ** -0.5
        rows[:, place] += labels
        np.save(folder / f"{place}.npy", rows.astype(np.float16))
        matrices.append(np.load(folder / f"{place}.npy", mmap_mode="r"))
    return {
        "train": Table(
            features=tuple(Feature("made-up", place) for place in range(TIMED)),
            rows=tuple(matrices),
            labels=labels,
            classes=("no", "yes"),
            specs=(Spec(),) * TIMED,
            texts=np.arange(TIMED_ROWS, dtype=np.uint64),
            corpus="made-up",
            split="train",
        )
    }


def peak_mb() -> float:
    """What this process has had in memory at most, pages of mapped files too."""
    unit = 1 << 20 if sys.platform == "darwin" else 1 << 10  # macOS counts bytes
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def main() -> None:
    """Parse, ask, write."""
    if sys.argv[1:2] == ["--time"]:
        time_here(sys.argv[2:])
        return
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--models", default="minilm,smalldecoder")
    parser.add_argument("--only", default=",".join(CORPORA), help="some of the corpora")
    parser.add_argument("--trial", action="store_true", help="one seed, one pass, to try it out")
    parser.add_argument("--no-time", action="store_true", help="leave the timing out")
    parser.add_argument("--out", type=Path, default=RESULTS, help="the folder to write to")
    options = parser.parse_args()
    cache, models = lefcache.open(options.cache), options.models.split(",")
    options.out.mkdir(parents=True, exist_ok=True)
    document: dict[str, Any] = {"op": OP, "recipe": {"width": WIDTH, **EARLY}, "corpora": []}
    document["trial"] = options.trial
    for corpus in options.only.split(","):
        document["corpora"].append(ask(cache, models, corpus, options.trial))
        save(document, options.out, cache.results)
    if not options.no_time:
        document["timed"] = timed(cache, models, corpus)
        save(document, options.out, cache.results)


def save(document: dict[str, Any], out: Path, results: Path) -> None:
    """Both files, with what the records come to."""
    document["summary"] = summarised(document, results)
    (out / "pairs.json").write_text(json.dumps(document, indent=1) + "\n")
    (out / "pairs.md").write_text(write(document))


if __name__ == "__main__":
    main()
