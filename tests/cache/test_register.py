"""Which texts and labels a cache is about."""

import re
import shlex
import shutil
import threading
import time

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from cli.main import main
from lefcache.cache import open as open_cache
from lefcache.corpus import Corpus, Split, hash_text, read_corpus
from lefcache.errors import IncompleteError, MismatchError
from lefcache.extract import extract
from lefcache.testing import FakeBackbone


def corpus_of(labels, texts=None, classes=("no", "yes"), source="demo", options=(), **more):
    texts = texts or [f"text {number}" for number in range(len(labels))]
    codes = None if labels is None else np.array([classes.index(x) if x else -1 for x in labels])
    splits = {"train": Split(texts, None if codes is None else codes.astype(np.int32))} | more
    return Corpus("tiny", tuple(classes), splits, source, dict(options))


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
    assert cache.store.attrs("") == {"format": "lefcache", "version": 1, "sealed": True}


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
    with pytest.raises(MismatchError, match=r"--data NAME=demo.* lef rm tiny --cache"):
        cache.register(corpus_of(["yes", "yes"], ["other", "text 1"]))
    assert tree_bytes(cache.path / "tiny") == before


def test_after_the_command_that_is_named_the_new_texts_are_taken(cache, write_tsv):
    cache.register(read_corpus(write_tsv("one", train=[("a", "no")]) / "train.tsv"))
    other = write_tsv("two", train=[("b", "no")]) / "train.tsv"
    with pytest.raises(MismatchError) as refused:
        cache.register(read_corpus(other))
    assert f"--data NAME={other.resolve()}," in str(refused.value)
    (words,) = re.findall(r"with: lef (.*)$", str(refused.value))
    ran = CliRunner().invoke(main, [*shlex.split(words), "--yes"])
    assert ran.exit_code == 0
    cache.register(read_corpus(other))
    assert list(cache) == ["train"]


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
    assert note.startswith(
        "tiny/train: 1 corrected label taken over; results of the old ones are stale"
    )
    assert stored(cache) == ["yes", "yes", "no"]


def test_first_labels_correct_none(cache):
    cache.register(BARE)
    assert cache.register(corpus_of(["no", "yes"])) == ["tiny/train: 2 labels taken over"]
    assert stored(cache) == ["no", "yes"]


BARE = Corpus("tiny", (), {"train": Split(["text 0", "text 1"])}, "demo")


def test_data_without_labels_takes_none_away(cache):
    cache.register(corpus_of(["no", "yes"], options={"label-column": "mood"}))
    [note] = cache.register(BARE)
    assert note == "tiny: this data has no labels for train; those in the cache are kept"
    assert stored(cache) == ["no", "yes"]
    attrs = cache["tiny"].attrs
    assert (attrs["classes"], attrs["options"]) == (["no", "yes"], {"label-column": "mood"})


def test_data_without_labels_from_elsewhere_is_read_with_its_own_options(cache):
    cache.register(corpus_of(["no", "yes"], options={"label-column": "mood"}))
    cache.register(Corpus("tiny", (), BARE.splits, "/else/where", {"text-column": "body"}))
    attrs = cache["tiny"].attrs
    assert (attrs["source"], attrs["options"]) == ("/else/where", {"text-column": "body"})
    assert stored(cache) == ["no", "yes"]


def test_rows_appended_without_labels_have_none(cache):
    cache.register(corpus_of(["no", "yes"]))
    cache.register(corpus_of(None, [f"text {number}" for number in range(4)], classes=()))
    assert stored(cache) == ["no", "yes", None, None]


def test_a_split_without_labels_keeps_its_own_while_others_change(cache):
    test = {"test": Split(["t0", "t1"], np.array([1, 0], np.int32))}
    cache.register(corpus_of(["b", "c"], classes=("b", "c"), **test))
    bare = {"test": Split(["t0", "t1"])}
    notes = cache.register(corpus_of(["a", "c"], classes=("a", "c"), **bare))
    assert [note.partition(":")[0] for note in notes] == ["tiny", "tiny/train"]
    assert (stored(cache), stored(cache, "test")) == (["a", "c"], ["c", "b"])


def test_labels_that_come_later_are_taken_over(cache):
    cache.register(BARE)
    cache.register(corpus_of(["no", "yes"], options={"label-column": "mood"}))
    assert stored(cache) == ["no", "yes"]
    assert cache["tiny"].attrs["options"] == {"label-column": "mood"}


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


def relabelled(labels, classes):
    test = Split(["t0", "t1"], np.array([classes.index("d"), classes.index("b")], np.int32))
    return corpus_of(labels, classes=classes, test=test)


@pytest.fixture
def killed_at(cache, tmp_path, before_each_file):
    """A function that registers a corpus in a copy and ends the process at the k-th file."""

    left = [10**9]

    def count_down(_):
        left[0] -= 1
        if left[0] < 0:
            raise Killed

    before_each_file(count_down)

    def kill(corpus, stop):
        copy = open_cache(shutil.copytree(cache.path, tmp_path / f"copy-{stop}"))
        left[0] = stop
        try:
            copy.register(corpus)
        except Killed:
            return copy, True
        finally:
            left[0] = 10**9
        return copy, False

    return kill


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (["d", "a"], ("a", "b", "d")),
        (["b", "d", "e", "a", "c"], ("a", "b", "c", "d", "e")),  # rows appended, classes between
        (["d", "d", "c"], ("b", "c", "d")),
    ],
    ids=["corrected", "grown", "both"],
)
def test_relabelling_can_be_killed_at_any_file_and_never_lies(cache, killed_at, labels, classes):
    extract(FakeBackbone(), relabelled(["b", "d"], ("b", "d")), cache, layers="1")
    new = relabelled(labels, classes)
    before, after, waits = [["b", "d"], ["d", "b"]], [labels[:2], ["d", "b"]], 0
    for stop in range(30):
        copy, killed = killed_at(new, stop)
        if not killed:
            break
        try:
            assert meaning(copy) == before
        except IncompleteError as error:
            assert "lef extract" in str(error)  # noqa: PT017
            waits += 1
        notes = copy.register(new)
        assert meaning(copy) == after
        assert before != after or notes == []
    assert waits > 1
    assert meaning(copy) == after
    assert stored(copy) == labels


def test_labels_that_were_half_replaced_cannot_be_kept(cache, killed_at):
    extract(FakeBackbone(), relabelled(["b", "d"], ("b", "d")), cache, layers="1")
    new = relabelled(["d", "a"], ("a", "b", "d"))
    marked = 0
    for stop in range(30):
        copy, killed = killed_at(new, stop)
        if not killed:
            break
        if not copy["tiny"].attrs.get("changing"):
            continue
        marked += 1
        train, test = new.splits["train"], new.splits["test"]
        for splits in ({"train": train}, {"train": train, "test": Split(test.texts)}):
            with pytest.raises(IncompleteError, match=r"labels of tiny/test .* data that has them"):
                copy.register(Corpus("tiny", new.classes, splits, "demo"))
        copy.register(new)
        assert meaning(copy) == [["d", "a"], ["d", "b"]]
    assert marked


def test_the_command_after_a_kill_names_the_new_labels(cache, killed_at):
    extract(FakeBackbone(), corpus_of(["no", "no"]), cache, layers="1")
    new = corpus_of(["yes", "no"], source="/new", options={"label-column": "mood"})
    copy, killed = killed_at(new, 1)
    assert killed
    with pytest.raises(IncompleteError, match=r"--data /new .*--label-column mood"):
        copy.table("fake:1")


# Several at once


@pytest.mark.parametrize("writers", [1, 2])
def test_a_table_never_pairs_labels_with_other_classes(cache, monkeypatch, writers):
    extract(FakeBackbone(), corpus_of(["b", "c"], classes=("b", "c")), cache, layers="1")
    later = [corpus_of(["b", "c"], classes=("a", "b", "c")), corpus_of(["b", "c"], classes="bc")]
    todo, read = later[:writers], cache.store.read

    def overtaken(path, *how, **more):
        found = read(path, *how, **more)
        if path == "tiny/labels/train" and todo:
            open_cache(cache.path).register(todo.pop(0))
        return found

    monkeypatch.setattr(cache.store, "read", overtaken)
    try:
        table = cache.table("fake:1")
    except IncompleteError:
        assert writers == 2
        table = cache.table("fake:1")
    assert [table.classes[code] for code in table.labels] == ["b", "c"]


def test_two_first_corpora_make_one_root(cache, monkeypatch):
    from lefcache.stores.zarr_store import ZarrStore

    names, set_attrs = [], ZarrStore.set_attrs
    other = open_cache(cache.path)
    second = threading.Thread(
        target=other.register, args=[Corpus("other", (), {"train": Split(["a"])})]
    )

    def slow(store, path, values):
        names.append(path)
        if names == [""]:
            second.start()
            time.sleep(0.2)
        set_attrs(store, path, values)

    monkeypatch.setattr(ZarrStore, "set_attrs", slow)
    cache.register(corpus_of(["no"]))
    second.join()
    assert names.count("") == 1
    assert list(cache) == ["other", "tiny"]
