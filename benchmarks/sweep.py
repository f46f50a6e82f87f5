"""Layer sweeps against the plain loop, a DataLoader loop and scikit-learn, alternating in one run.

    python benchmarks/sweep.py CACHE mr r8 sst2 --model minilm --rounds 3 --epochs 3

Every measurement is a process of its own that reads the cache, so that peak memory is its own.
The contenders take turns; figures are medians over the rounds, ratios are taken round by round.
Needs the extra `bench`, and a cache that holds the model's layers of each corpus.

    ridge      lefcache: every layer, nine regularisations, exact leave-one-out or validation
    logistic   lefcache: every layer, six regularisations, to convergence, on validation
    mlp        lefcache: every layer's head under the recipe, on the plain loop's rows
    plain      one layer after the other: torch's Adam as it comes, rows gathered batch by batch
    loader     the same with a TensorDataset and a DataLoader
    sklearn    StandardScaler and LogisticRegression on every layer, float32, one regularisation

The three that train heads do `--epochs` of the paper's 120, and their seconds are multiplied up:
an epoch costs the same whatever its number. `floor` is what the recipe's products alone would take
at the rate that this machine multiplies matrices of the recipe's own shapes.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

from sweep_contenders import OTHERS, run_ours

EPOCHS = 120  # of the paper
NARROW = "mlp, bfloat16"  # takes part where the processor has bfloat16: elsewhere it is refused
HEADS = ("mlp", NARROW, "plain", "loader")  # contenders whose epochs are multiplied up
CONTENDERS = ("ridge", "logistic", *HEADS, "sklearn")
# What is divided by what, in seconds, and what is to be reached.
RATIOS = (
    ("plain", "ridge", 100.0),
    ("sklearn", "ridge", 4.0),
    ("sklearn", "logistic", None),
    ("plain", "mlp", 1.2),
    ("loader", "mlp", None),
    ("plain", NARROW, 1.2),
)


def contend(options: argparse.Namespace) -> None:
    """What `measure` starts: run one contender once and print its figures."""
    import torch

    import lefcache

    tables = lefcache.open(options.cache).tables(options.model, options.data[0])
    if options.rows:
        from lefcache.study.arrange import nested, taken
        from lefcache.train.protocol import training_parts

        learned, _ = training_parts(tables["train"], tables.get("validation"))
        tables["train"] = taken(tables["train"], nested(learned, options.rows))
    run = OTHERS.get(options.contender, run_ours)
    torch.mm(torch.ones(9, 9), torch.ones(9, 9))  # whatever is set up once is set up now
    start = time.perf_counter()
    accuracy = run(tables, options)
    took = time.perf_counter() - start
    if options.contender in HEADS:
        took *= EPOCHS / options.epochs
    unit = 1 << 20 if sys.platform == "darwin" else 1 << 10  # macOS counts bytes
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
    n_test = int((tables["test"].labels >= 0).sum())
    figures = {"seconds": took, "accuracy": accuracy, "peak_mb": peak, "n_test": n_test}
    print(json.dumps(figures | {"rows": len(tables["train"]), "layers": len(tables["test"].rows)}))


def measure(contender: str, data: str, options: argparse.Namespace) -> dict[str, float]:
    """One contender in a process of its own."""
    words = [sys.executable, __file__, str(options.cache), data, "--contender", contender]
    words += ["--model", options.model, "--epochs", str(options.epochs)]
    words += ["--rows", str(options.rows)]
    done = subprocess.run(words, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def compare(data: str, options: argparse.Namespace, narrow: bool) -> dict[str, Any]:
    """All contenders in turn, `rounds` times."""
    contenders = [name for name in CONTENDERS if name != NARROW or narrow]
    rounds: list[dict[str, dict[str, float]]] = []
    for number in range(options.rounds):
        rounds.append({name: measure(name, data, options) for name in contenders})
        print(f"{data}: round {number + 1} of {options.rounds} done", file=sys.stderr)
    figures = {
        name: {key: statistics.median(one[name][key] for one in rounds) for key in rounds[0][name]}
        for name in contenders
    }
    ratios = []
    for slow, quick, goal in RATIOS:
        if quick not in contenders:
            continue
        each = [turn[slow]["seconds"] / turn[quick]["seconds"] for turn in rounds]
        spread = {"median": statistics.median(each), "lowest": min(each), "highest": max(each)}
        ratios.append({"of": slow, "to": quick, **spread, "goal": goal})
    return {
        "data": data,
        "rounds": options.rounds,
        "epochs": options.epochs,
        "figures": figures,
        "ratios": ratios,
    }


def machine() -> dict[str, Any]:
    """How fast this machine multiplies the recipe's matrices, and whether in bfloat16 too."""
    import torch

    from lefcache.train.objective import has_bfloat16

    threads, rates = torch.get_num_threads(), {}
    for count in {1, threads}:
        torch.set_num_threads(count)
        one, other, out = torch.rand(100, 1024), torch.rand(1024, 1024), torch.empty(100, 1024)
        took = []
        for _ in range(50):
            start = time.perf_counter()
            torch.mm(one, other, out=out)
            took.append(time.perf_counter() - start)
        rates[count] = 2 * 100 * 1024 * 1024 / statistics.median(took)
    narrow = has_bfloat16(torch.device("cpu"))
    return {"threads": threads, "flops": rates, "native_bfloat16": narrow}


def floor(found: dict[str, Any], rate: float) -> float:
    """Seconds that the products of the recipe's 120 epochs take at this many FLOP/s."""
    one = found["figures"]["plain"]
    sizes = [found["width"], 1024, 1024, 256, found["classes"]]
    inner = sum(a * b for a, b in pairwise(sizes))
    each = 2 * (3 * inner - sizes[0] * sizes[1])  # nothing flows back into the rows
    return one["rows"] * one["layers"] * EPOCHS * each / rate


def report(found: list[dict[str, Any]], here: dict[str, Any]) -> None:
    """Tables for a person, in Markdown."""
    rates = ", ".join(f"{count}: {rate / 1e9:,.0f}" for count, rate in here["flops"].items())
    print(f"\nGFLOP/s of float32 products (100, 1024) x (1024, 1024), by threads: {rates}")
    has = "has" if here["native_bfloat16"] else "has no"
    print(f"This processor {has} bfloat16 of its own.")
    for one in found:
        first = one["figures"]["ridge"]
        print(
            f"\n{one['data']}: {first['layers']:.0f} layers of {first['rows']:,.0f} rows, "
            f"{one['rounds']} rounds; heads trained {one['epochs']} epochs, times {EPOCHS} epochs\n"
        )
        test = f"test accuracy of the chosen layer, % (n = {first['n_test']:,.0f})"
        print(f"| | seconds | {test} | peak memory, MB |\n|---|--:|--:|--:|")
        for name, figure in one["figures"].items():
            share, n_test = figure["accuracy"], figure["n_test"]
            half = 196 * (share * (1 - share) / n_test) ** 0.5
            accuracy = f"{100 * share:.2f} +- {half:.2f}"
            print(f"| {name} | {figure['seconds']:,.2f} | {accuracy} | {figure['peak_mb']:,.0f} |")
        print(f"| floor: products alone | {one['floor']:,.0f} | | |")
        print("\n| ratio of seconds | median | lowest..highest | goal |\n|---|--:|--:|--:|")
        for each in one["ratios"]:
            spread = f"{each['lowest']:.2f}..{each['highest']:.2f}"
            what = f"{each['of']} / {each['to']}"
            print(f"| {what} | {each['median']:.2f} | {spread} | {each['goal'] or ''} |")


def main() -> None:
    """Parse, run, print; `--json` for the document alone."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("cache", type=Path)
    parser.add_argument("data", nargs="+", help="corpora of the cache, such as mr r8 sst2")
    parser.add_argument("--model", default="minilm")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=3, help="that heads are trained for")
    parser.add_argument("--rows", type=int, default=0, help="to learn from, stratified; 0: all")
    parser.add_argument("--contender", choices=CONTENDERS, help="measure only this one, once")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.contender:
        contend(options)
        return
    import lefcache

    here, found = machine(), []
    for data in options.data:
        table = lefcache.open(options.cache).tables(options.model, data)["train"]
        one = compare(data, options, here["native_bfloat16"]) | {
            "width": table.widths[0],
            "classes": len(table.classes),
        }
        found.append(one | {"floor": floor(one, max(here["flops"].values()))})
    if options.json:
        print(json.dumps({"machine": here, "data": found}))
    else:
        report(found, here)


if __name__ == "__main__":
    main()
