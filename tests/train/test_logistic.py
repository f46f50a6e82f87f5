import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from lefcache.errors import NotFiniteError
from lefcache.train import passes
from lefcache.train.logistic import PENALTIES, fit_logistic


def draw(count, width, classes=3, dtype=np.float32):
    generator = np.random.default_rng((count, width))
    labels = np.arange(count) % classes
    rows = generator.standard_normal((count, width)) * np.geomspace(0.3, 3, width) + 5
    rows[:, 0] += labels
    return rows.astype(dtype), labels


def scale(rows):
    """The mean eigenvalue of the covariance, which penalties are relative to."""
    return np.square(rows - rows.mean(axis=0)).sum() / len(rows) / min(len(rows) - 1, rows.shape[1])


def theirs(rows, labels, penalty):
    """scikit-learn's fit of the same problem: its C weighs the sum of losses."""
    strength = 1 / (len(rows) * penalty * scale(rows))
    solver = LogisticRegression(C=strength, tol=1e-10, max_iter=10_000, solver="lbfgs")
    return solver.fit(rows.astype(np.float64) - rows.mean(axis=0, dtype=np.float64), labels)


@pytest.mark.parametrize(("count", "width"), [(300, 12), (60, 80)])
@pytest.mark.parametrize("classes", [2, 3, 7])
def test_the_coefficients_are_those_of_scikit_learn(count, width, classes):
    rows, labels = draw(count, width, classes)
    path = fit_logistic(rows, labels, classes)
    for place, penalty in enumerate(PENALTIES):
        if penalty < 1e-3:
            continue  # hardly penalised, coefficients may lie far apart and be as good
        if classes == 2:
            fitted = theirs(rows, labels, penalty / 2)
            coef = path.coef[place][:, 1:] - path.coef[place][:, :1]
            bias = path.intercept[place][1:] - path.intercept[place][:1]
        else:
            fitted = theirs(rows, labels, penalty)
            coef, bias = path.coef[place], path.intercept[place]
            bias = bias - bias.mean()
        span = np.abs(fitted.coef_).max()
        np.testing.assert_allclose(coef.T, fitted.coef_, atol=4e-3 * span)
        expected = fitted.intercept_ - (fitted.intercept_.mean() if classes > 2 else 0)
        np.testing.assert_allclose(bias, expected, atol=4e-3 * max(1, np.abs(expected).max()))


@pytest.mark.parametrize(("count", "width"), [(300, 12), (60, 80)])
def test_every_penalty_ends_in_the_minimum(count, width):
    rows, labels = draw(count, width)
    centred = rows.astype(np.float64) - rows.mean(axis=0, dtype=np.float64)
    path = fit_logistic(rows, labels, 3)

    def objective(coef, intercept, penalty):
        logits = centred @ coef + intercept
        said = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        loss = -said[np.arange(count), labels].mean()
        return loss + penalty * scale(rows) / 2 * np.square(coef).sum()

    for place, penalty in enumerate(PENALTIES):
        fitted = theirs(rows, labels, penalty)
        lowest = objective(fitted.coef_.T, fitted.intercept_, penalty)
        ours = objective(path.coef[place].astype(np.float64), path.intercept[place], penalty)
        assert ours <= lowest + 1e-6
    assert max(path.steps) < 100


def test_logits_are_those_of_the_coefficients_and_only_keeps_one():
    rows, labels = draw(60, 12)
    path = fit_logistic(rows, labels, 3)
    expected = (rows[:7] - path.center) @ path.coef[2] + path.intercept[2]
    np.testing.assert_allclose(path.decide(rows)[2, :7], expected, atol=1e-4)
    np.testing.assert_array_equal(path.only(2).decide(rows)[0], path.decide(rows)[2])


@pytest.mark.parametrize("index", [np.arange(5, 50), np.array([1, 2, 5, 8, 30, 31, 40, 44, 58])])
def test_rows_used_are_the_only_ones_read(index, monkeypatch):
    rows, _ = draw(60, 4, dtype=np.float16)
    labels = np.arange(len(index)) % 3
    monkeypatch.setattr(passes, "CHUNK_BYTES", 3 * 4 * 4)
    path = fit_logistic(rows, labels, 3, index=index)
    same = fit_logistic(rows[index], labels, 3)
    np.testing.assert_allclose(path.coef, same.coef, atol=1e-4)
    np.testing.assert_allclose(path.decide(rows, index), same.decide(rows[index]), atol=1e-3)


@pytest.mark.parametrize("shape", [(30, 4), (4, 30)])
def test_constant_rows_give_the_shares_of_the_classes(shape):
    labels = (np.arange(shape[0]) % 4 == 0).astype(int)
    path = fit_logistic(np.full(shape, 0.5, np.float16), labels, 2)
    said = np.exp(path.decide(np.full(shape, 0.5)))[:, 0]
    np.testing.assert_allclose(said[:, 1] / said.sum(axis=1), labels.mean(), atol=1e-3)


def test_a_class_that_never_occurs_is_never_predicted():
    rows, labels = draw(60, 4, classes=2)
    assert (fit_logistic(rows, labels, 3).decide(rows).argmax(axis=2) < 2).all()


def test_rows_that_are_no_numbers_are_refused():
    rows, labels = draw(20, 4)
    rows[3, 2] = np.nan
    with pytest.raises(NotFiniteError, match="extract this layer again"):
        fit_logistic(rows, labels, 3)
