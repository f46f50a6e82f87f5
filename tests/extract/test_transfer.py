"""Copies to and from a device: the right values, waited for as late as can be."""

import numpy as np
import pytest
import torch

import lefcache.extract.embed
from lefcache.extract import extract, load_backbone
from lefcache.extract.embed import embed_block
from lefcache.extract.pooling import POOLINGS, Span
from lefcache.extract.transfer import fetch, to_device
from lefcache.testing import FakeBackbone

DEVICES = [
    "cpu",
    pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")),
]


@pytest.mark.parametrize("device", DEVICES)
def test_matrices_arrive_whole_and_in_order(device):
    given = [np.random.default_rng(width).standard_normal((5, width)) for width in (3, 1, 4)]
    arrived = fetch([to_device(each, torch.device(device)) for each in given])()
    assert [each.device.type for each in arrived] == ["cpu"] * 3
    for one, other in zip(arrived, given, strict=True):
        np.testing.assert_array_equal(one.numpy(), other)


@pytest.mark.parametrize("device", DEVICES)
def test_what_is_queued_after_a_copy_began_does_not_change_it(device):
    matrix = to_device(np.ones((64, 1024), np.float32), torch.device(device))
    arrival = fetch([matrix])
    matrix.zero_()  # our own is another: a copy is made of it
    del matrix
    torch.full((64, 1024), 7.0, device=device)  # may be given the memory that is free
    assert arrival()[0].unique().tolist() == [1.0]


def test_a_batch_is_waited_for_when_the_next_pass_has_begun(monkeypatch):
    events = []

    def watched(matrices):
        arrival = fetch(matrices)
        return lambda: events.append("wait") or arrival()

    monkeypatch.setattr(lefcache.extract.embed, "fetch", watched)
    fake = FakeBackbone(on_forward=lambda _: events.append("pass"))
    values = embed_block(fake, ["a", "a b c d", "a b c d e f g h"], ["mean/1"], {}, 1)
    assert events == ["pass", "pass", "wait", "pass", "wait", "wait"]
    assert values["mean/1"][:, 0].tolist() == [10, 11.5, 13.5]


def test_the_next_block_is_tokenised_while_the_model_runs(cache, make_corpus):
    fake, read, seen = FakeBackbone(), [], []
    tokenize, forward = fake.tokenize, fake.forward

    def reading(texts):
        read.append(len(texts))
        return tokenize(texts)

    def passing(*arguments):
        seen.append(len(read))
        forward(*arguments)

    fake.tokenize, fake.forward = reading, passing
    extract(fake, make_corpus(20), cache, block_rows=8, batch_tokens=1000)
    assert read == [8, 8, 4]
    assert all(block <= begun <= block + 1 for block, begun in enumerate(seen, 1))


def test_an_error_of_the_tokenizer_is_told_as_it_is(cache, make_corpus):
    fake = FakeBackbone()
    fake.tokenize = lambda texts: 1 / 0
    with pytest.raises(ZeroDivisionError):
        extract(fake, make_corpus(20), cache, block_rows=8)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("family", ["llama", "bert", "t5"])
def test_a_gpu_gives_the_numbers_of_a_cpu(model_folder, family):
    texts = ["a cat sat on the mat", "no", "", "the film was very good " * 5]
    names = [f"{pool}/{layer}" for pool in POOLINGS for layer in (0, 1, 3)]
    one, other = (
        embed_block(
            load_backbone(str(model_folder(family)), device=device, dtype="float32"),
            texts,
            names,
            {},
            48,
        )
        for device in ("cpu", "cuda")
    )
    for name in names:
        np.testing.assert_allclose(one[name], other[name], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("padding", [0.0, float("nan"), float("inf")])
def test_the_mean_of_a_gpu_is_that_of_a_cpu(dtype, padding):
    from lefcache.extract.pooling import _mean_of

    states = torch.randn(3, 9, 4, generator=torch.Generator().manual_seed(0)).to(dtype)
    lengths = torch.tensor([9, 4, 1])
    span = Span.of(torch.tensor([2, 0, 0]), torch.tensor([2, 1, 1]), lengths, 9)
    states[~(torch.arange(9) < lengths[:, None])] = padding
    for weights in (span.mean, span.mean_nobos):
        mean = _mean_of(states, weights != 0)
        assert mean.dtype == torch.float32
        wide = torch.where((weights != 0)[..., None], states, 0).double()
        np.testing.assert_allclose(mean, (wide * weights[..., None]).sum(1), rtol=1e-5, atol=1e-6)
