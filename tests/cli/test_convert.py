"""`lef convert` as a user types it."""

import numpy as np
import pytest

import lefcache


@pytest.fixture
def extracted(lef, fakes, texts):
    assert lef("extract", "--data", texts, "--model", "fake", "--layers", "1").code == 0
    return lefcache.open()


def test_a_model_is_converted_and_reads_the_same(lef, extracted):
    before = np.asarray(extracted.rows("fake:1"))
    ran = lef("convert", "reviews/fake", "--to", "hdf5")
    assert (ran.code, ran.out) == (0, "2 splits converted to hdf5\n")
    assert {each["format"] for each in lef("ls", "--json").json} == {"hdf5"}
    np.testing.assert_array_equal(lefcache.open().rows("fake:1"), before)
    again = lef("convert", "reviews", "--to", "hdf5", "--json").json
    assert again == {"converted": [], "kept": ["reviews/fake/train", "reviews/fake/test"]}


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("reviews/fake/validation", "reviews has no split validation"),
        ("reviews/fak", "no model 'fak' under reviews (did you mean fake?)"),
        ("a/b/c/d", "c is neither a split nor a pool; a key is corpus[/model[/split]]"),
        ("fake", "no corpus 'fake' in lef-cache (did you mean reviews/fake?)"),
        ("reviews/fake:1", "this works on whole splits: write reviews/fake"),
    ],
)
def test_a_key_that_is_not_there_is_one_line(lef, extracted, key, message):
    ran = lef("convert", key, "--to", "hdf5")
    assert ran.code == 1
    assert message in ran.err


def test_another_format_than_the_caches_names_the_command(lef, extracted, texts):
    ran = lef("extract", "--data", texts, "--model", "fake", "--format", "hdf5")
    assert ran.code == 1
    assert "lef convert reviews/fake/train --to hdf5" in ran.err
