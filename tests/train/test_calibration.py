import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import log_loss, precision_recall_fscore_support

from lefcache.train.calibration import (
    calibration_errors,
    calibration_interval,
    log_loss_interval,
    log_losses,
)
from lefcache.train.stats import per_class


def draw(seeds=3, rows=400, classes=3, sharpness=2.0, seed=0):
    """Labels drawn from the very probabilities that are given: a perfect forecast."""
    generator = np.random.default_rng(seed)
    values = sharpness * generator.standard_normal((rows, classes))
    odds = np.exp(values)
    probabilities = odds / odds.sum(axis=1, keepdims=True)
    truth = np.array([generator.choice(classes, p=each) for each in probabilities])
    return truth, np.repeat(probabilities[None], seeds, axis=0).astype(np.float32)


def test_log_loss_is_that_of_scikit_learn():
    truth, probabilities = draw()
    losses = log_losses(truth, probabilities)
    assert losses.shape == (3, 400)
    expected = log_loss(truth, probabilities[0], labels=[0, 1, 2])
    assert losses[0].mean() == pytest.approx(expected, rel=1e-5)


def test_a_wrong_certainty_is_no_infinity():
    assert log_losses(np.array([0]), np.array([[[0.0, 1.0]]])).item() == pytest.approx(15.94, 0.01)


def test_the_calibration_error_is_that_of_its_definition():
    truth, probabilities = draw(1)
    top, right = probabilities[0].max(axis=1), probabilities[0].argmax(axis=1) == truth
    order, slowly = np.argsort(top, kind="stable"), 0.0
    for place in range(15):
        inside = order[[r for r in range(400) if r * 15 // 400 == place]]
        slowly += abs(top[inside].mean() - right[inside].mean()) * len(inside) / 400
    assert calibration_errors(truth, probabilities)[0] == pytest.approx(slowly, rel=1e-5)


def test_a_perfect_forecast_is_well_calibrated_and_an_overconfident_one_is_not():
    truth, honest = draw(2, rows=4000)
    sure = honest**4 / (honest**4).sum(axis=2, keepdims=True)
    assert calibration_errors(truth, honest).max() < 0.04
    assert calibration_errors(truth, sure).min() > 0.1
    low, high = calibration_interval(truth, honest)
    assert 0 <= low <= calibration_errors(truth, honest).mean() <= high < 0.05


@pytest.mark.parametrize("rows", [1, 7, 40])
def test_few_rows_have_figures_too(rows):
    truth, probabilities = draw(2, rows=rows)
    error = calibration_errors(truth, probabilities).mean()
    low, high = calibration_interval(truth, probabilities)
    assert 0 <= low <= error <= high
    losses = log_losses(truth, probabilities)
    low, high = log_loss_interval(losses)
    assert low <= losses.mean() * (1 + 1e-9)
    assert losses.mean() <= high * (1 + 1e-9)


def test_the_log_loss_interval_covers_rows_and_seeds():
    generator = np.random.default_rng(0)
    losses = generator.exponential(1.0, (1, 2000))
    low, high = log_loss_interval(losses)
    assert (high - low) / 2 == pytest.approx(1.96 / np.sqrt(2000), rel=0.12)
    apart = np.concatenate([losses, losses + 1.0])
    low, high = log_loss_interval(apart)
    assert high - low > 0.9  # both seeds, or one of them twice


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1))
def test_the_report_per_class_is_that_of_scikit_learn(pairs):
    truth, predicted = np.array(pairs).T
    report = per_class(truth, predicted[None], "abcd")
    expected = precision_recall_fscore_support(truth, predicted, labels=range(4), zero_division=0)
    for name, values in zip(("precision", "recall", "f1", "n"), expected, strict=True):
        assert [row[name] for row in report] == pytest.approx(values.tolist())
    assert [row["class"] for row in report] == list("abcd")


def test_the_report_is_a_mean_over_seeds():
    report = per_class(np.array([0, 1]), np.array([[0, 1], [1, 1]]), ("no", "yes"))
    assert [row["recall"] for row in report] == [0.5, 1.0]
