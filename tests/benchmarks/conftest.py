from pathlib import Path

import numpy as np
import pytest

from lefcache.corpus import Corpus, Split
from lefcache.vectors import import_vectors

SIZES = {"train": 60, "test": 40}


@pytest.fixture
def benchmarks(monkeypatch):
    """The folder of the scripts, which are imported as they import each other."""
    folder = Path(__file__).parents[2] / "benchmarks"
    monkeypatch.syspath_prepend(folder)
    return folder


@pytest.fixture
def filled(cache, tmp_path):
    """A cache with two models of three blocks; only the middle of the first knows the labels."""
    draw = np.random.default_rng(0)
    splits, labels = {}, {}
    for split, size in SIZES.items():
        labels[split] = draw.permutation(size) % 2
        splits[split] = Split([f"{split} {row}" for row in range(size)], labels[split].tolist())
    corpus = Corpus("tiny", ("no", "yes"), splits)
    for model, width in (("one", 6), ("two", 5)):
        for split, size in SIZES.items():
            folder = tmp_path / model / split
            folder.mkdir(parents=True)
            for layer in range(4):
                rows = draw.standard_normal((size, width)).astype(np.float32)
                if (model, layer) == ("one", 1):
                    rows[:, 0] += 8 * labels[split]
                np.save(folder / f"layer-{layer}.npy", rows)
        import_vectors(model, [tmp_path / model], corpus, cache)
    return cache
