from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lefcache.errors import CorpusError, MismatchError
from lefcache.spec import Spec
from lefcache.train.protocol import carve, check_split, labelled, training_parts


@st.composite
def corpora(draw):
    count = draw(st.integers(1, 60))
    classes = draw(st.integers(1, 5))
    texts = draw(st.integers(1, 80))
    seed = draw(st.integers(0, 1000))
    generator = np.random.default_rng(seed)
    return (
        generator.integers(0, classes, count),
        generator.integers(0, texts, count).astype(np.uint64),
    )


fractions = st.floats(0.05, 0.9)


@given(corpora(), fractions, st.integers(0, 5))
def test_every_row_is_on_one_side_and_every_text_too(corpus, fraction, seed):
    labels, texts = corpus
    kept, carved = carve(labels, texts, fraction, seed)
    np.testing.assert_array_equal(np.sort(np.concatenate([kept, carved])), np.arange(len(labels)))
    assert not np.intersect1d(texts[kept], texts[carved]).size
    assert (np.diff(kept) > 0).all()
    assert (np.diff(carved) > 0).all()


@given(corpora(), fractions, st.integers(0, 5))
def test_no_class_loses_its_last_training_row(corpus, fraction, seed):
    labels, texts = corpus
    kept, _ = carve(labels, texts, fraction, seed)
    assert set(labels[kept]) == set(labels)


@given(corpora(), fractions, st.integers(0, 5))
def test_the_same_seed_carves_the_same_rows(corpus, fraction, seed):
    first, again = carve(*corpus, fraction, seed), carve(*corpus, fraction, seed)
    np.testing.assert_array_equal(first[1], again[1])


@given(
    st.lists(st.integers(1, 40), min_size=1, max_size=5),
    st.floats(0.05, 0.5),
    st.integers(0, 5),
)
def test_every_class_gives_its_share(sizes, fraction, seed):
    labels = np.repeat(np.arange(len(sizes)), sizes)
    _, carved = carve(labels, np.arange(len(labels)).astype(np.uint64), fraction, seed)
    shares = [min(int(fraction * size + 0.5), size - 1) for size in sizes]
    if any(shares):
        assert np.bincount(labels[carved], minlength=len(sizes)).tolist() == shares
    else:
        assert len(carved) == (max(sizes) > 1)


@given(corpora(), fractions)
def test_repeated_texts_never_take_more_than_the_share(corpus, fraction):
    labels, texts = corpus
    _, carved = carve(labels, texts, fraction)
    taken = np.bincount(labels[carved], minlength=5)
    shares = (fraction * np.bincount(labels, minlength=5) + 0.5).astype(int)
    assert (taken <= shares).all() or len(np.unique(texts[carved])) == 1


def test_another_seed_carves_other_rows():
    labels, texts = np.arange(200) % 2, np.arange(200).astype(np.uint64)
    assert not np.array_equal(carve(labels, texts, seed=0)[1], carve(labels, texts, seed=1)[1])


def test_a_text_with_two_labels_stays_in_train():
    labels = np.array([0, 1, *[0, 1] * 10])
    texts = np.array([7, 7, *range(100, 120)], np.uint64)
    for seed in range(20):
        assert not {0, 1} & {*carve(labels, texts, 0.5, seed)[1]}


def test_rows_without_a_label_are_left_out_and_counted(make_table):
    table = make_table([-1, 0, 1, -1], np.zeros((4, 2)))
    part = labelled(table)
    assert part.index.tolist() == [1, 2]
    assert part.labels.tolist() == [0, 1]
    assert part.dropped == 2


@pytest.mark.parametrize("labels", [None, [-1, -1]])
def test_a_split_without_labels_is_refused(make_table, labels):
    with pytest.raises(CorpusError, match="the split test of tiny has no labels"):
        labelled(make_table(labels, np.zeros((2, 2)), split="test"))


def test_the_corpus_own_split_is_preferred(split):
    train, validation = split(40), split(10, split="validation")
    learned, chosen = training_parts(train, validation)
    assert (len(learned), len(chosen)) == (40, 10)
    learned, carved = training_parts(train)
    assert (len(learned), len(carved)) == (36, 4)
    assert carved.table is train


def test_dropped_rows_are_counted_once(make_table):
    table = make_table([-1, *[0, 1] * 20], np.zeros((41, 2)))
    learned, carved = training_parts(table)
    assert 0 not in {*learned.index, *carved.index}
    assert (learned.dropped, carved.dropped) == (1, 0)


def test_too_few_rows_to_carve_ask_for_a_split(make_table):
    with pytest.raises(CorpusError, match="too few to carve"):
        training_parts(make_table([0, 1], np.zeros((2, 2))))


def test_a_label_that_train_never_saw_is_named(make_table):
    train = labelled(make_table([0, 0], np.zeros((2, 2))))
    test = labelled(make_table([0, 1], np.zeros((2, 2)), split="test"))
    with pytest.raises(CorpusError, match="label 'yes' of test of tiny never occurs in train"):
        check_split(train, test)


def test_other_classes_or_extractions_are_refused(make_table):
    train = make_table([0, 1], np.zeros((2, 2)))
    other = make_table([0, 1], np.zeros((2, 2)), classes=("yes", "no"))
    with pytest.raises(MismatchError, match="other features or classes"):
        check_split(labelled(train), labelled(other))
    longer = replace(train, specs=(Spec(max_length=128),))
    with pytest.raises(MismatchError, match="max_length: 512 in the cache, 128 now"):
        check_split(labelled(train), labelled(longer))


def test_a_single_class_is_nothing_to_learn(make_table):
    table = make_table([1, -1, *[1] * 38], np.zeros((40, 2)))
    validation = make_table([0, 1], np.zeros((2, 2)), split="validation")
    for other in (None, validation):
        with pytest.raises(CorpusError, match=r"every labelled row of train of tiny is 'yes'.*add"):
            training_parts(table, other)
