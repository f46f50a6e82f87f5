"""Blocks, ledgers and generations, with values made by hand and no model anywhere."""

import os
import shutil

import numpy as np
import pytest

from lefcache.cache import CUT, TOKENS, Pages, Request, Task, open
from lefcache.cache.ledger import checksum
from lefcache.corpus import Corpus, Split
from lefcache.dtypes import dtype_of
from lefcache.errors import DamagedError, FeatureError, IncompleteError, MismatchError
from lefcache.spec import Spec
from lefcache.stores.mixed import MixedStore

WIDTH = 3
PATH = "tiny/m/train"


def request(rows=10, arrays=("mean/1", "mean/2"), **changed):
    values = {
        "corpus": "tiny",
        "model": "m",
        "split": "train",
        "rows": rows,
        "arrays": tuple(arrays),
        "spec": Spec(weights="w"),
        "depth": 2,
        "width": WIDTH,
        "block_rows": 4,
        "batch_tokens": 64,
    }
    return Request(**(values | changed))


def value(name, rows):
    """What row i of an array holds: a function of its name and i alone."""
    if name == TOKENS:
        return rows.astype(np.uint32) + 1
    return (rows[:, None] * 10 + np.arange(WIDTH) + len(name) + ord(name[-1])).astype(np.float32)


def values_of(task, scale=1.0):
    rows = np.arange(task.start, task.stop)
    made = {name: value(name, rows) for name in task.arrays}
    return {k: v if k == TOKENS else v * np.float32(scale) for k, v in made.items()}


def register(cache, rows=10):
    cache.register(Corpus("tiny", ("x",), {"train": Split([f"t{i}" for i in range(rows)])}, "demo"))


def write(cache, wanted, blocks=None, scale=1.0):
    """Write what is missing, or only the first few blocks of it; returns the tasks done."""
    with cache.reserve(wanted) as writer:
        tasks = writer.missing()[:blocks]
        for task in tasks:
            writer.commit(task, values_of(task, scale))
    return tasks


@pytest.fixture
def registered(cache):
    register(cache, 40)
    return cache


def pages(cache):
    return Pages(cache.store, "tiny", "m", "train")


def test_what_is_written_is_read(registered):
    write(registered, request())
    np.testing.assert_array_equal(
        np.asarray(registered.rows("m:2")), value("mean/2", np.arange(10)).astype(np.float16)
    )


def test_tasks_cover_the_rows_in_blocks(registered):
    with registered.reserve(request()) as writer:
        assert writer.missing() == [
            Task(0, 0, 4, ("mean/1", "mean/2", TOKENS), room=4),
            Task(1, 4, 8, ("mean/1", "mean/2", TOKENS), room=4),
            Task(2, 8, 10, ("mean/1", "mean/2", TOKENS), room=4),
        ]


def test_the_ledger_holds_rows_and_checksums_of_what_is_on_disk(registered):
    write(registered, request())
    [generation] = pages(registered).generations
    assert generation.arrays == ("mean/1", "mean/2", TOKENS)
    for block, (start, stop) in enumerate([(0, 4), (4, 8), (8, 10)]):
        row = generation.ledger[block]
        assert row[0] == stop - start
        for column, name in enumerate(generation.arrays, 1):
            stored = registered.store.read(f"{PATH}/{name}")[start:stop]
            assert row[column] == checksum(stored)
        assert row[-1] == checksum(row[:-1])


def test_the_ledger_sums_the_bits_of_bfloat16(registered):
    write(registered, request(store_dtype="bfloat16"))
    chunk = np.fromfile(registered.path / PATH / "mean/1/c/0/0", "<u2").reshape(-1, WIDTH)
    start, rows, crc = pages(registered).checksums("mean/1")[0]
    assert (start, rows, crc) == (0, 4, checksum(chunk[:4]))
    rounded = value("mean/1", np.arange(4)).astype(dtype_of("bfloat16"))
    np.testing.assert_array_equal(chunk[:4], rounded.view(np.uint16))


@pytest.mark.parametrize(
    ("rows", "width", "chunk"),
    [(20, 3, 64), (64, 3, 64), (200, 3, 256), (5000, 3, 1024), (5000, 40_000, 64)],
)
def test_a_chunk_is_no_larger_than_its_split_or_block_needs(tmp_path, rows, width, chunk):
    cache = open(tmp_path)
    register(cache, rows)
    for limit in (5, rows):  # a limit that is raised meets the chunks of the whole split
        wanted = request(limit, width=width, block_rows=1024, split_rows=rows)
        with cache.reserve(wanted) as writer:
            assert writer.chunk_rows == chunk


def test_a_small_split_that_grows_takes_more_chunks_and_stays_whole(tmp_path):
    cache = open(tmp_path)
    for rows in (20, 3000):
        register(cache, rows)
        write(cache, request(rows, block_rows=1024))
    grown = value("mean/1", np.arange(3000)).astype(np.float16)
    np.testing.assert_array_equal(cache.rows("m:1"), grown)
    files = [file for file in (tmp_path / PATH / "mean/1/c").rglob("*") if file.is_file()]
    assert len(files) == -(-3000 // 64)
    assert sum(file.stat().st_size for file in files) == len(files) * 64 * WIDTH * 2


def test_bits_that_lost_their_mark_are_damage_and_not_numbers(registered):
    write(registered, request(store_dtype="bfloat16"))
    registered.store.set_attrs(f"{PATH}/mean/1", {})
    with pytest.raises(DamagedError, match="mean/1 is not the array"):
        registered.rows("m:1")


def test_the_largest_magnitude_of_each_block_is_kept_until_it_is_known_to_be_missing(registered):
    write(registered, request(), blocks=2, scale=-1.0)
    found = pages(registered).magnitudes()
    for name in ("mean/1", "mean/2", TOKENS):
        tops = [float(np.abs(value(name, np.arange(low, low + 4))).max()) for low in (0, 4)]
        np.testing.assert_array_equal(found[name], [*tops, np.nan])
    store = registered.store
    info = store.info(f"{PATH}/magnitudes/0")
    assert (info.shape, info.dtype, info.chunk_rows) == ((3, 4), np.float32, 1)  # and a checksum


def test_a_cut_text_is_as_long_as_it_was_read(registered):
    with registered.reserve(request(1, ("mean/1",))) as writer:
        values = {"mean/1": np.zeros((1, WIDTH), np.float32), TOKENS: np.array([9 | CUT], "<u4")}
        writer.commit(writer.missing()[0], values)
    assert pages(registered).magnitudes() == {"mean/1": [0], TOKENS: [9]}


def test_a_cache_from_before_magnitudes_were_kept_is_read_and_finished(registered):
    write(registered, request(), blocks=1)
    shutil.rmtree(registered.path / PATH / "magnitudes")
    assert pages(registered).magnitudes() == {}
    write(registered, request())
    assert pages(registered).done_rows == 10
    write(registered, request(18, arrays=("mean/0", "mean/1")))
    assert list(pages(registered).magnitudes()) == ["mean/0", TOKENS]


def test_magnitudes_can_be_looked_at_while_room_is_made_for_more_rows(registered):
    write(registered, request(6))
    attrs = registered.store.attrs(PATH)
    registered.store.set_attrs(PATH, attrs | {"rows": 18})  # stopped before anything was resized
    tops = pages(registered).magnitudes()["mean/1"]
    np.testing.assert_array_equal(tops, [value("mean/1", np.arange(4)).max(), *[np.nan] * 4])


def test_a_chunk_file_is_the_raw_rows(registered):
    write(registered, request())
    raw = np.fromfile(registered.path / PATH / "mean/1/c/0/0", "<f2").reshape(-1, WIDTH)
    np.testing.assert_array_equal(raw[:4], value("mean/1", np.arange(4)).astype("<f2"))


def test_only_what_is_missing_is_handed_out_again(registered):
    assert len(write(registered, request(), blocks=2)) == 2
    assert [task.block for task in write(registered, request())] == [2]
    assert write(registered, request()) == []


def test_blocks_may_be_written_in_any_order(registered, tmp_path, tree_bytes):
    other = open(tmp_path / "other")
    register(other, 40)
    write(other, request())
    write(registered, request(), blocks=1)
    with registered.reserve(request()) as writer:
        for task in reversed(writer.missing()):
            writer.commit(task, values_of(task))
    assert tree_bytes(registered.path / PATH) == tree_bytes(other.path / PATH)


def test_rows_are_not_readable_before_all_are_there(registered):
    write(registered, request(), blocks=2)
    with pytest.raises(IncompleteError, match="8 of 10 rows"):
        registered.rows("m:1")


def test_new_arrays_are_a_new_generation_and_touch_no_old_byte(registered, tree_bytes):
    write(registered, request())
    before = tree_bytes(registered.path / PATH)
    write(registered, request(arrays=("mean/1", "max/0", "mean/0")))
    after = tree_bytes(registered.path / PATH)
    assert {name for name in before if after[name] != before[name]} <= {"zarr.json"}
    assert [each.arrays for each in pages(registered).generations] == [
        ("mean/1", "mean/2", TOKENS),
        ("max/0", "mean/0", TOKENS),
    ]
    assert registered.rows("m:0@max").shape == (10, WIDTH)


def test_new_arrays_touch_no_old_row_of_a_file(registered):
    write(registered, request(format="hdf5"))
    file, store = registered.path / f"{PATH}.h5", registered.store
    old = [f"{PATH}/{name}" for name in ("mean/1", "mean/2", TOKENS, "ledger/0", "magnitudes/0")]
    sizes = {path: store.info(path).chunk_bytes for path in old}
    places = {path: store.chunks(path) for path in old}
    before = file.read_bytes()
    write(registered, request(arrays=("mean/1", "max/0", "mean/0")))
    after = file.read_bytes()
    assert {path: store.chunks(path) for path in old} == places
    for path in old:
        for chunk in places[path]:
            piece = slice(chunk.offset, chunk.offset + sizes[path])
            assert after[piece] == before[piece], path
            assert any(after[piece]), path
    assert registered.rows("m:0@max").shape == (10, WIDTH)


def test_an_unfinished_generation_does_not_hide_a_finished_one(registered):
    write(registered, request())
    write(registered, request(arrays=("mean/0",)), blocks=1)
    assert registered.rows("m:1").shape == (10, WIDTH)
    with pytest.raises(IncompleteError):
        registered.rows("m:0")


def test_each_generation_is_resumed_on_its_own(registered):
    write(registered, request(), blocks=1)
    write(registered, request(arrays=("mean/0",)), blocks=2)
    both = write(registered, request(arrays=("mean/0", "mean/1")))
    assert [(task.block, task.arrays) for task in both] == [
        (1, ("mean/1", "mean/2", TOKENS)),
        (2, ("mean/1", "mean/2", TOKENS, "mean/0")),
    ]


def test_each_generation_vouches_for_the_tokens_of_its_own_rows(registered):
    write(registered, request(3))
    write(registered, request(arrays=("mean/0",)), blocks=2)
    assert [(start, rows) for start, rows, _ in pages(registered).checksums(TOKENS)] == [
        (0, 3),
        (0, 4),
        (4, 4),
    ]
    done = pages(registered).done
    assert (done["mean/1"], done["mean/0"], done[TOKENS]) == (0, 8, 8)


@pytest.mark.parametrize("first", [1, 3, 4, 5, 8, 9])
def test_growing_rewrites_the_partial_block_and_adds_the_new_ones(
    registered, tmp_path, tree_bytes, first
):
    other = open(tmp_path / "other")
    register(other, 40)
    write(other, request(18))
    write(registered, request(first))
    tasks = write(registered, request(18))
    assert tasks[0].block == first // 4
    assert tree_bytes(registered.path / PATH) == tree_bytes(other.path / PATH)


def test_fewer_rows_than_before_takes_nothing_away(registered):
    write(registered, request(10))
    with registered.reserve(request(3)) as writer:
        assert (writer.blocks, writer.missing()) == (1, [])
    assert registered.rows("m:1").shape == (10, WIDTH)


def test_a_block_size_is_fixed_when_a_split_is_first_written(registered):
    write(registered, request(), blocks=1)
    with registered.reserve(request(block_rows=1024, batch_tokens=7)) as writer:
        assert (writer.block_rows, writer.batch_tokens) == (4, 64)


@pytest.mark.parametrize(
    ("largest", "dtype"),
    [(100.0, np.float16), (16_384.0, np.float16), (16_385.0, np.float32), (-16_385.0, np.float32)],
)
def test_a_dtype_is_settled_by_the_largest_value_of_the_first_block(registered, largest, dtype):
    with registered.reserve(request(4, ("mean/1",))) as writer:
        [task] = writer.missing()
        loud = np.full((4, WIDTH), largest, np.float32)
        writer.commit(task, {"mean/1": loud, TOKENS: np.ones(4, np.uint32)})
    rows = registered.rows("m:1")
    assert rows.dtype == dtype
    np.testing.assert_array_equal(rows, loud)


def test_a_dtype_that_was_asked_for_wins(registered):
    write(registered, request(store_dtype="float32"))
    assert registered.rows("m:1").dtype == np.float32


def test_tokens_are_split_into_a_count_and_a_flag(registered):
    with registered.reserve(request(2, ("mean/1",))) as writer:
        [task] = writer.missing()
        tokens = np.array([7, 512 | int(CUT)], np.uint32)
        writer.commit(task, {"mean/1": np.zeros((2, WIDTH), np.float32), TOKENS: tokens})
    counts, cut = pages(registered).tokens()
    assert (counts.tolist(), cut.tolist()) == ([7, 512], [False, True])


def test_a_block_of_zeros_is_stored_and_not_taken_for_a_missing_one(registered):
    with registered.reserve(request(4, ("mean/1",))) as writer:
        [task] = writer.missing()
        zeros = {"mean/1": np.zeros((4, WIDTH), np.float32), TOKENS: np.ones(4, np.uint32)}
        writer.commit(task, zeros)
    assert (registered.path / PATH / "mean/1/c/0/0").stat().st_size == 4 * WIDTH * 2
    assert not np.asarray(registered.rows("m:1")).any()


@pytest.mark.parametrize(
    ("changed", "line"),
    [
        ({"spec": Spec(weights="other")}, "weights: 'w' in the cache, 'other' now"),
        ({"spec": Spec(weights="w", prompt="q: ")}, "prompt: '' in the cache, 'q: ' now"),
        ({"width": 5}, "width: 3 in the cache, 5 now"),
        ({"depth": 5}, "depth: 2 in the cache, 5 now"),
    ],
)
def test_another_identity_is_refused_with_the_difference(registered, changed, line):
    write(registered, request(), blocks=1)
    with (
        pytest.raises(MismatchError, match=f"\n  {line}\nkeep both with --as"),
        registered.reserve(request(**changed)),
    ):
        pass


def test_settings_bind_nobody_before_there_is_a_vector(registered):
    with registered.reserve(request(spec=Spec(weights="typo"), block_rows=2)):
        pass  # stopped within its first block
    write(registered, request())
    assert pages(registered).spec == Spec(weights="w")
    assert pages(registered).block_rows == 4


def test_a_split_that_began_in_the_meantime_with_other_settings_is_noticed(registered):
    with registered.reserve(request(spec=Spec(weights="mine"))) as writer:
        write(registered, request(split="test", rows=4))
        with pytest.raises(MismatchError, match="weights: 'w' in the cache, 'mine' now"):
            writer.commit(writer.missing()[0], values_of(writer.missing()[0]))


@pytest.mark.parametrize(("word", "bit"), [(0, 0), (1, 7), (3, 31), (4, 13)])
def test_a_flipped_bit_in_the_ledger_makes_its_block_missing(registered, word, bit):
    write(registered, request())
    file = registered.path / PATH / "ledger/0/c/1/0"
    row = np.fromfile(file, "<u4")
    row[word] ^= np.uint32(1 << bit)
    row.tofile(file)
    assert pages(registered).done_rows == 6
    assert [task.block for task in write(registered, request())] == [1]
    assert registered.rows("m:1").shape == (10, WIDTH)


def test_a_ledger_that_fits_no_arrays_is_damage(registered):
    write(registered, request())
    registered.store.set_attrs(f"{PATH}/ledger/0", {"arrays": ["mean/1"]})
    with pytest.raises(DamagedError, match="not the ledger of 1 arrays"):
        registered.rows("m:1")


def test_an_array_shorter_than_its_ledger_is_damage(registered):
    write(registered, request())
    registered.store.resize(f"{PATH}/mean/1", 9)
    with pytest.raises(DamagedError, match="mean/1"):
        registered.rows("m:1")


def test_a_torn_chunk_is_damage(registered):
    write(registered, request())
    chunk = registered.path / PATH / "mean/1/c/1/0"
    chunk.write_bytes(chunk.read_bytes()[:-1])
    with pytest.raises(DamagedError, match="bytes where"):
        registered.rows("m:1")


def test_half_written_files_are_swept_away(registered):
    write(registered, request(), blocks=1)
    stray = registered.path / PATH / "mean/1/c/1/0.0123.partial"
    stray.parent.mkdir(parents=True)
    stray.write_bytes(b"half")
    write(registered, request())
    assert not stray.exists()


def test_layers_are_those_that_are_stored(registered):
    write(registered, request(arrays=("mean/2", "mean/10", "mean/last", "max/1")))
    assert pages(registered).layers("mean") == [2, 10, "last"]
    assert pages(registered).pools == ["mean", "max"]
    with pytest.raises(FeatureError, match="no pool 'first'"):
        pages(registered)["first"]


# Killed at every single call


class Killed(BaseException):
    """The process ends here."""


class Dying:
    """A store that ends the process at its k-th change."""

    CHANGES = ("set_attrs", "create", "resize", "write", "sweep")

    def __init__(self, store, lives):
        self._store, self.lives = store, lives

    def __getattr__(self, name):
        method = getattr(self._store, name)
        if name not in self.CHANGES:
            return method

        def change(*args, **named):
            self.lives -= 1
            if self.lives < 0:
                raise Killed
            method(*args, **named)

        return change


# A kill takes nothing from what is on its way to the disk: that would be a power cut.
STEPS = [
    request(rows, arrays, fsync=False)
    for rows, arrays in [(3, ("mean/1",)), (6, ("mean/1",)), (6, ("mean/0", "mean/1"))]
]


def test_a_kill_at_any_change_resumes_to_the_same_bytes(tmp_path, tree_bytes):
    def run(folder, lives):
        cache = open(folder)
        register(cache, 40)
        cache.store = Dying(cache.store, lives)
        for step in STEPS:
            write(cache, step)
        return cache

    first = run(tmp_path / "whole", 10**9)
    whole, changes = tree_bytes(first.path / PATH), 10**9 - first.store.lives
    assert changes > 25
    for lives in range(changes):
        folder = tmp_path / f"killed-{lives}"
        with pytest.raises(Killed):
            run(folder, lives)
        run(folder, 10**9)
        assert tree_bytes(folder / PATH) == whole, f"killed at change {lives}"
        shutil.rmtree(folder)


# A power cut


@pytest.mark.parametrize("fsync", [True, False])
@pytest.mark.parametrize("format", ["zarr", "hdf5"])
def test_a_block_is_on_the_disk_before_its_ledger_row(tmp_path, monkeypatch, format, fsync):
    """Every file that a change touched must have been put on the disk when the row is written."""
    dirty, early = {}, []  # by inode, and what was not on the disk in time
    put, cache = os.fsync, open(tmp_path)
    register(cache)

    def state():
        found = {}
        for file in (tmp_path / "tiny/m").rglob("*"):
            what = file.stat()
            found[what.st_ino] = (str(file), what.st_mtime_ns, file.is_file() and file.read_bytes())
        return found

    def noting(method):
        def change(store, path, *given, **named):
            row = "/ledger/" in path and method.__name__ == "write"
            if row:
                early.append([name for name in dirty.values() if "/ledger" not in name])
            before = state()
            method(store, path, *given, **named)
            after = state()
            dirty.update({ino: each[0] for ino, each in after.items() if each != before.get(ino)})
            for gone in dirty.keys() - after.keys():  # replaced by another: there is none to keep
                del dirty[gone]

        return change

    def synced(file):
        put(file)
        dirty.pop(os.fstat(file).st_ino, None)

    for name in ("create", "set_attrs", "write", "resize"):
        monkeypatch.setattr(MixedStore, name, noting(getattr(MixedStore, name)))
    monkeypatch.setattr(os, "fsync", synced)
    write(cache, request(format=format, fsync=fsync))
    assert len(early) == 3
    assert not any(early) if fsync else all(early)
    assert not dirty if fsync else dirty  # the last ledger row, too
