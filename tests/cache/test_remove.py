"""What is removed is gone, and what stays is vouched for at every moment."""

import os
import shutil

import numpy as np
import pytest

from lefcache.cache import open as open_cache
from lefcache.cache.remove import doomed, remove
from lefcache.errors import BusyError, FeatureError
from lefcache.extract import extract
from lefcache.testing import FakeBackbone
from lefcache.verify import verify

PATH = "tiny/fake/train"


@pytest.fixture(params=["zarr", "hdf5"])
def made(request, run, make_corpus, cache):
    corpus = make_corpus(14, test=["one text", "another"])
    run(corpus, layers="1..3", pools=["mean", "max"], format=request.param)
    return cache


@pytest.fixture
def run(cache):
    def run(corpus, **choices):
        return extract(FakeBackbone(), corpus, cache, **({"block_rows": 4} | choices))

    return run


def rm(cache, key):
    things = doomed(cache, key)
    remove(cache.store, things)
    return things


@pytest.mark.parametrize(
    ("key", "gone"),
    [
        ("tiny/fake:2", {"mean/2"}),
        ("tiny/fake:2@max", {"max/2"}),
        ("tiny/fake:-1@max", {"max/3"}),
        ("tiny/fake@max", {"max/1", "max/2", "max/3"}),
        ("tiny/fake/max/2", {"max/2"}),
        ("tiny/fake:2,3", {"mean/2", "mean/3"}),
    ],
)
def test_a_layer_or_pool_goes_from_every_split_and_the_others_stay_whole(made, key, gone):
    before = {name: np.asarray(made.rows(f"fake:{name[-1]}@{name[:-2]}")) for name in ("mean/1",)}
    names = {*made.pages("fake").arrays}
    things = rm(made, key)
    assert {each.path for each in things} == {PATH, "tiny/fake/test"}
    assert all({*each.arrays} == gone and each.bytes > 0 for each in things)
    for split in ("train", "test"):
        pages = open_cache(made.path).pages("fake", split)
        assert {*pages.arrays} == names - gone
        assert pages.missing == []
        assert {*pages.magnitudes()} == names - gone
    np.testing.assert_array_equal(made.rows("fake:1"), before["mean/1"])
    found = verify(open_cache(made.path))
    assert (found.damaged, found.missing, found.strays) == ([], [], [])
    with pytest.raises(FeatureError, match="add it with: lef extract"):
        made.rows(f"fake:{max(gone)[-1]}@{max(gone)[:-2]}")


def test_a_removed_layer_can_be_extracted_again(made, run, make_corpus):
    before = np.asarray(made.rows("fake:2"))
    rm(made, "tiny/fake/train/mean/2")
    run(make_corpus(14, test=["one text", "another"]), layers="2")
    np.testing.assert_array_equal(made.rows("fake:2"), before)
    assert verify(open_cache(made.path)).whole


def test_what_a_kill_left_in_one_split_goes_with_the_same_key(made):
    rm(made, "tiny/fake/train/mean/2")
    assert [each.path for each in rm(made, "tiny/fake:2")] == ["tiny/fake/test"]
    with pytest.raises(FeatureError, match="tiny/fake has no mean/2: it has mean: 1, 3; max: 1"):
        doomed(made, "tiny/fake:2")


def test_splits_models_and_corpora_go_whole(made):
    rm(made, "tiny/fake/test")
    assert list(made["tiny"]["fake"]) == ["train"]
    rm(made, "tiny/fake/train")  # with the last split goes the model
    assert list(made["tiny"]) == []
    rm(made, "tiny")
    assert list(made) == []


def test_the_last_array_of_a_split_takes_the_split_with_it(made):
    rm(made, "tiny/fake@max")
    assert [each.path for each in doomed(made, "tiny/fake/test/mean")] == ["tiny/fake/test"]
    assert [each.path for each in doomed(made, "tiny/fake@mean")] == ["tiny/fake"]


def test_the_last_arrays_of_all_splits_take_the_settings_with_them(made):
    rm(made, "tiny/fake/train/max")
    for pool in ("max", "mean"):
        rm(made, f"tiny/fake@{pool}")
    assert not made.store.attrs("tiny/fake")


@pytest.mark.parametrize(
    "key",
    ["", "other", "tiny/other", "tiny/fake/validation", "tiny/fake/train/mean/9", "results", "..",
     "tiny/..", "tiny/labels", "../tiny", "tiny/fake/../fake", "/", "tiny/fake/train/mean/1/c"],
)  # fmt: skip
def test_what_is_not_there_is_refused(made, key):
    with pytest.raises(FeatureError):
        doomed(made, key)


@pytest.mark.parametrize("key", ["notes", "tiny/notes"])
def test_a_folder_with_nothing_of_ours_is_not_taken_away(made, key):
    (made.path / key / "below").mkdir(parents=True)
    (made.path / key / "below/page.txt").touch()
    with pytest.raises(FeatureError):
        doomed(made, key)


def test_what_is_being_written_stays(made):
    from lefcache.cache.lock import exclusive

    with exclusive(made.path, "tiny+fake+test"), pytest.raises(BusyError):
        rm(open_cache(made.path), "tiny/fake:2")
    assert verify(made).whole


@pytest.mark.parametrize("format", ["zarr", "hdf5"])
def test_every_step_is_on_the_disk_before_the_next(run, make_corpus, cache, monkeypatch, format):
    """A power cut finds the old ledger or the new one, and no ledger of vectors that are gone."""
    run(make_corpus(10), layers="1..2", format=format)
    put, dirty, order = os.fsync, {}, []

    def state():
        found = {}
        for each in (cache.path / "tiny/fake").rglob("*"):
            content = each.read_bytes() if each.is_file() else sorted(each.iterdir())
            found[each.stat().st_ino] = (str(each), content)
        return found

    def noting(method):
        def change(path, *given):
            if method.__name__ == "delete":
                order.append((path.removeprefix(f"{PATH}/"), sorted(dirty.values())))
            before = state()
            method(path, *given)
            after = state()
            dirty.update({ino: each[0] for ino, each in after.items() if each != before.get(ino)})
            for gone in dirty.keys() - after.keys():
                del dirty[gone]

        return change

    def synced(file):
        put(file)
        dirty.pop(os.fstat(file).st_ino, None)

    monkeypatch.setattr(os, "fsync", synced)
    for name in ("set_attrs", "create", "write", "delete"):
        monkeypatch.setattr(cache.store, name, noting(getattr(cache.store, name)))
    rm(cache, "tiny/fake:2")
    assert [path for path, _ in order] == ["ledger/0", "magnitudes/0", "mean/2"]
    assert (order[0][1], order[2][1]) == ([], [])


def test_splits_that_go_whole_do_not_keep_others_from_going_in_part(run, make_corpus, cache):
    corpus = make_corpus(6, test=["one text", "another"])
    run(corpus, layers="1", pools=["max"], format="hdf5")
    run(corpus, layers="1", format="hdf5")
    rm(cache, "tiny/fake/train/mean")
    things = rm(cache, "tiny/fake@max")
    assert [bool(each.arrays) for each in things] == [False, True]
    assert verify(open_cache(cache.path)).whole


class Killed(BaseException):
    pass


@pytest.mark.parametrize("format", ["zarr", "hdf5"])
def test_a_kill_at_any_change_leaves_the_truth_and_the_same_command_ends_it(
    run, make_corpus, cache, tmp_path, format
):
    run(make_corpus(10), layers="1..2", format=format, fsync=False)
    whole = np.asarray(cache.rows("fake:1"))
    rm(done := open_cache(shutil.copytree(cache.path, tmp_path / "done")), "tiny/fake:2")
    for lives in range(60):
        copy = open_cache(shutil.copytree(cache.path, tmp_path / f"copy-{lives}"))
        if not killed_after(lives, copy, "tiny/fake:2"):
            break
        again = open_cache(copy.path)
        np.testing.assert_array_equal(again.rows("fake:1", verify=True), whole)
        assert verify(again).whole
        try:
            rm(again, "tiny/fake:2")
        except FeatureError:
            assert lives > 3  # it had gone already
        again = open_cache(copy.path)
        found = verify(again)
        assert (found.damaged, found.missing, found.strays) == ([], [], [])
        assert shape(again) == shape(done)
        if lives % 4 == 0:
            receipt = extract(FakeBackbone(), make_corpus(13), again, layers="1", fsync=False)
            assert receipt.computed_blocks == 2
            assert verify(again).whole
    assert 5 < lives < 59


def test_a_split_that_a_kill_has_left_without_ledgers_is_missing_and_goes(made):
    assert killed_after(2, made, "tiny/fake/test")  # it was forgotten, and its ledgers deleted
    found = verify(open_cache(made.path))
    assert found.damaged == []
    assert {each.path for each in found.missing} == {"tiny/fake/test"}
    rm(open_cache(made.path), "tiny/fake/test")
    assert verify(open_cache(made.path)).whole


def killed_after(changes, cache, key):
    """Whether a removal is killed that makes more than so many changes."""
    left = [changes]

    def dying(method):
        def call(*arguments, **named):
            left[0] -= 1
            if left[0] < 0:
                raise Killed
            return method(*arguments, **named)

        return call

    for name in ("set_attrs", "create", "write", "delete"):
        setattr(cache.store, name, dying(getattr(cache.store, name)))
    try:
        rm(cache, key)
    except Killed:
        return True
    return False


def shape(cache):
    """Of each split, which arrays there are, and of what each ledger speaks."""
    return {
        pages.path: (
            sorted(pages.asked),
            sorted(each.arrays for each in pages.generations),
            len(cache.store.children(f"{pages.path}/ledger")),
            len(cache.store.children(f"{pages.path}/magnitudes")),
        )
        for pages in cache["tiny"].all_pages()
    }
