"""What a second to a fifth feature gains and costs, and whether the formula of time holds.

    python benchmarks/scale.py --cache CACHE [--timed minilm,FOLDER] [--trial]

CACHE holds all layers of the models over mr (`lef extract`). Heads are those of
`benchmarks/fusion.py`, kept in the cache's results by their ids, so an interrupted run goes on
where it was. The models that `--timed` names, of two sizes, are then run over the same texts: the
rate of each is held against the time of the other. Writes `benchmarks/results/cost.md` and `.json`.
"""

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

from fusion import EARLY, RESULTS, SEEDS, WIDTH

import lefcache
from lefcache.corpus import read_corpus
from lefcache.extract import extract, load_backbone
from lefcache.study import Scale, scale
from lefcache.study.project import embed_time, parameters_of
from lefcache.train import Recipe

CORPUS = "mr"
MODELS = "minilm:4,smalldecoder:5,minilm:2,smalldecoder:last,minilm:6"
STORES = ("float32", "float16", "bfloat16")
TEXTS = 300


def timed(models: list[str], data: str, texts: int) -> list[dict[str, Any]]:
    """Each model over the same texts: seconds, and those that the other's rate foretells."""
    found = []
    corpus = read_corpus(data)
    for model in models:
        backbone = load_backbone(model)
        with tempfile.TemporaryDirectory() as folder:
            cache = lefcache.open(folder)
            extract(backbone, corpus, cache, limit=texts, splits=["train"])
            work = cache.pages(backbone.name, "train", corpus.name).model_attrs["work"]["train"]
        weights = parameters_of(backbone.depth, backbone.width)
        rate = work["tokens"] * 2 * weights / work["seconds"]
        found.append({"model": backbone.name, "parameters": weights, "rate": rate, **work})
    for one in found:
        others = [other for other in found if other is not one]
        one["foretold"] = {
            other["model"]: embed_time(one["tokens"], one["parameters"], other["rate"])
            for other in others
        }
    return found


def page(found: Scale, times: list[dict[str, Any]]) -> str:
    """The steps, the stores and the times as Markdown."""
    lines = [
        f"# What one feature more gains and costs ({found.corpus})\n",
        f"Written by `benchmarks/scale.py`; {found.op}, {found.seeds} seeds, n = {found.n_val:,} "
        f"that chose, {found.n_test:,} of the test; {found.pays} pay.\n",
        "| features | store | validation % | gain | test % | a row | memory | predict |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for step in found.every:
        test = step.test_accuracy
        cells = [" + ".join(step.features), step.store, _interval(step.val_accuracy)]
        cells += [_interval(step.val_gain), _interval(test), f"{step.row_bytes:,} B"]
        cells += [f"{step.memory / 1e6:.0f} MB", f"{1000 * step.predict_seconds:.1f} ms"]
        lines.append(f"| {' | '.join(cells)} |")
    if times:
        lines += ["\n| model | tokens | measured | by the other's rate |", "|---|---|---|---|"]
    for each in times:
        told = ", ".join(f"{name}: {seconds:.1f} s" for name, seconds in each["foretold"].items())
        cells = [each["model"], f"{each['tokens']:,}", f"{each['seconds']:.1f} s", told]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _interval(figure: Any) -> str:
    if figure is None:
        return ""
    low, high = figure.ci95
    return f"{100 * figure.mean:.1f} [{100 * low:.1f}, {100 * high:.1f}]"


def main() -> None:
    """Parse, train, time, write."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--models", default=MODELS)
    parser.add_argument("--timed", default="", help="two models to time, such as minilm,FOLDER")
    parser.add_argument("--data", default=CORPUS, help="the texts to time them on, or their folder")
    parser.add_argument("--trial", action="store_true", help="one seed, one pass, to try it out")
    parser.add_argument("--out", type=Path, default=RESULTS, help="the folder to write to")
    options = parser.parse_args()
    cache = lefcache.open(options.cache)
    settings: dict[str, Any] = EARLY | ({"epochs": 1} if options.trial else {})
    recipe = Recipe(op="hadamard-res", width=WIDTH, **settings)
    found = scale(
        cache,
        cache.tables(options.models, CORPUS),
        recipe,
        stores=STORES,
        seeds=1 if options.trial else SEEDS,
        results=cache.results,
        on_step=lambda step: print(step.features, step.store, step.val_accuracy.mean, flush=True),
    )
    models = [name for name in options.timed.split(",") if name]
    times = timed(models, options.data, 20 if options.trial else TEXTS) if models else []
    options.out.mkdir(parents=True, exist_ok=True)
    document = {"scale": found.to_json(), "times": times}
    (options.out / "cost.json").write_text(json.dumps(document, indent=1) + "\n")
    (options.out / "cost.md").write_text(page(found, times))


if __name__ == "__main__":
    main()
