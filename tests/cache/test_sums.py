"""Bytes are summed up piece by piece, and what cannot be read is missing rather than an end."""

import sys
from pathlib import Path

import google_crc32c
import numpy as np
import pytest

from lefcache.cache import sums
from lefcache.cache.sums import Stored, torn_blocks
from lefcache.rows import Extent
from lefcache.stores import ArrayInfo

ROWS, WIDTH, CHUNK = 10, 3, 4
INFO = ArrayInfo((ROWS, WIDTH), np.dtype(np.uint8), CHUNK, ("row", "feature"))


@pytest.fixture
def content():
    padded = np.arange(1, 1 + 12 * WIDTH, dtype=np.uint8).reshape(12, WIDTH)
    padded[ROWS:] = 0
    return padded.tobytes()


@pytest.fixture
def stored(content, tmp_path):
    """The three chunks of an array, one after the other in a file, after something else."""
    file = tmp_path / "array"
    file.write_bytes(b"before" + content)
    places = [Extent(str(file), 6 + start * CHUNK * WIDTH, CHUNK) for start in range(3)]
    return Stored(INFO, places)


@pytest.mark.parametrize("piece", [1, 5, 12, 1 << 18])
def test_pieces_of_any_size_sum_up_to_the_same(stored, content, monkeypatch, piece):
    monkeypatch.setattr(sums, "PIECE", piece)
    wanted = {count: google_crc32c.value(content[6 : 6 + count * WIDTH]) for count in (1, 5, 8)}
    assert stored.checksums(2, wanted) == wanted
    assert stored.clean()


def test_a_file_that_was_cut_off_meanwhile_sums_up_as_far_as_it_goes(stored, content):
    with Path(stored.chunks[0].path).open("r+b") as file:
        file.truncate(6 + 7 * WIDTH)
    assert stored.checksums(0, [4, 7, 8]) == {
        count: google_crc32c.value(content[: count * WIDTH]) for count in (4, 7)
    }
    assert torn_blocks(stored, [(0, 4, 1), (1, 4, 1), (2, 2, 1)], 4) == [
        (0, 4, 1), (1, 4, 1), (2, 2, 1),
    ]  # fmt: skip


@pytest.mark.skipif(sys.platform != "linux", reason="a file with places that cannot be read")
def test_a_place_that_the_disk_cannot_read_is_torn(stored):
    unread = Stored(INFO, [Extent("/proc/self/mem", 0, CHUNK), *stored.chunks[1:]])
    assert unread.checksums(0, [4]) == {}
    assert torn_blocks(unread, [(0, 4, 7)], 4) == [(0, 4, 7)]
