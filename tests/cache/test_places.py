"""What lies in another's place is not read: its numbers are those of other texts or layers."""

import json
import shutil

import h5py
import pytest

from lefcache.cache import open as open_cache
from lefcache.cache.remove import doomed, remove
from lefcache.corpus import Corpus, Split
from lefcache.errors import DamagedError
from lefcache.extract import extract
from lefcache.repair import clear
from lefcache.testing import FakeBackbone
from lefcache.verify import verify
from tests.test_verify import swap, without_place

TEXTS = {split: [f"{split} {n}" for n in range(9)] for split in ("train", "test")}
CORPUS = Corpus("tiny", (), {split: Split(texts, None) for split, texts in TEXTS.items()}, "demo")


@pytest.fixture(scope="module", params=["zarr", "hdf5"])
def made(request, tmp_path_factory):
    """The folder of a cache of two models, and splits of as many rows."""
    cache = open_cache(tmp_path_factory.mktemp("made"))
    for name in ("fake", "other"):
        choices = {"block_rows": 4, "batch_tokens": 12, "format": request.param}
        extract(FakeBackbone(name=name), CORPUS, cache, layers="1..2", **choices)
    return cache.path


@pytest.fixture
def here(made, tmp_path):
    return shutil.copytree(made, tmp_path / "cache")


def swapped(folder, one, other):
    """A cache in which two nodes below the corpus lie in each other's place."""
    split = "/".join(one.split("/")[:2])
    if (file := folder / f"tiny/{split}.h5").exists():
        if one == split:
            swap(file, folder / f"tiny/{other}.h5")
        else:
            pair = [each.removeprefix(f"{split}/") for each in (one, other)]
            with h5py.File(file, "r+") as opened:
                for old, new in ((pair[0], "aside"), (pair[1], pair[0]), ("aside", pair[1])):
                    opened.move(old, new)
    else:
        swap(folder / "tiny" / one, folder / "tiny" / other)
    return open_cache(folder)


@pytest.mark.parametrize(
    ("one", "other", "key"),
    [
        ("fake/train", "fake/test", "tiny/fake/train"),
        ("fake", "other", "tiny/fake"),
        ("fake/train/mean/1", "fake/train/mean/2", "tiny/fake/train"),
        ("labels/train", "labels/test", "tiny"),
        ("rows/train", "rows/test", "tiny"),
    ],
)
def test_what_was_swapped_is_not_read(here, one, other, key):
    cache = swapped(here, one, other)
    with pytest.raises(DamagedError, match=rf"see: lef verify {key}$"):
        cache.table("fake:1", "train"), cache.table("fake:2", "train")
    assert not verify(cache).whole
    cache = swapped(here, one, other)
    assert len(cache.table("fake:1", "train")) == 9
    assert verify(cache).whole


def test_what_it_is_and_what_to_do_is_said(here):
    cache = swapped(here, "fake/train", "fake/test")
    with pytest.raises(DamagedError) as caught:
        cache.rows("fake:1")
    assert str(caught.value) == (
        "tiny/fake/train: its metadata is that of tiny/fake/test: move that back; "
        "see: lef verify tiny/fake/train"
    )


def test_nothing_is_extracted_into_it_or_copied_out_of_it(here):
    cache = swapped(here, "fake/train", "fake/test")
    with pytest.raises(DamagedError, match="move that back"):
        extract(FakeBackbone(name="fake"), CORPUS, cache, layers="last")
    with pytest.raises(DamagedError, match="move that back"):
        cache.convert("tiny/fake/train", "hdf5")
    damaged = []
    assert {each["model"] for each in cache.ls(damaged)} == {"other"}
    assert len(damaged) == 2


def test_it_can_be_taken_away(here):
    cache = swapped(here, "fake/train", "fake/test")
    remove(cache.store, doomed(cache, "tiny/fake/train"))
    assert [*open_cache(here)["tiny"]["fake"]] == ["test"]


def test_a_corpus_in_place_of_a_cache_is_not_read(here):
    with pytest.raises(DamagedError, match="its metadata is that of tiny: move that back"):
        open_cache(here / "tiny")


def test_a_cache_from_before_places_is_read(here):
    for file in here.rglob("zarr.json"):
        file.write_bytes(without_place(file.read_bytes()))
    for file in here.rglob("*.h5"):
        with h5py.File(file, "r+") as opened:
            del opened.attrs["place"]
            opened.visititems(lambda _, node: node.attrs.pop("place", None) and None)
    assert len(open_cache(here).table("fake:1", "test")) == 9


def test_swapped_metadata_of_arrays_costs_no_vectors(here):
    arrays = [here / f"tiny/fake/train/mean/{layer}/zarr.json" for layer in (1, 2)]
    if not arrays[0].exists():
        pytest.skip("metadata of HDF5 is no file of its own")
    swap(*arrays)
    cache = open_cache(here)
    assert clear(cache, verify(cache)) == []
    assert verify(cache).whole
    assert json.loads(arrays[0].read_bytes())["attributes"]["place"] == "tiny/fake/train/mean/1"
    assert len(cache.table("fake:1", "train")) == 9
