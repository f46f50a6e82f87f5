"""A repair takes out of the ledger what is damaged when it looks, and nothing else."""

import json
import random
import shutil

import h5py
import numpy as np
import pytest

from lefcache.cache import Pages
from lefcache.cache import open as open_cache
from lefcache.errors import DamagedError
from lefcache.extract import extract
from lefcache.repair import clear
from lefcache.testing import FakeBackbone
from lefcache.verify import verify

PATH = "tiny/fake/train"


@pytest.fixture
def run(cache):
    def run(corpus, *, on_forward=None, **choices):
        fake = FakeBackbone(on_forward=on_forward)
        return extract(fake, corpus, cache, **({"block_rows": 4, "batch_tokens": 12} | choices))

    return run


@pytest.fixture(params=["zarr", "hdf5"])
def made(request, run, make_corpus, cache):
    """14 rows in blocks of 4, layers in two sets."""
    run(make_corpus(14), layers="1..2", format=request.param)
    run(make_corpus(14), layers="last")
    return cache


@pytest.fixture
def folder(run, make_corpus, cache):
    """The same as a folder."""
    run(make_corpus(14), layers="1..2")
    run(make_corpus(14), layers="last")
    return cache


def flip(file, bit):
    content = bytearray(file.read_bytes())
    content[bit // 8] ^= 1 << bit % 8
    file.write_bytes(content)


def flip_chunk(cache, name, chunk):
    place = cache.store.chunks(f"{PATH}/{name}")[chunk]
    with open(place.path, "r+b") as file:  # noqa: PTH123  an extent's path is text
        file.seek(place.offset)
        [old] = file.read(1)
        file.seek(place.offset)
        file.write(bytes([old ^ 16]))


def ledgers(cache):
    pages = Pages(open_cache(cache.path).store, *PATH.split("/"))
    return {each.number: each.ledger for each in pages.generations}


def no_pass(batch):
    pytest.fail("a forward pass was made")


@pytest.mark.parametrize(
    "name", ["mean/1", "mean/last", "tokens", "magnitudes/0", "ledger/1", "mean", "", ".."]
)
def test_a_flipped_bit_of_metadata_costs_nothing(folder, run, make_corpus, tree_bytes, name):
    file = (folder.path / PATH / name / "zarr.json").resolve()
    before, whole = tree_bytes(folder.path / "tiny"), file.read_bytes()
    dice = random.Random(name)
    for _ in range(6):
        flip(file, dice.randrange(8 * file.stat().st_size))
        assert clear(folder, verify(folder)) == []
        assert file.read_bytes() == whole
    assert tree_bytes(folder.path / "tiny") == before
    run(make_corpus(14), layers="1..2,last", on_forward=no_pass)


GROUPS = ["tiny/labels", "tiny/rows", f"{PATH}/mean", f"{PATH}/ledger", f"{PATH}/magnitudes"]


@pytest.mark.parametrize("left", [None, "", "no metadata"])
@pytest.mark.parametrize("path", GROUPS)
def test_a_group_that_says_nothing_of_its_own_is_written_again(folder, tree_bytes, path, left):
    before, file = tree_bytes(folder.path / "tiny"), folder.path / path / "zarr.json"
    file.unlink()
    if left is not None:
        file.write_text(left)
    found = verify(folder)
    [message] = [each.message for each in found.damaged if each.path == path]
    assert message.endswith("; repair writes it again")
    assert clear(folder, found) == []
    assert verify(folder).whole
    assert tree_bytes(folder.path / "tiny") == before


def test_a_group_in_anothers_place_is_left_to_be_moved_back(run, make_corpus, cache, tree_bytes):
    run(make_corpus(14), pools=["mean", "max"], layers="1")
    split = cache.path / PATH
    (split / "max").rename(split / "aside")
    (split / "mean").rename(split / "max")
    (split / "aside").rename(split / "mean")
    before = {name: each for name, each in tree_bytes(split).items() if "ledger" not in name}
    clear(cache, verify(cache))
    after = {name: each for name, each in tree_bytes(split).items() if "ledger" not in name}
    assert after == before


@pytest.mark.parametrize("spoil", ["seal", "text"])
def test_metadata_that_says_what_the_ledger_says_is_sealed_anew(made, run, make_corpus, spoil):
    before = ledgers(made)
    if made.store.format_of(PATH) == "hdf5":
        with h5py.File(made.path / f"{PATH}.h5", "r+") as file:
            file["mean/1"].attrs["seal" if spoil == "seal" else "note"] = json.dumps("crc32c:0")
    else:
        file = made.path / PATH / "mean/1/zarr.json"
        node = json.loads(file.read_bytes())
        node["attributes"]["seal" if spoil == "seal" else "note"] = "crc32c:0"
        file.write_text(json.dumps(node))
    found = verify(open_cache(made.path))
    assert [each.path for each in found.damaged] == [f"{PATH}/mean/1"]
    assert clear(made, found) == []
    assert verify(open_cache(made.path)).whole
    for number, ledger in ledgers(made).items():
        np.testing.assert_array_equal(ledger, before[number])
    run(make_corpus(14), layers="1..2,last", on_forward=no_pass)


def test_an_array_that_says_another_type_is_made_again(folder, run, make_corpus):
    rows = np.asarray(folder.rows("fake:1"))
    file = folder.path / PATH / "mean/1/zarr.json"
    file.write_bytes(file.read_bytes().replace(b'"float16"', b'"uint16"'))
    [command] = clear(folder, verify(folder))
    assert command[:2] == ["lef", "extract"]
    run(make_corpus(14), layers="1..2,last")
    assert verify(folder).whole
    np.testing.assert_array_equal(folder.rows("fake:1"), rows)


def test_lost_metadata_of_tokens_is_made_again(folder, run, make_corpus):
    (folder.path / PATH / "tokens/zarr.json").write_bytes(b"")
    clear(folder, verify(folder))
    run(make_corpus(14), layers="1..2,last")
    assert verify(folder).whole


def test_what_was_finished_since_the_report_stays(made, run, make_corpus):
    flip_chunk(made, "mean/1", 1)
    flip_chunk(made, "mean/last", 2)
    found = verify(made)
    assert {(each.generation, each.block) for each in found.damaged} == {(0, 1), (1, 2)}
    flip_chunk(made, "mean/1", 1)
    clear(made, found)
    assert run(make_corpus(14), layers="1..2", on_forward=no_pass).computed_blocks == 0
    assert run(make_corpus(14), layers="last").computed_blocks == 1
    clear(made, found)
    run(make_corpus(14), layers="1..2,last", on_forward=no_pass)


def test_an_old_report_deletes_nothing(folder, tree_bytes):
    before = tree_bytes(folder.path / "tiny")
    flip(folder.path / PATH / "mean/1/zarr.json", 300)
    found = verify(folder)
    for _ in range(2):
        assert clear(folder, found) == []
    assert tree_bytes(folder.path / "tiny") == before


def test_magnitudes_are_found_again_beside_a_block_that_is_gone(folder, run, make_corpus):
    flip_chunk(folder, "magnitudes/0", 1)
    flip_chunk(folder, "magnitudes/0", 2)
    (folder.path / PATH / "mean/1/c/1/0").unlink()
    clear(folder, verify(folder))
    assert run(make_corpus(14), layers="1..2").computed_blocks == 1
    assert verify(folder).whole


@pytest.mark.parametrize("sealed", [True, False])
def test_the_caches_own_metadata_is_written_again(folder, sealed):
    root = folder.path / "zarr.json"
    before = root.read_bytes()
    root.unlink()
    flip_chunk(folder, "mean/1", 1)
    if not sealed:
        file = folder.path / PATH / "mean/zarr.json"
        node = json.loads(file.read_bytes())
        del node["attributes"]["seal"]
        file.write_text(json.dumps(node))
    cache = open_cache(folder.path)
    found = verify(cache)
    assert [each.path for each in found.damaged] == ["", PATH]
    assert "writes it again" in found.damaged[0].message
    clear(cache, found)
    assert (root.read_bytes() == before) == sealed
    left = verify(open_cache(folder.path))
    assert left.damaged == []
    assert bool(left.unsealed) != sealed


def test_a_journal_that_is_none_is_deleted_where_the_file_is_whole(cache, run, make_corpus):
    run(make_corpus(14), layers="1..2", format="hdf5")
    before = ledgers(cache)
    file, journal = (cache.path / f"{PATH}.h5{end}" for end in ("", ".journal"))
    whole = file.read_bytes()
    journal.write_bytes(b"junk")
    [damage] = verify(cache).damaged
    assert f"{journal}: not a whole journal" in damage.message
    assert damage.message.endswith("repair deletes it if the file is whole without it")
    file.write_bytes(bytes(len(whole)))
    clear(cache, verify(cache))
    assert journal.read_bytes() == b"junk"
    file.write_bytes(whole)
    assert clear(cache, verify(cache)) == []
    assert not journal.exists()
    assert verify(cache).whole
    np.testing.assert_array_equal(ledgers(cache)[0], before[0])


@pytest.mark.parametrize("places", [slice(None), slice(0, 8)])
def test_a_file_that_is_none_is_refused_with_the_way_out(cache, run, make_corpus, places):
    run(make_corpus(14), layers="1", format="hdf5")
    file = cache.path / f"{PATH}.h5"
    content = bytearray(file.read_bytes())
    content[places] = bytes(len(content[places]))
    file.write_bytes(content)
    with pytest.raises(DamagedError, match=f"; see: lef verify {PATH}$"):
        run(make_corpus(14), layers="1")


@pytest.mark.parametrize("format", ["zarr", "hdf5"])
def test_a_linked_split_is_damage_of_that_split_alone(cache, run, make_corpus, tmp_path, format):
    run(make_corpus(14, test=["a text", "b"]), layers="1", format=format)
    own = cache.path / (PATH if format == "zarr" else f"{PATH}.h5")
    own.rename(tmp_path / "elsewhere")
    own.symlink_to(tmp_path / "elsewhere")
    found = verify(cache)
    assert [each.path for each in found.damaged] == [PATH]
    assert "is a link, and may lead anywhere: put what it stands for there" in (
        found.damaged[0].message
    )
    assert found.checked_blocks == 1  # of the other split
    assert clear(cache, found) == []
    assert own.is_symlink()


@pytest.mark.parametrize("seed", range(12))
def test_no_ledger_row_of_a_block_that_is_whole_is_ever_lost(made, tmp_path, seed):
    shutil.copytree(made.path, tmp_path / "copy")
    cache, before, dice = open_cache(tmp_path / "copy"), ledgers(made), random.Random(seed)
    injured = set()
    for _ in range(dice.randint(1, 4)):
        name = dice.choice(["mean/1", "mean/2", "mean/last", "tokens", "magnitudes/0", "ledger/1"])
        if made.store.format_of(PATH) == "zarr" and dice.random() < 0.5:
            metadata = cache.path / PATH / name / "zarr.json"
            if metadata.read_bytes() == (made.path / PATH / name / "zarr.json").read_bytes():
                flip(metadata, dice.randrange(8 * metadata.stat().st_size))
            continue
        block = dice.randrange(4)
        try:
            flip_chunk(cache, name, block)
        except (AssertionError, DamagedError):
            continue  # its metadata is injured already
        if not name.startswith("magnitudes"):
            injured.add(block)
    clear(cache, verify(cache))
    for number, ledger in ledgers(cache).items():
        for block in {*range(4)} - injured:
            np.testing.assert_array_equal(ledger[block], before[number][block])
