"""Long texts read in windows: which tokens are in which, and how their vectors are put together."""

import numpy as np
import pytest
import torch

from lefcache.cache import CUT
from lefcache.cache.hints import spec_flags
from lefcache.errors import MismatchError, ModelError
from lefcache.extract import estimate, extract, load_backbone, place_order
from lefcache.extract.backbone import Encoded
from lefcache.extract.embed import embed_batch, embed_block
from lefcache.extract.windows import Windows
from lefcache.testing import FakeBackbone

FAMILIES = ["llama", "llama-left", "llama-bare", "bert", "t5"]
POOLS = ("mean", "mean_nobos", "first", "last", "max")
LONG = "not one of the two was bad and it is a cat on the mat and it was very very good"
TEXTS = ["no", LONG, "", "the film was very good", LONG + " film", "yes it is"]


def words(backbone, encoded):
    return [backbone.tokenizer.convert_ids_to_tokens(each.ids) for each in encoded.windows]


def plain(backbone, text, pool, layer):
    """What `--long windows` means: each window on its own, put together in numpy."""
    [encoded] = backbone.tokenize([text])
    name = f"{pool}/{layer}"
    each = np.concatenate([embed_batch(backbone, [w], [name])[name] for w in encoded.windows])
    bos = np.array([w.bos and pool == "mean_nobos" for w in encoded.windows])
    weights = np.array([len(w) - w.skip for w in encoded.windows]) - bos
    mean = (each * (weights / weights.sum())[:, None]).sum(0) if weights.sum() else each[0]
    return {"first": each[0], "last": each[-1], "max": each.max(0)}.get(pool, mean)


@pytest.mark.parametrize("family", FAMILIES)
def test_windows_are_the_text_in_order_each_with_its_special_tokens(backbone, family):
    model = backbone(family, max_length=8, long="windows")
    own = list(model.tokenizer("")["input_ids"])
    for text in (LONG, "no", "the film"):
        [encoded] = model.tokenize([text])
        assert all(0 < len(each) <= 8 for each in encoded.windows)
        assert not any(each.cut for each in encoded.windows)
        bare = [[i for i in each.ids if i not in own] for each in encoded.windows]
        around = [len(each) - len(b) for each, b in zip(encoded.windows, bare, strict=True)]
        assert set(around) == {len(own)}
        whole = model.tokenizer(text, add_special_tokens=False)["input_ids"]
        assert [i for each in bare for i in each] == whole
        assert len({each.bos for each in encoded.windows}) == 1


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("settings", [{}, {"prompt": "the film "}, {"instruction": "the film "}])
def test_the_first_window_is_the_text_as_it_would_be_cut(backbone, family, settings):
    cut = backbone(family, max_length=8, **settings).tokenize(TEXTS)
    windows = backbone(family, max_length=8, long="windows", **settings).tokenize(TEXTS)
    for one, other in zip(cut, windows, strict=True):
        assert (list(one.ids), one.skip, one.bos) == (list(other.ids), other.skip, other.bos)
        assert one.cut == bool(other.rest)


@pytest.mark.parametrize("kind", ["prompt", "instruction"])
def test_what_stands_before_a_text_stands_before_each_window(backbone, kind):
    model = backbone("bert", max_length=8, long="windows", **{kind: "the film "})
    [encoded] = model.tokenize(["one two three a cat on the mat"])
    assert words(model, encoded) == [
        ["[CLS]", "the", "film", "one", "two", "three", "a", "[SEP]"],
        ["[CLS]", "the", "film", "cat", "on", "the", "mat", "[SEP]"],
    ]
    assert {each.skip for each in encoded.windows} == {3 if kind == "instruction" else 0}


def test_a_chat_template_stands_around_each_window(chatty):
    model = load_backbone(
        str(chatty),
        device="cpu",
        chat_template="own",
        prompt="it is ",
        max_length=10,
        long="windows",
    )
    [encoded] = model.tokenize(["a cat on the mat"])
    frame = ["<s>", "very", "it", "is"], ["no", "</s>", "yes", "it"]
    assert words(model, encoded) == [
        [*frame[0], *middle, *frame[1]] for middle in (["a", "cat"], ["on", "the"], ["mat"])
    ]


@pytest.mark.parametrize("budget", [1, 20, 1000])
@pytest.mark.parametrize("family", ["llama", "bert", "t5"])
def test_every_pooling_is_put_together_as_it_means(backbone, family, budget):
    model = backbone(family, max_length=7, long="windows")
    names = [f"{pool}/{layer}" for pool in POOLS for layer in (0, 2, 3)]
    values = embed_block(model, TEXTS, names, {}, budget)
    for name in names:
        pool, layer = name.split("/")
        wanted = [plain(model, text, pool, layer) for text in TEXTS]
        np.testing.assert_allclose(values[name], wanted, rtol=1e-4, atol=1e-5)
    counts = [sum(len(w) for w in each.windows) for each in model.tokenize(TEXTS)]
    assert values["tokens"].tolist() == counts
    assert not (values["tokens"] & CUT).any()


@pytest.mark.parametrize("pool", POOLS)
def test_a_text_of_one_window_has_the_bytes_it_has_without(backbone, pool):
    short = [text for text in TEXTS if text != LONG and text != LONG + " film"]
    cut, windows = (
        embed_block(backbone("llama", max_length=12, long=long), short, [f"{pool}/2"], {}, 100)
        for long in ("truncate", "windows")
    )
    np.testing.assert_array_equal(cut[f"{pool}/2"], windows[f"{pool}/2"])


def test_instruction_tokens_are_pooled_in_no_window(backbone):
    model = backbone("llama", max_length=8, long="windows", instruction="the film ")
    values = embed_block(model, [LONG], ["mean/1"], {}, 100)
    assert values["tokens"].tolist() == [len(LONG.split())]
    np.testing.assert_allclose(values["mean/1"][0], plain(model, LONG, "mean", 1), rtol=1e-5)


def test_a_window_of_nothing_but_bos_weighs_as_it_is_pooled():
    only, more = Encoded([1], bos=True), Encoded([1, 2, 3], bos=True)
    assert (only.pooled(), only.pooled(bare=True)) == (1, 1)
    assert (more.pooled(), more.pooled(bare=True)) == (3, 2)
    assert Encoded([1, 2, 3], skip=9).pooled() == 1


# Through a cache, with a fake whose numbers are known


def expected(tokens, limit, layer=1):
    """The mean position within windows of `limit`, over all tokens."""
    return 10.0 * layer + (np.arange(tokens) % limit).mean()


@pytest.mark.parametrize("batch_tokens", [1, 600, 100_000])
def test_a_document_of_20_000_tokens_is_pooled_whole(cache, make_corpus, batch_tokens):
    texts = ["word " * 20_000, "a b c", "x " * 700, "", "a b c", "y " * 512]
    fake, seen = FakeBackbone(long="windows"), []
    receipt = extract(
        fake,
        make_corpus(train=texts),
        cache,
        pools=POOLS,
        store_dtype="float32",
        batch_tokens=batch_tokens,
        on_progress=seen.append,
    )
    counts = [20_000, 3, 700, 1, 3, 512]
    assert (receipt.tokens, receipt.truncated) == (sum(counts), 0)
    assert sum(each.rows for each in seen) == len(texts)
    assert sum(each.tokens for each in seen) == sum(counts) - 3  # "a b c" is read once
    last = [(count - 1) % 512 for count in counts]
    for pool, wanted in {
        "mean": [expected(count, 512) for count in counts],
        "first": [10] * 6,
        "last": [10 + place for place in last],
        "max": [10 + min(511, count - 1) for count in counts],
    }.items():
        values = np.asarray(cache.rows(f"fake:1@{pool}"))[:, 0]
        np.testing.assert_allclose(values, wanted, rtol=1e-6)


def test_a_run_that_goes_on_has_the_bytes_of_one_that_did_not_stop(
    cache, tmp_path, make_corpus, counter, tree_bytes
):
    from lefcache.cache import open as open_cache

    corpus = make_corpus(train=["x " * (30 * n) + str(n) for n in range(1, 14)])
    other, choices = open_cache(tmp_path / "other"), {"block_rows": 4, "batch_tokens": 150}
    extract(FakeBackbone(long="windows", max_length=50), corpus, other, **choices)
    stops = FakeBackbone(long="windows", max_length=50, on_forward=counter(fail_at=11))
    with pytest.raises(KeyboardInterrupt):
        extract(stops, corpus, cache, **choices)
    assert 0 < cache.pages("fake").done_rows < 13
    extract(FakeBackbone(long="windows", max_length=50), corpus, cache, **choices)
    below = "tiny/fake/train"
    assert tree_bytes(cache.path / below) == tree_bytes(other.path / below)


def test_only_texts_that_lack_a_window_are_kept():
    encoded = FakeBackbone(long="windows", max_length=4).tokenize(["x " * 10, "x", "x " * 5])
    windows = Windows(encoded)
    assert [len(each) for each in windows.rows] == [4, 4, 2, 1, 4, 1]

    def part(rows):
        return [torch.arange(float(rows))[:, None]]

    assert windows.join([0, 1], ["max/1"], part(2))[0] == []
    assert list(windows._begun) == [0]
    done, [values] = windows.join([2, 3, 4], ["max/1"], part(3))
    assert (done, values[:, 0].tolist()) == ([1, 0], [1.0, 1.0])
    done, [values] = windows.join([5], ["max/1"], part(1))
    assert (done, values[:, 0].tolist(), windows._begun) == ([2], [2.0], {})


def test_a_window_that_is_not_finite_names_its_text(cache, make_corpus):
    from lefcache.errors import NotFiniteError

    class Broken(FakeBackbone):
        def forward(self, batch, layers, deliver):
            def broken(layer, states):
                states[[len(each) == 3 for each in batch]] = float("nan")
                deliver(layer, states)

            super().forward(batch, layers, broken)

    texts = ["x", "y " * 100, "z " * 53]
    with pytest.raises(NotFiniteError, match="of row 2, 'z z"):
        extract(Broken(long="windows", max_length=50), make_corpus(train=texts), cache)


def test_an_estimate_counts_all_windows(cache, make_corpus):
    fake, corpus = FakeBackbone(long="windows", max_length=5), make_corpus(train=["x " * 13, "y"])
    assert estimate(fake, corpus, cache, place_order(fake, corpus)).tokens == 14


# What it is part of, and what it excludes


def test_windows_are_another_extraction(run, make_corpus):
    corpus = make_corpus(5)
    run(corpus)
    with pytest.raises(MismatchError, match="long: 'truncate' in the cache, 'windows' now"):
        run(corpus, backbone=FakeBackbone(long="windows"))


def test_the_command_that_goes_on_reads_windows_too(backbone):
    spec = backbone("llama", max_length=8, long="windows").spec
    assert spec_flags(spec) == ["--max-length", "8", "--long", "windows"]


def test_the_limit_of_a_model_is_told_as_that_of_a_window(backbone):
    notes = backbone("bert", long="windows").notes
    assert any("texts are read in windows of 48 tokens" in note for note in notes)


def test_cutting_on_the_left_is_refused(backbone):
    with pytest.raises(ModelError, match="--truncation-side left"):
        backbone("llama", long="windows", truncation_side="left")


def test_a_slow_tokenizer_is_refused(monkeypatch, model_folder):
    from transformers import PreTrainedTokenizerFast

    monkeypatch.setattr(PreTrainedTokenizerFast, "is_fast", False)
    with pytest.raises(ModelError, match="windows need a fast tokenizer"):
        load_backbone(str(model_folder("llama")), device="cpu", long="windows")


def test_raw_text_is_read_in_windows_by_a_head_that_was_trained_so(
    cache, model_folder, make_corpus
):
    from lefcache.predict import Predictor
    from lefcache.recipe import Recipe
    from lefcache.train import train

    model = load_backbone(str(model_folder("bert")), device="cpu", max_length=7, long="windows")
    extract(model, make_corpus(train=TEXTS * 3), cache, store_dtype="float32")
    table = cache.table("bert:2")
    head, _ = train(table, Recipe(width=4, hidden=(4,), dropout=(0.0,), epochs=1))
    [given] = Predictor(head, device="cpu").features(TEXTS)
    np.testing.assert_allclose(given, np.asarray(table.rows[0])[: len(TEXTS)], atol=1e-5)
