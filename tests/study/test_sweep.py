import json
import threading
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lefcache.errors import CorpusError, DamagedError, RecipeError
from lefcache.extract import extract
from lefcache.feature import Feature
from lefcache.recipe import Recipe
from lefcache.study import PROBES, Probed, Sweep, fuse, sweep
from lefcache.study.depth import depth_of
from lefcache.study.identity import identity
from lefcache.testing import FakeBackbone
from lefcache.train import members
from lefcache.train.ridge import fit_ridge
from tests.hostile import edits, few, only_our_errors

TINY = Recipe(width=8, hidden=(8,), dropout=(0.1,), lr=1e-2, batch=20, epochs=3)


class Watched:
    """A matrix that remembers how often it was read, and may forbid it."""

    def __init__(self, rows, forbidden=False):
        self.rows, self.forbidden, self.reads = rows, forbidden, 0

    shape = property(lambda self: self.rows.shape)
    dtype = property(lambda self: self.rows.dtype)

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, index):
        assert not self.forbidden, "these rows must not be read"
        self.reads += 1
        return self.rows[index]


@pytest.fixture
def tables(split):
    """Three layers, the middle one good and the others noisy."""

    def layers(count, name):
        parts = [
            split(count, (5,), noise=noise, seed=seed, split=name)
            for seed, noise in enumerate((3, 0.5, 2))
        ]
        return replace(
            parts[0],
            rows=tuple(part.rows[0] for part in parts),
            features=tuple(map(Feature.parse, ("m:1", "m:2", "m:last"))),
            specs=parts[0].specs * 3,
        )

    return {name: layers(count, name) for name, count in (("train", 120), ("test", 40))} | {
        "validation": layers(50, "validation")
    }


def without(tables, name):
    return {other: table for other, table in tables.items() if other != name}


def with_rows(table, rows):
    return replace(table, rows=tuple(rows))


@pytest.mark.parametrize("probe", PROBES)
@pytest.mark.parametrize("validated", [True, False])
def test_the_test_is_read_for_the_chosen_layer_only(tables, probe, validated):
    tables = tables if validated else without(tables, "validation")
    test = tables["test"]
    rows = [Watched(each, forbidden=place != 1) for place, each in enumerate(test.rows)]
    tables["test"] = with_rows(test, rows)
    swept = sweep(tables, probe, TINY, seeds=2)
    assert swept.best == "m:2"
    assert [row.test_accuracy is None for row in swept.rows] == [True, False, True]
    assert rows[1].reads == (2 if probe == "mlp" else 1)  # once for each seed
    assert swept.rows[1].test_ci95[0] <= swept.rows[1].test_accuracy <= swept.rows[1].test_ci95[1]


def test_what_was_fixed_beforehand_is_shown_the_test_beside_the_rows(tables, tmp_path):
    plain = sweep(tables)
    swept = sweep(tables, fixed=["m:last", "m:2"], results=tmp_path)
    assert swept.rows[0].test_accuracy is swept.rows[2].test_accuracy is None
    assert [row.feature for row in swept.fixed] == ["m:2", "m:last"]
    assert swept.fixed[0].test_accuracy == plain.rows[1].test_accuracy
    every = sweep(tables, show_test=True)
    assert swept.fixed[1].test_accuracy == every.rows[2].test_accuracy
    again = sweep(tables, fixed=["m:last", "m:2"], results=tmp_path)
    assert again == replace(swept, cached=True)


@pytest.mark.parametrize("probe", PROBES)
def test_the_papers_protocol_chooses_the_layer_on_the_test(tables, probe):
    swept = sweep(tables, probe, TINY, protocol="paper")
    assert swept.protocol == "paper"
    assert swept.chosen == "on the test itself"
    assert swept.n_val == swept.n_test == 40
    assert swept.best == max(swept.rows, key=lambda row: row.test_accuracy).feature
    assert [row.val_accuracy for row in swept.rows] == [row.test_accuracy for row in swept.rows]
    assert "the layer was chosen on the test itself" in " ".join(swept.notes())


@pytest.mark.parametrize("probe", PROBES)
@pytest.mark.parametrize("validated", [True, False])
def test_fewer_rows_may_be_learnt_from(tables, probe, validated):
    tables = tables if validated else without(tables, "validation")
    swept = sweep(tables, probe, TINY, n_train=20)
    assert swept.n_train == 20
    assert swept.id == ""
    if not validated and probe == "mlp":
        assert (swept.selected_by, swept.n_val) == ("carved from train", 12)


def test_the_chosen_layer_is_reported_per_class(tables):
    swept = sweep(tables)
    assert [row["class"] for row in swept.per_class] == ["a", "b"]
    recall = np.mean([row["recall"] for row in swept.per_class])
    assert recall == pytest.approx(swept.rows[1].test_accuracy)


@pytest.mark.parametrize("probe", PROBES)
def test_all_layers_are_shown_the_test_on_demand(tables, probe):
    swept = sweep(tables, probe, TINY, show_test=True)
    hidden = sweep(tables, probe, TINY)
    assert all(row.test_accuracy is not None for row in swept.rows)
    assert swept.best == hidden.best
    assert swept.rows[1].test_accuracy == hidden.rows[1].test_accuracy
    assert [row.val_accuracy for row in swept.rows] == [row.val_accuracy for row in hidden.rows]


@pytest.mark.parametrize("probe", PROBES)
def test_without_a_test_there_are_no_test_figures(tables, probe):
    swept = sweep(without(tables, "test"), probe, TINY, show_test=True)
    assert swept.n_test == 0
    assert all(row.test_accuracy is None for row in swept.rows)


def test_its_json_has_what_others_rely_on(tables):
    swept = sweep(tables)
    document = json.loads(json.dumps(swept.to_json()))
    assert document["n_test"] == 40
    assert document["best"] == "m:2"
    assert document["last"] == ["m:last"]
    assert [row["feature"] for row in document["rows"]] == ["m:1", "m:2", "m:last"]
    assert [type(row["val_accuracy"]) for row in document["rows"]] == [float] * 3
    assert [row["test_accuracy"] for row in document["rows"]][::2] == [None, None]
    assert Sweep.from_json(document) == swept


@pytest.mark.parametrize(
    ("probe", "validated", "by", "counts"),
    [
        ("ridge", True, "validation split", (120, 50)),
        ("ridge", False, "leave-one-out", (120, 0)),
        ("logistic", True, "validation split", (120, 50)),
        ("logistic", False, "carved from train", (108, 12)),
        ("mlp", True, "validation split", (120, 50)),
        ("mlp", False, "carved from train", (108, 12)),
    ],
)
def test_it_says_what_the_choice_was_made_by(tables, probe, validated, by, counts):
    swept = sweep(tables if validated else without(tables, "validation"), probe, TINY)
    assert swept.selected_by == by
    assert (swept.n_train, swept.n_val) == counts


def test_a_ridge_is_judged_by_leave_one_out_or_by_validation(tables):
    train, validation = tables["train"], tables["validation"]
    paths = [fit_ridge(rows, train.labels, 2, texts=train.texts) for rows in train.rows]
    left_out = sweep(without(tables, "validation"))
    assert [row.val_accuracy for row in left_out.rows] == [max(p.loo_accuracy) for p in paths]
    held_out = sweep(tables)
    for row, path, rows in zip(held_out.rows, paths, validation.rows, strict=True):
        right = path.decide(rows).argmax(axis=2) == validation.labels
        assert row.val_accuracy == right.mean(axis=1).max()


def test_twins_leave_together(tables):
    """Each text twice, labels at random: with its twin left behind, every row would look right."""
    train = tables["train"]
    noise = np.random.default_rng(0).standard_normal((60, 50))
    labels = np.random.default_rng(1).integers(0, 2, 60).astype(np.int32)
    texts = np.repeat(np.arange(60).astype(np.uint64), 2)
    twins = replace(
        train,
        features=train.features[:1],
        specs=train.specs[:1],
        rows=(np.repeat(noise, 2, axis=0),),
        labels=np.repeat(labels, 2),
        texts=texts,
    )
    fooled = replace(twins, texts=np.arange(120).astype(np.uint64))
    assert sweep({"train": twins}).rows[0].val_accuracy < 0.75
    assert sweep({"train": fooled}).rows[0].val_accuracy > 0.85


@pytest.mark.parametrize("study", [sweep, fuse])
def test_texts_that_train_has_too_are_told_beside_the_score(tables, tmp_path, study):
    assert study(tables, recipe=TINY).notes() == []
    for name, known in (("validation", 1), ("test", 14)):
        texts = tables[name].texts.copy()
        texts[:known] = tables["train"].texts[5]
        tables[name] = replace(tables[name], texts=texts)
    first = study(tables, recipe=TINY, results=tmp_path)
    assert (first.n_val_known, first.n_test_known) == (1, 14)
    assert [line.partition(":")[0] for line in first.notes()] == [
        "1 of 50 validation texts is also in train",
        "14 of 40 test texts are also in train",
    ]
    (stored,) = tmp_path.glob("tiny/*.json")
    document = json.loads(stored.read_text())
    for field in ("n_val_known", "n_test_known"):  # as a version wrote it that did not count them
        del document["payload"]["result"][field]
    stored.write_text(json.dumps(document))
    assert study(tables, recipe=TINY, results=tmp_path).notes() == first.notes()


def test_rows_without_a_label_are_known_to_nobody(tables):
    train, labels = tables["train"], tables["train"].labels.copy()
    labels[5] = -1
    tables["train"] = replace(train, labels=labels)
    tables["test"] = replace(tables["test"], texts=np.full(40, train.texts[5]))
    assert sweep(tables).n_test_known == 0


def test_ties_go_to_the_shallower_layer(tables):
    same = {
        name: replace(
            table,
            rows=(table.rows[1],) * 3,
            features=tuple(map(Feature.parse, ("m:last", "m:3+5", "m:9"))),
        )
        for name, table in tables.items()
    }
    swept = sweep(same)
    assert len({row.val_accuracy for row in swept.rows}) == 1
    assert swept.best == "m:3+5"
    assert swept.last == ("m:last",)


def test_depths():
    depths = {"m:0": 0, "m:4": 4, "m:20~24": 22, "m:2+7": 4.5, "m:last": np.inf}
    assert {name: depth_of(Feature.parse(name)) for name in depths} == depths


def test_rows_are_told_as_they_come(tables):
    told = []
    swept = sweep(tables, on_row=told.append)
    assert [row.feature for row in told] == [row.feature for row in swept.rows]
    assert all(row.test_accuracy is None for row in told)


def test_a_finished_sweep_is_loaded_and_not_run_again(tables, tmp_path):
    first = sweep(tables, results=tmp_path)
    for name, table in tables.items():
        tables[name] = with_rows(table, [Watched(rows, forbidden=True) for rows in table.rows])
    again = sweep(tables, results=tmp_path)
    assert again.cached
    assert not first.cached
    assert replace(again, cached=False) == first
    assert again.to_json()["cached"] is True
    # A ridge knows neither seeds nor recipe, so that neither makes another sweep of it.
    assert sweep(tables, recipe=TINY, seeds=5, results=tmp_path).cached


@pytest.mark.parametrize("probe", PROBES)
def test_an_interrupted_sweep_goes_on_where_it_was(tables, tmp_path, probe, monkeypatch):
    monkeypatch.setattr(members, "STACK_BYTES", 0)  # heads so small are done all at once otherwise
    options = {"seeds": 2, "results": tmp_path / "results"}
    whole = sweep(tables, probe, TINY, seeds=2)
    train = tables["train"]
    broken = with_rows(train, [*train.rows[:2], Watched(train.rows[2], forbidden=True)])
    with pytest.raises(AssertionError, match="must not be read"):
        sweep(tables | {"train": broken}, probe, TINY, **options)
    # The best layer is fitted again, to be shown the test; the other one that was done is not.
    rows = [Watched(each, forbidden=place == 0) for place, each in enumerate(train.rows)]
    rest = sweep(tables | {"train": with_rows(train, rows)}, probe, TINY, **options)
    assert not rest.cached
    assert [replace(row, seconds=0) for row in rest.rows] == [
        replace(row, seconds=0) for row in whole.rows
    ]


def test_a_sweep_of_more_layers_judges_the_new_ones_only(tables, tmp_path):
    def first(count):
        return {
            name: replace(
                table,
                features=table.features[:count],
                specs=table.specs[:count],
                rows=tuple(
                    Watched(rows, name == "train" and place == 0 and count == 3)
                    for place, rows in enumerate(table.rows[:count])
                ),
            )
            for name, table in tables.items()
        }

    sweep(first(2), results=tmp_path)
    assert sweep(first(3), results=tmp_path).best == "m:2"


def test_at_most_two_layers_are_read_at_a_time(tables):
    lock, under_way, most = threading.Lock(), set(), 0

    def begin(place):
        nonlocal most
        with lock:
            under_way.add(place)
            most = max(most, len(under_way))

    class Layer(Watched):
        def __init__(self, rows, place):
            super().__init__(rows)
            self.place = place

        def __getitem__(self, index):
            begin(self.place)
            return super().__getitem__(index)

    train = tables["train"]
    rows = [Layer(train.rows[place % 3], place) for place in range(9)]
    features = tuple(Feature.parse(f"m:{number}") for number in range(9))
    many = replace(train, rows=tuple(rows), features=features, specs=train.specs * 3)
    judged = sweep({"train": many}, on_row=lambda row: under_way.discard(int(row.feature[2:])))
    assert len(judged.rows) == 9
    assert most <= 3  # two at work, and one whose row is being told


@pytest.mark.parametrize("change", ["label", "text", "spec", "probe", "show_test", "feature"])
def test_any_change_is_another_sweep(tables, tmp_path, change):
    sweep(tables, results=tmp_path)
    train, options = tables["train"], {}
    if change == "label":
        tables["train"] = replace(train, labels=train.labels[::-1].copy())
    if change == "text":
        tables["train"] = replace(train, texts=train.texts + np.uint64(7))
    if change == "spec":
        tables = {
            name: replace(table, specs=(replace(table.specs[0], prompt="a"),) * 3)
            for name, table in tables.items()
        }
    if change == "feature":
        features = tuple(map(Feature.parse, ("m:1", "m:2", "m:3")))
        tables = {name: replace(table, features=features) for name, table in tables.items()}
    if change == "probe":
        options = {"probe": "mlp", "recipe": TINY}
    if change == "show_test":
        options = {"show_test": True}
    assert not sweep(tables, results=tmp_path, **options).cached


def test_a_study_of_bfloat16_is_not_one_of_float32(cache, make_corpus):
    corpus = make_corpus(40)
    for name, dtype in (("narrow", "bfloat16"), ("half", "float16"), ("wide", "float32")):
        extract(FakeBackbone(name=name), corpus, cache, store_dtype=dtype)
    found = {
        name: identity("sweep", {"train": cache.table(f"{name}:1")}, None, [0])["stored"]
        for name in cache["tiny"]
    }
    assert found == {"half": ["float16 x 2"], "narrow": ["bfloat16 x 2"], "wide": ["float32 x 2"]}
    assert sweep(cache.tables("narrow:1,narrow:2"), results=cache.results).rows


def test_the_predictions_lie_beside_the_result(tables, tmp_path):
    from lefcache import results

    swept = sweep(tables, "mlp", TINY, seeds=2, results=tmp_path)
    (stored,) = results.list(tmp_path, "tiny")
    predicted = stored.predictions()
    assert predicted.shape == (1, 2, 40)  # shown rows, seeds, test rows
    assert (predicted[0] == tables["test"].labels).mean() == swept.rows[1].test_accuracy


def test_a_probe_may_be_a_function(tables, tmp_path):
    def depth(table, validation, setup):
        figure = {"m:1": 0.1, "m:2": 0.2, "m:last": 0.3}[str(table.features[0])]
        return Probed(figure, "hand", 1, 2, lambda test: np.zeros((1, len(test)), np.int32))

    for _ in range(2):
        swept = sweep(tables, depth, results=tmp_path)
        assert (swept.probe, swept.best, swept.selected_by) == ("depth", "m:last", "hand")
        assert not swept.cached
    assert not [*tmp_path.iterdir()]


def test_mistakes_are_told_before_any_work(tables):
    watched = with_rows(tables["train"], [Watched(r, forbidden=True) for r in tables["train"].rows])
    tables["train"] = watched
    with pytest.raises(RecipeError, match="no probe 'svm': it is one of ridge, logistic, mlp"):
        sweep(tables, "svm")
    with pytest.raises(RecipeError, match="no seeds"):
        sweep(tables, "mlp", seeds=0)
    with pytest.raises(RecipeError, match="no device 'tpux'"):
        sweep(tables, device="tpux")
    with pytest.raises(CorpusError, match="learns from the split train"):
        sweep({"test": tables["test"]})
    with pytest.raises(CorpusError, match="no use for the split dev"):
        sweep(tables | {"dev": tables["test"]})
    with pytest.raises(CorpusError, match="has no labels"):
        sweep(tables | {"test": replace(tables["test"], labels=None)})
    with pytest.raises(CorpusError, match=r"every labelled row of train of tiny is 'a'"):
        sweep(tables | {"train": replace(watched, labels=0 * watched.labels)})


RUNS = {
    "sweep": (lambda tables, folder: sweep(tables, results=folder)),
    "fuse": (lambda tables, folder: fuse(tables, TINY, results=folder)),
}


def _stored(folder, study):
    files = folder.rglob("*.json")
    return next(x for x in files if json.loads(x.read_text())["payload"]["key"]["kind"] == study)


@pytest.mark.parametrize("study", RUNS)
def test_any_stored_study_is_read_or_refused(study, tables, tmp_path_factory):
    kept = tmp_path_factory.mktemp("kept")
    RUNS[study](tables, kept)
    file = _stored(kept, study)
    document = json.loads(file.read_text())

    @given(st.data())
    @few
    def fuzzed(data):
        edit = data.draw(edits(document["payload"]["result"]))
        file.write_text(json.dumps(document | {"payload": document["payload"] | {"result": edit}}))
        with only_our_errors():
            found = RUNS[study](tables, kept)
            assert found.cached
            found.notes()

    fuzzed()


@pytest.mark.parametrize("study", RUNS)
def test_a_stored_study_of_another_question_is_refused(study, tables, tmp_path):
    RUNS[study](tables, tmp_path)
    file = _stored(tmp_path, study)
    document = json.loads(file.read_text())
    document["payload"]["key"]["features"][0] = "m:9"
    file.write_text(json.dumps(document))
    with pytest.raises(DamagedError, match="another study"):
        RUNS[study](tables, tmp_path)
