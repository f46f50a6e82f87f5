from dataclasses import replace

import numpy as np
import pytest

from lefcache import results
from lefcache.corpus import hash_text
from lefcache.errors import CorpusError
from lefcache.extract import extract
from lefcache.finished import finished
from lefcache.recipe import Recipe
from lefcache.study import (
    alone_baselines,
    fixed_layers,
    fuse,
    fuse_best,
    layer_baselines,
    plain_baselines,
    read_again,
    sweep,
)
from lefcache.study.compare import compare
from lefcache.testing import FakeBackbone

TINY = Recipe(width=8, hidden=(8,), dropout=(0.1,), lr=1e-2, batch=20, epochs=3)
WORDS = {0: "dull slow bad", 1: "bright quick good"}


@pytest.fixture
def worded(split):
    """Tables of texts whose words tell the classes apart, and those texts by their hashes."""
    texts, tables = {}, {}
    for name, rows in (("train", 90), ("validation", 40), ("test", 50)):
        table = split(rows, (5, 7), noise=2, split=name)
        written = [f"{WORDS[label]} {name}{row}" for row, label in enumerate(table.labels)]
        hashes = [hash_text(text) for text in written]
        texts |= dict(zip(hashes, written, strict=True))
        tables[name] = replace(table, texts=np.array(hashes, np.uint64))
    return tables, texts


def test_words_and_the_largest_class_are_scored_like_any_other(worded, tmp_path):
    tables, texts = worded
    majority, words = plain_baselines(tables, lambda: texts, results=tmp_path)
    assert (majority.name, majority.test_accuracy) == ("majority class", 0.5)
    assert (words.name, words.test_accuracy) == ("tf-idf + logistic regression", 1.0)
    assert (words.n_train, words.n_val, words.n_test) == (90, 40, 50)
    assert words.test_ci95[0] < 1.0

    def unasked():
        raise AssertionError("read again")

    assert plain_baselines(tables, unasked, results=tmp_path) == [majority, words]
    found = compare(*(results.look_up(tmp_path, each.id) for each in (words, majority)))
    assert found.distinguishable
    assert found.sentence.startswith("tf-idf + logistic regression is better than majority class")


def test_without_their_texts_words_are_missing_and_told(worded):
    tables, texts = worded

    def gone():
        raise CorpusError("the texts are elsewhere")

    majority, words = plain_baselines(tables, gone)
    assert majority.missing == ""
    assert (words.test_accuracy, words.missing) == (None, "the texts are elsewhere")
    (_, other) = plain_baselines(tables, lambda: dict(list(texts.items())[3:]))
    assert other.missing == "3 texts of tiny/train are not in its data any more"


def test_fewer_rows_and_no_test(worded):
    tables, texts = worded
    majority, words = plain_baselines(tables, lambda: texts, n_train=20)
    assert words.n_train == majority.n_train == 20
    del tables["test"], tables["validation"]
    majority, words = plain_baselines(tables, lambda: texts)
    assert (words.n_test, words.test_accuracy) == (0, None)
    assert words.val_accuracy == 1.0


def test_the_texts_of_a_cache_are_read_again(cache, write_tsv):
    from lefcache.corpus import read_corpus

    folder = write_tsv("news", train=[("a text", "y"), ("another", "n")])
    corpus = read_corpus(folder)
    cache.register(corpus)
    assert read_again(cache, "news")[hash_text("another")] == "another"
    (folder / "train.tsv").unlink()
    folder.rmdir()
    with pytest.raises(CorpusError, match="the texts of news are not on this machine"):
        read_again(cache, "news")


@pytest.fixture
def layers(cache, make_corpus):
    corpus = make_corpus(60, test=[f"test {'x ' * (row % 9)}{row}" for row in range(20)])
    extract(FakeBackbone(depth=5), corpus, cache)
    return cache


def test_fixed_layers_are_the_first_the_last_and_six_tenths(layers):
    names = fixed_layers(layers, layers.features("fake:2"))
    assert names == {"fake:last": "last layer", "fake:0": "layer 0", "fake:3": "fixed depth 0.6"}


def test_layers_that_a_sweep_did_not_judge_are_judged_beside_it(layers):
    names = fixed_layers(layers, layers.features("fake:2"))
    swept = sweep(layers.tables("fake:2..3"), fixed=names, results=layers.results)
    found = layer_baselines(layers, names, swept, None)
    assert [each.feature for each in found] == list(names)
    assert all(each.test_accuracy is not None for each in found)
    assert layer_baselines(layers, names, None, None)[2].test_accuracy == found[2].test_accuracy


def test_each_alone_is_trained_on_demand_and_found_afterwards(layers):
    tables = layers.tables("fake:2,fake:3")
    settings = {"seeds": 2, "first_seed": 0, "protocol": "validation", "n_train": None}
    assert alone_baselines(layers, tables, TINY, train=False, **settings) == []
    trained = alone_baselines(layers, tables, TINY, train=True, **settings)
    assert [each.feature for each in trained] == ["fake:2", "fake:3"]
    other = replace(TINY, op="hadamard-res")
    assert alone_baselines(layers, tables, other, train=False, **settings) == trained
    one = fuse(layers.tables("fake:2"), TINY, seeds=2, results=layers.results)
    assert one.cached
    assert trained[0].test_accuracy == one.test_accuracy.mean


def test_the_operator_is_chosen_without_the_test(layers):
    tables = layers.tables("fake:2,fake:3")
    recipes = [replace(TINY, op=op) for op in ("concat", "hadamard", "sum")]
    best, tried = fuse_best(tables, recipes, results=layers.results)
    scores = [each.val_accuracy.mean for each in tried]
    assert best.op == tried[scores.index(max(scores))].op
    assert best.test_accuracy is not None
    assert sum(each.test_accuracy is not None for each in tried) == 1
    listed = {each.what: each for each in finished(layers)}
    assert sum(each.hidden for each in listed.values()) == 2
    assert all(each.test_accuracy is None for each in listed.values() if each.hidden)
    again, every = fuse_best(tables, recipes, results=layers.results, show_test=True)
    assert again.cached
    assert all(each.test_accuracy is not None for each in every)
    assert not any(each.hidden for each in finished(layers))
