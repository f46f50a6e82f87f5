"""What lands in a cache: exact numbers of the fake model, each text once, whatever happens."""

from dataclasses import replace

import numpy as np
import pytest

from lefcache.cache import open as open_cache
from lefcache.errors import BusyError, CorpusError, FeatureError, MismatchError, NotFiniteError
from lefcache.extract import estimate, extract, place_order
from lefcache.testing import FakeBackbone

TEXTS = [
    "one",
    "one two",
    "one two three",
    "",
    "a b c d e f",
    "x y",
    "one two three four",
    "z",
    "q",
]
TOKENS = [1, 2, 3, 1, 6, 2, 4, 1, 1]
POOLS = ("mean", "last", "first", "max", "mean_nobos")


def expected(pool, layer, depth=3):
    """The fake's first column, by its own docstring."""
    level = 10.0 * layer if layer != "last" else 10.0 * depth + 0.5
    count = np.array(TOKENS, np.float32)
    within = {"mean": (count - 1) / 2, "last": count - 1, "first": 0 * count, "max": count - 1}
    return level + within.get(pool, within["mean"])


def first_column(cache, feature, split="train"):
    return np.asarray(cache.rows(feature, split))[:, 0]


@pytest.mark.parametrize("pool", POOLS)
def test_every_layer_and_pooling_is_stored_exactly(run, cache, make_corpus, pool):
    run(make_corpus(train=TEXTS), pools=[pool])
    for layer in (0, 1, 2, 3, "last"):
        values = np.asarray(cache.rows(f"fake:{layer}@{pool}"))
        np.testing.assert_array_equal(values[:, 0], expected(pool, layer))
        np.testing.assert_array_equal(values[:, 1], TOKENS)


@pytest.mark.parametrize("block_rows", [1, 4, 16])
@pytest.mark.parametrize("batch_tokens", [1, 7, 1000])
def test_how_the_work_is_cut_changes_nothing(run, cache, make_corpus, block_rows, batch_tokens):
    choices = {"block_rows": block_rows, "batch_tokens": batch_tokens}
    run(make_corpus(train=TEXTS), layers="2", **choices)
    np.testing.assert_array_equal(first_column(cache, "fake:2"), expected("mean", 2))


def test_every_split_is_stored(run, cache, make_corpus):
    run(make_corpus(train=TEXTS, test=TEXTS[:3]))
    np.testing.assert_array_equal(first_column(cache, "fake:1", "test"), expected("mean", 1)[:3])


def test_only_the_splits_asked_for_are_stored(run, cache, make_corpus):
    run(make_corpus(train=TEXTS, test=TEXTS), splits=["test"])
    assert list(cache["tiny"]["fake"]) == ["test"]


def test_each_text_goes_through_the_model_once(run, make_corpus, counter):
    seen = counter()
    run(make_corpus(23), on_forward=seen)
    assert seen.texts == 23


def test_duplicates_within_a_block_are_computed_once(run, cache, make_corpus, counter):
    seen = counter()
    run(make_corpus(train=["a b", "c", "a b", "a b", "c", "c"]), on_forward=seen)
    assert seen.texts == 3  # "a b" and "c" of the first block, "c" of the second
    np.testing.assert_array_equal(first_column(cache, "fake:1"), [10.5, 10, 10.5, 10.5, 10, 10])


def test_a_second_run_computes_nothing(run, cache, make_corpus, counter, tree_bytes):
    corpus, seen = make_corpus(10), counter()
    run(corpus)
    before = tree_bytes(cache.path / "tiny")
    receipt = run(corpus, on_forward=seen)
    assert (seen.passes, receipt.computed_blocks, receipt.skipped_blocks) == (0, 0, 3)
    assert tree_bytes(cache.path / "tiny") == before


def test_a_receipt_counts(run, make_corpus, cache):
    receipt = run(make_corpus(train=TEXTS, test=["x " * 600]), load_seconds=1.5)
    assert (receipt.rows, receipt.blocks, receipt.computed_blocks) == (10, 4, 4)
    assert (receipt.tokens, receipt.truncated) == (sum(TOKENS) + 512, 1)
    assert (receipt.load_seconds, receipt.path) == (1.5, str(cache.path / "tiny/fake"))
    sizes = [file.stat().st_size for file in (cache.path / "tiny/fake").rglob("*/**/*")]
    assert 0 < receipt.bytes <= sum(sizes)


def test_progress_counts_every_row_and_token(run, make_corpus):
    seen = []
    run(make_corpus(train=TEXTS), on_progress=seen.append)
    assert sum(each.rows for each in seen) == len(TEXTS)
    assert sum(each.tokens for each in seen) == sum(TOKENS)


def test_progress_counts_a_row_for_every_duplicate(run, make_corpus):
    seen = []
    run(make_corpus(train=["a b", "c", "a b", "a b", "c", "c"]), on_progress=seen.append)
    assert sum(each.rows for each in seen) == 6
    assert sum(each.tokens for each in seen) == 2 + 1 + 1  # what went through the model


def test_a_receipt_counts_the_tokens_of_its_own_rows(run, make_corpus):
    corpus = make_corpus(train=[*TEXTS, "x " * 600])
    assert run(corpus).truncated == 1
    receipt = run(corpus, limit=5)
    assert (receipt.rows, receipt.tokens, receipt.truncated) == (5, sum(TOKENS[:5]), 0)


def test_an_estimate_counts_what_is_left_and_writes_nothing(run, cache, make_corpus):
    corpus, fake = make_corpus(train=TEXTS, test=TEXTS[:3]), FakeBackbone()
    order = place_order(fake, corpus, layers="1,2", block_rows=4)
    before = estimate(fake, corpus, cache, order)
    assert not cache.path.exists()
    assert (before.rows, before.rows_in_all, before.arrays) == (12, 12, 2)
    assert (before.tokens, before.bytes) == (sum(TOKENS) + sum(TOKENS[:3]), 16 * 2 * 2 * 2)
    # 9 and 3 rows in whole chunks of 4
    assert before.seconds > 0
    assert before.free_bytes > 0
    run(corpus, layers="1,2", splits=["train"])
    assert estimate(fake, corpus, cache, order).rows == 3
    run(corpus, layers="1,2")
    after = estimate(fake, corpus, cache, order)
    assert (after.rows, after.rows_in_all, after.seconds, after.bytes) == (0, 12, 0.0, 0)


# Layers, poolings and rows that come later


def test_layers_added_later_touch_no_old_file(run, cache, make_corpus, tree_bytes):
    corpus = make_corpus(train=TEXTS)
    run(corpus, layers="1,2")
    before = tree_bytes(cache.path / "tiny/fake/train")
    run(corpus, layers="0..3", pools=["mean", "max"])
    after = tree_bytes(cache.path / "tiny/fake/train")
    changed = {name for name, content in before.items() if after[name] != content}
    assert changed <= {"zarr.json"}  # the list of arrays
    for pool, layer in [("mean", 0), ("mean", 1), ("mean", 3), ("max", 1), ("max", 3)]:
        np.testing.assert_array_equal(
            first_column(cache, f"fake:{layer}@{pool}"), expected(pool, layer)
        )


def test_layers_added_later_are_the_same_as_at_once(run, cache, make_corpus, tmp_path, tree_bytes):
    corpus, other = make_corpus(20), open_cache(tmp_path / "other")
    run(corpus, layers="1")
    run(corpus, layers="3")
    run(corpus, layers="1,3", into=other)
    for layer in (1, 3):
        below = f"tiny/fake/train/mean/{layer}"
        assert tree_bytes(cache.path / below) == tree_bytes(other.path / below)


def test_a_layer_added_over_more_rows_counts_the_tokens_of_all(run, cache, make_corpus):
    corpus = make_corpus(train=[*TEXTS, "x " * 600])
    run(corpus, layers="1", limit=6)
    receipt = run(corpus, layers="2")
    assert (receipt.rows, receipt.tokens, receipt.truncated) == (10, sum(TOKENS) + 512, 1)
    tokens, cut = cache.pages("fake").tokens()
    assert ([*tokens], [*np.flatnonzero(cut)]) == ([*TOKENS, 512], [9])
    assert cache.pages("fake").magnitudes()["tokens"].max() == 512


def test_a_limit_is_a_prefix_that_can_be_extended(run, cache, make_corpus, counter):
    corpus = make_corpus(train=TEXTS)
    run(corpus, limit=6)
    np.testing.assert_array_equal(first_column(cache, "fake:2"), expected("mean", 2)[:6])
    seen = counter()
    run(corpus, on_forward=seen)
    assert seen.texts == 5  # the partial block again, and the new one
    np.testing.assert_array_equal(first_column(cache, "fake:2"), expected("mean", 2))


def test_a_lower_limit_later_takes_nothing_away(run, cache, make_corpus):
    corpus = make_corpus(train=TEXTS)
    run(corpus)
    receipt = run(corpus, limit=3)
    assert (receipt.rows, receipt.computed_blocks) == (3, 0)
    assert cache.rows("fake:1").shape == (9, 2)


@pytest.mark.parametrize("limit", [0, -1])
def test_a_limit_that_leaves_nothing_is_refused(make_corpus, limit):
    with pytest.raises(CorpusError, match="limit"):
        place_order(FakeBackbone(), make_corpus(5), limit=limit)


def test_rows_appended_to_the_data_are_added(run, cache, make_corpus, counter):
    run(make_corpus(train=TEXTS[:8]))
    seen = counter()
    run(make_corpus(train=TEXTS), on_forward=seen)
    assert seen.texts == 1
    np.testing.assert_array_equal(first_column(cache, "fake:2"), expected("mean", 2))


def test_an_extended_cache_has_the_bytes_of_a_whole_one(
    run, cache, make_corpus, tmp_path, tree_bytes
):
    other = open_cache(tmp_path / "other")
    corpus = make_corpus(19)
    for limit in (3, 4, 11, None):
        run(corpus, limit=limit)
    run(corpus, into=other)
    below = "tiny/fake/train"
    assert tree_bytes(cache.path / below) == tree_bytes(other.path / below)


# Storage types


def test_vectors_are_float16_as_long_as_they_are_small(run, cache, make_corpus):
    run(make_corpus(5))
    assert cache.rows("fake:1").dtype == np.float16


class Loud(FakeBackbone):
    """A fake whose layer 2 has a chosen value in every text that begins with `w`."""

    def __init__(self, value, texts=("loud",), **settings):
        super().__init__(**settings)
        self.value, self.loud = value, texts

    def tokenize(self, texts):
        encoded = super().tokenize(texts)
        for text, each in zip(texts, encoded, strict=True):
            if text in self.loud:
                each.ids[0] = 666
        return encoded

    def forward(self, batch, layers, deliver):
        def louder(layer, states):
            for row, encoded in enumerate(batch):
                if layer == 2 and encoded.ids[0] == 666:
                    states[row] = self.value
            deliver(layer, states)

        super().forward(batch, layers, louder)


QUIET = [f"quiet {number}" for number in range(12)]


def test_only_a_layer_with_large_values_is_float32(run, cache, make_corpus):
    run(make_corpus(train=["loud", *QUIET]), backbone=Loud(20_000.0))
    dtypes = {layer: cache.rows(f"fake:{layer}").dtype for layer in range(4)}
    assert dtypes == {0: np.float16, 1: np.float16, 2: np.float32, 3: np.float16}
    assert cache.rows("fake:2")[0][0] == 20_000.0


def test_the_dtype_is_settled_by_the_first_block(run, cache, make_corpus):
    run(make_corpus(train=[*QUIET, "loud"]), backbone=Loud(20_000.0))
    assert cache.rows("fake:2").dtype == np.float16
    assert cache.rows("fake:2")[12][0] == 20_000.0


def test_later_rows_keep_the_dtype_of_the_cache(run, cache, make_corpus):
    corpus = make_corpus(train=["loud", *QUIET])
    run(corpus, backbone=Loud(20_000.0), limit=4)
    run(corpus, backbone=Loud(20_000.0))
    assert {cache.rows(f"fake:{layer}").dtype for layer in (1, 2)} == {
        np.dtype(np.float16),
        np.dtype(np.float32),
    }


def test_float32_can_be_asked_for(run, cache, make_corpus):
    run(make_corpus(9), store_dtype="float32")
    assert {cache.rows(f"fake:{layer}").dtype.str for layer in range(4)} == {"<f4"}


def test_bfloat16_is_stored_and_read_as_what_torch_rounds_to(cache, backbone, make_corpus):
    import torch

    model, corpus = backbone("llama"), make_corpus(train=TEXTS)
    extract(model, corpus, cache, store_dtype="bfloat16", block_rows=4)
    whole = open_cache(cache.path.parent / "float32")
    extract(model, corpus, whole, store_dtype="float32", block_rows=4)
    for layer in model.layers:
        rows, exact = cache.rows(f"llama:{layer}"), whole.rows(f"llama:{layer}")[:]
        rounded = torch.from_numpy(np.array(exact)).bfloat16()
        assert (rows.stored.name, rows.dtype) == ("bfloat16", np.float32)
        np.testing.assert_array_equal(rows, rounded.float())
        assert torch.equal(torch.from_numpy(rows.bits[:]).view(torch.bfloat16), rounded)


def test_bfloat16_that_was_interrupted_has_the_bytes_of_a_whole_run(
    run, cache, make_corpus, counter, tmp_path, tree_bytes
):
    corpus, other = make_corpus(18), open_cache(tmp_path / "other")
    for limit, passes in ((7, 2), (None, 1)):
        with pytest.raises(KeyboardInterrupt):
            run(corpus, limit=limit, store_dtype="bfloat16", on_forward=counter(passes))
    assert "--store-dtype" not in cache.pages("fake").resume_command()  # settled by block 0
    run(corpus)
    run(corpus, into=other, store_dtype="bfloat16")
    below = "tiny/fake/train"
    assert tree_bytes(cache.path / below) == tree_bytes(other.path / below)
    assert cache.ls()[0]["dtype"] == "bfloat16"


def test_an_array_keeps_the_type_it_was_begun_with_and_says_so(run, cache, make_corpus):
    corpus = make_corpus(9)
    run(corpus, layers="1", limit=4)
    receipt = run(corpus, layers="1", store_dtype="bfloat16")
    assert cache.rows("fake:1").stored == np.float16
    [note] = receipt.notes
    assert note.startswith("tiny/fake/train/mean/1 keeps the float16 it was begun in; to have bf")
    assert run(corpus, layers="1", store_dtype="float16").notes == ()
    assert run(corpus, layers="2", store_dtype="bfloat16").notes == ()
    assert cache.rows("fake:2").stored.name == "bfloat16"


@pytest.mark.parametrize("dtype", ["float8", "int8", "complex64"])
def test_a_storage_type_that_is_none_is_refused(make_corpus, dtype):
    with pytest.raises(FeatureError, match=dtype):
        place_order(FakeBackbone(), make_corpus(5), store_dtype=dtype)


@pytest.mark.parametrize("store_dtype", ["auto", "bfloat16", "float16", "float32"])
@pytest.mark.parametrize(
    ("value", "found"),
    [(float("nan"), "is NaN"), (float("inf"), "is infinite"), (float("-inf"), "is infinite")],
)
def test_what_is_not_finite_stops_the_run_and_names_layer_and_row(
    run, cache, make_corpus, value, found, store_dtype
):
    texts = [*QUIET[:9], "loud", *QUIET[9:]]
    named = rf"tiny/fake/train: layer 2 \(mean\) of row 9, 'loud', {found}: .* the model itself"
    with pytest.raises(NotFiniteError, match=named):
        run(make_corpus(train=texts), backbone=Loud(value), store_dtype=store_dtype)
    assert cache.pages("fake").done_rows == 8


def test_a_long_text_is_named_by_how_it_begins(run, make_corpus):
    text = "once upon a time " * 100
    with pytest.raises(NotFiniteError, match="once upon a time") as raised:
        run(make_corpus(train=[*QUIET, text]), backbone=Loud(float("nan"), texts=(text,)))
    assert len(str(raised.value)) < 400


def test_half_precision_that_overflows_is_told_of_both_ways_out(run, make_corpus):
    fake = Loud(float("inf"))
    fake.spec = replace(fake.spec, dtype="float16")
    with pytest.raises(NotFiniteError, match=r"computing in float16; .*--dtype bfloat16") as raised:
        run(make_corpus(train=["loud"]), backbone=fake)
    assert str(raised.value).endswith("--dtype float32 --attention auto")


def test_bfloat16_holds_what_outgrows_float16_and_nothing_beyond_its_own_end(
    run, cache, make_corpus
):
    run(make_corpus(train=["loud"]), backbone=Loud(1e5), store_dtype="bfloat16")
    np.testing.assert_allclose(cache.rows("fake:2")[0], 1e5, rtol=2**-8)
    with pytest.raises(NotFiniteError, match=r"has the value 3.4e\+38, too large for bfloat16"):
        run(
            make_corpus(train=["loud"]),
            backbone=Loud(3.4e38, name="louder"),
            store_dtype="bfloat16",
        )


def test_a_mended_model_resumes_after_a_value_that_was_not_finite(run, cache, make_corpus, counter):
    texts, seen = [*QUIET[:9], "loud", *QUIET[9:]], counter()
    with pytest.raises(NotFiniteError):
        run(make_corpus(train=texts), backbone=Loud(float("nan")))
    receipt = run(make_corpus(train=texts), backbone=Loud(1.0, on_forward=seen))
    assert (receipt.skipped_blocks, seen.texts) == (2, 5)
    assert cache.rows("fake:2")[9].tolist() == [1.0, 1.0]


def test_a_value_that_outgrows_float16_gives_the_command_that_keeps_it(run, cache, make_corpus):
    texts = [*QUIET, "loud"]
    with pytest.raises(NotFiniteError, match="too large for float16") as raised:
        run(make_corpus(train=texts), backbone=Loud(1e5))
    words = ("--layers 0..3,last", "--store-dtype float32", "--as fake-f32", "--dtype float32")
    assert "row 12, 'loud', has the value 100,000, too large for float16" in str(raised.value)
    assert "the model itself" not in str(raised.value)
    for word in (*words, str(cache.path)):
        assert word in str(raised.value)
    assert cache.pages("fake").done_rows == 12


@pytest.mark.parametrize("first", [0, 12])
def test_float16_that_was_asked_for_never_stores_infinity(run, cache, make_corpus, first):
    texts = [*QUIET[:first], "loud", *QUIET[first:]]
    with pytest.raises(NotFiniteError, match="too large for float16"):
        run(make_corpus(train=texts), backbone=Loud(1e5), store_dtype="float16")


def test_a_duplicate_that_is_not_finite_is_named_by_its_first_row(run, make_corpus):
    texts = ["quiet", "loud", "loud", "other"]
    with pytest.raises(NotFiniteError, match="of row 1, 'loud'"):
        run(make_corpus(train=texts), backbone=Loud(float("nan")))


# Largest magnitudes, tokens and cuts


def test_the_largest_magnitude_of_each_block_is_that_of_its_vectors(run, cache, make_corpus):
    run(make_corpus(train=[*QUIET, "loud"]), backbone=Loud(-20_000.0), pools=["mean", "max"])
    pages = cache.pages("fake")
    found = pages.magnitudes()
    assert found["mean/2"][-1] == 20_000
    assert list(found) == pages.arrays
    for pool, layers in pages.items():
        for layer, rows in layers.items():
            blocks = [float(np.abs(rows[start : start + 4]).max()) for start in range(0, 13, 4)]
            assert found[f"{pool}/{layer}"].tolist() == blocks


@pytest.mark.parametrize("store_dtype", ["auto", "bfloat16", "float32"])
def test_magnitudes_are_those_of_what_is_stored(backbone, make_corpus, cache, store_dtype):
    extract(backbone("bert"), make_corpus(train=TEXTS), cache, store_dtype=store_dtype)
    for layer, each in ((n, cache.pages("bert").magnitudes()[f"mean/{n}"]) for n in range(4)):
        assert each.tolist() == [float(np.abs(cache.rows(f"bert:{layer}")[:]).max())]


def test_the_rows_that_were_cut_are_known(run, cache, make_corpus):
    long = "x " * 600
    run(make_corpus(train=["a b", long, "c", "", long]))
    tokens, cut = cache["tiny"]["fake"]["train"].tokens()
    assert tokens.tolist() == [2, 512, 1, 1, 512]
    assert np.flatnonzero(cut).tolist() == [1, 4]


# Other texts and other settings


@pytest.mark.parametrize(
    ("settings", "name"),
    [({"weights": "other"}, "weights"), ({"max_length": 7}, "max_length")],
)
def test_a_fake_with_other_settings_is_refused(run, make_corpus, settings, name):
    run(make_corpus(5))
    with pytest.raises(MismatchError, match=f"{name}: .* in the cache, .* now"):
        run(make_corpus(5), backbone=FakeBackbone(**settings))


def test_another_name_keeps_both(run, cache, make_corpus):
    run(make_corpus(5))
    run(make_corpus(5), backbone=FakeBackbone(weights="other", name="other"))
    assert list(cache["tiny"]) == ["fake", "other"]


def test_a_model_of_another_shape_under_the_same_name_is_refused(run, make_corpus):
    run(make_corpus(5))
    for changed in ({"width": 3}, {"depth": 5}):
        with pytest.raises(MismatchError, match=next(iter(changed))):
            run(make_corpus(5), backbone=FakeBackbone(**changed), layers="1")


def test_the_settings_of_one_split_bind_the_others(run, make_corpus):
    corpus = make_corpus(train=TEXTS, test=TEXTS)
    run(corpus, splits=["train"])
    with pytest.raises(MismatchError, match="weights"):
        run(corpus, splits=["test"], backbone=FakeBackbone(weights="other"))


def test_a_cache_begun_with_other_versions_goes_on_with_a_note(run, make_corpus):
    first, later = FakeBackbone(), FakeBackbone()
    first.provenance = {"torch": "2.11", "device": "fake"}
    later.provenance = {"torch": "2.13", "device": "fake", "transformers": "5"}
    assert run(make_corpus(5), backbone=first).notes == ()
    (note,) = run(make_corpus(9), backbone=later).notes
    assert note.startswith("this cache was begun with torch 2.11 then, 2.13 now;")


def test_other_versions_that_compute_nothing_are_not_worth_a_note(run, make_corpus):
    first, later = FakeBackbone(), FakeBackbone()
    first.provenance, later.provenance = {"torch": "2.11"}, {"torch": "2.13"}
    run(make_corpus(5), backbone=first)
    assert run(make_corpus(5), backbone=later).notes == ()


def test_a_changed_text_is_refused_before_the_model_runs(run, make_corpus, counter):
    run(make_corpus(train=TEXTS))
    seen = counter()
    changed = [*TEXTS[:4], TEXTS[4] + ".", *TEXTS[5:]]
    with pytest.raises(MismatchError, match=r"row 4 \(counted from 0\) is another text"):
        run(make_corpus(train=changed), on_forward=seen)
    assert seen.passes == 0


@pytest.mark.parametrize(
    ("choices", "error", "message"),
    [
        ({"layers": "9"}, FeatureError, "no layer 9 in this model: it has 0..3, last"),
        ({"layers": "3..1"}, FeatureError, "empty"),
        ({"layers": "1,,2"}, FeatureError, "empty item"),
        ({"pools": ["median"]}, FeatureError, "no pool 'median'"),
        ({"splits": ["dev2"]}, CorpusError, "no split 'dev2'"),
        ({"block_rows": 12}, FeatureError, "power of two"),
    ],
    ids=str,
)
def test_what_cannot_be_ordered_is_refused(make_corpus, choices, error, message):
    with pytest.raises(error, match=message):
        place_order(FakeBackbone(), make_corpus(5), **choices)


def test_two_at_once_is_refused(run, cache, make_corpus):
    def on_forward(_):
        with pytest.raises(BusyError, match=r"tiny/fake/train \(process \d+ of "):
            run(make_corpus(3))

    run(make_corpus(3), on_forward=on_forward)


def test_an_alias_is_stored_once(backbone, make_corpus, cache):
    corpus = make_corpus(train=["a cat", "no", "yes it is"])
    extract(backbone("bert"), corpus, cache, layers="2..3,last", pools=["mean", "last"])
    assert cache["tiny"]["bert"]["train"].layers("mean") == [2, 3]
    np.testing.assert_array_equal(cache.rows("bert:last"), cache.rows("bert:3"))
    np.testing.assert_array_equal(cache.rows("bert:last@last"), cache.rows("bert:3@last"))


@pytest.mark.parametrize("family", ["llama", "bert", "t5"])
def test_a_real_model_is_stored_as_it_is_pooled(backbone, make_corpus, cache, family):
    from lefcache.extract.embed import embed_batch

    texts = ["a cat sat on the mat", "no", "", "the film was very good", "yes"]
    extract(backbone(family), make_corpus(train=texts), cache, store_dtype="float32")
    model = backbone(family)
    for row, text in enumerate(texts):
        names = [f"mean/{layer}" for layer in model.layers]
        alone = embed_batch(model, model.tokenize([text]), names)
        for layer in model.layers:
            np.testing.assert_allclose(
                cache.rows(f"{family}:{layer}")[row], alone[f"mean/{layer}"][0].numpy(), atol=1e-5
            )


def test_what_the_model_read_and_in_which_time_is_remembered(cache, make_corpus):
    texts = [f"{'a ' * (1 + number % 3)}{number}" for number in range(22)]
    extract(FakeBackbone(), make_corpus(train=texts), cache, limit=11, layers="1")
    first = cache.store.attrs("tiny/fake")["work"]["train"]
    assert (first["rows"], first["tokens"]) == (11, sum(len(each.split()) for each in texts[:11]))
    assert first["seconds"] > 0
    extract(FakeBackbone(), make_corpus(train=texts), cache, limit=11, layers="1")
    assert cache.store.attrs("tiny/fake")["work"]["train"] == first  # there was nothing to do
    extract(FakeBackbone(), make_corpus(train=texts), cache, layers="2")
    more = cache.store.attrs("tiny/fake")["work"]["train"]
    assert more["rows"] == 11 + 22
    assert more["seconds"] > first["seconds"]
