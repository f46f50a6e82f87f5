import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from lefcache.extract import Encoded
from lefcache.extract.embed import span_of
from lefcache.extract.pooling import POOLINGS

WIDTH = 5

ENCODED = st.builds(
    lambda length, skip, bos: Encoded([1] * length, min(skip, length - 1), bos),
    st.integers(1, 9),
    st.integers(0, 4),
    st.booleans(),
)


def plain(pool, states, encoded):
    """What each pooling means, said in numpy for one text without padding: (T, D) to (D,)."""
    states = states.astype(np.float32)
    pooled = states[encoded.skip :]
    bare = states[max(encoded.skip, int(encoded.bos)) :]
    return {
        "mean": lambda: pooled.mean(0),
        "mean_nobos": lambda: (bare if len(bare) else pooled).mean(0),
        "last": lambda: states[-1],
        "first": lambda: states[0],
        "max": lambda: pooled.max(0),
    }[pool]()


def pool(name, texts, batch, padding=0.0, extra=0):
    longest = max(map(len, batch)) + extra
    states = np.full((len(batch), longest, WIDTH), padding, texts[0].dtype)
    for row, text in enumerate(texts):
        states[row, : len(text)] = text
    tensor = torch.from_numpy(states)
    return POOLINGS[name](tensor, span_of(batch, tensor)).numpy()


def draw_texts(batch, seed=0):
    generator = np.random.default_rng(seed)
    return [generator.standard_normal((len(each), WIDTH), np.float32) for each in batch]


@pytest.mark.parametrize("name", POOLINGS)
@given(batch=st.lists(ENCODED, min_size=1, max_size=6), seed=st.integers(0, 9))
def test_a_pooling_is_its_plain_numpy_statement(name, batch, seed):
    texts = draw_texts(batch, seed)
    wanted = [plain(name, text, each) for text, each in zip(texts, batch, strict=True)]
    np.testing.assert_allclose(pool(name, texts, batch), wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", POOLINGS)
@pytest.mark.parametrize("padding", [-1e30, 1e30, float("nan"), float("inf")])
def test_padding_is_never_pooled_whatever_it_holds(name, padding):
    batch = [Encoded([1] * length, skip=1, bos=True) for length in (2, 7, 4)]
    texts = draw_texts(batch)
    wanted = pool(name, texts, batch)
    np.testing.assert_array_equal(pool(name, texts, batch, padding, extra=3), wanted)


@pytest.mark.parametrize("name", POOLINGS)
def test_a_text_that_is_only_bos_is_pooled_over_it(name):
    batch = [Encoded([1], bos=True), Encoded([1, 2, 3], bos=True)]
    texts = draw_texts(batch)
    np.testing.assert_allclose(pool(name, texts, batch)[0], texts[0][0], rtol=1e-6)


@pytest.mark.parametrize("name", ["mean", "mean_nobos", "max", "last"])
def test_an_instruction_is_not_pooled(name):
    batch = [Encoded([1] * 6, skip=4, bos=True)]
    texts = draw_texts(batch)
    changed = [np.concatenate([texts[0][:4] + 100, texts[0][4:]])]
    np.testing.assert_array_equal(pool(name, texts, batch), pool(name, changed, batch))


@pytest.mark.parametrize("name", POOLINGS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_pooled_in_float32(name, dtype):
    states = torch.full((1, 4096, 1), 1.0, dtype=dtype)  # a bfloat16 sum stops growing at 256
    pooled = POOLINGS[name](states, span_of([Encoded([1] * 4096)], states))
    assert pooled.dtype == torch.float32
    assert pooled.item() == pytest.approx(1.0, abs=1e-5)


@given(hnp.arrays(np.float16, (3, 4), elements=st.floats(-60000, 60000, width=16)))
def test_a_mean_of_large_half_precision_values_does_not_overflow(values):
    states = torch.from_numpy(values)[None]
    pooled = POOLINGS["mean"](states, span_of([Encoded([1, 1, 1])], states))
    np.testing.assert_allclose(pooled[0], values.astype(np.float64).mean(0), rtol=1e-3, atol=1e-2)
