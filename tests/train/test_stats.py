import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from lefcache.train import stats
from lefcache.train.stats import accuracy, accuracy_interval, f1_interval, macro_f1, spread


def draw(seeds=4, rows=60, classes=3):
    generator = np.random.default_rng(0)
    truth = generator.integers(0, classes, rows)
    wrong = generator.random((seeds, rows)) < np.linspace(0.2, 0.5, seeds)[:, None]
    return truth, np.where(wrong, generator.integers(0, classes, (seeds, rows)), truth)


def slowly(truth, predicted, figure, draws):
    """The same bootstrap, one replicate at a time."""
    generator = np.random.default_rng(1)
    scores = []
    for _ in range(draws):
        rows = generator.integers(0, len(truth), len(truth))
        seeds = generator.integers(0, len(predicted), max(len(predicted) - 1, 1))
        scores.append(np.mean([figure(truth[rows], predicted[seed][rows]) for seed in seeds]))
    return np.percentile(scores, [2.5, 97.5])


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1))
def test_macro_f1_is_that_of_scikit_learn(pairs):
    truth, predicted = np.array(pairs).T
    expected = f1_score(truth, predicted, average="macro", zero_division=0.0)
    assert macro_f1(truth, predicted) == pytest.approx(expected)


def test_accuracy_is_a_share():
    assert accuracy(np.array([0, 1, 2, 2]), np.array([0, 1, 2, 0])) == 0.75


@pytest.mark.parametrize("seeds", [1, 4])
def test_the_accuracy_interval_is_that_of_the_slow_bootstrap(seeds):
    truth, predicted = draw(seeds, rows=300)
    quick = accuracy_interval(predicted == truth)
    np.testing.assert_allclose(quick, slowly(truth, predicted, accuracy, 3000), atol=0.01)


def test_the_f1_interval_is_that_of_the_slow_bootstrap():
    truth, predicted = draw(3)
    quick = f1_interval(truth, predicted)
    np.testing.assert_allclose(quick, slowly(truth, predicted, macro_f1, 1000), atol=0.02)


def test_a_class_that_a_replicate_misses_is_left_out_of_it():
    truth, predicted = np.array([0] * 19 + [1]), np.array([[0] * 19 + [1]])
    assert f1_interval(truth, predicted) == (1.0, 1.0)


def test_one_seed_has_the_binomial_interval():
    correct = np.zeros((1, 1000), bool)
    correct[0, :900] = True
    low, high = accuracy_interval(correct)
    assert (high - low) / 2 == pytest.approx(1.96 * np.sqrt(0.09 / 1000), rel=0.05)


@pytest.mark.parametrize(
    ("right", "rows", "expected"),
    [
        (1, 1, (0.207, 1.0)),
        (10, 10, (0.722, 1.0)),
        (0, 10, (0.0, 0.278)),
        (19, 20, (0.764, 1.0)),
        (2, 4, (0.0, 1.0)),
    ],
)
def test_a_few_rows_that_are_all_right_are_no_certainty(right, rows, expected):
    correct = (np.arange(rows) < right)[None].repeat(3, axis=0)
    assert accuracy_interval(correct) == pytest.approx(expected, abs=1e-3)


def test_disagreeing_seeds_widen_it():
    correct = np.ones((4, 400), bool)
    correct[:2, :200] = False
    correct[2:, 200:] = False
    apart = accuracy_interval(correct)
    correct[:, 200:] = True
    correct[:, :200] = False
    together = accuracy_interval(correct)
    assert apart[1] - apart[0] < together[1] - together[0]
    uneven = np.ones((4, 400), bool)
    uneven[0] = False
    low, high = accuracy_interval(uneven)
    assert high - low > 0.5


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_means_over_seeds_vary_as_much_as_they_do(seeds):
    """Replicates that differ by their seeds alone have the variance of a mean of S seeds."""
    figures = np.random.default_rng(0).normal(size=seeds)
    one_row = np.array([1])
    found = stats.resampled(lambda rows, share: share @ figures, one_row, seeds, 8, 20_000)
    assert found.mean() == pytest.approx(figures.mean(), abs=0.02)
    assert found.var() == pytest.approx(figures.var(ddof=1) / seeds, rel=0.05)


def test_intervals_repeat_and_do_not_depend_on_memory(monkeypatch):
    truth, predicted = draw()
    first = accuracy_interval(predicted == truth), f1_interval(truth, predicted)
    assert first == (accuracy_interval(predicted == truth), f1_interval(truth, predicted))
    monkeypatch.setattr(stats, "CHUNK_BYTES", 1 << 14)
    pieces = accuracy_interval(predicted == truth), f1_interval(truth, predicted)
    np.testing.assert_allclose(pieces, first, atol=0.015)


def test_the_spread_of_one_seed_is_nothing():
    assert spread(np.array([0.5])) == {"mean": 0.5, "std": 0.0}
    assert spread(np.array([0.5, 0.7])) == pytest.approx({"mean": 0.6, "std": np.sqrt(0.02)})
