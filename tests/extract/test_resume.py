"""Killed in every way there is; what is left resumes to the bytes of an uninterrupted run."""

import errno
import os
import shutil
import sys
from contextlib import suppress

import numpy as np
import pytest

from lefcache.cache import open as open_cache
from lefcache.errors import LefError, StorageError
from lefcache.testing import FakeBackbone

SPLIT = "tiny/fake/train"


@pytest.fixture
def whole(run, make_corpus, tmp_path, tree_bytes):
    """The bytes of an extraction that nobody interrupted."""
    other = open_cache(tmp_path / "whole")
    run(make_corpus(18), into=other)
    return tree_bytes(other.path / SPLIT)


def test_an_interruption_at_any_pass_leaves_what_resumes_to_the_same_bytes(
    run, make_corpus, tmp_path, whole, counter, tree_bytes
):
    full = counter()
    run(make_corpus(18), into=open_cache(tmp_path / "count"), on_forward=full)
    for passes in range(full.passes):
        cache = open_cache(tmp_path / f"after-{passes}")
        with pytest.raises(KeyboardInterrupt):
            run(make_corpus(18), into=cache, on_forward=counter(fail_at=passes))
        seen = counter()
        run(make_corpus(18), into=cache, on_forward=seen)
        assert tree_bytes(cache.path / SPLIT) == whole
        assert seen.passes < full.passes or passes <= 5  # blocks that were whole are not computed


@pytest.mark.parametrize("passes", [1, 4, 8])
def test_a_killed_process_leaves_what_resumes_to_the_same_bytes(
    run, cache, make_corpus, whole, killed, tree_bytes, passes
):
    corpus = make_corpus(18)
    killed(cache.path, corpus.splits["train"].texts, passes, later=0.01)
    run(corpus)
    assert tree_bytes(cache.path / SPLIT) == whole


class Killed(BaseException):
    """A process that ends here: nothing catches it."""


def test_a_kill_at_any_file_that_is_written_leaves_what_resumes_to_the_same_bytes(
    run, make_corpus, tmp_path, before_each_file, tree_bytes
):
    corpus = make_corpus(6)
    written, last = 0, None

    def count_down(_):
        nonlocal written
        written += 1
        if last is not None and written > last:
            raise Killed

    def attempt(folder, stop=None):
        nonlocal written, last
        written, last = 0, stop
        cache = open_cache(tmp_path / folder)
        run(corpus, into=cache, layers="1,last")
        return cache

    before_each_file(count_down)
    whole = tree_bytes(attempt("whole").path)
    files = written
    assert files > 20
    for stop in range(files):
        with pytest.raises(Killed):
            attempt(f"after-{stop}", stop)
        repr(open_cache(tmp_path / f"after-{stop}").ls())  # `lef ls` can always be asked
        resumed = tree_bytes(attempt(f"after-{stop}").path)
        changed = {name for name in whole if resumed.get(name) != whole[name]}
        # Who held the locks and since when, and how many seconds the model took.
        assert all(name.startswith(".locks/") or name == "tiny/fake/zarr.json" for name in changed)
        assert _made_of(tmp_path / f"after-{stop}") == _made_of(tmp_path / "whole")
        assert resumed.keys() == whole.keys()


def _made_of(folder):
    """What the cache says of its model, without the time that it took."""
    attrs = open_cache(folder).store.attrs("tiny/fake")
    assert attrs.pop("work", {"train": {}}).keys() == {"train"}  # a kill may have lost it
    return {name: value for name, value in attrs.items() if name != "seal"}


def test_growing_can_be_killed_at_any_file(
    run, make_corpus, tmp_path, before_each_file, tree_bytes
):
    corpus, longer = make_corpus(6), make_corpus(15)
    written, last = 0, None

    def count_down(_):
        nonlocal written
        written += 1
        if last is not None and written > last:
            raise Killed

    run(longer, into=open_cache(tmp_path / "whole"), layers="1,last")
    whole = tree_bytes(tmp_path / "whole/tiny")
    start = tmp_path / "start"
    run(corpus, into=open_cache(start), layers="1,last")
    before_each_file(count_down)
    for stop in range(200):
        folder = tmp_path / f"after-{stop}"
        shutil.copytree(start, folder)
        written, last = 0, stop
        try:
            run(longer, into=open_cache(folder), layers="1,last")
        except Killed:
            last = None
            # Labels are those of the old texts or the new ones, never zeros of an unwritten file.
            labels = open_cache(folder).store.read("tiny/labels/train")
            assert labels[:6].tolist() == [0, 1, 0, 1, 0, 1]
            run(longer, into=open_cache(folder), layers="1,last")
            grown = tree_bytes(folder / "tiny/fake/train")
            assert grown == {
                name.removeprefix("fake/train/"): content
                for name, content in whole.items()
                if name.startswith("fake/train/")
            }
        else:
            break
    assert stop > 20


# A disk that is full


def test_a_full_disk_is_an_error_that_resumes_when_there_is_room(
    run, make_corpus, small_disk, tmp_path, tree_bytes
):
    corpus, wide = make_corpus(200), {"depth": 3, "width": 128}
    with pytest.raises(StorageError, match="the disk is full: free some space"):
        run(corpus, into=open_cache(small_disk / "c"), backbone=FakeBackbone(**wide), block_rows=32)
    done = open_cache(small_disk / "c").pages("fake").done_rows
    assert done % 32 == 0
    moved = open_cache(shutil.copytree(small_disk / "c", tmp_path / "moved"))
    receipt = run(corpus, into=moved, backbone=FakeBackbone(**wide), block_rows=32)
    assert receipt.skipped_blocks == done // 32
    other = open_cache(tmp_path / "other")
    run(corpus, into=other, backbone=FakeBackbone(**wide), block_rows=32)
    assert tree_bytes(moved.path / SPLIT) == tree_bytes(other.path / SPLIT)


def test_a_disk_without_a_single_free_byte_is_an_error_of_ours(run, make_corpus, small_disk):
    block = b"x" * 4096
    with (small_disk / "filler").open("wb", buffering=0) as file, suppress(OSError):
        while file.write(block):
            pass
    with pytest.raises(StorageError):
        run(make_corpus(5), into=open_cache(small_disk / "c"))


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (errno.ENOSPC, "disk is full"),
        (errno.EDQUOT, "quota"),
        (errno.EROFS, "read-only"),
        (errno.EACCES, "permission"),
        (errno.EIO, "Input/output"),
    ],
)
def test_what_the_system_refuses_is_a_storage_error(
    run, cache, make_corpus, monkeypatch, number, message
):
    from zarr.storage import _local

    put = _local._put

    def refuse(path, value, exclusive=False):
        if "/c/" in str(path):
            raise OSError(number, os.strerror(number), str(path))
        return put(path, value, exclusive)

    corpus = make_corpus(6)
    run(corpus, limit=4)
    with monkeypatch.context() as patch:
        patch.setattr(_local, "_put", refuse)
        with pytest.raises(StorageError, match=message):
            run(corpus)
    run(corpus)
    assert cache.rows("fake:1").shape == (6, 2)


def test_a_read_only_folder_is_an_error_of_ours(run, make_corpus, read_only, tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    with pytest.raises(StorageError, match="read-only: choose another with --cache"):
        run(make_corpus(5), into=open_cache(read_only(folder) / "c"))


def test_a_file_where_the_cache_should_be_is_an_error_of_ours(run, make_corpus, tmp_path):
    (tmp_path / "file").write_text("no cache")
    with pytest.raises(StorageError, match="--cache"):
        open_cache(tmp_path / "file")
    with pytest.raises(LefError, match="--cache"):
        run(make_corpus(5), into=open_cache(tmp_path / "file" / "below"))


def test_a_lost_chunk_is_damage_and_not_zeros(run, cache, make_corpus):
    from lefcache.errors import DamagedError

    run(make_corpus(18))
    (cache.path / SPLIT / "mean/2/c/0/0").unlink()
    with pytest.raises(DamagedError, match="mean/2"):
        cache.rows("fake:2")


def test_a_cache_made_anew_in_the_same_place_is_read_anew(run, cache, make_corpus):
    run(make_corpus(6))
    assert cache.rows("fake:1")[0][1] == 3
    shutil.rmtree(cache.path)
    run(make_corpus(train=["one word less", *"abcde"][::-1]))
    np.testing.assert_array_equal(np.asarray(cache.rows("fake:1"))[:, 1], [1, 1, 1, 1, 1, 3])


def test_a_user_without_a_name_can_extract(cache, make_corpus, run, monkeypatch):
    import getpass

    def nobody():
        raise KeyError("getpwuid(): uid not found: 12345")  # what Python 3.11 does in a container

    monkeypatch.delenv("USER", raising=False)
    monkeypatch.setattr(getpass, "getuser", nobody)
    assert run(make_corpus(5)).rows == 5


def test_two_processes_cannot_write_one_split(cache, make_corpus, python):
    code = """
import sys
from lefcache.cache import open
from lefcache.errors import BusyError
from lefcache.corpus import Corpus, Split
from lefcache.extract import extract
from lefcache.testing import FakeBackbone
try:
    extract(FakeBackbone(), Corpus("tiny", ("no",), {"train": Split(["a"])}), open(sys.argv[1]))
except BusyError as error:
    print(error)
"""
    from lefcache.extract import extract

    messages = []
    backbone = FakeBackbone(on_forward=lambda _: messages.append(python(code, cache.path)))
    corpus = make_corpus(train=["a"])
    extract(backbone, corpus, cache)
    assert f"process {os.getpid()} of " in messages[0]
    assert "what it finished is kept" in messages[0]
    assert sys.platform != "linux" or messages[0].count("\n") == 1
