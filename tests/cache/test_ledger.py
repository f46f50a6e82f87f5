import google_crc32c
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lefcache.cache.ledger import Generation, checksum, finished, seal, vouched

WORD = st.integers(0, 2**32 - 1)
ROWS = st.integers(1, 2**20)


def ledger_of(*rows):
    return np.concatenate(rows)


@given(ROWS, st.lists(WORD, max_size=5))
def test_a_sealed_row_is_finished(rows, sums):
    assert finished(seal(rows, sums), rows, 2**20).tolist() == [True]


@given(ROWS, st.lists(WORD, min_size=1, max_size=4), st.data())
def test_any_flipped_bit_of_a_sealed_row_is_noticed(rows, sums, data):
    row = seal(rows, sums)
    word = data.draw(st.integers(0, row.size - 1))
    row[0, word] ^= np.uint32(1 << data.draw(st.integers(0, 31)))
    assert finished(row, rows, 2**20).tolist() == [False]


def test_a_row_that_was_never_written_is_not_finished():
    assert not finished(np.zeros((3, 4), np.uint32), 12, 4).any()


def test_a_last_block_that_grew_is_not_finished():
    ledger = ledger_of(seal(4, [1]), seal(2, [1]))
    assert finished(ledger, 6, 4).tolist() == [True, True]
    assert finished(ledger, 7, 4).tolist() == [True, False]


def test_a_ledger_vouches_for_the_rows_that_were_there_when_it_was_sealed():
    torn = seal(4, [3, 30])
    torn[0, 1] += 1
    ledger = ledger_of(seal(4, [1, 10]), np.zeros((1, 4), np.uint32), torn, seal(2, [2, 20]))
    assert vouched(ledger).tolist() == [4, 0, 0, 2]
    generation = Generation(0, ("mean/1", "mean/2"), ledger)
    assert generation.checksums("mean/2") == [(0, 4, 10), (3, 2, 20)]


def test_blocks_beyond_a_short_ledger_are_not_finished():
    assert finished(seal(4, [1]), 12, 4).tolist() == [True, False, False]


def test_rows_are_sealed_as_whole_numbers_then_sums_then_their_own_sum():
    row = seal(3, [10, 20])
    assert (row.dtype, row.shape) == (np.uint32, (1, 4))
    assert row[0, :3].tolist() == [3, 10, 20]
    assert row[0, 3] == google_crc32c.value(row[0, :3].astype("<u4").tobytes())


def test_the_checksum_is_crc32c_of_little_endian_bytes():
    assert checksum(np.frombuffer(b"123456789", np.uint8)) == 0xE3069283  # the published check
    values = np.arange(6, dtype="<f2").reshape(2, 3)
    assert checksum(values) == checksum(values.astype(">f2"))
    assert checksum(values[:, ::-1]) == checksum(values[:, ::-1].copy())


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.uint32])
def test_the_sign_of_zero_is_part_of_the_bytes(dtype):
    if np.dtype(dtype).kind == "f":
        assert checksum(np.array([0.0], dtype)) != checksum(np.array([-0.0], dtype))
    assert checksum(np.zeros(1, dtype)) != checksum(np.zeros(2, dtype))
