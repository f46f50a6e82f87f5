"""Every injury is found, none is invented, and a repair makes the same bytes again."""

import json
import random
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest

from lefcache.cache import open as open_cache
from lefcache.cache.ledger import checksum
from lefcache.cache.remove import doomed, remove
from lefcache.errors import DamagedError, FeatureError, MismatchError
from lefcache.extract import extract
from lefcache.repair import clear
from lefcache.stores.seal import seal_of
from lefcache.testing import FakeBackbone
from lefcache.verify import verify

PATH = "tiny/fake/train"


@pytest.fixture
def run(cache):
    def run(corpus, *, on_forward=None, name="fake", **choices):
        fake = FakeBackbone(name=name, on_forward=on_forward)
        return extract(fake, corpus, cache, **({"block_rows": 4, "batch_tokens": 12} | choices))

    return run


@pytest.fixture(params=["zarr", "hdf5"])
def made(request, run, make_corpus, cache):
    """14 rows in blocks of 4, layers in two sets; the last block is padded."""
    corpus = make_corpus(14)
    run(corpus, layers="1..2", format=request.param)
    run(corpus, layers="last")
    return cache


def report(cache):
    return verify(open_cache(cache.path))


def flip(cache, name, chunk, byte=5):
    [place] = [cache.store.chunks(f"{PATH}/{name}")[chunk]]
    with Path(place.path).open("r+b") as file:
        file.seek(place.offset + byte)
        [old] = file.read(1)
        file.seek(place.offset + byte)
        file.write(bytes([old ^ 1]))


def test_a_whole_cache_is_whole(made):
    found = report(made)
    assert (found.damaged, found.missing, found.strays) == ([], [], [])
    assert (found.unsealed, found.unplaced) == ([], [])
    assert found.checked_blocks == 8


@pytest.mark.parametrize("name", ["mean/1", "mean/last", "tokens", "ledger/0", "magnitudes/1"])
@pytest.mark.parametrize("chunk", [0, 3])
def test_a_flipped_bit_is_found_and_repaired_to_the_same_bytes(made, name, chunk, run, make_corpus):
    rows = np.asarray(made.rows("fake:1"))
    flip(made, name, chunk)
    found = report(made)
    assert found.damaged
    assert not found.whole
    clear(made, found)
    receipt = run(make_corpus(14), layers="1..2,last")
    assert receipt.computed_blocks == (0 if name.startswith("magnitudes") else 1)
    assert report(made).whole
    np.testing.assert_array_equal(made.rows("fake:1"), rows)


def test_what_a_damage_costs_is_said(made):
    flip(made, "mean/2", 1)
    [damage] = report(made).damaged
    assert damage.message.startswith(f"{PATH}: block 1 of mean/2: ")
    assert damage.message.endswith("rows 4..7; repair computes them again")


def test_padding_after_the_last_row_counts(made):
    info = made.store.info(f"{PATH}/mean/1")
    row = info.shape[1] * info.dtype.itemsize
    flip(made, "mean/1", 3, byte=info.chunk_rows * row - 1)
    [damage] = report(made).damaged
    assert damage.block == 3


def test_labels_and_hashes_are_found(made):
    for what in ("labels", "rows"):
        file = made.path / f"tiny/{what}/train/c/0"
        old = file.read_bytes()
        file.write_bytes(bytes([old[0] ^ 4]) + old[1:])
        [damage] = report(made).damaged
        assert (damage.kind, damage.path) == ("labels", f"tiny/{what}/train")
        file.write_bytes(old)


def test_damaged_labels_are_restored_from_the_same_data_only(made, make_corpus):
    from lefcache.cache.register import restore

    file = made.path / "tiny/rows/train/c/0"
    before = file.read_bytes()
    file.unlink()
    damaged = [each.path for each in report(made).damaged]
    assert damaged == ["tiny/rows/train"]
    (made.path / "tiny/labels/train/c/0").unlink()
    assert restore(made.store, make_corpus(14, classes=("yes", "no")), damaged) == damaged
    assert [each.path for each in report(made).damaged] == ["tiny/labels/train"]
    restore(made.store, make_corpus(14), ["tiny/labels/train"])
    assert file.read_bytes() == before
    assert report(made).whole


@pytest.mark.parametrize("path", ["", "tiny", "tiny/fake", "tiny/rows/train", PATH, f"{PATH}/mean"])
def test_any_flipped_bit_of_metadata_is_found_and_turned_back(run, make_corpus, cache, path):
    run(make_corpus(14), layers="1")
    file = cache.path / path / "zarr.json"
    before = file.read_bytes()
    dice = random.Random(path)
    for _ in range(10):
        place = dice.randrange(8 * len(before))
        torn = bytearray(before)
        torn[place // 8] ^= 1 << place % 8
        file.write_bytes(torn)
        assert any(each.kind == "metadata" for each in verify(cache).damaged), place
        assert cache.store.mend(path)
        assert file.read_bytes() == before


def test_metadata_that_is_gone_is_found(made):
    for path in ("tiny", "tiny/fake", "tiny/labels", "tiny/labels/train"):
        file = made.path / path / "zarr.json"
        before = file.read_bytes()
        file.unlink()
        assert not report(made).whole, path
        file.write_bytes(before)


def test_changed_attributes_of_a_file_are_found(made):
    if made.store.format_of(PATH) == "zarr":
        pytest.skip("this is about HDF5")
    with h5py.File(made.path / f"{PATH}.h5", "r+") as file:
        file["ledger/0"].attrs["arrays"] = json.dumps(["mean/2", "mean/1", "tokens"])
    assert any(each.kind == "metadata" for each in report(made).damaged)


def test_an_array_without_metadata_is_made_again(made, run, make_corpus, tree_bytes):
    if made.store.format_of(PATH) == "hdf5":
        pytest.skip("this is about Zarr")
    before = tree_bytes(made.path / PATH)
    (made.path / PATH / "mean/2/zarr.json").unlink()
    found = report(made)
    assert not found.whole
    clear(made, found)
    run(make_corpus(14), layers="1..2,last")
    assert tree_bytes(made.path / PATH) == before


def test_a_whole_array_that_is_gone_is_found_and_made_again(made, run, make_corpus, tree_bytes):
    before = tree_bytes(made.path / PATH)
    for name in ("tokens", "magnitudes/0", "magnitudes", "mean/1", "mean", "ledger/1"):
        made.store.delete(f"{PATH}/{name}")
        found = report(made)
        assert {each.path for each in [*found.damaged, *found.missing]} == {PATH}, name
        clear(made, found)
        assert run(make_corpus(14), layers="1..2,last").computed_blocks == (
            0 if name.startswith("magnitudes") else 4
        )
        assert report(made).whole
    assert tree_bytes(made.path / PATH) == before


def test_magnitudes_that_were_never_kept_are_not_missed(run, make_corpus, cache):
    run(make_corpus(14), layers="1")
    ledger = f"{PATH}/ledger/0"
    cache.store.set_attrs(ledger, {"arrays": cache.store.attrs(ledger)["arrays"]})
    cache.store.delete(f"{PATH}/magnitudes")
    assert report(cache).whole


def test_a_model_without_a_single_split_is_told(made, run, make_corpus):
    made.store.delete(PATH)
    [found] = report(made).missing
    assert found.message == (
        "tiny/fake: none of its splits is there; extract it again, or take away what is left "
        "with `lef rm tiny/fake`"
    )
    run(make_corpus(14), layers="1")
    assert report(made).whole


def test_missing_torn_swapped_and_zeroed_chunks_are_found(run, make_corpus, cache):
    run(make_corpus(14), layers="1..2")
    chunks = cache.path / PATH / "mean/1/c"
    whole = {file: file.read_bytes() for file in chunks.rglob("*") if file.is_file()}
    files = sorted(whole)

    def restore():
        for file, content in whole.items():
            file.write_bytes(content)

    files[1].unlink()
    assert [each.block for each in report(cache).missing] == [1]
    restore()
    files[1].write_bytes(whole[files[1]][:3])
    assert [each.block for each in report(cache).missing] == [1]
    files[1].write_bytes(bytes(len(whole[files[1]])))
    files[2].write_bytes(whole[files[0]])
    assert [each.block for each in report(cache).damaged] == [1, 2]
    restore()
    assert report(cache).whole


def test_zeroed_and_swapped_chunks_of_a_file_are_found(run, make_corpus, cache):
    run(make_corpus(14), layers="1..2", format="hdf5")
    file = cache.path / f"{PATH}.h5"
    whole = file.read_bytes()
    first, second, *_ = cache.store.chunks(f"{PATH}/mean/1")
    size = second.offset - first.offset

    def injured(*pieces):
        content = bytearray(whole)
        for place, piece in pieces:
            content[place.offset : place.offset + size] = piece
        file.write_bytes(content)
        return [(each.kind, each.block) for each in report(cache).damaged]

    one, other = (whole[at.offset : at.offset + size] for at in (first, second))
    assert injured((second, bytes(size))) == [("block", 1)]
    assert injured((first, other), (second, one)) == [("block", 0), ("block", 1)]
    assert injured() == []


@pytest.mark.parametrize("left", [0, 100, 2000, -1])
def test_a_file_that_was_cut_short_is_found_and_can_be_taken_away(
    run, make_corpus, cache, tree_bytes, left
):
    corpus = make_corpus(14, test=["a text", "b"])
    run(corpus, layers="1..2", format="hdf5")
    before = tree_bytes(cache.path / "tiny")
    file = cache.path / f"{PATH}.h5"
    file.write_bytes(file.read_bytes()[:left])
    found = report(cache)
    assert not found.whole
    for each in found.damaged:
        assert (each.kind, each.path) == ("metadata", PATH)
        assert f"take it away with `lef rm {PATH}` and extract it again" in each.message
        assert clear(cache, found) == []
    remove(cache.store, doomed(cache, PATH))
    run(corpus, layers="1..2", format="hdf5")
    assert report(open_cache(cache.path)).whole
    assert tree_bytes(cache.path / "tiny").keys() == before.keys()


@pytest.mark.parametrize(
    ("path", "key"),
    [
        ("", ""),
        ("tiny", "tiny"),
        ("tiny/labels/train", "tiny"),
        ("tiny/fake", "tiny/fake"),
        (PATH, PATH),
        (f"{PATH}/ledger/0", PATH),
        (f"{PATH}/mean/1", None),
    ],
)
def test_what_damaged_metadata_costs_is_said_and_is_the_way_out(run, make_corpus, cache, path, key):
    run(make_corpus(14), layers="1..2")
    (cache.path / path / "zarr.json").write_text("no metadata")
    found = [each for each in verify(cache).damaged if (each.kind, each.path) == ("metadata", path)]
    message = found[0].message
    assert ("repair makes the array again" in message) == (key is None)
    assert ("repair turns a flipped bit back" in message) == (key is not None)
    assert (f"`lef rm {key}`" in message) == bool(key)
    if key:
        remove(cache.store, doomed(cache, key))
        run(make_corpus(14), layers="1..2")
        assert report(open_cache(cache.path)).whole


@pytest.mark.parametrize("path", ["tiny", "tiny/fake", PATH, f"{PATH}/ledger/0"])
def test_metadata_that_is_gone_can_be_taken_away_with_the_key_that_is_told(
    run, make_corpus, cache, path
):
    run(make_corpus(14), layers="1..2")
    (cache.path / path / "zarr.json").unlink()
    key = "/".join(path.split("/")[:3])
    [message] = [each.message for each in report(cache).damaged if each.path == path]
    assert message.endswith(f" take it away with `lef rm {key}` and extract it again")
    assert "flipped" not in message
    remove(cache.store, doomed(open_cache(cache.path), key))
    run(make_corpus(14), layers="1..2")
    assert report(cache).whole


def test_a_cache_from_before_seals_is_unsealed_and_not_damaged(made):
    for file in made.path.rglob("zarr.json"):
        node = json.loads(file.read_bytes())
        for name in ("seal", "sealed", "checksums"):
            node["attributes"].pop(name, None)
        file.write_text(json.dumps(node))
    for file in made.path.rglob("*.h5"):
        with h5py.File(file, "r+") as opened:
            del opened.attrs["seal"]
            opened.visititems(lambda _, node: node.attrs.pop("seal", None) and None)
    found = report(made)
    assert found.whole
    assert {"tiny", "tiny/fake", "tiny/labels/train"} <= {*found.unsealed}
    flip(made, "mean/1", 0)
    assert len(report(made).damaged) == 1


def test_a_cache_from_before_places_is_unplaced_and_not_damaged(run, make_corpus, cache):
    run(make_corpus(14), layers="1")
    for file in cache.path.rglob("zarr.json"):
        file.write_bytes(without_place(file.read_bytes()))
    found = report(cache)
    assert (found.whole, found.unsealed, found.unplaced) == (True, [], ["."])
    file = cache.path / "tiny/fake/zarr.json"
    file.write_bytes(file.read_bytes().replace(b'"width": 2', b'"width": 3'))
    assert [each.path for each in report(cache).damaged] == ["tiny/fake"]


def without_place(content):
    """Metadata as it was sealed before it said where it belongs."""
    node = json.loads(content)
    del node["attributes"]["place"]
    node["attributes"]["seal"] = "crc32c:00000000"
    blank = json.dumps(node, indent=2).encode()
    return blank.replace(b"crc32c:00000000", seal_of(blank).encode(), 1)


@pytest.fixture(params=["zarr", "hdf5"])
def two_models(request, run, make_corpus, cache):
    """Two models, and splits of as many rows."""
    corpus = make_corpus(9, test=[f"text {n}" for n in range(9)])
    run(corpus, layers="1..2", format=request.param)
    run(corpus, layers="1..2", format=request.param, name="other")
    return cache


def swap(one, other):
    aside = one.with_name("aside")
    one.rename(aside)
    other.rename(one)
    aside.rename(other)


def damage(cache):
    found = report(cache)
    assert found.missing == []
    return {each.path: each.message for each in found.damaged if each.kind == "metadata"}


def test_the_metadata_of_another_model_is_found(two_models):
    swap(*(two_models.path / f"tiny/{model}/zarr.json" for model in ("fake", "other")))
    found = damage(two_models)
    assert found.keys() == {"tiny/fake", "tiny/other"}
    assert found["tiny/fake"] == (
        "metadata of tiny/fake: it is that of tiny/other; move that back; if more is wrong, take "
        "it away with `lef rm tiny/fake` and extract it again"
    )


@pytest.mark.parametrize("pair", [("fake", "other"), ("fake/train", "fake/test")])
def test_models_and_splits_in_each_others_place_are_found_and_nothing_is_lost(two_models, pair):
    suffix = ".h5" if "/" in pair[0] and two_models.store.format_of(PATH) == "hdf5" else ""
    paths = [two_models.path / f"tiny/{name}{suffix}" for name in pair]
    swap(*paths)
    assert damage(two_models).keys() == {f"tiny/{name}" for name in pair}
    clear(two_models, report(two_models))
    swap(*paths)
    assert report(two_models).whole


def test_a_split_in_place_of_another_models_is_found(two_models):
    for file in (two_models.path / "tiny/fake").glob("test*"):
        goal = two_models.path / "tiny/other" / file.name
        shutil.rmtree(goal) if goal.is_dir() else goal.unlink()
        shutil.copytree(file, goal) if file.is_dir() else shutil.copy(file, goal)
    assert damage(two_models).keys() == {"tiny/other/test"}


@pytest.mark.parametrize("pair", [("mean/1", "mean/2"), ("labels/train", "labels/test")])
def test_arrays_in_each_others_place_are_found(two_models, pair):
    if two_models.store.format_of(PATH) == "hdf5" and pair[0] == "mean/1":
        with h5py.File(two_models.path / f"{PATH}.h5", "r+") as file:
            for old, new in ((pair[0], "aside"), (pair[1], pair[0]), ("aside", pair[1])):
                file.move(old, new)
    else:
        above = two_models.path / (PATH if pair[0] == "mean/1" else "tiny")
        swap(*(above / name for name in pair))
    assert {path[-len(pair[0]) :] for path in damage(two_models)} >= {pair[0]}


def test_what_is_converted_is_sealed_for_the_same_place(two_models, tree_bytes):
    before = tree_bytes(two_models.path / "tiny")
    here = two_models.store.format_of(PATH)
    for format in ("hdf5", "zarr", here):
        two_models.convert(PATH, format)
        assert report(two_models).whole
        assert two_models.store.seal(f"{PATH}/mean/1").place == f"{PATH}/mean/1"
        assert two_models.store.seal(PATH).place == PATH
    if here == "zarr":
        assert tree_bytes(two_models.path / "tiny") == before


def test_an_interrupted_extraction_is_missing_and_no_damage(run, make_corpus, cache):
    passes = iter([None] * 4)

    def stop(batch):
        if next(passes, stop) is stop:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(make_corpus(14), layers="1", on_forward=stop)
    found = report(cache)
    assert found.damaged == []
    assert found.missing


def test_rows_appended_and_layers_added_leave_nothing_to_find(made, run, make_corpus):
    run(make_corpus(23), layers="1")
    run(make_corpus(23), layers="0", pools=["max"])
    found = report(made)
    assert found.damaged == []
    # `last` came with the first texts only: its last block is still to be finished.
    assert {each.generation for each in found.missing} == {1}


def test_rows_that_are_written_anew_beside_appended_ones_are_no_damage(made, run, make_corpus):
    """A kill before their ledger row leaves the sum of the rows as they were: last bits differ."""
    with pytest.raises(ZeroDivisionError):
        run(make_corpus(16), layers="1", on_forward=lambda batch: 1 / 0)
    flip(made, "mean/1", 3)
    found = report(made)
    assert found.damaged == []
    assert f"{PATH}: block 3 of mean/1 and 1 more: finished when it had 2 rows; others were" in (
        found.missing[0].message
    )
    run(make_corpus(16), layers="1..2,last")
    assert report(made).whole


def swap_blocks(cache, one, other, but=()):
    """Let the rows of two blocks change places in every array, with all that vouches for them."""
    pages, store = cache["tiny"]["fake"]["train"], cache.store
    for name in pages.arrays:
        starts = (one * 4, other * 4)
        rows = [store.read(f"{PATH}/{name}", start + 4, start=start) for start in starts]
        for start, values in zip(starts, reversed(rows), strict=True):
            store.write(f"{PATH}/{name}", start, values)
    for beside in {"ledger", "magnitudes"} - {*but}:
        for number in store.children(f"{PATH}/{beside}"):
            rows = store.read(f"{PATH}/{beside}/{number}")
            for block, other_block in ((one, other), (other, one)):
                store.write(f"{PATH}/{beside}/{number}", block, rows[[other_block]])


@pytest.mark.parametrize("but", [(), ("magnitudes",)])
def test_blocks_in_another_order_are_named_and_made_again(made, run, make_corpus, but):
    before = np.asarray(made.rows("fake:1"))
    swap_blocks(made, 0, 2, but)
    found = report(made)
    assert {(each.kind, each.generation, each.block) for each in found.damaged} == {
        ("block", generation, block) for generation in (0, 1) for block in (0, 2)
    }
    assert all("its rows are those of another block" in each.message for each in found.damaged)
    clear(made, found)
    assert run(make_corpus(14), layers="1..2,last").computed_blocks == 2
    assert report(made).whole
    np.testing.assert_array_equal(made.rows("fake:1"), before)


def test_magnitudes_of_another_split_are_none_of_this_one(two_models):
    store = two_models.store
    paths = [f"tiny/{name}/train/magnitudes/0" for name in ("fake", "other")]
    for path, row in zip(paths, [store.read(each, 1) for each in paths[::-1]], strict=True):
        store.write(path, 0, row)
    assert [each.kind for each in report(two_models).damaged] == ["magnitudes"] * 2


def test_magnitudes_whose_sum_knows_no_split_are_believed(made):
    store, path = made.store, f"{PATH}/magnitudes/0"
    written, number = store.read(path), np.uint32
    for block, row in enumerate(written):
        place = np.array([0, block], number)
        row[-1:].view(number)[0] = checksum(np.append(row[:-1].view(number), place))
    store.write(path, 0, written)
    assert report(made).damaged == []


def test_magnitudes_alone_in_another_order_cost_no_block(made):
    store, path = made.store, f"{PATH}/magnitudes/0"
    rows = store.read(path)
    for block, other in ((0, 2), (2, 0)):
        store.write(path, block, rows[[other]])
    assert [each.kind for each in report(made).damaged] == ["magnitudes"] * 2


def test_strays_are_listed_and_are_no_damage(made):
    (made.path / "tiny/.fake.0123.partial").mkdir()
    (made.path / "tiny/labels/train/c/0.ab.partial").write_bytes(b"half")
    found = report(made)
    assert found.whole
    assert found.strays == ["tiny/.fake.0123.partial", "tiny/labels/train/c/0.ab.partial"]


def test_reading_with_verify_names_the_repair(made):
    assert made.rows("fake:1", verify=True).shape[0] == 14
    flip(made, "mean/1", 2)
    made.rows("fake:2", verify=True)
    with pytest.raises(DamagedError, match=rf"rows 8\.\.11 .*lef verify {PATH} --repair"):
        made.rows("fake:1", verify=True)
    with pytest.raises(DamagedError, match="--repair"):
        made.table("fake:1~2", verify=True)
    made.rows("fake:1")


def test_imported_vectors_are_repaired_by_the_import(make_corpus, cache, tmp_path):
    from lefcache.vectors import import_vectors

    np.save(tmp_path / "train.npy", np.ones((14, 3), np.float32))
    import_vectors("mine", [tmp_path / "train.npy"], make_corpus(14), cache)
    place = cache.store.chunks("tiny/mine/train/own/last")[0]
    with Path(place.path).open("r+b") as file:
        file.write(b"x")
    found = report(cache)
    assert "repair imports them again" in found.damaged[0].message
    [command] = clear(cache, found)
    assert command[:3] == ["lef", "import", "mine"]
    import_vectors("mine", [tmp_path / "train.npy"], make_corpus(14), cache)
    assert report(cache).whole


def test_damage_is_not_converted(made):
    if made.store.format_of(PATH) == "hdf5":
        pytest.skip("this is about Zarr")
    file = made.path / PATH / "zarr.json"
    file.write_bytes(file.read_bytes().replace(b'"block_rows": 4', b'"block_rows": 8'))
    with pytest.raises(DamagedError, match="lef verify"):
        open_cache(made.path).convert(PATH, "hdf5")


def test_verifying_writes_nothing(made, tree_bytes):
    before = tree_bytes(made.path)
    report(made)
    assert tree_bytes(made.path) == before


def test_a_copy_elsewhere_is_as_whole(made, tmp_path):
    shutil.copytree(made.path, tmp_path / "copy")
    assert verify(open_cache(tmp_path / "copy"), "tiny/fake").whole


def test_one_key_is_looked_at_alone(made, make_corpus):
    extract(FakeBackbone(name="other"), make_corpus(14), made, layers="1", block_rows=4)
    flip(made, "mean/1", 0)
    assert verify(made, "tiny/other").whole
    assert not verify(made, "tiny/fake/train").whole


@pytest.fixture
def two_caches(make_corpus, cache, tmp_path):
    """Two caches of the same names, texts and settings, and of other weights."""
    other = open_cache(tmp_path / "other")
    for each, weights in ((cache, "fake"), (other, "another")):
        corpus = make_corpus(6, test=["a", "b"])
        extract(FakeBackbone(weights=weights), corpus, each, layers="1", block_rows=4)
    return cache, other


def test_a_split_of_the_same_names_and_other_weights_is_not_believed(
    two_caches, make_corpus, run, tmp_path
):
    cache, other = two_caches
    (cache.path / PATH).rename(tmp_path / "mine")
    shutil.copytree(other.path / PATH, cache.path / PATH)
    found = report(cache)
    [damage] = found.damaged
    assert damage.path == PATH
    assert "its vectors were made with other weights or settings" in damage.message
    assert damage.by_repair is False
    assert found.checked_blocks == 1  # of the other split
    before = (cache.path / PATH / "ledger/0/c/0/0").read_bytes()
    assert clear(cache, found) == []
    assert (cache.path / PATH / "ledger/0/c/0/0").read_bytes() == before
    for read in (
        lambda: cache.rows("fake:1"),
        lambda: cache["tiny"]["fake"]["train"],
        lambda: cache.convert(PATH, "hdf5"),
        lambda: run(make_corpus(6, test=["a", "b"]), layers="1"),
    ):
        with pytest.raises(DamagedError, match=f"other weights .*; see: lef verify {PATH}"):
            read()
    remove(cache.store, doomed(cache, PATH))
    (tmp_path / "mine").rename(cache.path / PATH)
    assert report(cache).whole


def test_a_split_that_was_only_begun_binds_no_later_settings(make_corpus, cache, run):
    fake = FakeBackbone(weights="of no block", on_forward=lambda batch: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        extract(fake, make_corpus(6, test=["a", "b"]), cache, layers="1")
    run(make_corpus(6, test=["a", "b"]), layers="1", splits=["train"])
    assert cache.store.attrs("tiny/fake/test")["arrays"]
    assert report(cache).damaged == []
    run(make_corpus(6, test=["a", "b"]), layers="1")
    assert report(cache).whole


def test_a_split_from_before_it_knew_its_spec_goes_on_and_is_told_at_the_next_write(
    run, make_corpus, cache
):
    run(make_corpus(6), layers="1")
    attrs = cache.store.attrs(PATH)
    digest = attrs.pop("spec_digest")
    cache.store.set_attrs(PATH, attrs)
    assert report(cache).whole
    run(make_corpus(6), layers="2")
    assert cache.store.attrs(PATH)["spec_digest"] == digest == FakeBackbone().spec.digest
    assert report(cache).whole


def test_what_is_asked_for_and_not_begun_is_computed_by_a_repair(run, make_corpus, cache):
    run(make_corpus(6), layers="1")
    attrs = cache.store.attrs(PATH)
    cache.store.set_attrs(PATH, attrs | {"arrays": [*attrs["arrays"], "mean/2"]})
    found = report(cache)
    assert [each.message for each in found.missing] == [
        f"{PATH}/mean/2: not begun; repair computes it"
    ]
    [command] = clear(cache, found)
    assert command[command.index("--layers") + 1] == "2"
    assert found.missing[0].mended == f"{PATH}/mean/2: not begun; computed"


@pytest.mark.parametrize("left", [None, "no metadata"])
@pytest.mark.parametrize("path", ["tiny", "tiny/fake"])
def test_below_a_corpus_or_model_without_metadata_all_is_checked(made, path, left):
    flip(made, "mean/1", 2)
    (made.path / path / "zarr.json").unlink()
    if left is not None:
        (made.path / path / "zarr.json").write_text(left)
    found = verify(made)
    assert found.checked_blocks == 8
    assert {(each.path, each.kind) for each in found.damaged} == {
        (path, "metadata"),
        (PATH, "block"),
    }
    message = found.damaged[0].message
    assert "the extraction that made it, run again, writes it anew" in message
    assert f"`lef rm {path}`" in message
    assert found.damaged[0].by_repair is (left is not None)


@pytest.mark.parametrize("path", ["tiny", "tiny/fake"])
def test_metadata_that_is_gone_is_written_anew_by_the_extraction_that_made_it(
    made, run, make_corpus, tree_bytes, path
):
    before = tree_bytes(made.path / "tiny")
    attrs = made.store.attrs(path)
    (made.path / path / "zarr.json").unlink()
    receipt = run(make_corpus(14), layers="1..2,last", on_forward=lambda batch: 1 / 0)
    assert receipt.computed_blocks == 0
    assert report(made).whole
    after = tree_bytes(made.path / "tiny")
    changed = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    assert changed <= {"fake/zarr.json"}
    assert made.store.attrs("tiny/fake")["spec"] == FakeBackbone().spec.to_json()
    if path == "tiny":
        assert made.store.attrs(path) == attrs
    else:
        assert made.provenance("fake", "tiny")["written_anew"]


def test_a_model_without_metadata_is_not_written_anew_by_another(made, make_corpus):
    (made.path / "tiny/fake/zarr.json").unlink()
    with pytest.raises(DamagedError, match="its metadata is gone"):
        extract(FakeBackbone(weights="another"), make_corpus(14), made, layers="1")
    attrs = made.store.attrs(PATH)
    del attrs["spec_digest"]
    made.store.set_attrs(PATH, attrs)
    with pytest.raises(DamagedError, match="its metadata is gone"):
        extract(FakeBackbone(), make_corpus(14), made, layers="1")
    assert not made.store.attrs("tiny/fake")


def test_a_corpus_without_metadata_is_not_written_anew_by_other_texts(made, make_corpus, run):
    (made.path / "tiny/zarr.json").unlink()
    texts = make_corpus(14).splits["train"].texts
    with pytest.raises(MismatchError, match=r"row 2 .* is another text"):
        run(make_corpus(train=[*texts[:2], "changed", *texts[3:]]))
    with pytest.raises(DamagedError, match="its metadata is gone"):
        run(make_corpus(test=["a", "b"]))
    shutil.rmtree(made.path / "tiny/rows")
    with pytest.raises(DamagedError, match="its metadata is gone"):
        run(make_corpus(14))
    assert not made.store.attrs("tiny")


def test_a_split_that_is_gone_is_named_with_the_way_back(run, make_corpus, cache):
    corpus = make_corpus(14, test=["a text", "b"])
    run(corpus, layers="1..2")
    assert cache.store.attrs("tiny/fake")["begun"] == ["train", "test"]
    shutil.rmtree(cache.path / "tiny/fake/test")
    found = report(cache)
    [gone] = found.missing
    assert (gone.path, gone.kind, gone.by_repair) == ("tiny/fake/test", "missing", False)
    assert "nothing of it is there; get it back with: lef extract " in gone.message
    assert "--layers 1..2 --pool mean --splits test; or" in gone.message
    assert clear(cache, found) == []
    run(corpus, layers="1..2", splits=["test"])
    assert report(cache).whole


@pytest.mark.parametrize("first", ["rmtree", "rm"])
def test_a_split_that_was_taken_away_is_forgotten(run, make_corpus, cache, first):
    run(make_corpus(14, test=["a text", "b"]), layers="1")
    if first == "rmtree":
        shutil.rmtree(cache.path / "tiny/fake/test")
    remove(cache.store, doomed(cache, "tiny/fake/test"))
    assert cache.store.attrs("tiny/fake")["begun"] == ["train"]
    assert report(cache).whole
    with pytest.raises(FeatureError):
        doomed(cache, "tiny/fake/test")


def test_a_snapshot_says_nothing_of_splits_that_are_not_in_it(run, make_corpus, cache, tmp_path):
    from lefcache.share.tree import files_of

    run(make_corpus(14, test=["a text", "b"]), layers="1")
    files = files_of([cache["tiny"]["fake"]["train"]], True, tmp_path / "draft")
    sent = json.loads(files["tiny/fake/zarr.json"].read_bytes())["attributes"]
    assert sent["begun"] == ["train"]


def test_a_model_from_before_it_knew_its_splits_learns_of_them(run, make_corpus, cache):
    run(make_corpus(14, test=["a text", "b"]), layers="1")
    attrs = cache.store.attrs("tiny/fake")
    del attrs["begun"]
    cache.store.set_attrs("tiny/fake", attrs)
    assert report(cache).whole
    run(make_corpus(14, test=["a text", "b"]), layers="2", splits=["train"])
    assert cache.store.attrs("tiny/fake")["begun"] == ["train", "test"]
