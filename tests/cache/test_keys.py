"""A place in a cache is spelt alike in all commands, and a wrong one is told what was meant."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lefcache.cache.keys import Key, arrays_meant, check_there
from lefcache.errors import FeatureError


@pytest.fixture
def made(cache, make_corpus):
    from lefcache.extract import extract
    from lefcache.testing import FakeBackbone

    for name in ("tiny", "other"):
        corpus = make_corpus(6, name=name, test=["one text", "another"])
        extract(FakeBackbone(), corpus, cache, layers="1..3,last", pools=["mean", "max"])
    return cache


@pytest.mark.parametrize(
    ("text", "path", "pool", "layers"),
    [
        ("sst2", "sst2", "", ""),
        ("/sst2/", "sst2", "", ""),
        ("sst2/e5", "sst2/e5", "", ""),
        ("sst2/e5/train", "sst2/e5/train", "", ""),
        ("sst2/e5/dev", "sst2/e5/validation", "", ""),
        ("sst2/e5:2,3", "sst2/e5", "", "2,3"),
        ("sst2/e5:0..32/4,last", "sst2/e5", "", "0..32/4,last"),
        ("sst2/e5:-1@cls", "sst2/e5", "first", "-1"),
        ("sst2/e5@max", "sst2/e5", "max", ""),
        ("sst2/e5/max", "sst2/e5", "max", ""),
        ("sst2/e5/mean/last", "sst2/e5", "mean", "last"),
        ("sst2/e5/last", "sst2/e5", "last", ""),
        ("sst2/e5/train/mean/0..32/4", "sst2/e5/train", "mean", "0..32/4"),
        ("sst2/e5/train:24@max", "sst2/e5/train", "max", "24"),
    ],
)
def test_a_key_is_read_in_all_its_spellings(text, path, pool, layers):
    key = Key.parse(text)
    assert (key.path, key.pool, key.layers) == (path, pool, layers)
    assert key.in_part == bool(pool or layers)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sst2/e5/3", r"did you mean sst2/e5:3\?\): 3 is neither a split nor a pool"),
        ("sst2/e5/2,3", r"did you mean sst2/e5:2,3\?"),
        ("sst2/e5/tran", r"did you mean train\?"),
        ("a/b/c/d", "c is neither a split nor a pool; a key is corpus"),
        ("sst2/e5:", "is no key"),  # which must not be taken for the whole model
        ("sst2/e5:3@", "is no key"),
        ("sst2/e5@", "is no key"),
        ("sst2//train", "is no key"),
        ("sst2/e5/max:3", "is no key"),
        ("sst2/e5/mean/24/c", "no layer '24/c'"),
        ("sst2/e5:2,,3", "empty item"),
        ("sst2/e5:x", "no layer 'x'"),
        ("sst2/e5@maxx", r"no pool 'maxx'.*did you mean max\?"),
    ],
)
def test_what_is_no_key_says_what_to_write(text, message):
    with pytest.raises(FeatureError, match=message):
        Key.parse(text)


@given(st.text("abz019:@/.,~-", max_size=14))
def test_any_words_are_a_key_or_refused(text):
    try:
        key = Key.parse(text)
    except FeatureError:
        return
    assert Key.parse(key.path).path == key.path
    assert key.in_part == any(sign in text for sign in ":@")  # no pool is spelt with these letters


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tniy", r"did you mean tiny\?\): it holds other, tiny"),
        ("fake", r"no corpus 'fake' .* \(did you mean other/fake or tiny/fake\?\)"),
        ("fkae:3", r"\(did you mean other/fake or tiny/fake\?\)"),
        ("tiny/fkae:3", r"no model 'fkae' under tiny \(did you mean fake\?\)"),
        ("tiny:3", "tiny:3 names layers of no model: it is one of tiny/fake"),
        ("tiny/fake/dev", "tiny/fake has no split validation: it has train, test"),
    ],
)
def test_a_place_that_is_not_there_says_what_was_meant(made, text, message):
    with pytest.raises(FeatureError, match=message):
        check_there(made, Key.parse(text))


@pytest.mark.parametrize(
    ("text", "arrays"),
    [
        ("tiny/fake:2,3", ["mean/2", "mean/3"]),
        ("tiny/fake:2..3@max", ["max/2", "max/3"]),
        ("tiny/fake/mean/last", ["mean/last"]),
        ("tiny/fake:-1", ["mean/3"]),
        ("tiny/fake/max", ["max/1", "max/2", "max/3", "max/last"]),
        ("tiny/fake:all@max", ["max/1", "max/2", "max/3", "max/last"]),
        ("tiny/fake:1~3", ["mean/1", "mean/2", "mean/3"]),
    ],
)
def test_a_key_means_the_same_arrays_of_each_split(made, text, arrays):
    splits = [(pages, pages.arrays) for pages in made["tiny"]["fake"].values()]
    assert arrays_meant(Key.parse(text), splits) == [arrays, arrays]


def test_layers_that_one_split_lacks_are_those_of_the_other(made):
    train, test = made["tiny"]["fake"].values()
    splits = [(train, ["mean/1"]), (test, ["mean/1", "mean/2"])]
    assert arrays_meant(Key.parse("tiny/fake:2"), splits) == [[], ["mean/2"]]
    for text in ("tiny/fake:2,3", "tiny/fake@max", "tiny/fake:0"):
        with pytest.raises(FeatureError, match=r"tiny/fake has no .*: it has mean: 1\.\.2"):
            arrays_meant(Key.parse(text), splits)


def test_a_model_without_splits_has_no_layers():
    with pytest.raises(FeatureError, match="tiny/fake has no splits: it has nothing"):
        arrays_meant(Key.parse("tiny/fake:2"), [])


def test_whole_splits_are_asked_for_by_name(made):
    with pytest.raises(FeatureError, match="works on whole splits: write tiny/fake/train"):
        made.below("tiny/fake/train:3")
