"""What an extraction will take: counted from what is missing, timed without the texts."""

import time

import numpy as np
import pytest

import lefcache.extract.expected
from lefcache.extract import estimate, place_order
from lefcache.testing import FakeBackbone

WIDTH, HALF, FULL = 2, 2, 4


def expected(cache, corpus, fake=None, **choices):
    fake = fake or FakeBackbone()
    return estimate(fake, corpus, cache, place_order(fake, corpus, **choices))


def test_a_pooling_that_is_added_costs_only_its_own_bytes(run, cache, make_corpus):
    corpus = make_corpus(9)
    run(corpus, pools=["mean"])
    more = expected(cache, corpus, pools=["mean", "last"])
    assert (more.rows, more.arrays) == (9, 5)
    size = 3 * 4 * WIDTH * HALF  # of three chunks
    assert (more.bytes_per_array, more.bytes) == (size, size * 5)


def test_a_partial_last_block_that_grows_is_computed_again(run, cache, make_corpus):
    corpus = make_corpus(9)
    run(corpus, limit=6)  # blocks of 4: 0..4 is whole, 4..6 is not
    seen = []
    more = expected(cache, corpus)
    run(corpus, on_progress=seen.append)
    assert more.rows == sum(each.rows for each in seen) == 5
    assert more.bytes == (4 + 4) * 5 * WIDTH * HALF  # row 8 takes a chunk of 4


def test_each_array_counts_as_it_is_stored(run, cache, make_corpus):
    corpus = make_corpus(8)
    run(corpus, limit=4, layers="1", store_dtype="float32")
    assert expected(cache, corpus, layers="1..2").bytes == (
        4 * WIDTH * (FULL + HALF) + 4 * WIDTH * HALF
    )


@pytest.mark.parametrize(("dtype", "item"), [("auto", 2), ("float16", 2), ("float32", 4)])
def test_what_is_not_there_yet_counts_as_it_was_asked_for(cache, make_corpus, dtype, item):
    assert expected(cache, make_corpus(64), store_dtype=dtype).bytes == 64 * 5 * WIDTH * item


@pytest.mark.parametrize("format", ["zarr", "hdf5"])
@pytest.mark.parametrize(("rows", "limit"), [(3, None), (65, None), (65, 3), (1100, None)])
def test_what_is_announced_is_what_lies_on_the_disk(run, cache, make_corpus, format, rows, limit):
    corpus, cut = make_corpus(rows), {"block_rows": 1024, "limit": limit, "format": format}
    announced = expected(cache, corpus, **cut)
    run(corpus, **cut)
    pages = cache.pages("fake", "train", "tiny")
    chunks = [cache.store.chunks(f"{pages.path}/{name}") for name in pages.arrays if "/" in name]
    taken = sum(chunk.rows * WIDTH * HALF for each in chunks for chunk in each)
    assert (announced.bytes, announced.arrays) == (taken, len(chunks))


def test_nothing_left_takes_no_time_and_no_pass(run, cache, make_corpus, counter):
    corpus, seen = make_corpus(8), counter()
    run(corpus)
    done = expected(cache, corpus, FakeBackbone(on_forward=seen))
    assert (done.rows, done.bytes, done.seconds, done.arrays, done.tokens) == (0, 0, 0.0, 0, 0)
    assert seen.passes == 0


def test_the_model_is_timed_on_made_up_texts_of_the_real_lengths(cache, make_corpus, backbone):
    model, passed = backbone("llama"), []
    corpus = make_corpus(train=["no", "a cat sat on the mat", "yes it is", "bad film"] * 5)
    forward = model.forward

    def counting(batch, layers, deliver):
        passed.extend(tuple(each.ids) for each in batch)
        forward(batch, layers, deliver)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(model, "forward", counting)
        assert expected(cache, corpus, model).seconds > 0
    real = model.tokenize(corpus.splits["train"].texts)
    assert {len(ids) for ids in passed} == {len(each) for each in real}
    assert not {tuple(each.ids) for each in real} & set(passed)


def slow(seconds_per_token):
    return FakeBackbone(
        on_forward=lambda batch: time.sleep(seconds_per_token * sum(map(len, batch)))
    )


def test_a_model_that_is_slow_here_is_found_out_early(cache, make_corpus, monkeypatch):
    monkeypatch.setattr(lefcache.extract.expected, "TIMED_SECONDS", 0.05)
    corpus = make_corpus(train=[" ".join(["x"] * 20) + f" {n}" for n in range(1000)])
    started = time.monotonic()
    # Each batch of 1,024 tokens would take 2 seconds, one text 0.04.
    takes = expected(cache, corpus, slow(0.002)).seconds
    assert time.monotonic() - started < 1
    assert takes == pytest.approx(0.002 * 21 * 1000, rel=0.2)


def test_a_first_pass_that_is_slow_does_not_count(cache, make_corpus):
    passes = []

    def slow_at_first(batch):
        passes.append(batch)
        time.sleep(0.001 * sum(map(len, batch)) + (0.2 if len(passes) == 1 else 0))

    takes = expected(cache, make_corpus(40), FakeBackbone(on_forward=slow_at_first)).seconds
    tokens = np.sum([len(text.split()) for text in make_corpus(40).splits["train"].texts])
    assert takes == pytest.approx(0.001 * tokens, rel=0.5)
