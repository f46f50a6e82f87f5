"""HDF5 beside Zarr: the same numbers, resumed, grown, read and converted in either."""

import errno
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from lefcache.cache import Pages
from lefcache.cache import open as open_cache
from lefcache.errors import DamagedError, FeatureError, MismatchError, StorageError
from lefcache.extract import extract
from lefcache.stores import hdf5_store, journal, mixed
from lefcache.testing import FakeBackbone


def contents(cache, split="train"):
    """All that a split holds, read without asking what format it is in."""
    pages = Pages(cache.store, "tiny", "fake", split)
    found = {name: cache.store.read(f"{pages.path}/{name}", sparse=True) for name in pages.arrays}
    for each in pages.generations:
        found[f"ledger/{each.number}"] = each.ledger
    return found | {f"largest {name}": each for name, each in pages.magnitudes().items()}


def same(one, other):
    assert list(one) == list(other)
    for name in one:
        assert one[name].dtype == other[name].dtype
        assert one[name].tobytes() == other[name].tobytes(), name


def partial(cache):
    """What of the cache's files is the beginning of another."""
    return [
        each for each in cache.path.rglob("*") if each.suffix in (".tmp", ".partial", ".journal")
    ]


@pytest.fixture
def twin(tmp_path):
    return open_cache(tmp_path / "twin")


@pytest.mark.parametrize("store_dtype", ["auto", "bfloat16", "float32"])
def test_both_formats_hold_the_same(run, cache, twin, make_corpus, store_dtype):
    corpus = make_corpus(13, test=["a", "b c"])
    run(corpus, format="hdf5", store_dtype=store_dtype, pools=["mean", "max"])
    run(corpus, into=twin, store_dtype=store_dtype, pools=["mean", "max"])
    assert (cache.path / "tiny/fake/train.h5").is_file()
    assert not (cache.path / "tiny/fake/train").exists()
    for split in ("train", "test"):
        same(contents(cache, split), contents(twin, split))
    for each, other in zip(cache.ls(), twin.ls(), strict=True):
        assert (each.pop("format"), other.pop("format")) == ("hdf5", "zarr")
        assert {**each, "bytes": 0} == {**other, "bytes": 0}
    one, two = (c.rows("fake:2", "train") for c in (cache, twin))
    assert one.stored == two.stored
    np.testing.assert_array_equal(one[[12, 0, 5]], two[[12, 0, 5]])


@pytest.mark.parametrize("passes", range(4))
def test_an_interrupted_file_goes_on(run, cache, twin, make_corpus, counter, passes):
    corpus = make_corpus(13)
    with pytest.raises(KeyboardInterrupt):
        run(corpus, format="hdf5", on_forward=counter(passes))
    run(corpus)  # what it was begun as
    run(corpus, into=twin)
    same(contents(cache), contents(twin))
    here = {each.name for each in (cache.path / "tiny/fake").iterdir()}
    assert here == {"zarr.json", "train.h5"}


def test_layers_and_rows_may_come_later(run, cache, twin, make_corpus):
    corpus = make_corpus(13)
    run(corpus, format="hdf5", layers="1", limit=6)
    reader = cache.rows("fake:1")
    before = np.asarray(reader)
    run(corpus, layers="1..2", pools=["mean", "last"], format="hdf5")
    run(corpus, into=twin, layers="1", limit=6)
    run(corpus, into=twin, layers="1..2", pools=["mean", "last"])
    same(contents(cache), contents(twin))
    np.testing.assert_array_equal(np.asarray(reader), before)  # mapped before the file grew


def test_another_format_than_a_split_is_kept_in_is_refused(run, make_corpus):
    corpus = make_corpus(5)
    run(corpus)
    with pytest.raises(MismatchError, match=r"lef convert tiny/fake/train --to hdf5$"):
        run(corpus, format="hdf5")


@pytest.mark.parametrize(
    ("name", "value", "who"),
    [("WORLD_SIZE", "4", "one of 4 processes that torchrun"), ("RAY_RAYLET_PID", "9", "of ray")],
)
def test_one_file_is_refused_where_several_processes_write(
    run, cache, make_corpus, monkeypatch, name, value, who
):
    corpus = make_corpus(9)
    monkeypatch.setenv(name, value)
    with pytest.raises(
        MismatchError, match=rf"{who}.* one writer only: extract with --format zarr"
    ):
        run(corpus, format="hdf5")
    assert run(corpus, format="zarr").computed_blocks == 3
    monkeypatch.delenv(name)
    cache.convert("tiny/fake/train", "hdf5")
    monkeypatch.setenv(name, value)
    with pytest.raises(MismatchError, match="first run: lef convert tiny/fake/train --to zarr"):
        run(corpus, layers="1", pools=["max"])
    monkeypatch.setenv("WORLD_SIZE", "1")
    monkeypatch.delenv("RAY_RAYLET_PID", raising=False)
    assert run(corpus, layers="1", pools=["max"]).computed_blocks == 3


def test_an_unknown_format_is_refused(cache, make_corpus):
    with pytest.raises(FeatureError, match="--format parquet is none of zarr, hdf5"):
        extract(FakeBackbone(), make_corpus(3), cache, format="parquet")


# Conversion


@pytest.fixture
def grown(run, cache, make_corpus):
    """A split of two sets of arrays, the second of which lacks rows."""
    corpus = make_corpus(13)
    run(corpus, layers="1", store_dtype="bfloat16", limit=6)
    run(corpus, layers="2")
    return cache


def test_there_and_back_again_changes_no_byte(grown, tree_bytes):
    before, told = tree_bytes(grown.path / "tiny/fake/train"), contents(grown)
    assert grown.convert("tiny/fake/train", "hdf5")
    assert not grown.convert("tiny/fake/train", "hdf5")
    assert not (grown.path / "tiny/fake/train").exists()
    same(contents(grown), told)
    assert grown.convert("tiny/fake/train", "zarr")
    assert not (grown.path / "tiny/fake/train.h5").exists()
    after = tree_bytes(grown.path / "tiny/fake/train")
    # HDF5 keeps attributes in the order of their names.
    assert json.loads(after.pop("zarr.json")) == json.loads(before.pop("zarr.json"))
    assert after == before


@pytest.mark.parametrize("format", ["hdf5", "zarr"])
@pytest.mark.parametrize("step", range(6))
@pytest.mark.parametrize("killed", [False, True], ids=["stopped", "killed"])
def test_a_conversion_that_ends_early_costs_nothing(grown, monkeypatch, format, step, killed):
    key, told = "tiny/fake/train", contents(grown)
    if format == "zarr":
        grown.convert(key, "hdf5")
    at = -1

    def dying(function, counts=True):
        def called(*arguments, **named):
            nonlocal at
            at += counts
            if (counts and at == step) or (killed and at >= step):
                raise KeyboardInterrupt
            return function(*arguments, **named)

        return called

    sweeping = dying(mixed.MixedStore._sweep_drafts, counts=False)
    monkeypatch.setattr(mixed.MixedStore, "_sweep_drafts", sweeping)
    monkeypatch.setattr(mixed, "sync_folder", dying(mixed.sync_folder))
    monkeypatch.setattr(mixed.ZarrStore, "delete", dying(mixed.ZarrStore.delete))
    monkeypatch.setattr(mixed.Hdf5Store, "delete", dying(mixed.Hdf5Store.delete))
    monkeypatch.setattr(mixed.ZarrStore, "write", dying(mixed.ZarrStore.write))
    monkeypatch.setattr(mixed.Hdf5Store, "write", dying(mixed.Hdf5Store.write))
    with pytest.raises(KeyboardInterrupt):
        grown.convert(key, format)
    monkeypatch.undo()
    assert killed or step < 2 or not partial(grown)
    same(contents(grown), told)
    grown.convert(key, format)
    same(contents(grown), told)
    here = {each.name for each in (grown.path / "tiny/fake").iterdir()}
    assert here == {"zarr.json", "train.h5" if format == "hdf5" else "train"}


def test_a_conversion_that_was_killed_within_a_change_costs_nothing(grown, monkeypatch):
    class Killed(BaseException):
        pass

    def die(*_):
        patch.setattr(mixed.MixedStore, "_sweep_drafts", die)  # the dead tidy nothing up
        raise Killed

    key, told = "tiny/fake/train", contents(grown)
    with monkeypatch.context() as patch:
        patch.setattr("lefcache.stores.journal._copy", die)  # the journal is written, and stays
        with pytest.raises(Killed):
            grown.convert(key, "hdf5")
    assert list((grown.path / "tiny/fake").glob(".*.journal"))
    grown.convert(key, "hdf5")
    same(contents(grown), told)
    assert {each.name for each in (grown.path / "tiny/fake").iterdir()} == {"zarr.json", "train.h5"}


@pytest.mark.parametrize("format", ["hdf5", "zarr"])
def test_damage_is_not_copied(grown, format):
    key = "tiny/fake/train"
    if format == "zarr":
        grown.convert(key, "hdf5")
    first = grown.store.extents(f"{key}/mean/2")[0]
    with Path(first.path).open("r+b") as file:
        file.seek(first.offset)
        byte = file.read(1)[0]
        file.seek(first.offset)
        file.write(bytes([byte ^ 4]))
    before = {*(grown.path / "tiny/fake").iterdir()}
    with pytest.raises(DamagedError, match=r"mean/2: rows 0\.\.3 are not those that were written"):
        grown.convert(key, format)
    assert {*(grown.path / "tiny/fake").iterdir()} == before


def test_what_is_not_there_is_not_converted(grown):
    for key in ("tiny/fake/test", "tiny/fake", "other/fake/train"):
        with pytest.raises(FeatureError, match=f"no split {key} in"):
            grown.convert(key, "hdf5")


# A disk that is full or read-only


@pytest.mark.parametrize("format", ["zarr", "hdf5"])
def test_a_disk_may_fill_up_at_any_moment(run, twin, make_corpus, small_disk, format):
    corpus, choices = make_corpus(12), {"layers": "1,last", "format": format}
    run(corpus, into=twin, **choices)
    filler, told = small_disk / "filler", []
    for pages in range(1, 64, 4):
        filler.write_bytes(bytes((64 - pages) * 4096))
        cache = open_cache(small_disk / "cache")
        try:
            run(corpus, into=cache, **choices)
        except StorageError as error:
            told.append(str(error))
        filler.unlink()
        cache.ls()  # can always be asked
        run(corpus, into=cache, **choices)
        same(contents(cache), contents(twin))
        assert not [each for each in cache.path.rglob("*") if each.suffix in (".tmp", ".partial")]
        shutil.rmtree(cache.path)
    assert 2 < len(told) < 16
    assert all("free some space" in each for each in told)


@pytest.mark.parametrize("small_disk", ["512k"], indirect=True)
@pytest.mark.parametrize("format", ["hdf5", "zarr"])
def test_a_conversion_that_finds_the_disk_full_leaves_what_was_there(
    run, make_corpus, small_disk, format
):
    cache, key, filler = open_cache(small_disk / "cache"), "tiny/fake/train", small_disk / "filler"
    run(make_corpus(13), into=cache, format="zarr" if format == "hdf5" else "hdf5")
    told, free, refused = contents(cache), shutil.disk_usage(small_disk).free, []
    for room in range(1, 64, 4):
        filler.write_bytes(bytes(free - room * 4096))
        before = shutil.disk_usage(small_disk).free
        try:
            cache.convert(key, format)
        except StorageError as error:
            refused.append(str(error))
        else:
            break
        assert not partial(cache)
        assert shutil.disk_usage(small_disk).free == before
        same(contents(cache), told)
    assert 2 < len(refused) < 15
    assert all("free some space" in each for each in refused)
    same(contents(cache), told)


@pytest.mark.parametrize("calls", [0, 2, 7, 11])
@pytest.mark.parametrize(
    ("module", "name"),
    [(journal, "replace_file"), (journal, "_copy"), (hdf5_store, "_write_all")],
    ids=["journal", "metadata", "rows"],
)
def test_a_file_on_a_full_disk_goes_on_when_there_is_room(
    run, cache, twin, make_corpus, monkeypatch, module, name, calls
):
    corpus, seen = make_corpus(13), []

    def full(*given):
        seen.append(given)
        if len(seen) > calls:
            file, content = given
            if name == "_write_all":  # half of it still fitted
                file.write(content[: len(content) // 2])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return kept(*given)

    kept = getattr(module, name)
    with monkeypatch.context() as patch:
        patch.setattr(module, name, full)
        with pytest.raises(StorageError, match="the disk is full: free some space"):
            run(corpus, format="hdf5")
        cache.ls()
    run(corpus, format="hdf5")
    run(corpus, into=twin)
    same(contents(cache), contents(twin))
    assert {each.name for each in (cache.path / "tiny/fake").iterdir()} == {"zarr.json", "train.h5"}


@pytest.mark.parametrize("format", ["zarr", "hdf5"])
def test_a_read_only_cache_is_read_and_not_written(run, cache, make_corpus, read_only, format):
    corpus = make_corpus(13)
    run(corpus, format=format)
    shown = open_cache(read_only(cache.path))
    np.testing.assert_array_equal(np.asarray(shown.rows("fake:2")), cache.rows("fake:2")[:])
    assert [each["rows"] for each in shown.ls()] == [13]
    with pytest.raises(StorageError, match="--cache"):
        run(corpus, into=shown, layers="0..3", pools=["max"])
    with pytest.raises(StorageError, match="--cache"):
        shown.convert("tiny/fake/train", "zarr" if format == "hdf5" else "hdf5")


def test_a_change_that_was_decided_is_seen_where_nothing_can_be_written(
    run, cache, make_corpus, read_only, monkeypatch
):
    def killed(*_):
        raise KeyboardInterrupt

    corpus = make_corpus(13)
    run(corpus, format="hdf5")
    with monkeypatch.context() as patch:
        patch.setattr(journal, "_copy", killed)
        with pytest.raises(KeyboardInterrupt):
            run(corpus, pools=["max"])
    assert (cache.path / "tiny/fake/train.h5.journal").exists()
    shown = open_cache(read_only(cache.path))
    np.testing.assert_array_equal(np.asarray(shown.rows("fake:2")), cache.rows("fake:2")[:])
