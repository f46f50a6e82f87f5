"""What an import leaves in the cache, what it refuses, and what a killed one leaves behind."""

import shlex
import shutil
from functools import partial

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from lefcache.cache import open as open_cache
from lefcache.corpus import Corpus, Split
from lefcache.errors import (
    BusyError,
    FeatureError,
    IncompleteError,
    MismatchError,
    NotFiniteError,
    VectorsError,
)
from lefcache.extract import extract
from lefcache.spec import Spec
from lefcache.study import sweep
from lefcache.testing import FakeBackbone
from lefcache.vectors import Progress, import_vectors, work


def test_one_matrix_is_the_models_last(cache, bring, save, make_matrix):
    values = make_matrix(20)
    receipt = bring(save({"train.npy": values}), note=" text-3,  2026 ")
    np.testing.assert_array_equal(cache.rows("own:last"), values)
    assert cache.spec("own") == Spec.of_imported("text-3, 2026")
    assert (cache.spec("own").imported, cache.spec("own").note) == (True, "text-3, 2026")
    assert (receipt.features, receipt.rows, receipt.width) == (("own:last",), 20, 4)
    assert (receipt.blocks, receipt.written_blocks, receipt.dtype) == (1, 1, "float32")
    [entry] = cache.ls()
    assert (entry["layers"], entry["pools"], entry["done_rows"]) == (["last"], ["own"], 20)
    assert entry["resume"] is None


def test_the_cache_says_where_vectors_came_from(cache, bring, save, make_matrix):
    folder = save({"train.npy": make_matrix(20)})
    bring(folder)
    pages = cache.pages("own")
    assert pages.files["own/last"]["file"] == str(folder / "train.npy")
    assert len(pages.files["own/last"]["sha256"]) == 64
    assert {"host", "started", "numpy", "lefcache"} <= set(cache.provenance("own"))
    assert pages.model_attrs["source"] is None
    assert "tokens" not in pages.arrays
    assert not pages.tokens()[0].any()


def test_layers_are_found_by_every_notation(cache, bring, save, make_matrix):
    layers = {k: make_matrix(20, seed=k) for k in (0, 3, 6)}
    bring(save({f"layer-{k}.npy": values for k, values in layers.items()}))
    for feature, k in (("own:-1", 6), ("own:3", 3), ("own:0@mean", 0)):
        np.testing.assert_array_equal(cache.rows(feature), layers[k])
    mean = (layers[0] + layers[3] + layers[6]) / np.float32(3)
    np.testing.assert_allclose(cache.rows("own:0+3+6"), mean, rtol=1e-6)
    assert [*map(str, cache.features("own"))] == ["own:0", "own:3", "own:6"]
    assert [*map(str, cache.features("own:0..6/3"))] == ["own:0", "own:3", "own:6"]
    with pytest.raises(FeatureError, match="own:last is not among"):
        cache.rows("own:last")


def test_all_layers_of_a_model_are_with_its_own_vector(cache, bring, save, make_matrix):
    bring(save({"layer-2.npy": make_matrix(20)}))
    bring(save({"train.npy": make_matrix(20, seed=1)}, "more"))
    assert [*map(str, cache.features("own"))] == ["own:2", "own:last"]
    np.testing.assert_array_equal(cache.rows("own:last"), make_matrix(20, seed=1))


def test_depth_is_told_or_grows_with_deeper_layers(cache, bring, save, make_matrix):
    folder = save({f"layer-{k}.npy": make_matrix(20, seed=k) for k in (1, 2, 5)})
    bring(folder / "layer-1.npy")
    assert cache.pages("own").depth == 1
    bring(folder / "layer-2.npy", depth=4)
    assert cache.pages("own").depth == 4
    bring(folder / "layer-1.npy")
    assert cache.pages("own").depth == 4
    with pytest.raises(MismatchError, match="depth: 4 in the cache, 2 now"):
        bring(folder / "layer-2.npy", depth=2)
    with pytest.raises(VectorsError, match="--depth 3 is less than layer 5"):
        bring(folder / "layer-5.npy", depth=3)
    bring(folder / "layer-5.npy")
    np.testing.assert_array_equal(cache.rows("own:-1"), make_matrix(20, seed=5))


SOURCES = [np.dtype(order + kind) for kind in ("f2", "f4", "f8") for order in "<>"]


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    values=array_shapes(min_dims=2, max_dims=2, max_side=9).flatmap(
        partial(arrays, np.float16, elements=st.floats(-100, 100, width=16))
    ),
    dtype=st.sampled_from(SOURCES),
    order=st.sampled_from("CF"),
)
def test_rows_come_back_as_they_were_in_every_dtype_and_order(
    tmp_path_factory, monkeypatch, values, dtype, order
):
    monkeypatch.setattr(work, "BLOCK_ROWS", 4)
    monkeypatch.setattr("lefcache.vectors.run.BLOCK_ROWS", 4)
    folder = tmp_path_factory.mktemp("any")
    np.save(folder / "v.npy", np.asarray(values.astype(dtype), order=order))
    corpus = Corpus("tiny", ("no",), {"train": Split([str(i) for i in range(len(values))])})
    cache = open_cache(folder / "cache")
    receipt = import_vectors("own", [folder / "v.npy"], corpus, cache)
    stored = cache.rows("own:last")
    assert stored.dtype == (np.float16 if dtype.itemsize == 2 else np.float32)
    assert np.asarray(stored).tobytes() == values.astype(stored.dtype).tobytes()
    assert receipt.blocks == receipt.written_blocks == -(-len(values) // 4)


def test_precision_is_lost_only_where_it_is_asked_for(cache, bring, save):
    values = np.full((20, 2), 1.0001, np.float32)
    file = save({"train.npy": values}) / "train.npy"
    bring(file)
    bring(file, name="half", store_dtype="float16")
    assert cache.rows("own:last")[0][0] == np.float32(1.0001)
    assert cache.rows("half:last").dtype == np.float16
    again = bring(file, name="half")
    assert again.written_blocks == 0
    assert again.notes == ("tiny/half/train/own/last stays float16, as it was imported",)
    with pytest.raises(VectorsError, match="--store-dtype int8 is not one of"):
        bring(file, store_dtype="int8")


def test_large_values_are_kept_and_not_clipped(cache, bring, save, make_matrix):
    values = make_matrix(20) * np.float32(1e6)
    file = save({"train.npy": values}) / "train.npy"
    with pytest.raises(NotFiniteError, match="too large for float16"):
        bring(file, store_dtype="float16")
    assert not cache.path.exists()
    bring(file)
    np.testing.assert_array_equal(cache.rows("own:last"), values)


def test_the_same_again_changes_nothing(cache, bring, save, make_matrix, tree_bytes):
    folder = save({"train.npy": make_matrix(20)})
    bring(folder, note="this")
    before = tree_bytes(cache.path / "tiny")
    again = bring(folder)
    assert (again.written_blocks, again.skipped_blocks) == (0, 1)
    assert tree_bytes(cache.path / "tiny") == before


def test_splits_are_added_later_in_what_the_first_was_called(cache, bring, save, make_corpus):
    corpus = make_corpus(6, test=["x", "y"])
    folder = save({"train.npy": np.ones((6, 3)), "test.npy": np.zeros((2, 3))})
    bring(folder / "train.npy", corpus=corpus, note="this")
    assert cache.unextracted("own", "tiny") == [
        "tiny/own was not imported on test; add it with: lef import own test.npy --pool own "
        f"--cache {cache.path} --data demo --note this"
    ]
    receipt = bring(folder / "test.npy", corpus=corpus)
    assert receipt.notes == (f"{folder}/test.npy: 2 rows are all zeros, the first of them row 0",)
    assert set(cache.tables("own")) == {"train", "test"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"note": "that"}, "weights: 'imported: this' in the cache, 'imported: that' now"),
        ({"note": ""}, "weights: 'imported: this' in the cache, 'imported' now"),
    ],
)
def test_another_note_is_refused_with_the_difference(bring, save, make_matrix, change, message):
    folder = save({"train.npy": make_matrix(20)})
    bring(folder, note="this")
    with pytest.raises(MismatchError, match=message) as error:
        bring(folder, **change)
    assert "under another NAME" in str(error.value)
    assert "lef extract" not in str(error.value)


def test_another_width_is_refused(bring, save, make_matrix):
    folder = save({"train.npy": make_matrix(20), "layer-1.npy": make_matrix(20, width=3)})
    bring(folder / "train.npy")
    with pytest.raises(MismatchError, match="width: 4 in the cache, 3 now"):
        bring(folder / "layer-1.npy")


@pytest.mark.parametrize("row", [0, 9, 19])
def test_other_vectors_are_refused_with_the_first_row_that_differs(
    cache, bring, save, make_matrix, monkeypatch, tree_bytes, row
):
    monkeypatch.setattr("lefcache.vectors.run.BLOCK_ROWS", 8)
    values = make_matrix(20)
    file = save({"train.npy": values}) / "train.npy"
    bring(file)
    before = tree_bytes(cache.path / "tiny")
    values[row:, 2] += 1
    np.save(file, values)
    with pytest.raises(MismatchError, match=rf"row {row} \(counted from 0\) is the first") as error:
        bring(file)
    assert "under another NAME, or first run: lef rm tiny/own --cache" in str(error.value)
    assert tree_bytes(cache.path / "tiny") == before


def test_a_model_is_extracted_or_imported_and_never_both(cache, bring, save, make_matrix):
    folder = save({"train.npy": make_matrix(20)})
    bring(folder)
    words = [f"w{i}" for i in range(20)]
    corpus = Corpus("tiny", ("no", "yes"), {"train": Split(words)}, "demo")
    other = open_cache(cache.path.with_name("other"))
    extract(FakeBackbone(), corpus, other)
    with pytest.raises(MismatchError, match="was extracted from a model: import these under"):
        bring(folder, name="fake", corpus=corpus, into=other)
    import_vectors("own", [folder], corpus, other)
    with pytest.raises(MismatchError, match="made elsewhere and imported: keep both with --as"):
        extract(FakeBackbone(name="own"), corpus, other)


def test_other_texts_are_refused_before_other_vectors(bring, save, make_corpus, make_matrix):
    file = save({"train.npy": make_matrix(3)}) / "train.npy"
    bring(file, corpus=make_corpus(train=["a", "b", "c"]))
    np.save(file, make_matrix(3, seed=1))
    with pytest.raises(MismatchError, match=r"row 1 \(counted from 0\) is another text"):
        bring(file, corpus=make_corpus(train=["a", "B", "c"]))


def test_appended_rows_are_added_and_the_old_ones_compared(
    cache, bring, save, make_corpus, make_matrix, monkeypatch
):
    monkeypatch.setattr("lefcache.vectors.run.BLOCK_ROWS", 8)
    values = make_matrix(20)
    file = save({"v.npy": values[:11]}) / "v.npy"
    bring(file, corpus=make_corpus(11))
    other = values.copy()
    other[10] += 1  # in a block that is not whole
    np.save(file, other)
    with pytest.raises(MismatchError, match="row 10 "):
        bring(file, corpus=make_corpus(20))
    np.save(file, values)
    receipt = bring(file, corpus=make_corpus(20))
    assert (receipt.written_blocks, receipt.skipped_blocks) == (2, 1)
    np.testing.assert_array_equal(cache.rows("own:last"), values)


@pytest.mark.parametrize("name", ["Own", "", "a/b", "labels", "../up"])
def test_a_name_that_can_be_none_is_refused(bring, save, make_matrix, name):
    with pytest.raises(VectorsError, match="cannot name a model") as refused:
        bring(save({"train.npy": make_matrix(20)}), name=name)
    near = {"Own": "own", "a/b": "a-b", "../up": "up"}.get(name)
    assert str(refused.value).endswith(f": call it {near}" if near else "ledger)")


def test_progress_counts_every_row_once(bring, save, make_corpus, make_matrix, monkeypatch):
    monkeypatch.setattr("lefcache.vectors.run.BLOCK_ROWS", 8)
    folder = save({f"layer-{k}.npy": make_matrix(20) for k in (1, 2)})
    seen = []
    bring(folder, on_progress=seen.append)
    assert seen == [Progress("train", rows) for rows in (0, 8, 8, 4)]
    bring(folder, on_progress=seen.append)
    assert seen[-1] == Progress("train", 20)


def test_a_study_of_other_vectors_is_another_study(
    cache, bring, save, make_corpus, make_matrix, tmp_path
):
    found = []
    for seed in (1, 2, 1):
        shutil.rmtree(cache.path, ignore_errors=True)
        bring(save({"train.npy": make_matrix(20, seed=seed)}), corpus=make_corpus(20))
        found.append(sweep(cache.tables("own:last"), results=tmp_path / "results"))
    assert [each.cached for each in found] == [False, False, True]


# Killed


class Killed(BaseException):
    """A process that ends here: nothing catches it."""


def test_a_kill_at_any_file_that_is_written_leaves_what_resumes_to_the_same_bytes(
    save, make_corpus, make_matrix, tmp_path, monkeypatch, before_each_file, tree_bytes
):
    monkeypatch.setattr("lefcache.vectors.run.BLOCK_ROWS", 4)
    for module in ("run", "work"):
        monkeypatch.setattr(f"lefcache.vectors.{module}.now", lambda: "then")
    folder = save({f"layer-{k}.npy": make_matrix(6, seed=k) for k in (0, 1)})
    written, last = 0, None

    def count_down(_):
        nonlocal written
        written += 1
        if last is not None and written > last:
            raise Killed

    def attempt(where, stop=None):
        nonlocal written, last
        written, last = 0, stop
        cache = open_cache(tmp_path / where)
        import_vectors("own", [folder], make_corpus(6), cache, note="this")
        return cache

    before_each_file(count_down)
    whole, files = tree_bytes(attempt("whole").path / "tiny"), written
    assert files > 15
    for stop in range(files):
        with pytest.raises(Killed):
            attempt(f"after-{stop}", stop)
        for entry in open_cache(tmp_path / f"after-{stop}").ls():
            assert entry["resume"] is None or "lef import own" in entry["resume"]
        assert tree_bytes(attempt(f"after-{stop}").path / "tiny") == whole


@pytest.fixture
def half(cache, bring, save, make_matrix, monkeypatch):
    """An import of two layers that was stopped after the first of three blocks; its folder."""
    monkeypatch.setattr("lefcache.vectors.run.BLOCK_ROWS", 8)
    folder = save({f"layer-{k}.npy": make_matrix(20, seed=k) for k in (1, 2)})

    def stop(progress):
        if progress.rows:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        bring(folder, on_progress=stop)
    return folder


def test_what_is_unfinished_is_told_with_the_command_that_finishes_it(cache, bring, half):
    with pytest.raises(IncompleteError, match="8 of 20 rows") as error:
        cache.rows("own:1")
    words = shlex.split(str(error.value).partition("finish it with: ")[2])
    assert words[:4] == ["lef", "import", "own", str(half)]
    assert words[words.index("--split") + 1] == "train"
    assert bring(half).written_blocks == 2
    assert cache.ls()[0]["resume"] is None


def test_layers_that_came_together_are_finished_together(bring, half):
    with pytest.raises(IncompleteError, match=r"mean/1 came in one import with mean/2.*lef import"):
        bring(half / "layer-1.npy")


def test_a_file_that_changed_in_the_meantime_is_noticed(bring, half, make_matrix):
    np.save(half / "layer-2.npy", make_matrix(20, seed=9))
    with pytest.raises(MismatchError, match=r"mean/2 .*rows 0\.\.7 \(counted from 0\) differ"):
        bring(half)


def test_another_process_in_between_is_noticed(cache, bring, half, monkeypatch):
    check = work.Work.check

    def meanwhile(self, cache):
        monkeypatch.setattr(work.Work, "check", check)
        bring(half)
        return check(self, cache)

    monkeypatch.setattr(work.Work, "check", meanwhile)
    with pytest.raises(BusyError, match="in the meantime"):
        bring(half)
