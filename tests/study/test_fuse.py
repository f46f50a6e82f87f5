import errno
import json
import os
from dataclasses import replace

import numpy as np
import pytest

from lefcache import results
from lefcache.errors import RecipeError
from lefcache.recipe import Recipe
from lefcache.spec import Spec
from lefcache.study import Fused, fuse
from lefcache.study.operators import ALL
from lefcache.train import train
from lefcache.train.stats import accuracy_interval, f1_interval

TINY = Recipe(op="hadamard-res", width=8, hidden=(8,), dropout=(0.1,), lr=1e-2, batch=20, epochs=3)


@pytest.fixture
def tables(split):
    sizes = {"train": 90, "validation": 40, "test": 50}
    return {name: split(size, (5, 7), noise=2, split=name) for name, size in sizes.items()}


def test_its_figures_are_those_of_the_runs(tables):
    runs = []
    fused = fuse(tables, TINY, seeds=3, on_seed=lambda seed, head, run: runs.append((seed, run)))
    assert [seed for seed, _ in runs] == [0, 1, 2]
    runs = [run for _, run in runs]
    values = np.array([run.test_accuracy for run in runs])
    assert fused.test_accuracy.values == pytest.approx(values)
    assert fused.test_accuracy.mean == pytest.approx(values.mean())
    assert fused.test_accuracy.std == pytest.approx(values.std(ddof=1))
    classes = np.stack([run.predictions for run in runs])
    truth = tables["test"].labels
    assert fused.test_accuracy.ci95 == accuracy_interval(classes == truth)
    assert fused.test_macro_f1.ci95 == f1_interval(truth, classes)
    assert fused.test_macro_f1.values == tuple(run.test_macro_f1 for run in runs)
    assert fused.val_accuracy.values == pytest.approx([run.val_accuracy for run in runs])
    assert fused.best_epochs == tuple(run.best_epoch for run in runs)


def test_a_seed_is_the_same_alone(tables):
    fused = fuse(tables, TINY, seeds=2)
    _, alone = train(
        tables["train"], TINY, validation=tables["validation"], test=tables["test"], seed=1
    )
    assert fused.test_accuracy.values[1] == pytest.approx(alone.test_accuracy)


def test_a_disk_that_fills_up_takes_no_figures_away(tables, tmp_path, monkeypatch):
    def full(path, *_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    kept = fuse(tables, TINY, results=tmp_path / "kept")
    monkeypatch.setattr(results, "replace_file", full)
    fused = fuse(tables, TINY, results=tmp_path / "full")
    assert fused.test_accuracy == kept.test_accuracy
    assert (kept.not_kept, fused.id) == ("", "")
    assert fused.notes()[-1].endswith(".json: No space left on device: free some space")


def test_one_seed_has_no_deviation_but_an_interval(tables):
    fused = fuse(tables, TINY)
    assert fused.test_accuracy.std == 0.0
    assert fused.test_accuracy.ci95[0] < fused.test_accuracy.mean < fused.test_accuracy.ci95[1]


def test_its_json_has_what_others_rely_on(tables):
    fused = fuse(tables, TINY, seeds=2)
    document = json.loads(json.dumps(fused.to_json()))
    assert document["features"] == ["m:1", "m:2"]
    assert (document["op"], document["seeds"], document["n_test"]) == ("hadamard-res", 2, 50)
    for name in ("val_accuracy", "test_accuracy", "test_macro_f1"):
        assert document[name].keys() >= {"mean", "std", "ci95"}
        low, high = document[name]["ci95"]
        assert low <= document[name]["mean"] <= high
    assert document["seconds"] > 0
    assert document["recipe"]["epochs"] == 3
    assert Fused.from_json(document) == fused


def test_probabilities_and_classes_are_judged_too(tables):
    fused = fuse(tables, TINY, seeds=2)
    for figure in (fused.test_log_loss, fused.test_calibration_error):
        assert 0 <= figure.ci95[0] <= figure.mean <= figure.ci95[1]
        assert len(figure.values) == 2
    assert [row["class"] for row in fused.per_class] == ["a", "b"]
    assert sum(row["n"] for row in fused.per_class) == 50
    recall = np.mean([row["recall"] for row in fused.per_class])
    assert recall == pytest.approx(fused.test_accuracy.mean)  # of classes of equal size


def test_the_papers_protocol_is_another_study_and_says_so(tables, tmp_path):
    honest = fuse(tables, TINY, seeds=2, results=tmp_path)
    paper = fuse(tables, TINY, seeds=2, protocol="paper", results=tmp_path)
    assert (honest.protocol, paper.protocol) == ("validation", "paper")
    assert paper.id != honest.id
    assert (paper.selected_by, paper.chosen) == ("test split", "on the test itself")
    assert paper.val_accuracy == paper.test_accuracy
    assert paper.test_accuracy.mean >= honest.test_accuracy.mean
    assert "these figures are too good" in " ".join(paper.notes())
    assert fuse(tables, TINY, seeds=2, protocol="paper", results=tmp_path).cached


def test_fewer_rows_are_the_same_for_every_operator_and_feature(tables, tmp_path):
    runs = []
    for op in ("concat", "hadamard"):
        recipe = replace(TINY, op=op)
        fused = fuse(tables, recipe, n_train=30, results=tmp_path)
        runs.append(fused.n_train)
        assert fused.n_val == 40
        assert not fuse(tables, recipe, results=tmp_path).cached
    assert runs == [30, 30]


def test_a_hidden_test_is_shown_once_it_is_asked_for(tables, tmp_path):
    def stored():
        (found,) = results.list(tmp_path)
        return found

    hidden = fuse(tables, TINY, results=tmp_path, shown=False)
    assert stored().payload["result"]["test_shown"] is False
    assert fuse(tables, TINY, results=tmp_path, shown=False) == replace(hidden, cached=True)
    predictions = stored().predictions()
    assert fuse(tables, TINY, results=tmp_path) == replace(hidden, cached=True)
    assert stored().payload["result"]["test_shown"] is True
    np.testing.assert_array_equal(stored().predictions(), predictions)
    np.testing.assert_array_equal(stored().truth(), tables["test"].labels)


def test_without_validation_a_part_of_train_is_carved(tables):
    assert fuse(tables, TINY).selected_by == "validation split"
    del tables["validation"]
    fused = fuse(tables, TINY)
    assert fused.selected_by == "carved from train"
    assert fused.n_train + fused.n_val == 90


def test_without_a_test_there_are_no_test_figures(tables, tmp_path):
    del tables["test"]
    for cached in (False, True):
        fused = fuse(tables, TINY, results=tmp_path)
        assert (fused.n_test, fused.test_accuracy, fused.test_macro_f1) == (0, None, None)
        assert fused.cached is cached


def test_a_finished_fusion_is_loaded_and_not_run_again(tables, tmp_path):
    first = fuse(tables, TINY, seeds=2, results=tmp_path)
    told = []
    again = fuse(tables, TINY, seeds=2, results=tmp_path, on_seed=lambda *each: told.append(each))
    assert again == replace(first, cached=True)
    assert not told
    (stored,) = results.list(tmp_path)
    assert stored.predictions().shape == (2, 50, 2)  # seeds, test rows, classes
    classes = stored.predictions().argmax(axis=2)
    assert (classes == tables["test"].labels).mean() == pytest.approx(first.test_accuracy.mean)
    assert stored.payload["provenance"]["device"] in ("cpu", "cuda")


def test_seeds_recipe_and_order_of_features_make_another_fusion(tables, tmp_path):
    fuse(tables, TINY, results=tmp_path)
    assert not fuse(tables, TINY, seeds=2, results=tmp_path).cached
    assert not fuse(tables, replace(TINY, epochs=2), results=tmp_path).cached
    turned = {
        name: replace(table, features=table.features[::-1], rows=table.rows[::-1])
        for name, table in tables.items()
    }
    assert not fuse(turned, TINY, results=tmp_path).cached


def test_other_training_numerics_make_another_fusion(tables, tmp_path, monkeypatch):
    fuse(tables, TINY, results=tmp_path)
    monkeypatch.setattr("lefcache.study.identity.NUMERICS", 999)
    assert not fuse(tables, TINY, results=tmp_path).cached


def test_a_function_as_operator_is_never_kept(tables, tmp_path):
    recipe = replace(TINY, op=lambda given: given[0] + given[1])
    fused = fuse(tables, recipe, results=tmp_path)
    assert fused.op.startswith("function")
    assert not [*tmp_path.iterdir()]


def test_a_setting_that_is_not_used_makes_no_other_fusion(tables, tmp_path, monkeypatch):
    fuse(tables, TINY, results=tmp_path)
    later = dict(Spec().to_json(), invented="", also=0)
    with monkeypatch.context() as patched:
        patched.setattr(Spec, "to_json", lambda _: later)
        assert fuse(tables, TINY, results=tmp_path).cached
        later["invented"] = "used"
        assert not fuse(tables, TINY, results=tmp_path).cached


def test_a_head_that_cannot_be_saved_is_refused_before_it_is_trained(tables, tmp_path):
    def trained(*_):
        raise AssertionError("trained")

    own = replace(TINY, op=lambda given: given[0] + given[1])
    for recipe, why in ((own, "function of your own"), (TINY, "take tables from a cache")):
        with pytest.raises(RecipeError, match=why):
            fuse(tables, recipe, save=tmp_path / "head", on_seed=trained)


def test_no_seed_is_refused(tables):
    with pytest.raises(RecipeError, match="no seeds: give at least 1"):
        fuse(tables, TINY, seeds=0)


def test_a_mix_says_what_each_layer_counts_for(split, tmp_path):
    tables = {name: split(60, (5, 5), noise=2, split=name) for name in ("train", "test")}
    seen = []
    recipe = replace(TINY, op="mix")
    for cached in (False, True):
        fused = fuse(
            tables,
            recipe,
            seeds=2,
            results=tmp_path,
            on_seed=lambda seed, head, run: seen.append(head.layer_weights),
        )
        assert fused.cached is cached
        assert fused.layer_weights.keys() == {"m:1", "m:2"}
        for place, share in enumerate(fused.layer_weights.values()):
            values = [weights[place] for weights in seen]
            assert share["mean"] == pytest.approx(np.mean(values))
            assert share["std"] == pytest.approx(np.std(values, ddof=1))
    assert fuse(tables, TINY).layer_weights is None


def test_the_released_dropout_is_written_down_as_it_was(split):
    tables = {"train": split(60, (5, 5, 5), noise=2)}
    fused = fuse(tables, Recipe(preset="released", hidden=(4, 4), epochs=1))
    assert fused.recipe["dropout"] == [0.5, 0.5]
    assert fused.recipe["batch"] == 1024


def test_all_operators_are_other_heads_each():
    """concat-res is concat, and would be trained twice."""
    assert len(ALL) == len(set(ALL)) == 12
    assert "concat-res" not in ALL
