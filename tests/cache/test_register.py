"""Which texts and labels a cache is about."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lefcache.cache import open as open_cache
from lefcache.corpus import Corpus, Split, hash_text
from lefcache.errors import IncompleteError, MismatchError
from lefcache.extract import extract
from lefcache.testing import FakeBackbone


def corpus_of(labels, texts=None, classes=("no", "yes"), **more):
    texts = texts or [f"text {number}" for number in range(len(labels))]
    codes = None if labels is None else np.array([classes.index(x) if x else -1 for x in labels])
    splits = {"train": Split(texts, None if codes is None else codes.astype(np.int32))} | more
    return Corpus("tiny", tuple(classes), splits, "demo")


def stored(cache, split="train"):
    """Labels as names, read the way any Zarr reader would."""
    import zarr

    group = zarr.open_group(cache.path, mode="r")["tiny"]
    names = [*group.attrs["classes"], None]
    return [names[code] for code in group[f"labels/{split}"][...]]


def test_labels_and_hashes_are_plain_arrays(cache):
    cache.register(corpus_of(["no", "yes", None], ["a", "b", ""]))
    assert stored(cache) == ["no", "yes", None]
    hashes = cache.store.read("tiny/rows/train")
    assert hashes.tolist() == [hash_text("a"), hash_text("b"), hash_text("")]
    assert cache.store.read("tiny/labels/train").dtype == np.int32


def test_the_root_says_what_it_is(cache):
    cache.register(corpus_of(["no"]))
    assert cache.store.attrs("") == {"format": "lefcache", "version": 1}


def test_a_corpus_says_where_it_came_from(cache):
    cache.register(corpus_of(["no", "yes"]))
    attrs = cache["tiny"].attrs
    assert attrs["classes"] == ["no", "yes"]
    assert (attrs["source"], attrs["splits"]) == ("demo", {"train": 2})


def test_registering_again_writes_nothing(cache, tree_bytes):
    cache.register(corpus_of(["no", "yes"]))
    before = tree_bytes(cache.path / "tiny")
    assert cache.register(corpus_of(["no", "yes"])) == []
    assert tree_bytes(cache.path / "tiny") == before


@settings(max_examples=20)
@given(st.integers(0, 4), st.text(max_size=5))
def test_any_changed_text_is_refused_by_its_row(tmp_path_factory, row, text):
    cache = open_cache(tmp_path_factory.mktemp("changed"))
    texts = [f"text {number}" for number in range(5)]
    cache.register(corpus_of(["no"] * 5, texts))
    texts[row] = text
    with pytest.raises(MismatchError, match=rf"tiny/train .* row {row} \(counted from 0\)"):
        cache.register(corpus_of(["no"] * 5, texts))


def test_a_refused_corpus_changes_nothing(cache, tree_bytes):
    cache.register(corpus_of(["no", "yes"]))
    before = tree_bytes(cache.path / "tiny")
    with pytest.raises(MismatchError, match="NAME=FOLDER"):
        cache.register(corpus_of(["yes", "yes"], ["other", "text 1"]))
    assert tree_bytes(cache.path / "tiny") == before


def test_swapped_texts_are_refused(cache):
    cache.register(corpus_of(["no", "no"], ["a", "b"]))
    with pytest.raises(MismatchError, match=r"row 0 .* 2 differ"):
        cache.register(corpus_of(["no", "no"], ["b", "a"]))


def test_a_shorter_split_is_refused(cache):
    cache.register(corpus_of(["no"] * 3))
    with pytest.raises(MismatchError, match="the cache has 3 rows, the data 2"):
        cache.register(corpus_of(["no"] * 2))


def test_appended_texts_are_taken_over(cache):
    cache.register(corpus_of(["no", "yes"]))
    assert cache.register(corpus_of(["no", "yes", "yes", "no"])) == []
    assert stored(cache) == ["no", "yes", "yes", "no"]
    assert cache["tiny"].attrs["splits"] == {"train": 4}


def test_a_text_changed_before_appended_ones_is_still_refused(cache):
    cache.register(corpus_of(["no", "yes"], ["a", "b"]))
    with pytest.raises(MismatchError, match="row 1"):
        cache.register(corpus_of(["no", "yes", "no"], ["a", "B", "c"]))


def test_corrected_labels_are_taken_over_and_noted(cache):
    cache.register(corpus_of(["no", "yes", "no"]))
    [note] = cache.register(corpus_of(["yes", "yes", "no"]))
    assert note.startswith("tiny/train: 1 corrected labels taken over")
    assert stored(cache) == ["yes", "yes", "no"]


def test_labels_that_vanish_are_noted(cache):
    cache.register(corpus_of(["no", "yes"]))
    bare = Corpus("tiny", (), {"train": Split(["text 0", "text 1"])}, "demo")
    assert any("2 corrected labels" in note for note in cache.register(bare))


def test_a_new_class_recodes_and_is_no_correction(cache):
    cache.register(corpus_of(["b", "c", None], classes=("b", "c")))
    assert cache.register(corpus_of(["b", "c", None, "a"], classes=("a", "b", "c"))) == []
    assert stored(cache) == ["b", "c", None, "a"]


def test_a_split_that_the_data_lacks_keeps_its_labels(cache):
    test = {"test": Split(["t0", "t1"], np.array([1, 0], np.int32))}
    cache.register(corpus_of(["b", "c"], classes=("b", "c"), **test))
    cache.register(corpus_of(["a", "c"], classes=("a", "c")))  # renamed b, added nothing
    assert stored(cache, "test") == ["c", "b"]
    assert stored(cache) == ["a", "c"]
    assert cache["tiny"].attrs["splits"] == {"train": 2, "test": 2}


def test_a_split_can_be_added(cache):
    cache.register(corpus_of(["no", "yes"]))
    more = {"test": Split(["t"], np.array([1], np.int32))}
    cache.register(corpus_of(["no", "yes"], **more))
    assert stored(cache, "test") == ["yes"]


def test_a_cache_outlives_ten_thousand_rows_appended_to_ten(cache):
    cache.register(corpus_of(["no"] * 10))
    cache.register(corpus_of(["yes"] * 10_000))
    assert stored(cache) == ["yes"] * 10_000
    chunks = [*(cache.path / "tiny/labels/train/c").iterdir()]
    assert len(chunks) < 10  # and not one file for every ten rows


class Killed(BaseException):
    pass


def meaning(cache):
    """What a reader would train on, or that it is told to wait."""
    table = cache.table("fake:1", split="train", data="tiny")
    test = cache.table("fake:1", split="test", data="tiny")
    return [[(t.classes[code] if code >= 0 else None) for code in t.labels] for t in (table, test)]


def test_relabelling_can_be_killed_at_any_file_and_never_lies(cache, tmp_path, monkeypatch):
    import shutil

    from zarr.storage import _local

    def version(labels, classes):
        test = Split(["t0", "t1"], np.array([classes.index("c"), classes.index("b")], np.int32))
        return corpus_of(labels, classes=classes, test=test)

    old, new = version(["b", "c"], ("b", "c")), version(["c", "a"], ("a", "b", "c"))
    extract(FakeBackbone(), old, cache, layers="1")
    put, left = _local._put, [0]

    def count_down(path, value, exclusive=False):
        left[0] -= 1
        if left[0] < 0:
            raise Killed
        return put(path, value, exclusive)

    monkeypatch.setattr(_local, "_put", count_down)
    before, after, waits = [["b", "c"], ["c", "b"]], [["c", "a"], ["c", "b"]], 0
    for stop in range(30):
        left[0] = 10**9
        copy = open_cache(shutil.copytree(cache.path, tmp_path / f"copy-{stop}"))
        left[0] = stop
        try:
            copy.register(new)
        except Killed:
            left[0] = 10**9
            try:
                assert meaning(copy) == before
            except IncompleteError as error:
                assert "lef extract" in str(error)  # noqa: PT017
                waits += 1
            copy.register(new)
            assert meaning(copy) == after
        else:
            break
    assert waits > 1
    assert meaning(copy) == after
