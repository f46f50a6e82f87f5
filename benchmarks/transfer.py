"""Does the best layer of one corpus, or its head, serve another? Asked of real data, with ridge.

    python benchmarks/transfer.py --cache CACHE --models minilm,smalldecoder

CACHE holds all layers of the models over mr, r8, r52 and sst2 (`lef extract`); it is read only, and
the whole takes a minute or two. Every corpus chooses a layer by its own train or validation; each
choice is tried on the test of every other one, beside the last layer and a fixed depth of 0.6. No
layer is chosen on a test.

Writes `transfer.md` and `transfer.json` into `benchmarks/results`.
"""

import argparse
import json
from pathlib import Path

from transfer_report import write

import lefcache
from lefcache.study import across, transfer

RESULTS = Path(__file__).parent / "results"
CORPORA = ("mr", "sst2", "r8", "r52")
# Corpora of one kind of text, named beforehand: sentences on films, and news of Reuters.
KINDS = {"mr": "films", "sst2": "films", "r8": "news", "r52": "news"}


def main() -> None:
    """Parse, ask, write."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--models", default="minilm,smalldecoder")
    parser.add_argument("--corpora", default=",".join(CORPORA), help="two of them or more")
    parser.add_argument("--probe", default="ridge", help="what the layers are judged by")
    parser.add_argument("--out", type=Path, default=RESULTS, help="the folder to write to")
    options = parser.parse_args()
    cache, names = lefcache.open(options.cache), options.corpora.split(",")
    found = [
        transfer(
            each.corpora,
            options.probe,
            sources=names,
            targets=names,
            depth=each.depth,
            on_target=lambda target: print(f"{target.model} on {target.corpus}", flush=True),
        )
        for each in across(cache, options.models, names, names)
    ]
    document = {"kinds": KINDS, "transfers": [each.to_json() for each in found]}
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "transfer.json").write_text(json.dumps(document, indent=1) + "\n")
    (options.out / "transfer.md").write_text(write(found, KINDS))


if __name__ == "__main__":
    main()
