import numpy as np
import pytest

from lefcache.feature import Feature
from lefcache.rows import Table
from lefcache.spec import Spec


def make(labels, *rows, split="train", classes=("no", "yes"), texts=None, corpus="tiny"):
    """A table in memory, one layer of one model for each matrix."""
    count = len(rows[0])
    hashes = np.arange(count) + 1000 * len(split) if texts is None else np.asarray(texts)
    return Table(
        features=tuple(Feature("m", layer) for layer in range(1, len(rows) + 1)),
        rows=tuple(np.asarray(each) for each in rows),
        labels=None if labels is None else np.asarray(labels, np.int32),
        classes=tuple(classes),
        specs=(Spec(),) * len(rows),
        texts=hashes.astype(np.uint64),
        corpus=corpus,
        split=split,
    )


@pytest.fixture
def make_table():
    return make


@pytest.fixture
def split():
    """A function that draws an easy problem: `split(40, widths=(6,), noise=0.3)`."""

    def draw(count, widths=(6,), noise=0.3, seed=0, split="train", classes=2, dtype=np.float16):
        generator = np.random.default_rng((seed, count, len(split)))
        labels = np.arange(count) % classes
        rows = []
        for width in widths:
            centers = np.random.default_rng(width).standard_normal((classes, width))
            rows.append(centers[labels] + noise * generator.standard_normal((count, width)))
        names = tuple("abcdefghij"[:classes])
        return make(labels, *(each.astype(dtype) for each in rows), split=split, classes=names)

    return draw
