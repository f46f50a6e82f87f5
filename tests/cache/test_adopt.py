"""Vectors of one cache taken over into another: the same rows, and nothing lost that is there."""

from dataclasses import replace

import numpy as np
import pytest

from lefcache.cache import open as open_cache
from lefcache.cache.adopt import adopt, adopt_corpus, check_adoptable, wanting
from lefcache.corpus import Split
from lefcache.errors import IncompleteError, MismatchError
from lefcache.extract import extract
from lefcache.testing import FakeBackbone
from lefcache.verify import verify

PATH = "tiny/fake/train"


@pytest.fixture
def source(cache, make_corpus):
    """A split of 40 texts, in a cache of its own."""
    extract(FakeBackbone(), make_corpus(40), cache, block_rows=16)
    return cache.pages("fake")


@pytest.fixture
def other(tmp_path):
    return open_cache(tmp_path / "other")


def take(source, other, *arrays, path=PATH):
    corpus, model, _ = path.split("/")
    check_adoptable(other.store, source, corpus, model)
    notes = adopt_corpus(other.store, source, corpus)
    adopt(other.store, source, arrays, path, "hub:owner/name@0")
    return notes


def same(source, other, layer):
    return np.array_equal(source["mean"][layer], other.pages("fake")["mean"][layer])


def test_layers_that_are_taken_over_are_a_whole_cache(source, other):
    assert take(source, other, "mean/2", "mean/last") == []
    assert verify(other).whole
    assert other.pages("fake").arrays == ["mean/2", "mean/last", "tokens"]
    assert same(source, other, 2)
    assert same(source, other, "last")
    table = other.table("fake:2")
    assert table.classes == ("no", "yes")
    assert np.array_equal(table.labels, source.store.read("tiny/labels/train"))


def test_where_they_came_from_is_recorded(source, other):
    take(source, other, "mean/2")
    assert other.pages("fake").attrs["pulled"] == {"mean/2": "hub:owner/name@0"}
    assert other.provenance("fake") == {"device": "fake", "pulled_from": "hub:owner/name@0"}


def test_layers_extracted_later_stand_beside_them(source, other, make_corpus):
    take(source, other, "mean/2")
    receipt = extract(FakeBackbone(), make_corpus(40), other)
    assert receipt.computed_blocks == 3
    assert verify(other).whole
    assert all(same(source, other, layer) for layer in (0, 1, 2, 3, "last"))
    assert other.pages("fake").missing == []


def test_layers_are_added_to_those_that_were_extracted(source, other, make_corpus):
    extract(FakeBackbone(), make_corpus(40), other, layers="1", block_rows=8)
    assert wanting(other.store, source, ["mean/1", "mean/2"], PATH) == ["mean/2"]
    take(source, other, "mean/2")
    assert verify(other).whole
    assert same(source, other, 2)
    assert "pulled_from" not in other.provenance("fake")


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_numbers_stay_what_they_were_stored_as(cache, other, make_corpus, dtype):
    extract(FakeBackbone(), make_corpus(9), cache, layers="1", store_dtype=dtype)
    extract(FakeBackbone(), make_corpus(9), cache, layers="2", store_dtype="float32")
    source = cache.pages("fake")
    take(source, other, "mean/1", "mean/2")
    stored = [str(other.rows(f"fake:{layer}").stored) for layer in (1, 2)]
    assert stored == [dtype, "float32"]
    assert verify(other).whole


def test_what_was_stopped_goes_on(source, other):
    def stop(rows):
        raise KeyboardInterrupt

    adopt_corpus(other.store, source, "tiny")
    with pytest.raises(KeyboardInterrupt):
        adopt(other.store, source, ["mean/2", "mean/3"], PATH, "", stop)
    assert other.pages("fake").done["mean/2"] == 16
    with pytest.raises(IncompleteError, match=r"mean/3 was begun together .* lef extract"):
        adopt(other.store, source, ["mean/2"], PATH, "")
    take(source, other, "mean/2", "mean/3")
    assert verify(other).whole
    assert same(source, other, 3)


def test_other_texts_are_refused_with_their_row(source, other, make_corpus):
    texts = [*source_texts(make_corpus), "another"]
    extract(FakeBackbone(), make_corpus(train=["changed", *texts[1:]]), other, layers="1")
    with pytest.raises(MismatchError, match=r"row 0 .* 1 row of 40 differ.*--as CORPUS/NAME"):
        take(source, other, "mean/2")


def test_other_settings_are_refused_with_the_difference(source, other, make_corpus):
    changed = FakeBackbone()
    changed.spec = replace(changed.spec, prompt="query: ")
    extract(changed, make_corpus(40), other, layers="1")
    with pytest.raises(
        MismatchError, match=r"(?s)prompt: 'query: ' in the cache, '' now.*--as NAME"
    ):
        take(source, other, "mean/2")
    take(source, other, "mean/2", path="tiny/theirs/train")
    assert verify(other).whole


def test_another_number_of_rows_is_refused(source, other, make_corpus):
    extract(FakeBackbone(), make_corpus(40), other, layers="1", limit=20)
    with pytest.raises(MismatchError, match="has 20 rows here, and 40 there"):
        take(source, other, "mean/2")


def test_another_count_of_tokens_is_refused(source, other, make_corpus):
    extract(FakeBackbone(), make_corpus(40), other, layers="1")
    tokens = other.store.read(f"{PATH}/tokens")
    other.store.write(f"{PATH}/tokens", 0, tokens + 1)
    with pytest.raises(MismatchError, match="counts other tokens here than there, in row 0"):
        take(source, other, "mean/2")


def labelled(corpus, labels, classes=("no", "yes")):
    split = Split(corpus.splits["train"].texts, labels)
    return replace(corpus, splits={"train": split}, classes=classes)


def source_texts(make_corpus):
    return list(make_corpus(40).splits["train"].texts)


def test_labels_that_are_here_stay(source, other, make_corpus):
    corpus = labelled(make_corpus(40), np.ones(40, np.int32), ("yes", "no"))
    other.register(corpus)
    [note] = take(source, other, "mean/2")
    assert note.startswith("tiny/train: 20 labels that came with the vectors would be other ones")
    assert other.table("fake:2").labels.tolist() == [1] * 40
    assert other.table("fake:2").classes == ("yes", "no")


def test_labels_come_to_where_there_are_none(source, other, make_corpus):
    other.register(labelled(make_corpus(40), None, ()))
    take(source, other, "mean/2")
    table = other.table("fake:2")
    assert [table.classes[label] for label in table.labels[:3]] == ["no", "yes", "no"]


def test_more_texts_come_along_and_fewer_take_nothing_away(source, other, make_corpus):
    first = make_corpus(train=source_texts(make_corpus)[:30])
    other.register(first)
    take(source, other, "mean/2")
    assert other["tiny"].attrs["splits"] == {"train": 40}
    assert verify(other).whole


def test_a_corpus_that_has_grown_here_stays_as_it_is(source, other, make_corpus):
    other.register(make_corpus(train=[*source_texts(make_corpus), "one more"]))
    take(source, other, "mean/2")
    assert other["tiny"].attrs["splits"] == {"train": 41}
    assert same(source, other, 2)
    assert verify(other).whole
