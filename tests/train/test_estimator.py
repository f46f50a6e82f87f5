import copy
import pickle
from dataclasses import fields, replace

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from lefcache.errors import LefError, MismatchError, RecipeError
from lefcache.feature import Feature
from lefcache.recipe import OPS, Recipe
from lefcache.spec import Origin
from lefcache.train import FusionClassifier, load_head, logits, train

SMALL = {"width": 16, "hidden": (16,), "dropout": (0.0,), "lr": 1e-2, "batch": 20}


def small(**settings):
    return FusionClassifier(**{**SMALL, "epochs": 3, **settings})


@parametrize_with_checks([small(epochs=12)])
@pytest.mark.filterwarnings("default")  # the checks provoke warnings, and look at each themselves
def test_scikit_learn_finds_nothing_amiss(estimator, check):
    check(estimator)


@pytest.fixture
def data(split):
    """X (90, 12) of two features, y of three classes by name, and the table they are of."""
    table = split(90, (4, 8), classes=3, noise=0.2)
    return (*table.xy(), table)


def test_it_has_every_setting_of_a_recipe_with_its_default():
    given = FusionClassifier().get_params()
    assert {each.name: given.pop(each.name) for each in fields(Recipe)} == {
        each.name: each.default for each in fields(Recipe)
    }
    assert given == {
        "widths": None,
        "validation_fraction": 0.1,
        "random_state": 0,
        "device": "auto",
    }


def test_a_setting_that_is_none_is_refused_as_python_does():
    with pytest.raises(TypeError, match="widht"):
        FusionClassifier(widht=5)


def test_it_learns_what_train_learns(data):
    X, y, table = data
    ours = small(widths=(4, 8), op="hadamard-res", random_state=3).fit(X, y)
    recipe = Recipe(**SMALL, op="hadamard-res", epochs=3)
    wide = replace(table, rows=tuple(np.asarray(rows, np.float32) for rows in table.rows))
    # By the texts' hashes other rows would be carved: by those of the rows, the same.
    from lefcache.train.estimator import _hashes

    head, _ = train(replace(wide, texts=_hashes(X)), recipe, seed=3)
    np.testing.assert_allclose(ours._logits(X), logits(head, wide), rtol=1e-6)


def test_labels_come_back_as_they_were_given(data):
    X, y, _ = data
    classifier = small(widths=(4, 8), epochs=8).fit(X, y)
    assert classifier.classes_.tolist() == ["a", "b", "c"]
    assert set(classifier.predict(X)) <= {"a", "b", "c"}
    assert classifier.score(X, y) > 0.9
    shares = classifier.predict_proba(X)
    np.testing.assert_allclose(shares.sum(axis=1), 1, rtol=1e-6)
    assert (classifier.classes_[shares.argmax(axis=1)] == classifier.predict(X)).all()


def test_equal_seeds_give_equal_heads_and_others_do_not(data):
    X, y, _ = data
    one, same, other = (small(random_state=seed).fit(X, y).predict_proba(X) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()
    drawn = [np.random.RandomState(4), np.random.RandomState(4), None]
    first, again, free = (small(random_state=each).fit(X, y).predict_proba(X) for each in drawn)
    np.testing.assert_array_equal(first, again)
    assert (first != free).any()


def test_equal_rows_are_never_on_both_sides(data):
    X, y, _ = data
    twice = small().fit(np.concatenate([X, X]), np.concatenate([y, y]))
    assert twice.trained_.n_val_known == 0
    assert twice.trained_.n_val > 0


def test_the_fraction_is_of_the_rows_of_each_class(data):
    X, y, _ = data
    assert small(validation_fraction=0.4).fit(X, y).trained_.n_val == 36
    for wrong in (0, 1, -0.1, 2):
        with pytest.raises(RecipeError, match="validation_fraction"):
            small(validation_fraction=wrong).fit(X, y)


@pytest.mark.parametrize("widths", [(4,), (4, 4), (12, 0), (), (-1, 13)])
def test_widths_that_are_not_those_of_x_are_refused(widths, data):
    X, y, _ = data
    with pytest.raises(ValueError, match="X has 12 columns"):
        small(widths=widths).fit(X, y)


def test_each_feature_has_a_projection_of_its_own(data):
    X, y, _ = data
    head = small(widths=[4, 8]).fit(X, y).head_
    assert [tuple(each[0].weight.shape) for each in head.project] == [(16, 4), (16, 8)]


def test_it_works_where_scikit_learn_puts_it(data):
    X, y, _ = data
    assert cross_val_score(small(widths=(4, 8), epochs=6), X, y, cv=3).mean() > 0.8
    pipeline = make_pipeline(StandardScaler(), small(widths=(4, 8)))
    assert pipeline.fit(X, y).predict(X).shape == y.shape
    grid = {"op": ["concat", "hadamard-res"], "hidden": [(8,), (16,)]}
    found = GridSearchCV(small(widths=(4, 8)), grid, cv=2).fit(X, y)
    assert set(found.best_params_) == {"op", "hidden"}
    assert len(found.cv_results_["params"]) == 4


@pytest.mark.parametrize("op", OPS)
def test_a_fitted_one_travels(op, data):
    X, y, _ = data
    fitted = small(widths=(6, 6), op=op, epochs=1).fit(X, y)
    expected = fitted.predict_proba(X)
    for other in (pickle.loads(pickle.dumps(fitted)), copy.deepcopy(fitted), copy.copy(fitted)):
        np.testing.assert_array_equal(other.predict_proba(X), expected)
    fresh = clone(fitted)
    assert fresh.get_params() == fitted.get_params()
    with pytest.raises(NotFittedError):
        fresh.predict(X)


def test_columns_of_a_frame_keep_their_names(data):
    pandas = pytest.importorskip("pandas")
    X, y, _ = data
    frame = pandas.DataFrame(X, columns=[f"c{number}" for number in range(12)])
    classifier = small().fit(frame, y)
    assert classifier.feature_names_in_.tolist() == list(frame.columns)
    with pytest.raises(ValueError, match="feature names"):
        classifier.predict(frame[frame.columns[::-1]])


def test_a_table_gives_its_labelled_rows_side_by_side(make_table):
    table = make_table([0, -1, 1], np.eye(3, 2, dtype=np.float16), np.eye(3, dtype=np.float16))
    X, y = table.xy()
    assert (X.dtype, X.shape, y.tolist()) == (np.float32, (2, 5), ["no", "yes"])
    np.testing.assert_array_equal(X, [[1, 0, 1, 0, 0], [0, 0, 0, 0, 1]])
    assert replace(table, labels=None).xy()[0].shape == (0, 5)


ORIGINS = (Origin("m", ("mean/1",), ("float16",)), Origin("m", ("mean/2",), ("float16",)))


def test_a_fitted_head_can_be_saved_with_a_card(data, tmp_path):
    X, y, table = data
    table = replace(table, features=(Feature("m", 1), Feature("m", 2)), origins=ORIGINS)
    fitted = small(widths=(4, 8)).fit(X, y)
    head = load_head(fitted.to_head(table).save(tmp_path / "head"))
    assert head.card.classes == ("a", "b", "c")
    assert head.card.features == table.features
    assert head.card.figures["n_val"] == fitted.trained_.n_val
    np.testing.assert_allclose(logits(head, table), fitted._logits(X), rtol=1e-6)
    assert fitted.head_.card is None


@pytest.mark.parametrize("drawn", [None, np.random.RandomState(4)], ids=["none", "state"])
def test_a_card_names_the_seed_that_gives_the_head_again(data, drawn):
    X, y, table = data
    table = replace(table, features=(Feature("m", 1), Feature("m", 2)), origins=ORIGINS)
    fitted = small(widths=(4, 8), random_state=drawn).fit(X, y)
    seed = fitted.to_head(table).card.figures["seed"]
    assert seed == fitted.to_head(table).card.figures["seed"]
    again = small(widths=(4, 8), random_state=seed).fit(X, y)
    np.testing.assert_array_equal(again.predict_proba(X), fitted.predict_proba(X))


def test_a_card_of_another_table_is_refused(data, split):
    X, y, table = data
    fitted = small(widths=(4, 8)).fit(X, y)
    for other in (split(90, (12,), classes=3), split(90, (4, 8), classes=2)):
        with pytest.raises(MismatchError, match="other widths or classes"):
            fitted.to_head(other)
    with pytest.raises(RecipeError, match="use a cache"):
        fitted.to_head(table)


def test_what_no_head_can_learn_from_is_an_error_of_ours():
    X = np.eye(6)
    with pytest.raises(LefError, match="one class"):
        small().fit(X, ["a"] * 6)
    with pytest.raises(LefError, match="too few"):
        small().fit(X[:2], ["a", "b"])
