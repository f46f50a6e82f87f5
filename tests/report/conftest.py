"""A small cache with everything that a report shows, and names that would run if they could."""

import json
import shutil

import numpy as np
import pytest

from lefcache import results as store
from lefcache.cache import open as open_cache
from lefcache.corpus import read_corpus
from lefcache.extract import extract
from lefcache.recipe import Recipe
from lefcache.study import fuse, plain_baselines, read_again, scale, select, sweep
from lefcache.testing import FakeBackbone

HOSTILE = "<script>alert(1)</script>"
MARKUP = "</script><img src=x onerror=alert(2)> '\"&amp; {{ 7 * 7 }}"
CLASSES = ("good", HOSTILE, "bad & <b>bold</b>")
SMALL = Recipe(width=4, hidden=(4,), dropout=(0.0,), batch=16, epochs=2, lr=0.01)


def written(folder, rows):
    """A corpus in a folder: the longer a text, the later its class, with some noise."""
    generator = np.random.default_rng(0)
    folder.mkdir(parents=True)
    for split, many in rows.items():
        lines = ["text\tlabel"]
        for place in range(many):
            label = int(generator.integers(len(CLASSES)))
            words = 1 + 3 * label + int(generator.integers(4))
            lines.append(f"{'word ' * words}{MARKUP} {split}{place}\t{CLASSES[label]}")
        (folder / f"{split}.tsv").write_text("\n".join(lines) + "\n")
    return folder


def asked(folder, *, depth=4, corpora=("hostile",)):
    """A cache of these corpora, of which every question was asked that is answered quickly."""
    cache = open_cache(folder / "lef-cache")
    for name in corpora:
        source = written(folder / "data" / name, {"train": 90, "test": 60})
        corpus = read_corpus(f"{name}={source}")
        for model in ("one", "other"):
            extract(FakeBackbone(depth, name=model), corpus, cache)
        kept = {"results": cache.results}
        for model in ("one", "other"):
            tables = cache.tables(f"{model}:all", name)
            sweep(tables, show_test=True, **kept)
            select(tables, "50%", **kept)
        both = cache.tables("one:2,other:last", name)
        plain_baselines(both, lambda name=name: read_again(cache, name), **kept)
        for op in ("concat", "sum", "hadamard-res"):
            fuse(both, Recipe(**{**vars(SMALL), "op": op}), seeds=2, **kept)
        for size in (20, 40):
            fuse(both, SMALL, seeds=2, n_train=size, **kept)
        for feature in ("one:2", "other:last"):
            fuse(cache.tables(feature, name), SMALL, seeds=2, **kept)
        added = Recipe(**{**vars(SMALL), "op": "hadamard-res"})
        scale(cache, both, added, stores=("bfloat16",), seeds=2, **kept)
    return cache


@pytest.fixture(scope="package")
def hostile(tmp_path_factory):
    """Such a cache, which tests read only."""
    return asked(tmp_path_factory.mktemp("hostile"))


@pytest.fixture(scope="package")
def large(hostile, tmp_path_factory):
    """Results on four corpora: those of the small cache, with 33 layers in each sweep."""
    folder = tmp_path_factory.mktemp("large") / "results"
    for name in ("first", "second", "third", "fourth"):
        shutil.copytree(hostile.results / "hostile", folder / name)
        for file in (folder / name).glob("*.json"):
            document = json.loads(file.read_text().replace('"hostile"', f'"{name}"'))
            values = document["payload"]["result"]
            if document["payload"]["key"]["kind"] == "sweep":
                model, row = values["best"].partition(":")[0], values["rows"][0]
                values["rows"] = [row | {"feature": f"{model}:{layer}"} for layer in range(33)]
                values["best"] = f"{model}:7"
                file.write_text(json.dumps(document))
    return open_cache(folder.parent)


@pytest.fixture
def stored():
    """A function that puts a result of somebody else's into a cache."""

    def put(cache, kind, values, corpus="hostile", **key):
        payload = {"key": {"kind": kind, "corpus": corpus, **key}, "result": values}
        return store.save(cache.results, corpus, store.result_id(payload["key"]), payload)

    return put
