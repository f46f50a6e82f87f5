from pathlib import Path

import numpy as np
import pytest

from lefcache.vectors import import_vectors


def matrix(rows, width=4, seed=0, dtype=np.float32):
    return np.random.default_rng((seed, rows, width)).standard_normal((rows, width)).astype(dtype)


@pytest.fixture
def make_matrix():
    """A function that draws vectors: `make_matrix(20)`, other ones with `seed=1`."""
    return matrix


@pytest.fixture
def save(tmp_path):
    """A function that writes `.npy` files below a folder: `save({"train.npy": values})`."""

    def write(files, folder="vectors"):
        for name, values in files.items():
            path = Path(tmp_path / folder / name)
            path.parent.mkdir(parents=True, exist_ok=True)
            np.save(path, values)
        return tmp_path / folder

    return write


@pytest.fixture
def bring(cache, make_corpus):
    """A function that imports paths into the cache, of a corpus of 20 texts."""

    def run(*paths, name="own", corpus=None, into=None, **choices):
        return import_vectors(name, paths, corpus or make_corpus(20), into or cache, **choices)

    return run
