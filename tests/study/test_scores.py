"""Every score against a plain statement of its formula, and what must not change it."""

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.stats import multivariate_normal
from sklearn.covariance import LedoitWolf
from sklearn.linear_model import Ridge

from lefcache.study.scores import (
    LABEL_FREE,
    LOWER_IS_BETTER,
    SCORES,
    Sample,
    Spectrum,
    precisions,
    shrinkage,
)
from lefcache.train.ridge import ALPHAS

SHAPES = [(60, 12), (24, 40), (20, 20)]


def draw(count, width, classes=3, seed=0):
    generator = np.random.default_rng((count, width, seed))
    labels = generator.integers(0, classes, count)
    labels[:classes] = np.arange(classes)
    rows = generator.standard_normal((count, width)) * np.geomspace(0.3, 3, width) + 1
    rows[:, 0] += 2 * labels
    return Sample(rows, labels, classes)


def changed(sample, rows, labels=None):
    return Sample(rows, sample.labels if labels is None else labels, sample.classes)


def ridge_plainly(sample):
    """Every row left out by a refit, for every regularisation."""
    rows, targets = sample.rows, 2.0 * np.eye(sample.classes)[sample.labels] - 1
    mean_level = np.square(rows - rows.mean(axis=0)).sum() / min(len(rows) - 1, rows.shape[1])
    right = []
    for alpha in ALPHAS:
        said = []
        for out in range(len(rows)):
            kept = np.arange(len(rows)) != out
            fitted = Ridge(alpha=alpha * mean_level).fit(rows[kept], targets[kept])
            said.append(fitted.predict(rows[[out]]).argmax())
        right.append(np.mean(np.array(said) == sample.labels))
    return max(right)


def evidence(rows, target, alpha, beta):
    """log p(y) of y = F w + noise, as the normal distribution that it is."""
    covariance = np.eye(len(rows)) / beta + rows @ rows.T / alpha
    return multivariate_normal(np.zeros(len(rows)), covariance).logpdf(target)


def logme_plainly(sample):
    """The largest evidence that a general optimiser finds, a mean over classes."""
    found = []
    for one in np.unique(sample.labels):
        target = (sample.labels == one).astype(float)
        best = min(
            (
                minimize(
                    lambda logs, y=target: -evidence(sample.rows, y, *np.exp(logs)),
                    start,
                    method="Nelder-Mead",
                    options={"xatol": 1e-6, "fatol": 1e-9, "maxiter": 2000},
                )
                for start in ([0.0, 0.0], [3.0, 3.0])
            ),
            key=lambda each: each.fun,
        )
        found.append(-best.fun / len(target))
    return np.mean(found)


def h_score_plainly(sample):
    """tr(S_a^-1 (1 - a) B) with whole matrices."""
    fitted = LedoitWolf().fit(sample.rows)
    means = np.stack([sample.rows[sample.labels == one].mean(axis=0) for one in sample.labels])
    between = np.cov(means, rowvar=False)
    return np.trace(np.linalg.inv(fitted.covariance_) @ between) * (1 - fitted.shrinkage_)


def entropy_plainly(sample):
    gram = sample.rows @ sample.rows.T
    shares = np.linalg.eigvalsh(gram / np.trace(gram))
    shares = shares[shares > 1e-12]
    return -np.sum(shares * np.log(shares))


def rank_plainly(sample):
    values = np.linalg.svd(sample.rows - sample.rows.mean(axis=0), compute_uv=False)
    shares = values[values > 1e-10] / values.sum()
    return np.exp(-np.sum(shares * np.log(shares)))


def anisotropy_plainly(sample):
    cosines = [
        one @ other / np.linalg.norm(one) / np.linalg.norm(other)
        for at, one in enumerate(sample.rows)
        for other in sample.rows[:at]
    ]
    return np.mean(cosines)


PLAINLY = {
    "ridge": ridge_plainly,
    "logme": logme_plainly,
    "h-score": h_score_plainly,
    "entropy": entropy_plainly,
    "rank": rank_plainly,
    "anisotropy": anisotropy_plainly,
}


def test_every_score_has_a_plain_statement():
    assert list(PLAINLY) == list(SCORES)
    assert set(LOWER_IS_BETTER) <= set(LABEL_FREE) <= set(SCORES)


@pytest.mark.parametrize(("count", "width"), SHAPES)
@pytest.mark.parametrize("name", SCORES)
def test_a_score_is_its_formula(name, count, width):
    sample = draw(count, width)
    assert SCORES[name](sample) == pytest.approx(PLAINLY[name](sample), rel=1e-5, abs=1e-5)


@pytest.mark.parametrize("name", SCORES)
def test_neither_a_rotation_nor_the_order_of_the_rows_changes_a_score(name):
    sample = draw(50, 12)
    turn, _ = np.linalg.qr(np.random.default_rng(1).standard_normal((12, 12)))
    order = np.random.default_rng(2).permutation(50)
    turned = changed(sample, (sample.rows @ turn)[order], sample.labels[order])
    assert SCORES[name](turned) == pytest.approx(SCORES[name](sample), rel=1e-6)


@pytest.mark.parametrize("name", SCORES)
def test_a_layer_of_another_scale_has_the_same_score(name):
    sample = draw(50, 12)
    scaled = changed(sample, 100 * sample.rows)
    assert SCORES[name](scaled) == pytest.approx(SCORES[name](sample), rel=1e-4)


@pytest.mark.parametrize("name", LABEL_FREE)
def test_labels_do_not_matter_to_those_that_are_free_of_them(name):
    sample = draw(50, 12)
    other = changed(sample, sample.rows, np.roll(sample.labels, 7))
    assert SCORES[name](other) == SCORES[name](sample)


@pytest.mark.parametrize("name", sorted({*SCORES} - {*LABEL_FREE}))
def test_labels_that_can_be_told_apart_score_higher_than_labels_at_random(name):
    sample = draw(60, 12)
    other = changed(sample, sample.rows, np.random.default_rng(3).permutation(sample.labels))
    assert SCORES[name](sample) > SCORES[name](other)


@pytest.mark.parametrize("name", SCORES)
@pytest.mark.parametrize("fill", [0.0, 2.0])
def test_rows_that_are_all_the_same_have_a_score_too(name, fill):
    value = SCORES[name](Sample(np.full((12, 5), fill, np.float16), np.arange(12) % 2, 2))
    assert np.isfinite(value)


def test_directions_count_as_what_they_are():
    axes = Sample(np.eye(8), np.arange(8) % 2, 2)
    assert SCORES["entropy"](axes) == pytest.approx(np.log(8))
    assert SCORES["anisotropy"](axes) == pytest.approx(0)
    assert SCORES["rank"](axes) == pytest.approx(7)  # around their mean
    line = Sample(np.outer(np.arange(1, 9), np.ones(4)), np.arange(8) % 2, 2)
    assert SCORES["entropy"](line) == pytest.approx(0, abs=1e-9)
    assert SCORES["anisotropy"](line) == pytest.approx(1)
    assert SCORES["rank"](line) == pytest.approx(1)


@pytest.mark.parametrize(("count", "width"), SHAPES)
def test_a_spectrum_is_that_of_the_singular_values(count, width):
    rows = draw(count, width).rows
    left, values, _ = np.linalg.svd(rows, full_matrices=False)
    found = Spectrum.of(rows, centred=False)
    np.testing.assert_allclose(np.sqrt(found.levels), values, rtol=1e-6)
    columns = np.random.default_rng(4).standard_normal((count, 2))
    np.testing.assert_allclose(abs(found.onto(columns)), abs(left.T @ columns), atol=1e-8)
    np.testing.assert_allclose(found.norms(), np.square(rows).sum(axis=1))


@pytest.mark.parametrize(("count", "width"), [*SHAPES, (400, 3), (5, 30)])
def test_the_shrinkage_is_that_of_scikit_learn(count, width):
    sample = draw(count, width)
    theirs = LedoitWolf().fit(sample.rows).shrinkage_
    assert shrinkage(sample.centred) == pytest.approx(theirs, rel=1e-8)


def test_the_iteration_of_logme_ends_where_it_no_longer_moves():
    sample = draw(60, 12, classes=2)
    target = sample.targets
    onto = np.square(sample.plain.onto(target))
    beyond = np.square(target).sum(axis=0) - onto.sum(axis=0)
    alpha, beta = precisions(sample.plain.levels, onto, beyond, 60)
    for one in (0, 1):
        here = evidence(sample.rows, target[:, one], alpha[one], beta[one])
        for factor in (0.9, 1.1):
            assert evidence(sample.rows, target[:, one], factor * alpha[one], beta[one]) < here
            assert evidence(sample.rows, target[:, one], alpha[one], factor * beta[one]) < here


def test_rows_of_a_validation_split_are_what_ridge_is_judged_on():
    sample, other = draw(60, 12), draw(30, 12, seed=1)
    judged = Sample(sample.rows, sample.labels, 3, judged=(other.rows, other.labels))
    assert len(judged.right) == 30
    assert 0.5 < SCORES["ridge"](judged) <= 1
