import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr

from lefcache import results as store
from lefcache.errors import CorpusError, DamagedError, RecipeError
from lefcache.feature import Feature
from lefcache.finished import describe
from lefcache.recipe import Recipe
from lefcache.spec import Spec
from lefcache.study import PROBES, Setup, Target, Transfer, same_classes, sweep, transfer
from lefcache.study.compare import compare
from lefcache.study.moved import _plain
from lefcache.train import ridge
from tests.hostile import edits, few, only_our_errors
from tests.study.test_sweep import Watched, with_rows, without

TINY = Recipe(width=8, hidden=(8,), dropout=(0.1,), lr=1e-2, batch=20, epochs=3)
LAYERS = ("m:1", "m:2", "m:3", "m:4")
# How noisy the layers of each corpus are: `one` and `other` agree on the second, `far` does not.
NOISE = {"one": (3, 0.7, 3, 2), "other": (3, 0.8, 3, 2), "far": (0.7, 2, 3, 2)}
FIRST = {"one": 0, "other": 10_000, "far": 20_000}  # of the numbers that stand for texts


@pytest.fixture
def corpora(split):
    """Three corpora of the same four layers; the third one has classes of its own."""

    def layers(corpus, count, name):
        parts = [
            split(count, (5,), noise=noise, seed=(place, FIRST[corpus]), split=name)
            for place, noise in enumerate(NOISE[corpus])
        ]
        return replace(
            parts[0],
            corpus=corpus,
            rows=tuple(part.rows[0] for part in parts),
            features=tuple(map(Feature.parse, LAYERS)),
            specs=parts[0].specs * len(LAYERS),
            classes=("x", "y") if corpus == "far" else ("a", "b"),
            texts=parts[0].texts + np.uint64(FIRST[corpus]),
        )

    sizes = (("train", 120), ("test", 60))
    return {
        corpus: {name: layers(corpus, count, name) for name, count in sizes} for corpus in NOISE
    }


def changed(corpora, corpus, split, **fields):
    tables = corpora[corpus]
    return corpora | {corpus: tables | {split: replace(tables[split], **fields)}}


def on(found, corpus):
    (target,) = (each for each in found.targets if each.corpus == corpus)
    return target


@pytest.mark.parametrize("probe", PROBES)
def test_a_layer_costs_what_it_is_behind_the_own_choice_on_the_same_texts(corpora, probe, tmp_path):
    found = transfer(corpora, probe, TINY, seeds=2)
    assert found.sources == tuple(corpora)
    for corpus, tables in corpora.items():
        swept = sweep(tables, probe, TINY, seeds=2, show_test=True, results=tmp_path)
        target, tested = on(found, corpus), {row.feature: row for row in swept.rows}
        assert target.best == swept.best
        assert target.test_accuracy == pytest.approx(tested[swept.best].test_accuracy)
        assert target.test_ci95 == tested[swept.best].test_ci95
        assert target.chosen == swept.chosen
        result = store.look_up(tmp_path, swept.id)
        for row in (*target.rows, *target.baselines):
            held = compare(result, result, (swept.best, row.feature))
            assert row.regret == pytest.approx(held.difference)
            assert row.regret_ci95 == pytest.approx(held.ci95)
            assert row.accuracy == pytest.approx(tested[row.feature].test_accuracy)
    assert {name: each.feature for name, each in found.choices.items()} == {
        each.corpus: each.best for each in found.targets
    }


def test_choices_of_a_like_corpus_cost_nothing_and_of_another_one_much(corpora):
    found = transfer(corpora)
    assert [each.best for each in found.targets] == ["m:2", "m:2", "m:1"]
    assert on(found, "one").row("other").regret == 0
    low, _ = on(found, "one").row("far").regret_ci95
    assert low > 0
    assert len(found.moved) == 6
    assert {row.feature for row in found.baselines("last layer")} == {"m:4"}
    assert {row.feature for row in found.baselines("fixed depth 0.6")} == {"m:2"}
    deeper = transfer(corpora, depth=7)
    assert {row.source for row in deeper.targets[0].baselines} == {
        "deepest layer here",
        "fixed depth 0.6",
    }


def test_the_test_is_read_for_what_was_settled_and_of_targets_only(corpora):
    """m:3 is nobody's choice, the corpora `other` and `far` are no targets."""
    watched = {
        corpus: [Watched(rows, forbidden=corpus != "one") for rows in tables["test"].rows]
        for corpus, tables in corpora.items()
    }
    watched["one"][2].forbidden = True
    guarded = {
        corpus: tables | {"test": with_rows(tables["test"], watched[corpus])}
        for corpus, tables in corpora.items()
    }
    found = transfer(guarded, targets=["one"])
    assert {row.feature for row in found.targets[0].rows} == {"m:1", "m:2"}
    plain = transfer(corpora, targets=["one"])
    assert without_time(found) == without_time(plain)


def without_time(found):
    return replace(
        found,
        targets=tuple(replace(each, seconds=0, id="", cached=False) for each in found.targets),
    )


def test_ranks_are_compared_by_the_curves_that_chose(corpora):
    found = transfer(corpora)
    curves = {name: [*each.val_accuracy.values()] for name, each in found.choices.items()}
    row = on(found, "far").row("one")
    assert row.spearman == pytest.approx(spearmanr(curves["far"], curves["one"]).statistic)
    assert row.spearman_ci95[0] <= row.spearman <= row.spearman_ci95[1]
    assert on(found, "far").row("far").spearman is None


def test_a_head_is_moved_where_classes_agree_whatever_their_order(corpora):
    usual = on(transfer(corpora), "one").head("other")
    assert usual.classes == {"a": "a", "b": "b"}
    assert [one.feature for one in usual.on] == ["m:2"]
    turned = corpora
    for split, table in corpora["other"].items():
        labels = np.int32(1) - table.labels
        turned = changed(turned, "other", split, labels=labels, classes=(" B", "A"))
    moved = on(transfer(turned), "one").head("other")
    assert moved.classes == {" B": "b", "A": "a"}
    assert moved.on == usual.on
    (one,) = usual.on
    assert one.n == 60
    assert one.own_accuracy == pytest.approx(on(transfer(corpora), "one").test_accuracy)
    assert one.regret == pytest.approx(one.own_accuracy - one.accuracy)
    refused = on(transfer(corpora), "one").head("far")
    assert (refused.why_not, refused.on, refused.classes) == ("other classes", (), None)


def test_a_head_is_that_of_the_sources_train_on_either_ones_layer(corpora):
    for split in ("train", "test"):
        corpora = changed(corpora, "far", split, classes=("a", "b"))
    head = on(transfer(corpora), "one").head("far")
    assert [(one.feature, one.chosen_by) for one in head.on] == [("m:1", "far"), ("m:2", "one")]
    test = corpora["one"]["test"]
    for one, place in zip(head.on, (0, 1), strict=True):
        probed = PROBES["ridge"](corpora["far"]["train"].alone(place), None, Setup())
        right = probed.predict(test.alone(place)) == test.labels
        assert one.accuracy == pytest.approx(right.mean())


def test_texts_that_the_source_has_learnt_are_no_test_of_its_head(corpora):
    texts = corpora["other"]["train"].texts.copy()
    texts[:20] = corpora["one"]["test"].texts[:20]
    met = changed(corpora, "other", "train", texts=texts)
    found = transfer(met)
    target = on(found, "one")
    (one,) = target.head("other").on
    assert (target.head("other").n_known, one.n, target.row("other").n_known) == (20, 40, 20)
    assert "20 of 60 test texts of one are in the train of other" in " ".join(found.notes())
    texts = np.tile(corpora["one"]["test"].texts, 2)
    head = on(transfer(changed(corpora, "other", "train", texts=texts)), "one").head("other")
    assert head.why_not == "all its test texts are in that train"
    assert head.on == ()


def test_vectors_that_were_made_otherwise_are_said_and_their_heads_refused(corpora):
    specs = (Spec(prompt="Review: "),) * len(LAYERS)
    for split in ("train", "test"):
        corpora = changed(corpora, "other", split, specs=specs)
    found = transfer(corpora)
    why = "prompt: Review:  on other, none on one"
    assert on(found, "one").head("other").why_not == why
    assert on(found, "one").row("other").otherwise == why
    assert f"made otherwise than those of one ({why})" in " ".join(found.notes())


def test_numbers_for_names_are_taken_on_trust_and_said(corpora):
    for corpus in ("one", "other"):
        for split in ("train", "test"):
            corpora = changed(corpora, corpus, split, classes=("0", "1"))
    notes = transfer(corpora).notes()
    (said,) = (line for line in notes if "on trust" in line)
    assert said.startswith("the classes of one and other are numbers")


@given(st.lists(st.text(st.characters(codec="ascii"), max_size=6), max_size=4), st.randoms())
def test_the_same_names_in_another_order_and_spelling_are_the_same(names, chance):
    plain = {_plain(name) for name in names}
    other = [f" {name.upper()} " for name in names]
    chance.shuffle(other)
    found = same_classes(names, other)
    if len(plain) == len(names):
        assert found is not None
        assert {_plain(each) for each in found.values()} == plain
        assert all(_plain(one) == _plain(its) for one, its in found.items())
    else:  # two names that are one: nobody knows which is which
        assert found is None
    assert same_classes([*names, "more than six"], other) is None


def test_a_finished_one_is_taken_from_the_results_of_its_target(corpora, tmp_path):
    first = transfer(corpora, results=tmp_path)
    again = transfer(corpora, results=tmp_path)
    assert all(each.cached for each in again.targets)
    assert without_time(again) == without_time(first)
    result = store.look_up(tmp_path, first.targets[0].id)
    assert (result.corpus, result.kind) == ("one", "transfer")
    assert describe(result) == "m:2, ridge, against choices of far, other"
    held = compare(result, result, ("m:2", "m:1"))
    assert held.difference == pytest.approx(on(first, "one").row("far").regret)
    fewer = transfer(corpora, sources=["far"], targets=["one"], results=tmp_path)
    assert not fewer.targets[0].cached
    labels = corpora["far"]["train"].labels.copy()
    labels[:2] = 1 - labels[:2]
    corrected = transfer(changed(corpora, "far", "train", labels=labels), results=tmp_path)
    assert not any(each.cached for each in corrected.targets)


def test_what_a_sweep_has_judged_is_not_judged_again(corpora, tmp_path, monkeypatch):
    for tables in corpora.values():
        sweep(tables, results=tmp_path)
    fits, fit_part = [], ridge.fit_part

    def counting(part, **more):
        fits.append((part.table.corpus, str(part.table.features[0])))
        return fit_part(part, **more)

    monkeypatch.setattr("lefcache.train.ridge.fit_part", counting)
    transfer(corpora, targets=["far"], results=tmp_path)
    assert sorted(fits) == [("far", "m:1"), ("far", "m:2"), ("far", "m:4")]


def test_it_reads_what_it_wrote(corpora):
    found = transfer(corpora)
    assert Transfer.from_json(json.loads(json.dumps(found.to_json()))) == found


def test_a_damaged_result_is_refused(corpora, tmp_path):
    made = transfer(corpora, sources=["far"], targets=["one"], results=tmp_path)
    file = tmp_path / "one" / f"{made.targets[0].id}.json"
    document = json.loads(file.read_text())
    document["payload"]["result"]["rows"][0]["regret"] = "much"
    file.write_text(json.dumps(document))
    with pytest.raises(DamagedError, match="is not the result of a study"):
        transfer(corpora, sources=["far"], targets=["one"], results=tmp_path)


@given(st.data())
@few
def test_nothing_that_lies_in_its_place_gives_another_error(written, data):
    changed = data.draw(edits(written))
    with only_our_errors():
        Target.from_json(changed)


@pytest.fixture(scope="module")
def written():
    """A finished target, as plain values."""
    price = {"accuracy": 0.5, "ci95": [0.4, 0.6], "regret": 0.1, "regret_ci95": [0.0, 0.2]}
    curve = {"m:1": 0.6, "m:2": 0.5}
    chosen = {"selected_by": "leave-one-out", "n_train": 20, "n_val": 0}
    row = {"source": "far", "target": "one", "feature": "m:2", **price}
    figures = {"feature": "m:2", "chosen_by": "far", "n": 9, **price}
    figures |= {"own_accuracy": 0.6, "own_ci95": [0.5, 0.7]}
    return {
        "corpus": "one",
        "model": "m",
        "probe": "ridge",
        "seeds": 1,
        **chosen,
        "n_test": 10,
        "layers": 2,
        "best": "m:1",
        "val_accuracy": 0.6,
        "test_accuracy": 0.6,
        "test_ci95": [0.5, 0.7],
        "choices": [{"corpus": "one", "feature": "m:1", **chosen, "val_accuracy": curve}],
        "rows": [row | {"spearman": -1.0, "spearman_ci95": [-1.0, -1.0]}],
        "baselines": [row | {"source": "last layer"}],
        "heads": [{"source": "far", "target": "one", "classes": {"a": "a"}, "on": [figures]}],
        "seconds": 1.0,
    }


def test_what_cannot_be_asked_is_refused_with_the_fix(corpora):
    with pytest.raises(RecipeError, match="no corpus nowhere among one, other, far"):
        transfer(corpora, sources=["nowhere"])
    with pytest.raises(RecipeError, match="no probe 'magic': it is one of ridge"):
        transfer(corpora, "magic")
    with pytest.raises(RecipeError, match="give two, one with a test"):
        transfer(corpora, sources=["one"], targets=["one"])
    untested = corpora | {"far": without(corpora["far"], "test")}
    with pytest.raises(CorpusError, match="far has no test with labels"):
        transfer(untested, targets=["far"])
    assert [each.corpus for each in transfer(untested).targets] == ["one", "other"]
    fewer = corpora | {"far": {name: each.alone(0) for name, each in corpora["far"].items()}}
    with pytest.raises(RecipeError, match="give all of them the same, of one model"):
        transfer(fewer)
