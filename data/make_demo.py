"""Write the demo corpus: customer messages labelled by what their writer wants.

    python data/make_demo.py            write data/demo/{train,validation,test}.tsv
    python data/make_demo.py --check    fail if those files are not what this would write

The sentences live in demo_templates/<label>.toml, with one list of templates for each split.
`{a|b}` in a template stands for one of its choices; a template without braces is a single
handwritten sentence. A template belongs to one split as a whole, so that a classifier cannot
score on the test set by having learnt the template.
"""

import argparse
import itertools
import random
import re
import sys
import tomllib
from collections import Counter
from pathlib import Path

HERE = Path(__file__).resolve().parent
TEMPLATES = HERE / "demo_templates"
DEMO = HERE / "demo"
SEED = 20240917
# Sentences drawn from one template: few, so that every split is made of many wordings.
PER_TEMPLATE = {"train": 9, "validation": 7, "test": 5}
MOST_PER_TEMPLATE = 20
WORDS = range(4, 36)
CHOICE = re.compile(r"\{([^{}]*)\}")
# What the files cannot carry (no quoting), and what a mistyped template would leave behind.
STRAY = re.compile(r'[{}|"\t\r\n]|  |^ | $')


def read_templates():
    """Return {split: [(template, label)]}; the name of a file is the label of its templates."""
    splits = {split: [] for split in PER_TEMPLATE}
    for path in sorted(TEMPLATES.glob("*.toml")):
        by_split = tomllib.loads(path.read_text(encoding="utf-8"))
        if set(by_split) != set(splits):
            raise ValueError(f"{path.name}: want exactly the lists {', '.join(splits)}")
        for split, templates in by_split.items():
            splits[split] += [(template, path.stem) for template in templates]
    return splits


def expand(template):
    """Return every sentence the template can make, in a fixed order."""
    # With one group in the pattern, re.split puts what is in braces at the odd places.
    parts = CHOICE.split(template)
    options = [part.split("|") if i % 2 else [part] for i, part in enumerate(parts)]
    return ["".join(chosen) for chosen in itertools.product(*options)]


def draw(template, most):
    """Pick at most `most` sentences, seeded by the template so that others' edits do not matter."""
    sentences = expand(template)
    rng = random.Random(f"{SEED} {template}")
    return rng.sample(sentences, min(most, len(sentences)))


def build():
    """Return {split: [(text, label)]}, shuffled so that no file is sorted by label."""
    corpus = {}
    uses = Counter()
    for split, templates in read_templates().items():
        rows = []
        for template, label in templates:
            texts = draw(template, PER_TEMPLATE[split])
            uses[template] += len(texts)
            rows += [(text, label) for text in texts]
        random.Random(f"{SEED} {split}").shuffle(rows)
        corpus[split] = rows
    assert max(uses.values()) <= MOST_PER_TEMPLATE, "a template is used too often"
    check_texts([text for rows in corpus.values() for text, _ in rows])
    return corpus


def check_texts(texts):
    """Refuse repeated sentences, which could leak between splits, and malformed ones."""
    repeated = [text for text, n in Counter(map(str.casefold, texts)).items() if n > 1]
    assert not repeated, f"sentences that occur more than once: {repeated}"
    stray = [text for text in texts if STRAY.search(text)]
    assert not stray, f"stray characters in: {stray}"
    odd = [text for text in texts if len(text.split()) not in WORDS]
    assert not odd, f"too short or too long: {odd}"


def to_tsv(rows):
    """Return the file content, as bytes so that no platform changes the line ends."""
    lines = ["text\tlabel", *(f"{text}\t{label}" for text, label in rows)]
    return ("\n".join(lines) + "\n").encode("utf-8")


def main():
    """Write the files, or with --check only compare them; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing, compare the files")
    check = parser.parse_args().check
    files = {DEMO / f"{split}.tsv": to_tsv(rows) for split, rows in build().items()}
    if check:
        stale = [p.name for p, data in files.items() if not p.exists() or p.read_bytes() != data]
        if stale:
            print(f"not what make_demo.py would write: {', '.join(stale)}", file=sys.stderr)
        return 1 if stale else 0
    DEMO.mkdir(exist_ok=True)
    for path, data in files.items():
        path.write_bytes(data)
    return 0


if __name__ == "__main__":
    sys.exit(main())
