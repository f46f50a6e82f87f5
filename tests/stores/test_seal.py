"""A seal tells which bit was flipped, and whose metadata it is that lies there."""

import json
import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lefcache.stores.seal import Seal, mended, seal_in, sealed_json

NODE = {"zarr_format": 3, "node_type": "group"}


def document(attributes, place="sst2/minilm"):
    return sealed_json({"attributes": attributes, **NODE}, place)


def flipped(content, *places):
    torn = bytearray(content)
    for place in places:
        torn[place // 8] ^= 1 << place % 8
    return bytes(torn)


@pytest.mark.parametrize("attributes", [{}, {"rows": 7, "é": ['"seal": "crc32c:00000000"', 1]}])
def test_any_flipped_bit_is_turned_back(attributes):
    content = document(attributes)
    for place in range(8 * len(content)):
        assert mended(flipped(content, place)) == content, place


@settings(max_examples=20)
@given(
    st.dictionaries(st.text(), st.integers() | st.text() | st.lists(st.text())),
    st.text(),
    st.randoms(use_true_random=False),
)
def test_a_flipped_bit_of_whatever_was_written_is_turned_back(attributes, place, dice):
    content = document(attributes, place)
    assert mended(flipped(content, dice.randrange(8 * len(content)))) == content


@given(st.sets(st.integers(0, 8 * len(document({"rows": 7})) - 1), min_size=2, max_size=3))
def test_more_than_one_bit_is_not_guessed_at(places):
    content = document({"rows": 7})
    assert mended(flipped(content, *places)) in (None, content)


@given(st.binary(max_size=200), st.binary(max_size=20))
def test_what_is_no_document_of_ours_is_left_alone(before, seal):
    for content in (before, b'%s{"seal": "%s"}' % (before, seal)):
        assert mended(content) is None


def test_metadata_of_thousands_of_classes_is_mended_in_a_moment():
    content = document({"classes": [f"a class with the number {n}" for n in range(15_000)]})
    assert len(content) > 500_000
    dice, taken = random.Random(0), []
    for _ in range(5):
        torn = flipped(content, dice.randrange(8 * len(content)))
        before = time.process_time()
        assert mended(torn) == content
        taken.append(time.process_time() - before)
    assert min(taken) < 1


def test_a_seal_knows_the_place_that_it_was_made_for():
    content = document({"rows": 7}, "sst2/minilm/train")
    assert json.loads(content)["attributes"].keys() == {"seal", "place", "rows"}
    here, there = (seal_in(content, path) for path in ("sst2/minilm/train", "sst2/minilm/test"))
    assert here == Seal("sst2/minilm/train", True, "sst2/minilm/train")
    assert (here.astray, here.broken, there.astray, there.broken) == (False, False, True, True)
    moved = content.replace(b"minilm/train", b"minilm/test")
    assert (seal_in(moved, "sst2/minilm/test").broken, mended(moved)) == (True, None)


def test_a_seal_from_before_places_holds_anywhere():
    content = b'{\n  "attributes": {\n    "seal": "crc32c:2ab92982",\n    "a": 1\n  }\n}'
    for path in ("a", "b"):
        assert seal_in(content, path) == Seal(path, True)
        assert not seal_in(content, path).broken
