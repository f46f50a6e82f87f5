"""bfloat16 against torch's own, number by number."""

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from lefcache.dtypes import LARGEST, dtype_of, largest, raw, widened
from lefcache.spec import STORED

NARROW = dtype_of("bfloat16")
BITS = st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=32)


def by_torch(values):
    """The bits of float32 numbers that torch has rounded to bfloat16."""
    return torch.from_numpy(values).to(torch.bfloat16).view(torch.uint16).numpy()


@given(BITS)
@example([0x3F80_8000, 0x3F81_8000, 0x3F80_8001, 0x3F80_7FFF])  # halves, and beside them
@example([0x7F7F_FFFF, 0xFF7F_8000, 0x7F7F_7FFF, 0x7F80_0000])  # to infinity, and not quite
@example([0x7F80_0001, 0xFFFF_FFFF, 0x7FC0_0000])  # NaN of every kind
@example([0x0000_0001, 0x8000_8000, 0x0001_8000, 0x8000_0000])  # next to nothing
def test_numbers_are_rounded_as_torch_rounds_them(bits):
    values = np.array(bits, np.uint32).view(np.float32)
    with np.errstate(invalid="ignore"):  # of a signalling NaN
        rounded, expected = values.astype(NARROW), by_torch(values)
    lost = np.isnan(values)
    np.testing.assert_array_equal(np.isnan(widened(rounded)), lost)
    np.testing.assert_array_equal(raw(rounded)[~lost], expected[~lost])


def test_every_bfloat16_is_widened_exactly():
    bits = np.arange(2**16, dtype=np.uint16)
    expected = torch.from_numpy(bits).view(torch.bfloat16).float().numpy()
    wide = widened(bits.view(NARROW))
    assert wide.dtype == np.float32
    np.testing.assert_array_equal(wide.view(np.uint32), bits.astype(np.uint32) << 16)
    np.testing.assert_array_equal(wide, expected)


@given(st.lists(st.floats(-(2.0**15), 2.0**15, width=16), max_size=20), st.sampled_from(STORED))
def test_the_largest_magnitude_is_that_of_the_numbers(numbers, dtype):
    values = np.array(numbers, np.float32).astype(dtype_of(dtype))
    assert largest(values) == max(map(abs, values.astype(float)), default=0)


@pytest.mark.parametrize("dtype", STORED)
def test_what_a_type_holds_at_most_is_told(dtype):
    values = np.array([LARGEST[dtype], -LARGEST[dtype]], np.float64).astype(dtype_of(dtype))
    assert values.astype(float).tolist() == [LARGEST[dtype], -LARGEST[dtype]]
    limit = {"float16": torch.float16, "bfloat16": torch.bfloat16, "float32": torch.float32}
    assert torch.finfo(limit[dtype]).max == LARGEST[dtype]


def test_other_types_are_left_as_they_are():
    for dtype in (np.float16, np.float32, np.uint32):
        values = np.ones(3, dtype)
        assert raw(values) is widened(values) is values


def test_a_cache_without_bfloat16_needs_no_library_for_it(python, tmp_path):
    code = (
        "import sys, lefcache\nlefcache.open(sys.argv[1]).ls()\n"
        "from lefcache.dtypes import dtype_of\ndtype_of('float16')\n"
        "print('ml_dtypes' in sys.modules)"
    )
    assert python(code, tmp_path) == "False\n"
