from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binomtest

from lefcache import results
from lefcache.errors import MismatchError, ResultError
from lefcache.study.compare import compare, side_of

LABELS = np.r_[np.arange(400) % 2, -1].astype(np.int32)


@pytest.fixture
def kept(tmp_path):
    """A function that keeps a fusion which has these shares of the texts right, one per seed."""

    def keep(name, *shares, labels=LABELS, texts=0, seeds=None, corpus="tiny", missed=(), **values):
        generator = np.random.default_rng(len(name))
        classes = []
        for share in shares:
            wrong = generator.permutation(len(labels)) >= share * len(labels)
            wrong[[*missed]] = True
            classes.append(np.where(wrong, 1 - np.abs(labels), np.abs(labels)))
        probabilities = np.eye(2, dtype=np.float32)[np.stack(classes)]
        hashes = np.arange(len(labels), dtype=np.uint64) + np.uint64(texts)
        payload = {
            "key": {"kind": "fuse", "seeds": seeds or [*range(len(shares))]},
            "result": {"features": [name], "op": "concat", "n_train": 9, "n_test": 400} | values,
            "splits": {"test": results.fingerprint(hashes, labels, "ny")},
        }
        return results.load(results.save(tmp_path, corpus, name, payload, probabilities, labels))

    return keep


def test_of_one_seed_each_it_is_exact_mcnemar(kept):
    one, other = kept("a", 0.9), kept("bb", 0.8)
    found = compare(one, other)
    ours, theirs = side_of(one).correct[0], side_of(other).correct[0]
    assert found.n_test == len(ours) == 400  # a text without a label is not scored
    only = (ours & ~theirs).sum(), (theirs & ~ours).sum()
    assert found.p_value == binomtest(only[0], sum(only)).pvalue
    assert (found.pairs[0].first_only, found.pairs[0].second_only) == only
    assert found.method == "exact McNemar"
    assert found.difference == pytest.approx(ours.mean() - theirs.mean())
    assert found.ci95[0] < found.difference < found.ci95[1]
    difference = ours.astype(float) - theirs
    half = 1.96 * difference.std() / np.sqrt(400)
    assert found.ci95[1] - found.difference == pytest.approx(half, rel=0.1)
    assert "a, concat is better than bb, concat on 400 texts: +" in found.sentence
    assert "worse" in compare(other, one).sentence
    assert "not the luck of training" in found.notes()[0]


def test_what_cannot_be_told_apart_is_said_so(kept):
    found = compare(kept("a", 0.85), kept("bb", 0.84))
    assert not found.distinguishable
    assert "are not distinguishable on 400 texts" in found.sentence
    assert found.to_json()["distinguishable"] is False
    same = compare(kept("a", 0.85), kept("a", 0.85))
    assert (same.p_value, same.difference) == (1.0, 0.0)
    assert "no difference" in same.sentence


def test_several_seeds_are_pairs_and_both_are_drawn_again(kept):
    one, other = kept("a", 0.9, 0.8, 0.85), kept("bb", 0.7, 0.6, 0.65)
    found = compare(one, other)
    assert (found.method, found.paired, len(found.pairs)) == ("paired bootstrap", True, 3)
    assert found.distinguishable
    assert "3 seeds in pairs" in found.notes()[0]
    # Every pair differs alike, which seeds that are drawn each for themselves cannot know.
    apart = compare(one, kept("bb", 0.7, 0.6, 0.65, seeds=[7, 8, 9]))
    assert not apart.paired
    assert apart.ci95[1] - apart.ci95[0] > found.ci95[1] - found.ci95[0]
    assert "not in pairs" in apart.notes()[0]


def test_one_good_seed_among_bad_ones_is_no_proof(kept):
    found = compare(kept("a", 0.95, 0.6, 0.7), kept("bb", 0.7, 0.7, 0.72))
    assert not found.distinguishable
    assert found.ci95[0] < 0 < found.ci95[1]


@pytest.mark.parametrize(("texts", "known"), [(5, False), (6, True)])
def test_a_few_texts_are_as_little_proof_over_seeds_as_of_one(kept, texts, known):
    """Drawing again from 5 texts that are all for one side gives a tail of e^-5; a coin, 2^-4."""
    found = compare(kept("a", 1.0, 1.0), kept("bb", 1.0, 1.0, missed=range(texts)))
    assert found.difference == pytest.approx(texts / 400)
    assert found.p_value == found.pairs[0].p_value == 2.0 ** (1 - texts)
    assert found.distinguishable is known


def test_two_results_of_one_name_are_told_apart_by_their_ids(kept):
    one, other = kept("a", 0.9), kept("bb", 0.6, features=["a"])
    assert compare(one, other).sentence.startswith("a, concat (a) is better than a, concat (bb) on")


def test_other_texts_and_other_labels_are_refused(kept):
    one = kept("a", 0.9)
    with pytest.raises(MismatchError, match=r"401 texts of tiny.*on 401 texts of tiny \(other one"):
        compare(one, kept("bb", 0.8, texts=5))
    corrected = LABELS.copy()
    corrected[3] = 1 - corrected[3]
    with pytest.raises(MismatchError, match=r"not the same labels.*before and after"):
        compare(one, kept("bb", 0.8, labels=corrected))


def test_what_has_no_predictions_is_told(kept, tmp_path):
    one = kept("a", 0.9)
    with pytest.raises(ResultError, match="not scored on a test"):
        compare(one, replace(one, payload=one.payload | {"splits": {}}))
    with pytest.raises(ResultError, match="no predictions"):
        compare(one, replace(one, truth_digest=None))
    with pytest.raises(ResultError, match="no sweep"):
        compare(one, one, ("", "m:1"))


def test_the_papers_protocol_and_other_sizes_are_noted(kept):
    notes = compare(kept("a", 0.9, protocol="paper", n_train=100), kept("bb", 0.8)).notes()
    assert "a, concat (a) was chosen on this very test: it looks too good" in notes
    assert "trained on 100 and on 9 rows" in notes


def test_ids_prefixes_and_paths(kept, tmp_path):
    one, _ = kept("abc", 0.9), kept("abd", 0.8)
    assert results.look_up(tmp_path, "abc").id == "abc"
    assert results.look_up(tmp_path, str(one.path)).id == "abc"
    with pytest.raises(ResultError, match=r"begins several results \(abc, abd\)"):
        results.look_up(tmp_path, "ab")
    with pytest.raises(ResultError, match="no result 'x' among 2"):
        results.look_up(tmp_path, "x")
    with pytest.raises(ResultError, match="no result at"):
        results.look_up(tmp_path, "gone/x.json")
