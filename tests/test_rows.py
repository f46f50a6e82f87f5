"""Rows in files against the same rows in memory."""

import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lefcache.dtypes import dtype_of
from lefcache.rows import MAPS_OPEN, Extent, MeanRows, Rows

WIDTH = 3


@pytest.fixture(scope="module")
def scattered(tmp_path_factory):
    """A function that lays rows out over files: `scattered([3, 1, 4])` gives (Rows, array)."""
    root = tmp_path_factory.mktemp("rows")
    counter = iter(range(10**6))

    def lay(counts, dtype="<f4", offset=0):
        total = sum(counts)
        values = np.arange(total * WIDTH, dtype=dtype).reshape(total, WIDTH)
        extents, start = [], 0
        for number, count in enumerate(counts):
            path = root / str(next(counter))
            before = offset * number  # extents of one file may begin anywhere in it
            path.write_bytes(b"\xff" * before + values[start : start + count].tobytes() + b"tail")
            extents.append(Extent(str(path), before, count))
            start += count
        return Rows(extents, dtype, WIDTH), values

    return lay


COUNTS = st.lists(st.integers(1, 6), max_size=6)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(COUNTS, st.integers(0, 9), st.data())
def test_rows_read_like_an_array(scattered, counts, offset, data):
    rows, values = scattered(counts, offset=offset)
    total = len(values)
    assert (rows.shape, len(rows), rows.ndim) == (values.shape, total, 2)
    assert (rows.dtype, rows.nbytes) == (values.dtype, values.nbytes)
    np.testing.assert_array_equal(np.asarray(rows), values)
    piece = data.draw(st.slices(total))
    np.testing.assert_array_equal(rows[piece], values[piece])
    mask = np.array(data.draw(st.lists(st.booleans(), min_size=total, max_size=total)), bool)
    np.testing.assert_array_equal(rows[mask], values[mask])
    if total:
        row = data.draw(st.integers(-total, total - 1))
        np.testing.assert_array_equal(rows[row], values[row])
        index = data.draw(st.lists(st.integers(-total, total - 1), max_size=12))
        np.testing.assert_array_equal(rows[index], values[np.array(index, int)])


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(COUNTS, st.data())
def test_rows_of_bfloat16_read_like_an_array_of_float32(scattered, counts, data):
    rows, narrow = scattered(counts, dtype_of("bfloat16"))
    values, total = narrow.astype(np.float32), len(narrow)
    assert (rows.dtype, rows.stored, rows.nbytes) == (np.float32, narrow.dtype, values.nbytes)
    assert np.asarray(rows).dtype == rows[:].dtype == rows[[]].dtype == np.float32
    np.testing.assert_array_equal(np.asarray(rows), values)
    piece = data.draw(st.slices(total))
    np.testing.assert_array_equal(rows[piece], values[piece])
    np.testing.assert_array_equal(rows.bits[piece], narrow[piece].view(np.uint16))
    mean = MeanRows([rows, rows])
    np.testing.assert_array_equal(mean[piece], values[piece])
    if total:
        row = data.draw(st.integers(-total, total - 1))
        np.testing.assert_array_equal(rows[row], values[row])
        index = data.draw(st.lists(st.integers(-total, total - 1), max_size=12))
        np.testing.assert_array_equal(rows[index], values[np.array(index, int)])
        np.testing.assert_array_equal(rows.bits[index], narrow[index].view(np.uint16))


def test_rows_say_what_they_are_stored_as(scattered):
    narrow, half = scattered([4], dtype_of("bfloat16"))[0], scattered([4], "<f2")[0]
    assert repr(narrow) == "<Rows 4 x 3 bfloat16>"
    assert (half.stored, half.bits, MeanRows([narrow]).stored) == (np.float16, None, np.float32)


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(COUNTS, st.data())
def test_a_mean_of_rows_reads_like_the_mean_of_arrays(scattered, counts, data):
    layers = [scattered(counts, dtype) for dtype in ("<f2", "<f4", "<f2")]
    mean = MeanRows([rows for rows, _ in layers])
    values = np.mean([each.astype(np.float32) for _, each in layers], axis=0, dtype=np.float32)
    assert (mean.shape, mean.dtype) == (values.shape, np.float32)
    np.testing.assert_allclose(np.asarray(mean), values, rtol=1e-6)
    piece = data.draw(st.slices(len(values)))
    np.testing.assert_allclose(mean[piece], values[piece], rtol=1e-6)
    if len(values):
        index = data.draw(st.lists(st.integers(0, len(values) - 1), max_size=9))
        np.testing.assert_allclose(mean[index], values[np.array(index, int)], rtol=1e-6)
        np.testing.assert_allclose(mean[-1], values[-1], rtol=1e-6)


def test_a_mean_of_float16_does_not_overflow(tmp_path):
    (tmp_path / "x").write_bytes(np.full((1, WIDTH), 60_000, np.float16).tobytes())
    rows = Rows([Extent(str(tmp_path / "x"), 0, 1)], np.float16, WIDTH)
    np.testing.assert_array_equal(MeanRows([rows, rows, rows])[:], np.full((1, WIDTH), 60_000.0))


@pytest.mark.parametrize(
    "index",
    [10, -11, [0, 10], [-11], np.ones(9, bool), [True] * 11, [[0, 1]], (0, 1), (2, slice(1)), True],
    ids=str,
)
def test_what_is_outside_or_no_list_of_rows_is_an_index_error(scattered, index):
    rows, _ = scattered([4, 6])
    for matrix in (rows, MeanRows([rows])):
        with pytest.raises(IndexError):
            matrix[index]


def test_a_number_that_is_not_whole_is_no_index(scattered):
    with pytest.raises(TypeError):
        scattered([4])[0][[0.5]]


@pytest.mark.parametrize("dtype", [np.int8, np.uint64, np.int32])
def test_indices_may_be_of_any_whole_type(scattered, dtype):
    rows, values = scattered([2, 3])
    index = np.array([4, 0, 3], dtype)
    np.testing.assert_array_equal(rows[index], values[[4, 0, 3]])


def test_rows_can_be_iterated_over_like_an_array(scattered):
    rows, values = scattered([2, 3])
    np.testing.assert_array_equal(np.stack(list(rows)), values)


def test_nothing_is_read_before_it_is_asked_for(tmp_path, scattered):
    present = scattered([2])[0].extents[0]
    missing = Extent(str(tmp_path / "missing"), 0, 3)
    rows = Rows([present, missing], "<f4", WIDTH)
    assert (repr(rows), rows.shape) == ("<Rows 5 x 3 float32>", (5, WIDTH))
    assert rows[0].shape == (WIDTH,)
    assert rows[[0, 1]].shape == (2, WIDTH)
    with pytest.raises(FileNotFoundError):
        rows[2]


def test_a_slice_within_one_file_is_a_view_that_cannot_be_written(scattered):
    rows, _ = scattered([4, 4])
    view = rows[1:3]
    assert isinstance(view, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        view[0, 0] = 1


def test_a_copy_can_be_written_and_leaves_the_file_alone(scattered):
    rows, values = scattered([4, 4])
    copy = rows[[1, 2]]
    copy[:] = 0
    np.testing.assert_array_equal(np.asarray(rows), values)


def test_an_array_that_is_asked_for_as_a_copy_is_one(scattered):
    rows, values = scattered([4], "<f4")
    assert not np.asarray(rows).flags.writeable  # of one file: mapped, not read
    copied = np.array(rows)
    copied[:] = 0
    np.testing.assert_array_equal(rows[:], values)


def test_an_array_of_rows_can_have_another_type(scattered):
    rows, values = scattered([4], "<f2")
    assert np.asarray(rows, np.float32).dtype == np.float32
    np.testing.assert_array_equal(np.asarray(rows, np.float32), values)
    with pytest.raises(ValueError, match="only a copy"):
        np.asarray(rows, copy=False)


def test_more_files_than_may_be_open_at_once(scattered):
    resource = pytest.importorskip("resource")
    rows, values = scattered([1] * (MAPS_OPEN + 60))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    here = len([*Path("/dev/fd").iterdir()])  # that are open already
    resource.setrlimit(resource.RLIMIT_NOFILE, (MAPS_OPEN + here + 40, hard))
    try:
        for _ in range(2):
            np.testing.assert_array_equal(rows[::-1], values[::-1])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


# Each file takes 2 GB of addresses, and there are only so many: one map too many, and mmap fails.
FEW_ADDRESSES = """
import os, resource, sys
from pathlib import Path
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
import numpy as np
from lefcache.rows import MAPS_OPEN, Extent, Rows
folder, size = Path(sys.argv[1]), 2 << 30
extents = [Extent(str(folder / str(number)), 0, 1) for number in range(100)]
for number, extent in enumerate(extents):
    with open(extent.path, "wb") as file:
        file.write(np.float32(number).tobytes())
        file.truncate(size)
taken = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
most = taken + (MAPS_OPEN + 8) * size  # what else is mapped meanwhile takes some, too
resource.setrlimit(resource.RLIMIT_AS, (most, most))
try:
    held = [np.memmap(extent.path, np.uint8, mode="r") for extent in extents]
except OSError:
    print("limited", end=" ")
held = None
layers = [Rows(extents[start:], "<f4", 1) for start in range(30)]
for layer in layers + layers[::-1]:
    assert len(layer[:]) == len(layer)
print(layers[0][::-1][:3, 0], Path("/proc/self/maps").read_text().count(f"{folder}/") <= MAPS_OPEN)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits addresses")
def test_thousands_of_maps_where_only_a_few_fit(python, tmp_path):
    assert python(FEW_ADDRESSES, tmp_path) == "limited [99. 98. 97.] True\n"


def test_a_file_that_was_replaced_is_seen_by_new_rows(tmp_path):
    extent, content = Extent(str(tmp_path / "x"), 0, 1), []
    for number in (1.0, 2.0):
        fresh = tmp_path / "fresh"
        fresh.write_bytes(np.full((1, WIDTH), number, "<f4").tobytes())
        fresh.replace(tmp_path / "x")
        content.append(Rows([extent], "<f4", WIDTH)[0][0])
    assert content == [1.0, 2.0]


def test_no_rows_at_all():
    rows = Rows([], np.float16, WIDTH)
    assert np.asarray(rows).shape == rows[:].shape == rows[[]].shape == (0, WIDTH)


def test_a_table_is_shown_in_one_line(make_table):
    shown = repr(make_table([0, 1], np.zeros((2, 3)), np.zeros((2, 4))))
    assert shown == "<Table tiny/train: 2 rows of m:1, m:2>"
