import numpy as np
import pytest
from sklearn.linear_model import Ridge as Refit
from sklearn.linear_model import RidgeClassifierCV

from lefcache.errors import NotFiniteError
from lefcache.train import passes, ridge
from lefcache.train.ridge import ALPHAS, best, fit_ridge

SHAPES = [(60, 12), (24, 40), (20, 20), (21, 20)]


def draw(count, width, classes=3, dtype=np.float64):
    generator = np.random.default_rng((count, width))
    labels = generator.integers(0, classes, count)
    rows = generator.standard_normal((count, width)) * np.geomspace(0.1, 10, width) + 5
    rows[:, 0] += labels
    return rows.astype(dtype), labels


def scale(rows):
    """The mean eigenvalue of the centred scatter, which alphas are relative to."""
    return np.square(rows - rows.mean(axis=0)).sum() / min(len(rows) - 1, rows.shape[1])


def refitted(rows, labels, classes, alpha, texts):
    """Leave out by brute force: one refit for each text."""
    targets = 2.0 * np.eye(classes)[labels] - 1
    decided = np.empty_like(targets)
    for text in np.unique(texts):
        out = texts == text
        decided[out] = Refit(alpha=alpha).fit(rows[~out], targets[~out]).predict(rows[out])
    return decided.argmax(axis=1), np.square(decided - targets).mean()


@pytest.mark.parametrize(("count", "width"), SHAPES)
@pytest.mark.parametrize("twins", [False, True])
def test_leave_one_out_is_that_of_brute_force(count, width, twins):
    rows, labels = draw(count, width)
    texts = np.arange(count).astype(np.uint64)
    if twins:  # equal texts hold equal rows, with labels that may disagree
        texts[[3, 9]] = texts[4]
        texts[10] = texts[11]
        rows = rows[np.unique(texts, return_inverse=True)[1]]
    path = fit_ridge(rows, labels, 3, texts=texts)
    for place, alpha in enumerate(np.array(ALPHAS) * scale(rows)):
        predicted, error = refitted(rows, labels, 3, alpha, texts)
        np.testing.assert_array_equal(path.loo_predicted[place], predicted)
        assert path.loo_error[place] == pytest.approx(error, rel=1e-6)
        assert path.loo_accuracy[place] == np.mean(predicted == labels)


@pytest.mark.parametrize(("count", "width"), SHAPES)
def test_decisions_are_those_of_scikit_learn(count, width):
    rows, labels = draw(count, width)
    other = np.random.default_rng(1).standard_normal((7, width))
    path = fit_ridge(rows, labels, 3)
    for place, alpha in enumerate(np.array(ALPHAS) * scale(rows)):
        theirs = Refit(alpha=alpha).fit(rows, 2.0 * np.eye(3)[labels] - 1)
        np.testing.assert_allclose(path.decide(other)[place], theirs.predict(other), rtol=1e-6)


def test_the_regularisation_is_the_one_scikit_learn_chooses():
    rows, labels = draw(60, 12)
    theirs = RidgeClassifierCV(np.array(ALPHAS) * scale(rows)).fit(rows, labels)
    ours = fit_ridge(rows, labels, 3)
    chosen = ALPHAS[ours.loo_error.argmin()] * scale(rows)
    assert theirs.alpha_ == pytest.approx(chosen)


@pytest.mark.parametrize(("count", "width"), SHAPES)
def test_float32_in_many_chunks_says_the_same(count, width, monkeypatch):
    rows, labels = draw(count, width, dtype=np.float16)
    exact = fit_ridge(rows, labels, 3)
    monkeypatch.setattr(ridge, "EXACT_WORK", 0)
    monkeypatch.setattr(passes, "CHUNK_BYTES", 7 * 4 * width)  # seven rows
    quick = fit_ridge(rows, labels, 3)
    assert quick.coef.dtype == np.float32
    np.testing.assert_allclose(quick.loo_error[1:], exact.loo_error[1:], rtol=1e-2)
    np.testing.assert_allclose(quick.decide(rows)[3:], exact.decide(rows)[3:], atol=1e-3)


def test_scale_does_not_matter():
    rows, labels = draw(60, 12)
    one, other = fit_ridge(rows, labels, 3), fit_ridge(1024 * rows, labels, 3)
    np.testing.assert_allclose(one.loo_error, other.loo_error)


@pytest.mark.parametrize("index", [np.arange(5, 50), np.array([1, 2, 5, 8, 30, 31, 40, 44, 58])])
def test_rows_used_are_the_only_ones_read(index, monkeypatch):
    rows, labels = draw(60, 4)
    monkeypatch.setattr(passes, "CHUNK_BYTES", 3 * 8 * 4)
    path = fit_ridge(rows, labels[index], 3, index=index)
    same = fit_ridge(rows[index], labels[index], 3)
    np.testing.assert_allclose(path.coef, same.coef)
    np.testing.assert_allclose(path.decide(rows, index), same.decide(rows[index]))


@pytest.mark.parametrize("shape", [(30, 4), (4, 30)])
def test_constant_rows_predict_the_commonest_class(shape):
    labels = np.arange(shape[0]) % 3 == 0
    path = fit_ridge(np.full(shape, 0.1, np.float16), labels.astype(int), 2)
    assert (path.decide(np.zeros(shape)).argmax(axis=2) == 0).all()
    assert np.isfinite(path.loo_error).all()


def test_rows_that_are_no_numbers_are_refused():
    rows, labels = draw(20, 4)
    rows[3, 2] = np.inf
    with pytest.raises(NotFiniteError, match="extract this layer again"):
        fit_ridge(rows, labels, 3)


def test_only_keeps_one_regularisation():
    rows, labels = draw(60, 12)
    path = fit_ridge(rows, labels, 3)
    np.testing.assert_allclose(path.only(4).decide(rows)[0], path.decide(rows)[4])


def test_ties_go_to_the_lower_error_and_then_to_the_stronger_alpha():
    accuracy = np.array([0.5, 0.9, 0.9, 0.9])
    assert best(accuracy, np.array([0.1, 0.3, 0.2, 0.3])) == 2
    assert best(accuracy, np.array([0.1, 0.2, 0.2, 0.2])) == 3


def test_leave_one_out_is_left_out_on_demand():
    rows, labels = draw(60, 12)
    whole, quick = fit_ridge(rows, labels, 3), fit_ridge(rows, labels, 3, leave_out=False)
    np.testing.assert_array_equal(quick.coef, whole.coef)
    assert quick.loo_predicted.shape == (len(ALPHAS), 0)
    assert np.isnan(quick.loo_accuracy).all()
    assert np.isnan(quick.loo_error).all()
    assert quick.only(2).loo_predicted.shape == (1, 0)
