import sys
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import pearsonr, spearmanr

from lefcache import results as store
from lefcache.errors import CorpusError, NotFiniteError, RecipeError
from lefcache.feature import Feature
from lefcache.finished import describe
from lefcache.recipe import Recipe
from lefcache.study import Pairs, couples, fuse, pairs, sweep
from lefcache.study import narrow as narrow_module
from lefcache.study.arrange import nested
from lefcache.study.correlation import correlated
from lefcache.study.couples import agreement
from lefcache.study.identity import alone
from lefcache.study.narrow import Beside, between, cka, narrowed, side_by_side
from lefcache.train.protocol import labelled
from lefcache.train.ridge import fit_ridge

module = sys.modules["lefcache.study.pairs"]  # its name in the package is the function's
TINY = Recipe(width=8, hidden=(8,), dropout=(0.1,), lr=1e-2, batch=20, epochs=3)
WIDTHS = (5, 7, 4)


@pytest.fixture
def tables(split):
    """Three noisy features of different scales, which know different things of three classes."""

    def features(count, name):
        table = split(count, WIDTHS, noise=2, split=name, classes=3)
        scales = (1, 30, 0.1)
        rows = tuple(each * np.float16(by) for each, by in zip(table.rows, scales, strict=True))
        named = tuple(map(Feature.parse, ("a:1", "b:2", "c:last")))
        return replace(table, rows=rows, features=named)

    return {name: features(n, name) for name, n in (("train", 150), ("test", 60))}


@pytest.fixture
def validated(tables, split):
    table = split(90, WIDTHS, noise=2, split="validation", classes=3)
    return tables | {"validation": replace(table, features=tables["train"].features)}


def centred(rows):
    rows = np.asarray(rows, np.float64)
    return rows - rows.mean(axis=0)


def scaled(rows):
    """As much variance in all numbers of a row together as in those of another feature."""
    rows = np.asarray(rows, np.float64)
    return rows / np.sqrt(np.square(centred(rows)).sum() / len(rows))


def of(found, one, other):
    (row,) = (row for row in found.rows if {row.first, row.second} == {one, other})
    return row


def test_every_pair_is_there_once_that_with_the_largest_gain_first(tables):
    found = pairs(tables)
    names = [str(each) for each in tables["train"].features]
    assert {(row.first, row.second) for row in found.rows} == {*combinations(names, 2)}
    gains = [row.gain for row in found.rows]
    assert gains == sorted(gains, reverse=True)
    assert (found.n_train, found.n_val, found.n_test, found.n_rows) == (150, 0, 60, 150)
    assert found.chosen == "by leave-one-out"
    assert found.best.predicted == max(row.predicted for row in found.rows)


def test_cka_is_its_formula_whatever_the_scale(tables):
    found = pairs(tables)
    x, y, _ = (centred(rows) for rows in tables["train"].rows)
    norm = np.linalg.norm
    plain = norm(y.T @ x) ** 2 / (norm(x.T @ x) * norm(y.T @ y))
    assert of(found, "a:1", "b:2").cka == pytest.approx(plain, rel=1e-4)
    assert cka(x.T @ x, x.T @ x, x.T @ x) == pytest.approx(1)
    assert cka(x.T @ x, np.zeros((2, 2)), np.zeros((5, 2))) == 0


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=40))
def test_agreement_is_counted_row_by_row(rows):
    one, other = (np.array(each) for each in zip(*rows, strict=True))
    share = {kind: rows.count(kind) / len(rows) for kind in [*{*rows}, (True, True)]}
    n11, n10, n01, n00 = (
        share.get(kind, 0) for kind in ((True, True), (True, False), (False, True), (False, False))
    )
    found = agreement(one, other)
    assert found["disagreement"] == pytest.approx(n10 + n01)
    assert found["double_fault"] == pytest.approx(n00)
    assert found["oracle"] == pytest.approx(1 - n00 - max(n11 + n10, n11 + n01))
    assert found["oracle"] == pytest.approx(min(n10, n01))
    if n11 * n00 + n01 * n10:
        q = (n11 * n00 - n01 * n10) / (n11 * n00 + n01 * n10)
        assert found["q"] == pytest.approx(q)
        assert -1 <= found["q"] <= 1
    else:
        assert found["q"] is None


@pytest.mark.parametrize("count", [60, 15], ids=["tall", "wide"])
def test_ridge_from_blocks_is_that_of_the_concatenated_matrix(split, count):
    part = labelled(split(count, (9, 12), noise=2, classes=3))
    one, other = (narrowed(part.alone(place), None) for place in (0, 1))
    rows = Beside([one.rows, other.rows])
    moments = side_by_side(one.moments, other.moments, between(one, other))
    blocks = fit_ridge(rows, part.labels, 3, moments=moments)
    whole = np.concatenate([scaled(each) for each in part.table.rows], axis=1)
    plain = fit_ridge(whole, part.labels, 3)
    np.testing.assert_allclose(np.asarray(rows), whole, rtol=1e-5, atol=1e-6)
    usual = slice(1, None)  # the weakest of all regularisations divides by next to nothing
    np.testing.assert_array_equal(blocks.loo_predicted[usual], plain.loo_predicted[usual])
    np.testing.assert_allclose(blocks.loo_error[usual], plain.loo_error[usual], rtol=1e-3)
    np.testing.assert_allclose(
        blocks.decide(rows)[usual], plain.decide(whole)[usual], rtol=1e-2, atol=1e-3
    )


@pytest.mark.parametrize("which", ["tables", "validated"])
def test_ridge_alone_is_that_of_a_sweep_and_on_both_that_of_their_columns(which, request):
    tables = request.getfixturevalue(which)
    found = pairs(tables)
    swept = {row.feature: row.val_accuracy for row in sweep(tables).rows}
    assert {one.feature: one.accuracy for one in found.singles} == swept
    together = {}
    for name in {*tables} - {"test"}:
        table, spread = tables[name], tables["train"].rows[:2]
        sides = [
            np.asarray(rows, np.float64) / np.sqrt(np.square(centred(ours)).sum() / 150)
            for rows, ours in zip(table.rows[:2], spread, strict=True)
        ]
        rows = np.concatenate(sides, axis=1)
        together[name] = replace(alone(tables, 0)[name], rows=(rows,))
    (both,) = sweep(together).rows
    row = of(found, "a:1", "b:2")
    assert row.accuracy == both.val_accuracy
    assert row.gain == pytest.approx(both.val_accuracy - max(swept["a:1"], swept["b:2"]))
    assert row.gain_ci95[0] <= row.gain <= row.gain_ci95[1]
    assert found.n_val == (90 if which == "validated" else 0)


def test_residual_gain_is_the_share_of_the_error_that_is_gone(tables):
    found = pairs(tables)
    errors = {one.feature: one.error for one in found.singles}
    for place, one in enumerate(found.singles):
        part = labelled(tables["train"].alone(place))
        path = fit_ridge(part.table.rows[0], part.labels, 3)
        assert one.error == pytest.approx(path.loo_error.min(), rel=1e-5)
    whole = np.concatenate([scaled(each) for each in tables["train"].rows[:2]], axis=1)
    both = fit_ridge(whole, labelled(tables["train"]).labels, 3).loo_error.min()
    gone = 1 - both / min(errors["a:1"], errors["b:2"])
    assert of(found, "a:1", "b:2").residual_gain == pytest.approx(gone, abs=1e-4)


def test_the_test_is_not_read_and_decides_nothing(tables, tmp_path):
    class Forbidden:
        dtype = np.dtype(np.float16)

        def __init__(self, width):
            self.shape = (60, width)

        def __len__(self):
            return 60

        def __getitem__(self, index):
            raise AssertionError("these rows must not be read")

    tables["test"] = replace(tables["test"], rows=tuple(map(Forbidden, WIDTHS)))
    found = pairs(tables, results=tmp_path)
    assert found.n_test == 60
    del tables["test"]
    again = pairs(tables, results=tmp_path)
    assert (again.id, again.cached, again.n_test) == (found.id, True, 0)
    assert [row.accuracy for row in again.rows] == [row.accuracy for row in found.rows]
    one, other = again.rows[0].predicted_ci95, found.rows[0].predicted_ci95
    assert one[1] - one[0] < other[1] - other[0]  # fewer rows to be measured on, a wider interval


def test_wide_features_are_projected_and_it_is_said(tables, monkeypatch):
    exact = pairs(tables)
    monkeypatch.setattr(narrow_module, "WIDEST", 6)
    monkeypatch.setattr(module, "WIDEST", 6)
    monkeypatch.setattr(couples, "WIDEST", 6)
    found = pairs(tables)
    b = found.singles[1]
    levels = np.linalg.eigvalsh(np.cov(tables["train"].rows[1].astype(np.float64).T))
    assert (b.width, b.components) == (7, 6)
    assert b.share == pytest.approx(1 - levels[0] / levels.sum(), abs=1e-4)
    assert [one.components for one in found.singles] == [0, 6, 0]
    (note,) = (line for line in found.notes() if "projected" in line)
    assert note.startswith("b:2 is 7 wide and was projected to 6 principal components, with 9")
    assert of(found, "a:1", "c:last").cka == of(exact, "a:1", "c:last").cka
    assert exact.notes() == []


def test_the_components_of_a_wide_feature_are_the_principal_ones():
    draw = np.random.default_rng(0)
    rows = draw.standard_normal((300, 90)) * np.arange(1, 91) ** -1.0
    rows = rows @ np.linalg.qr(draw.standard_normal((90, 90)))[0] + 3
    made, project, share = narrow_module._principal(rows, 20)
    left, levels, _ = np.linalg.svd(centred(rows), full_matrices=False)
    np.testing.assert_allclose(np.linalg.norm(made, axis=0), levels[:20], rtol=1e-3)
    np.testing.assert_allclose(project(rows), made, atol=1e-4)
    assert share == pytest.approx(np.square(levels[:20]).sum() / np.square(levels).sum(), rel=1e-4)
    turned = np.abs((left[:, :5] * levels[:5]).T @ made[:, :5]) / np.square(levels[:5])
    np.testing.assert_allclose(turned, np.eye(5), atol=1e-3)


def test_of_many_rows_those_of_every_study_are_learnt_from(tables):
    found = pairs(tables, rows=60)
    train = tables["train"]
    learned = labelled(train)
    assert 55 <= found.n_train <= 60
    assert found.n_rows == 150
    assert any(
        line.startswith(f"{found.n_train} rows of 150 were learnt") for line in found.notes()
    )
    swept = sweep(tables, n_train=60)
    assert {one.feature: one.accuracy for one in found.singles} == {
        row.feature: row.val_accuracy for row in swept.rows
    }
    assert len(nested(learned, 60)) >= found.n_train
    assert pairs(tables, rows=150).rows == pairs(tables).rows
    with pytest.raises(CorpusError, match=r"--rows 2: tiny has 3 classes.*at least 3"):
        pairs(tables, rows=2)


def test_what_cannot_be_paired_is_refused_with_the_fix(tables):
    with pytest.raises(RecipeError, match="takes two features, and a:1 is one: name another"):
        pairs(alone(tables, 0))
    rows = tables["train"].rows
    broken = rows[0].copy()
    broken[3, 1] = np.nan
    tables["train"] = replace(tables["train"], rows=(broken, *rows[1:]))
    with pytest.raises(NotFiniteError):
        pairs(tables)


def test_a_feature_without_variance_adds_nothing(tables):
    for name, table in tables.items():
        flat = np.full(table.rows[0].shape, 2, np.float16)
        tables[name] = replace(table, rows=(flat, *table.rows[1:]))
    row = of(pairs(tables), "a:1", "b:2")
    assert (row.cka, row.gain) == (0, 0)
    assert row.residual_gain == pytest.approx(0, abs=0.01)  # other regularisations are tried


def test_a_finished_one_is_not_computed_again(tables, tmp_path, monkeypatch):
    told = []
    first = pairs(tables, results=tmp_path, on_pair=lambda done, of: told.append((done, of)))
    assert told == [(1, 3), (2, 3), (3, 3)]
    monkeypatch.setattr(couples, "fit_ridge", None)
    again = pairs(tables, results=tmp_path)
    assert again == replace(first, cached=True)
    assert Pairs.from_json(again.to_json()) == again
    result = store.look_up(tmp_path, first.id)
    assert (result.kind, describe(result)) == ("pairs", "3 pairs of 3 features")
    assert result.predictions() is None


def head(tables, results, *places, op="concat", **more):
    """Train a small head on some of the features."""
    chosen = {
        name: replace(
            table,
            features=tuple(table.features[place] for place in places),
            rows=tuple(table.rows[place] for place in places),
            specs=table.specs[: len(places)],
        )
        for name, table in tables.items()
    }
    return fuse(chosen, replace(TINY, op=op), results=results, **more)


def test_what_was_fused_stands_beside_what_was_predicted(tables, tmp_path):
    singles = {place: head(tables, tmp_path, place) for place in range(3)}
    fused = {op: head(tables, tmp_path, 1, 0, op=op) for op in ("sum", "hadamard-res")}
    head(tables, tmp_path, 0, 1, op="concat", protocol="paper")  # chosen on the test
    head(tables, tmp_path, 0, 1, op="moe", n_train=40)  # on too few rows
    head(tables, tmp_path, 0, 2, op="sum", seeds=2)  # neither is known alone by two seeds
    found = pairs(tables, results=tmp_path)
    known = of(found, "a:1", "b:2").measured
    best = fused[known.op]
    assert (known.id, known.n_test) == (best.id, 60)
    assert best.val_accuracy.mean == max(each.val_accuracy.mean for each in fused.values())
    assert known.accuracy == best.test_accuracy.mean
    better = max((singles[0], singles[1]), key=lambda each: each.val_accuracy.mean)
    assert (known.better, known.better_accuracy) == (
        better.features[0],
        better.test_accuracy.mean,
    )
    assert known.gain == pytest.approx(known.accuracy - known.better_accuracy)
    assert known.gain_ci95[0] <= known.gain <= known.gain_ci95[1]
    many, inside, off = found.against_measured
    fused_rows = [row for row in found.rows if row.measured]
    assert many == len(fused_rows) == 2
    assert inside == sum(
        row.predicted_ci95[0] <= row.measured.accuracy <= row.predicted_ci95[1]
        for row in fused_rows
    )
    assert off == pytest.approx(
        np.mean([abs(row.predicted - row.measured.accuracy) for row in fused_rows])
    )
    without = of(found, "a:1", "c:last").measured
    assert (without.op, without.seeds, without.gain) == ("sum", 2, None)
    assert of(found, "b:2", "c:last").measured is None
    assert [each.n for each in found.correlations] == [1] * 7
    assert found.untried == of(found, "b:2", "c:last")
    feature, accuracy = found.best_alone
    single = max(found.singles, key=lambda one: one.accuracy)
    assert (feature, accuracy) == (single.feature, single.accuracy)
    assert found.correlations[0].pearson is None
    assert Pairs.from_json(found.to_json()) == found


def test_heads_of_other_vectors_or_labels_are_not_counted(tables, tmp_path):
    for places in ((0,), (1,), (0, 1)):
        head(tables, tmp_path, *places)
    assert of(pairs(tables, results=tmp_path), "a:1", "b:2").measured
    labels = tables["train"].labels.copy()
    labels[[0, 1]] = labels[[1, 0]]
    corrected = tables | {"train": replace(tables["train"], labels=labels)}
    assert of(pairs(corrected, results=tmp_path), "a:1", "b:2").measured is None
    wide = replace(
        tables["train"], rows=tuple(each.astype(np.float32) for each in tables["train"].rows)
    )
    other = pairs(tables | {"train": wide}, results=tmp_path)
    assert of(other, "a:1", "b:2").measured is None


def test_predictions_are_those_of_ridge_whatever_heads_are_known(validated, tmp_path):
    plain = pairs(validated, results=tmp_path)
    sweep(validated, "mlp", TINY, results=tmp_path)
    found = pairs(validated, results=tmp_path)
    assert found.cached
    assert found.rows == plain.rows
    for row in found.rows:
        assert row.predicted == row.accuracy
        assert row.predicted_ci95[0] <= row.predicted <= row.predicted_ci95[1]


def test_a_sweep_with_its_test_shown_is_what_a_pair_is_held_against(tables, tmp_path):
    fused = head(tables, tmp_path, 0, 1)
    sweep(tables, "mlp", TINY, show_test=True, results=tmp_path)
    known = of(pairs(tables, results=tmp_path), "a:1", "b:2").measured
    assert known.better in ("a:1", "b:2")
    assert known.gain == pytest.approx(fused.test_accuracy.mean - known.better_accuracy)


def test_scores_are_correlated_with_the_measured_gains(tables, tmp_path):
    for places in ((0,), (1,), (2,), (0, 1), (0, 2), (1, 2)):
        head(tables, tmp_path, *places)
    found = pairs(tables, results=tmp_path)
    gains = [row.measured.gain for row in found.rows]
    for each in found.correlations:
        told = [getattr(row, each.score) for row in found.rows]
        assert each.n == 3
        if len({*told}) > 1 and len({*gains}) > 1:
            assert each.pearson == pytest.approx(pearsonr(told, gains).statistic)


def test_correlations_are_those_of_scipy_with_an_interval():
    draw = np.random.default_rng(0)
    one = draw.standard_normal(30)
    other = one + draw.standard_normal(30)
    other[3] = other[4]
    for ranks, plain in ((False, pearsonr), (True, spearmanr)):
        value, (low, high) = correlated(one, other, ranks)
        assert value == pytest.approx(plain(one, other).statistic)
        assert -1 <= low < value < high <= 1
        assert 0.1 < high - low < 0.8
    assert correlated(one, np.ones(30), ranks=True) == (None, None)
    # Every sample of a perfect order is in order, which does not say how sure it is.
    value, ci95 = correlated([1.0, 2.0, 3.0], [1.0, 4.0, 9.0], ranks=True)
    assert (value, ci95) == (pytest.approx(1.0), None)
    assert correlated([1.0, 2.0], [1.0, 2.0], ranks=False) == (None, None)
    assert correlated([1, 2, 3, 4], [2, 4, 6, 8], ranks=False)[0] == pytest.approx(1)
