from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lefcache.errors import CorpusError, RecipeError
from lefcache.rows import Table
from lefcache.study.arrange import Taken, arranged, check_protocol, nested, sizes_of, taken
from lefcache.train.protocol import labelled, training_parts


@pytest.fixture
def tables(split):
    sizes = {"train": 200, "validation": 40, "test": 50}
    return {name: split(size, (5,), split=name) for name, size in sizes.items()}


def part(pairs):
    """A part of rows of (label, text)."""
    labels, texts = np.array(pairs).T
    none = (np.zeros((len(labels), 1)),)
    known = labels.astype(np.int32), tuple("abcd"), (), texts.astype(np.uint64)
    return labelled(Table((), none, *known, "tiny", "train"))


PAIRS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 30)), min_size=8, max_size=60)


@given(pairs=PAIRS, data=st.data())
def test_smaller_choices_lie_in_larger_ones_and_twins_stay_together(pairs, data):
    whole = part(pairs)
    _, first = np.unique(whole.table.texts, return_index=True)
    classes = len(np.unique(whole.labels[first]))
    sizes = data.draw(st.lists(st.integers(classes, len(pairs)), min_size=2, max_size=4))
    chosen = [set(nested(whole, size).tolist()) for size in sorted(sizes)]
    for smaller, larger in pairwise(chosen):
        assert smaller <= larger
    for rows in chosen:
        inside = set(whole.table.texts[sorted(rows)].tolist())
        assert rows == {r for r, text in enumerate(whole.table.texts) if text in inside}
    assert set(nested(whole, len(pairs)).tolist()) == set(range(len(pairs)))


def test_classes_keep_their_shares_and_none_is_lost():
    labels = np.repeat([0, 1, 2], [700, 290, 10])
    whole = part(np.stack([labels, np.arange(1000)], axis=1))
    for size in (3, 100, 500):
        rows = nested(whole, size)
        counts = np.bincount(labels[rows], minlength=3)
        assert len(rows) == size
        assert counts.min() >= 1
        if size > 3:
            assert counts / size == pytest.approx([0.7, 0.29, 0.01], abs=0.02)


def test_the_order_of_the_rows_does_not_matter():
    generator = np.random.default_rng(0)
    pairs = np.stack([np.arange(60) % 3, generator.permutation(60)], axis=1)
    turned = pairs[generator.permutation(60)]
    texts = [
        set(each.table.texts[nested(each, 20)].tolist()) for each in (part(pairs), part(turned))
    ]
    assert texts[0] == texts[1]


def test_what_cannot_be_had_is_told(tables):
    learned, _ = training_parts(tables["train"], tables["validation"])
    with pytest.raises(CorpusError, match="--n-train 201: tiny has 200 rows to train on"):
        nested(learned, 201)
    with pytest.raises(CorpusError, match="has 2 classes, and each needs a row"):
        nested(learned, 1)
    for words in ("", "ten", "0", "-5", "1.5"):
        with pytest.raises(RecipeError, match="--n-train"):
            sizes_of(tables, words)
    assert sizes_of(tables, "all,100, 20,100") == [20, 100, None]
    with pytest.raises(CorpusError, match="--n-train 500"):
        sizes_of(tables, "20,500")


def test_the_rows_that_choose_are_the_same_for_every_size(tables):
    del tables["validation"]
    _, carved = training_parts(tables["train"])
    for size in (20, 100):
        used, by = arranged(tables, "validation", size, carves=True)
        assert by == "carved from train"
        assert len(used["train"]) == size
        assert used["validation"].texts.tolist() == carved.table.texts[carved.index].tolist()
        assert not set(used["train"].texts) & set(used["validation"].texts)
    used, _ = arranged(tables, "validation", 20, carves=False)
    assert "validation" not in used


def test_the_papers_protocol_chooses_on_the_test(tables):
    used, by = arranged(tables, "paper", None, carves=True)
    assert (used["validation"], by) == (tables["test"], "test split")
    assert used["train"] is tables["train"]
    with pytest.raises(CorpusError, match="has no test with labels"):
        check_protocol({"train": tables["train"]}, "paper")
    with pytest.raises(RecipeError, match="no protocol 'best': it is one of validation, paper"):
        check_protocol(tables, "best")


def test_taken_rows_are_those_of_the_table(tables):
    index = np.array([3, 4, 9, 0])
    table = taken(tables["train"], index)
    np.testing.assert_array_equal(table.rows[0][:], tables["train"].rows[0][index])
    np.testing.assert_array_equal(table.rows[0][[1, 3]], tables["train"].rows[0][[4, 0]])
    assert isinstance(table.rows[0], Taken)
    assert table.labels.tolist() == tables["train"].labels[index].tolist()
    assert len(table) == 4
