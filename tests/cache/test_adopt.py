"""Vectors of one cache taken over into another: the same rows, and nothing lost that is there."""

from dataclasses import replace

import numpy as np
import pytest

from lefcache.cache import open as open_cache
from lefcache.cache.adopt import adopt, check_adoptable, wanting
from lefcache.cache.corpora import adopt_corpus
from lefcache.corpus import Split
from lefcache.errors import DamagedError, IncompleteError, MismatchError
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
    assert wanting(other.store, source, ["mean/1", "mean/2"], PATH) == {"mean/2": 40}
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


def test_fewer_rows_than_are_here_are_refused(other, cache, make_corpus):
    extract(FakeBackbone(), make_corpus(40), cache, layers="2", limit=20)
    extract(FakeBackbone(), make_corpus(40), other, layers="1")
    with pytest.raises(MismatchError, match="has 40 rows here, and only 20 there"):
        take(cache.pages("fake"), other, "mean/2")


def test_rows_that_were_appended_there_are_taken_over(cache, other, make_corpus):
    texts = source_texts(make_corpus)
    for count in (21, 40):
        extract(FakeBackbone(), make_corpus(train=texts[:count]), cache, block_rows=8)
        source = cache.pages("fake")
        names = ["mean/1", "mean/2"]
        new = 21 if count == 21 else 24
        assert wanting(other.store, source, names, PATH) == dict.fromkeys(names, new)
        source.store = Counted(source.store)
        take(source, other, *names)
        starts = sorted(start for name, start, _ in source.store.reads if name == "1")
        assert starts == ([0, 8, 16] if count == 21 else [16, 24, 32])
        assert verify(other).whole
        assert same(source, other, 1)
    assert other["tiny"].attrs["splits"] == {"train": 40}
    receipt = extract(FakeBackbone(), make_corpus(train=texts), other, layers="1,3", block_rows=8)
    assert receipt.computed_blocks == 5
    assert verify(other).whole


def test_layers_that_came_together_take_appended_rows_together(cache, other, make_corpus):
    texts = source_texts(make_corpus)
    extract(FakeBackbone(), make_corpus(train=texts[:21]), cache, block_rows=8)
    take(cache.pages("fake"), other, "mean/1", "mean/2")
    extract(FakeBackbone(), make_corpus(train=texts), cache, block_rows=8)
    with pytest.raises(IncompleteError, match="mean/2 was begun together with what is pulled"):
        take(cache.pages("fake"), other, "mean/1")
    take(cache.pages("fake"), other, "mean/1", "mean/2")
    assert verify(other).whole


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


# What is read of the other cache


@pytest.fixture
def there(tmp_path, make_corpus):
    """Another cache: ten rows in blocks of four, with layers in two sets and two types."""
    cache = open_cache(tmp_path / "there")
    for choices in ({"layers": "1,2"}, {"layers": "3,last", "store_dtype": "bfloat16"}):
        extract(FakeBackbone(), make_corpus(10), cache, pools=["mean"], block_rows=4, **choices)
    return cache


class Counted:
    """A store that remembers which rows of vectors were read."""

    def __init__(self, store):
        self.store, self.root, self.reads = store, store.root, []

    def read(self, path, stop=None, sparse=False, start=0):
        if path.count("/") == 4 and path.split("/")[3] == "mean":
            self.reads.append((path.rpartition("/")[2], start, stop))
        return self.store.read(path, stop, sparse, start)

    def __getattr__(self, name):
        return getattr(self.store, name)


def pull(here, there, *arrays):
    source = there.pages("fake")
    source.store = Counted(source.store)
    adopt_corpus(here.store, source, "tiny")
    adopt(here.store, source, arrays, PATH, "there")
    return source.store.reads


def test_chosen_layers_come_with_labels_ledger_and_settings(cache, there):
    pull(cache, there, "mean/1", "mean/3", "mean/last")
    report = verify(cache)
    assert report.whole
    assert not report.strays
    assert cache.pages("fake").asked == ["mean/1", "tokens", "mean/3", "mean/last"]
    ours, theirs = (each.table("fake:1,fake:3,fake:last") for each in (cache, there))
    for mine, original in zip(ours.rows, theirs.rows, strict=True):
        assert mine.stored == original.stored
        np.testing.assert_array_equal(np.asarray(mine), np.asarray(original))
    np.testing.assert_array_equal(ours.labels, theirs.labels)
    assert (ours.specs, ours.classes) == (theirs.specs, theirs.classes)
    for mine, original in zip(
        *(each.pages("fake").tokens() for each in (cache, there)), strict=True
    ):
        np.testing.assert_array_equal(mine, original)


def test_every_block_is_read_once_and_what_is_here_not_again(cache, there):
    assert sorted(pull(cache, there, "mean/2")) == [("2", 0, 4), ("2", 4, 8), ("2", 8, 10)]
    assert wanting(cache.store, there.pages("fake"), ["mean/1", "mean/2"], PATH) == {"mean/1": 10}
    assert pull(cache, there, "mean/2") == []


def test_an_interrupted_copy_goes_on_where_it_was(cache, there):
    source = there.pages("fake")
    adopt_corpus(cache.store, source, "tiny")
    done = []

    def stop(rows):
        done.append(rows)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        adopt(cache.store, source, ["mean/1"], PATH, "there", stop)
    assert done == [4]
    assert pull(cache, there, "mean/1") == [("1", 4, 8), ("1", 8, 10)]
    assert verify(cache).whole


def test_rows_that_are_not_those_written_are_refused_and_not_vouched_for(cache, there):
    file = there.path / PATH / "mean/1/c/1/0"
    content = bytearray(file.read_bytes())
    content[0] ^= 1
    file.write_bytes(content)
    with pytest.raises(DamagedError, match=r"rows 4\.\.7 of tiny/fake/train/mean/1"):
        pull(cache, there, "mean/1")
    assert cache.pages("fake").done["mean/1"] == 4


def test_what_is_not_finished_there_is_not_finished_here(cache, tmp_path, make_corpus):
    there, passes = open_cache(tmp_path / "there"), []

    def stop(_):
        passes.append(1)
        if len(passes) > 2:
            raise KeyboardInterrupt

    backbone = FakeBackbone(on_forward=stop)
    with pytest.raises(KeyboardInterrupt):
        extract(backbone, make_corpus(10), there, layers="1", block_rows=4)
    have = there.pages("fake").done_rows
    assert 0 < have < 10
    pull(cache, there, "mean/1")
    assert cache.pages("fake").done_rows == have
    with pytest.raises(IncompleteError):
        cache.rows("fake:1")
    extract(FakeBackbone(), make_corpus(10), there, layers="1", block_rows=4)
    assert pull(cache, there, "mean/1")[0] == ("1", have, 10)
    assert verify(cache).whole


def test_damaged_labels_are_not_taken_over(cache, there):
    file = there.path / "tiny/labels/train/c/0"
    content = bytearray(file.read_bytes())
    content[0] ^= 1
    file.write_bytes(content)
    with pytest.raises(DamagedError, match="labels/train"):
        pull(cache, there, "mean/1")
