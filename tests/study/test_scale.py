import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from lefcache import results as store
from lefcache.errors import RecipeError, StorageError
from lefcache.extract import extract
from lefcache.feature import Feature
from lefcache.finished import finished
from lefcache.recipe import Recipe
from lefcache.rows import Matrix
from lefcache.study import Gain, Scale, fuse, measured_rate, project, scale
from lefcache.study.cost import embed_seconds
from lefcache.study.project import bytes_on_disk, embed_time, parameters_of
from lefcache.study.rounded import Rounded, check_fits, rounded, stored_of
from lefcache.study.steps import greedy, taking
from lefcache.testing import FakeBackbone

TINY = Recipe(op="hadamard-res", width=8, hidden=(8,), dropout=(0.1,), lr=1e-2, batch=20, epochs=2)


@pytest.fixture
def corpus(make_corpus):
    """80 and 40 texts whose lengths tell the classes apart, a little."""
    draw = np.random.default_rng(0)
    return make_corpus(
        **{
            split: [f"{'word ' * int(1 + draw.integers(9) + 3 * (i % 2))}{i}" for i in range(many)]
            for split, many in (("train", 80), ("test", 40))
        }
    )


@pytest.fixture
def extracted(cache, corpus):
    """Two fake models over them."""
    for name in ("one", "two"):
        extract(FakeBackbone(name=name), corpus, cache)
    return cache


@pytest.fixture
def tables(extracted):
    return extracted.tables("one:1,one:2,two:1")


def scaled(cache, tables, **more):
    return scale(cache, tables, TINY, **({"seeds": 2, "results": cache.results} | more))


def test_each_step_is_a_fusion_that_is_kept_and_compared(extracted, tables):
    found = scaled(extracted, tables)
    assert [step.features for step in found.steps] == [
        ("one:1",),
        ("one:1", "one:2"),
        ("one:1", "one:2", "two:1"),
    ]
    again = fuse(tables, TINY, seeds=2, results=extracted.results)
    assert again.cached
    assert found.steps[-1].id == again.id
    assert found.steps[-1].val_accuracy == again.val_accuracy
    first, second, _ = found.steps
    assert (first.val_gain, first.test_gain) == (None, None)
    assert second.val_gain.mean == pytest.approx(second.val_accuracy.mean - first.val_accuracy.mean)
    assert second.test_gain.mean == pytest.approx(
        second.test_accuracy.mean - first.test_accuracy.mean
    )
    assert (second.val_gain.n, second.test_gain.n) == (found.n_val, 40)


def test_it_resumes_with_the_same_figures(extracted, tables):
    first, trained = scaled(extracted, tables, stores=("bfloat16",)), []
    again = scaled(
        extracted, tables, stores=("bfloat16",), on_seed=lambda *each: trained.append(each)
    )
    assert trained == []
    assert all(step.cached for step in again.every)
    for one, other in zip(first.every, again.every, strict=True):
        for name in ("id", "val_accuracy", "test_accuracy", "val_gain", "test_gain", "memory"):
            assert getattr(one, name) == getattr(other, name), name
    assert Scale.from_json(json.loads(json.dumps(again.to_json()))) == again


def test_what_came_of_it_is_kept_and_replaced_by_the_next(extracted, tables):
    first = scaled(extracted, tables, stores=("bfloat16",))
    result = store.look_up(extracted.results, first.id)
    assert result.kind == "scale"
    assert Scale.from_json(result.payload["result"]) == first
    again = scaled(extracted, tables, stores=("bfloat16",))
    assert again.id == first.id
    kept = Scale.from_json(store.look_up(extracted.results, first.id).payload["result"])
    assert kept == again
    others = [{"stores": ()}, {"order": "best"}, {"seeds": 1}, {"n_train": 40}]
    assert len({first.id, *(scaled(extracted, tables, **each).id for each in others)}) == 5
    assert scaled(extracted, tables, results=None).id == ""


def test_its_line_has_the_figures_of_what_pays(extracted, tables):
    found = scaled(extracted, tables)
    (line,) = (each for each in finished(extracted) if each.kind == "scale")
    last = found.steps[found.pays - 1]
    assert line.what.startswith(" + ".join(last.features))
    assert line.what.endswith(f"({found.pays} of 3 features pay)")
    assert line.val_accuracy == last.val_accuracy.mean
    assert line.test_ci95 == last.test_accuracy.ci95
    assert not line.stale


def test_a_fusion_of_rounded_features_says_so(extracted, tables):
    found = scaled(extracted, tables, stores=("bfloat16",))
    lines = {each.id: each.what for each in finished(extracted)}
    assert lines[found.steps[-1].id] == "one:1 + one:2 + two:1, hadamard-res"
    assert lines[found.stores[0].id].endswith("hadamard-res, rounded to bfloat16")


def test_a_folder_that_takes_nothing_is_said(extracted, tables, monkeypatch):
    scaled(extracted, tables)

    def full(*each):
        raise StorageError("no space left")

    monkeypatch.setattr(store, "save", full)
    found = scaled(extracted, tables)
    assert (found.id, found.not_kept) == ("", "no space left")
    assert any("not kept" in line for line in found.notes())


def test_a_fusion_of_before_its_rows_were_kept_is_trained_for_them(extracted, tables):
    whole = scaled(extracted, tables)
    for file in (extracted.results / "tiny").glob("*.json"):
        document = json.loads(file.read_text())
        document["payload"].pop("val_right", None)  # the whole has none, only its heads
        file.write_text(json.dumps(document))
    trained = []
    again = scaled(extracted, tables, on_seed=lambda *each: trained.append(each))
    assert len(trained) == 3 * 2
    assert [s.val_gain for s in again.steps] == [s.val_gain for s in whole.steps]
    trained.clear()
    scaled(extracted, tables, on_seed=lambda *each: trained.append(each))
    assert trained == []


def test_the_next_one_pays_while_its_gain_is_sure(extracted, tables):
    found = scaled(extracted, tables)
    sure, unsure = Gain(0.1, (0.05, 0.2), 8), Gain(0.1, (-0.01, 0.2), 8)

    def with_gains(*gains):
        steps = zip(found.steps, (None, *gains), strict=True)
        return replace(found, steps=tuple(replace(step, val_gain=gain) for step, gain in steps))

    assert with_gains(sure, sure).pays == 3
    assert with_gains(sure, unsure).pays == 2
    assert with_gains(unsure, sure).pays == 1


def test_what_no_other_beats_is_undominated(extracted, tables):
    found = scaled(extracted, tables, stores=("bfloat16",))
    points = [(0.8, 10, 3.0), (0.9, 20, 2.0), (0.9, 30, 1.0), (0.9, 20, 2.5)]
    made = [
        replace(
            step,
            val_accuracy=replace(step.val_accuracy, mean=mean),
            row_bytes=row,
            predict_seconds=seconds,
        )
        for step, (mean, row, seconds) in zip(found.every, points, strict=True)
    ]
    found = replace(found, steps=tuple(made[:3]), stores=tuple(made[3:]))
    assert found.best_by_bytes == (0, 1, 3)
    assert found.best_by_seconds == (2,)


def test_bytes_and_seconds_are_those_of_the_cache(extracted, tables):
    found = scaled(extracted, tables)
    first, second, third = found.steps
    assert (first.row_bytes, second.row_bytes, third.row_bytes) == (4, 8, 12)
    sizes = [extracted.store.size(f"tiny/one/{split}") for split in ("train", "test")]
    assert first.models_bytes == second.models_bytes == sum(sizes)
    assert third.models_bytes > second.models_bytes
    # Two layers of one model are one pass.
    assert first.embed_seconds == second.embed_seconds < third.embed_seconds
    work = extracted.store.attrs("tiny/one")["work"].values()
    expected = 1000 * sum(w["seconds"] for w in work) / sum(w["rows"] for w in work)
    assert first.embed_seconds == pytest.approx(expected)
    assert all(step.predict_seconds > 0 for step in found.steps)


def test_seconds_that_were_not_kept_are_unknown(extracted, tables):
    attrs = extracted.store.attrs("tiny/two")
    extracted.store.set_attrs("tiny/two", {k: v for k, v in attrs.items() if k != "work"})
    tables = extracted.tables("one:1,two:1")
    assert embed_seconds(extracted, tables) is None
    assert embed_seconds(extracted, taking(tables, [0])) is not None


def test_rounding_is_that_of_the_type(tables):
    rows = tables["train"].rows[0]
    made = Rounded(rows, "bfloat16")
    ml_dtypes = pytest.importorskip("ml_dtypes")
    expected = np.asarray(rows).astype(ml_dtypes.bfloat16)
    np.testing.assert_array_equal(made[:], expected.astype(np.float32))
    np.testing.assert_array_equal(made.bits[3:9], expected[3:9].view(np.uint16))
    np.testing.assert_array_equal(made[[5, 1]], expected[[5, 1]].astype(np.float32))
    same = rounded(tables, "float16")
    assert same["train"].rows == tables["train"].rows
    wide = rounded(tables, "float32")["train"].rows[0]
    assert (stored_of(wide), wide[:].dtype) == ("float32", np.float32)


def test_a_wider_type_than_is_stored_is_said(extracted, tables):
    found = scaled(extracted, tables, stores=("float32", "float16"))
    assert [step.store for step in found.stores] == ["float32"]
    assert found.stores[0].row_bytes == 2 * found.steps[-1].row_bytes
    assert found.stores[0].id != found.steps[-1].id
    assert any("--store-dtype float32" in line for line in found.notes())
    assert abs(found.stores[0].val_gain.mean) < 0.2


def test_a_store_that_is_too_small_is_refused_first(tables):
    class Wide(Matrix):
        dtype = stored = np.dtype(np.float32)
        shape = (80, 2)

        def _read(self, start, stop):
            return np.full((stop - start, 2), 70_000, np.float32)

    table = tables["train"].alone(0)
    with pytest.raises(RecipeError, match="leave it out of --store"):
        check_fits({"train": replace(table, rows=(Wide(),))}, ("float16",))
    with pytest.raises(RecipeError, match="a store is one of"):
        check_fits(tables, ("int8",))


def test_the_best_order_begins_with_what_ridge_does_best_on(extracted, tables, split):
    table = split(200, (3, 3, 3), noise=0.2)
    noise = np.random.default_rng(1).standard_normal((200, 3)).astype(np.float32)
    table = replace(
        table,
        rows=(noise, table.rows[0], noise + 1),
        features=tuple(map(Feature.parse, ("a:1", "b:1", "c:1"))),
    )
    assert greedy({"train": table})[0] == 1
    assert sorted(greedy({"train": table})) == [0, 1, 2]
    found = scaled(extracted, tables, order="best")
    assert {*found.steps[-1].features} == {"one:1", "one:2", "two:1"}


@pytest.mark.parametrize("wrong", [{"order": "worst"}, {"stores": ("int8",)}])
def test_mistakes_are_refused(extracted, tables, wrong):
    with pytest.raises(RecipeError, match="is one of"):
        scaled(extracted, tables, **wrong)


MEASURE = """
import threading
import numpy as np, psutil, torch
from lefcache.recipe import Recipe
from lefcache.rows import Table
from lefcache.feature import Feature
from lefcache.finished import finished
from lefcache.spec import Spec
from lefcache.study import fuse
from lefcache.study.cost import training_memory
torch.set_num_threads(1)
def made(n, width):
    draw = np.random.default_rng(0)
    rows = draw.standard_normal((n, width), dtype=np.float32)
    labels = np.arange(n, dtype=np.int32) % 2
    return {"train": Table((Feature("a", 1),), (rows,), labels, ("n", "y"), (Spec(),),
            np.arange(n, dtype=np.uint64), "tiny", "train")}
recipe = Recipe(width=256, hidden=(64,), dropout=(0.1,), epochs=1, batch=100)
process, seen, done = psutil.Process(), [], threading.Event()
def watch():
    while not done.wait(0.005):
        seen.append(process.memory_info().rss)
fuse(made(200, 2000), recipe)
tables = made(8000, 2000)
watching = threading.Thread(target=watch)
before = process.memory_info().rss
watching.start()
fuse(tables, recipe)
done.set()
watching.join()
print(max(seen) - before, training_memory(tables, recipe, None))
"""


def test_memory_in_training_is_about_what_a_process_takes():
    ran = subprocess.run(
        [sys.executable, "-c", MEASURE], capture_output=True, text=True, check=True
    )
    measured, computed = map(float, ran.stdout.split())
    assert 0.7 < computed / measured < 1.6, (computed, measured)


@pytest.mark.parametrize("store", ["float16", "float32", "bfloat16"])
@pytest.mark.parametrize(("rows", "width", "depth"), [(1500, 384, 4), (3000, 256, 3)])
def test_the_bytes_of_the_formula_are_those_on_disk(cache, make_corpus, rows, width, depth, store):
    corpus = make_corpus(train=[f"a {number}" for number in range(rows)])
    extract(FakeBackbone(depth, width), corpus, cache, store_dtype=store)
    written = cache.store.size("tiny/fake/train")
    written += cache.store.size("tiny/labels/train") + cache.store.size("tiny/rows/train")
    layers = len(cache.pages("fake", "train").layers("mean"))
    assert bytes_on_disk(rows, layers, width, store) == pytest.approx(written, rel=0.01)


def test_seven_billion_weights_over_sst2_and_ten_million_texts():
    assert parameters_of(32, 4096) == pytest.approx(6.48e9, rel=0.01)  # Llama-2-7B's blocks
    found = project(67_349, 33, 4096, tokens_a_text=25, rate=200e12)
    assert found.bytes["float16"] == pytest.approx(67_349 * 33 * 4096 * 2, rel=0.01)
    assert found.bytes["float32"] == pytest.approx(2 * found.bytes["float16"], rel=0.01)
    assert found.seconds == pytest.approx(embed_time(67_349 * 25, 12 * 32 * 4096**2, 200e12))
    assert project(10**7, 33, 4096).seconds is None
    with pytest.raises(RecipeError, match="texts x layers x width"):
        project(0, 33, 4096)


def test_the_rate_is_that_of_the_largest_model_that_was_timed(extracted, corpus):
    extract(FakeBackbone(5, 8, name="large"), corpus, extracted)
    rate = measured_rate(extracted)
    assert (rate.model, rate.corpus) == ("large", "tiny")
    assert rate.flops == pytest.approx(rate.tokens * 2 * 12 * 5 * 64 / rate.seconds)
