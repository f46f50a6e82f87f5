"""Texts that are packed into one row are as apart as in rows of their own, or the load says so."""

from inspect import signature

import numpy as np
import pytest
import torch

import lefcache
from lefcache.errors import MismatchError, ModelError
from lefcache.extract import DefectError, examine, extract, load_backbone, packing
from lefcache.extract.checks import CHECKS
from lefcache.extract.checks.probe import states_of

PACKED = {"dtype": "float32", "device": "cpu", "attention": "packed"}
TEXTS = ["a cat sat on the mat", "no", "the film was very good", "", "bad"]


@pytest.fixture
def fresh(model_folder):
    """A function that loads a tiny model, packed, for one test."""
    return lambda family="llama", **settings: load_backbone(
        str(model_folder(family)), **(PACKED | settings)
    )


def fed(model, texts):
    """What the network of a model is called with for these texts."""
    calls = []
    hook = model.network.register_forward_pre_hook(
        lambda _, __, inputs: calls.append(inputs), with_kwargs=True
    )
    states_of(model, model.tokenize(texts))
    hook.remove()
    return calls[0]


def test_no_token_of_padding_goes_through_the_model(fresh):
    model = fresh()
    lengths = [len(each) for each in model.tokenize(TEXTS)]
    inputs = fed(model, TEXTS)
    assert inputs["input_ids"].shape == (1, sum(lengths))
    assert "attention_mask" not in inputs
    wanted = np.concatenate([np.arange(length) for length in lengths])
    np.testing.assert_array_equal(inputs["position_ids"][0], wanted)
    np.testing.assert_array_equal(inputs["cu_seq_lens_q"], np.cumsum([0, *lengths]))
    assert fed(model.padded(), TEXTS)["input_ids"].shape == (len(TEXTS), max(lengths))


def test_the_model_has_its_own_attention_whenever_it_is_not_packed(fresh):
    model = fresh()
    states_of(model, model.tokenize(TEXTS))
    assert model.network.config._attn_implementation == "sdpa"
    assert model.spec.attention == "packed"


def test_positions_are_those_that_a_table_with_a_row_for_padding_gives():
    ids = np.array([[5, 1, 7], [1, 0, 0]])
    mask = np.array([[1, 1, 1], [1, 0, 0]])
    arrays = {"input_ids": ids, "attention_mask": mask}
    for first, wanted in ((0, [0, 1, 2, 0]), (2, [2, 1, 3, 1])):
        inputs, _ = packing.pack(arrays, first, torch.device("cpu"))
        assert inputs["position_ids"].tolist() == [wanted]


@pytest.mark.parametrize("family", ["llama", "llama-left", "llama-bare", "bert"])
def test_a_sound_model_is_sound_when_it_is_packed(fresh, family):
    diagnosis = examine(fresh(family))
    assert not diagnosis.wrong
    assert [each.name for each in diagnosis.findings] == [*CHECKS, "packing", "drift"]


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("family", ["llama", "bert"])
def test_packing_in_narrow_arithmetic(fresh, family, dtype):
    assert fresh(family, dtype=dtype).spec.dtype == dtype


def without_bounds(rows, bounds, window, scale):
    """An attention that forgets where texts begin."""
    return BY_LENGTH(rows, bounds[[0, -1]], window, scale)


def late(rows, bounds, window, scale):
    """An attention whose bounds are one token off."""
    moved = torch.cat([bounds[:1], bounds[1:-1] + 1, bounds[-1:]])
    return BY_LENGTH(rows, moved, window, scale)


def near(rows, bounds, window, scale):
    """An attention with a window that nobody asked for."""
    return BY_LENGTH(rows, bounds, (0, 0), scale)


def unscaled(rows, bounds, window, scale):
    """An attention that leaves out the scale of the scores."""
    return BY_LENGTH(rows, bounds, window, 1.0)


BY_LENGTH = packing._by_length


DEFECTS = [
    *((family, defect) for family in ("llama", "bert") for defect in (without_bounds, late, near)),
    ("llama", unscaled),  # a fresh BERT has scores of nearly zero
]


@pytest.mark.parametrize(("family", "defect"), DEFECTS)
def test_an_attention_that_is_wrong_is_found_at_load_and_by_the_doctor(
    fresh, monkeypatch, family, defect
):
    monkeypatch.setattr(packing, "_by_length", defect)
    with pytest.raises(DefectError, match=r"packing: .*leave out --attention packed") as raised:
        fresh(family)
    assert [each.name for each in raised.value.findings] == ["packing"]
    assert "packing" in [each.name for each in examine(fresh(family, checked=False)).wrong]


def test_positions_that_go_on_from_text_to_text_are_found(fresh, monkeypatch):
    monkeypatch.setattr(
        packing, "_positions", lambda ids, _: np.arange(ids.size).reshape(ids.shape)
    )
    with pytest.raises(DefectError, match="packing: "):
        fresh("bert")


def test_a_model_that_drops_the_bounds_is_refused(fresh):
    model = fresh()
    for block in model.blocks:
        block.register_forward_pre_hook(
            lambda _, args, inputs: (args, inputs | {"cu_seq_lens_q": None}), with_kwargs=True
        )
    with pytest.raises(ModelError, match="LlamaAttention is not told where each text begins"):
        states_of(model, model.tokenize(TEXTS))


@pytest.mark.parametrize(
    "more", [{"softcap": 50.0}, {"s_aux": torch.zeros(2)}, {"dropout": 0.1}, {"position_bias": 1.0}]
)
def test_an_attention_that_is_more_than_ours_is_refused(more):
    row = torch.zeros(1, 2, 3, 8)
    with pytest.raises(ModelError, match=f"wants {next(iter(more))}.*leave out --attention packed"):
        packing.attend(
            torch.nn.Identity(), row, row, row, None, cu_seq_lens_q=torch.tensor([0, 3]), **more
        )


def test_t5_is_refused_by_its_type(model_folder):
    with pytest.raises(ModelError, match="models of type t5 may let texts in one row see each"):
        load_backbone(str(model_folder("t5")), **PACKED)


@pytest.mark.parametrize("grouped", [True, False])
@pytest.mark.parametrize("told", [{"is_causal": True}, {"is_causal": False, "sliding_window": 3}])
def test_the_kernel_is_asked_for_what_the_plain_statement_computes(monkeypatch, told, grouped):
    # On a CPU there is no such kernel: what it is asked for is computed as it promises to.
    def kernel(query, key, value, first, second, longest, other, *, scale, window_size):
        assert torch.equal(first, second)
        assert longest == other == int(first.diff().max())
        return BY_LENGTH([query, key, value], first, window_size, scale)

    def grouping(*rows_and_bounds, enable_gqa, **settings):
        assert enable_gqa
        return kernel(*rows_and_bounds, **settings)

    def ungrouped(query, key, *others, scale, window_size):
        assert query.shape == key.shape
        return kernel(query, key, *others, scale=scale, window_size=window_size)

    torch.manual_seed(0)
    rows = [torch.randn(1, heads, 9, 8) for heads in (4, 2, 2)]
    told |= {"cu_seq_lens_q": torch.tensor([0, 5, 9], dtype=torch.int32), "max_length_q": 5}
    wanted, _ = packing.attend(torch.nn.Identity(), *rows, None, **told)
    monkeypatch.setattr(packing, "_has_kernel", lambda *_: True)
    monkeypatch.setattr(packing, "varlen_attn", grouping if grouped else ungrouped)
    read, _ = packing.attend(torch.nn.Identity(), *rows, None, **told)
    assert torch.equal(read, wanted)


def test_the_kernel_of_this_torch_takes_what_it_is_asked():
    takes = {"scale", "window_size", "max_q", "max_k", "cu_seq_q", "cu_seq_k"}
    assert takes <= signature(packing.varlen_attn).parameters.keys()


def test_an_extraction_that_is_packed_resumes_to_the_same_bytes(
    fresh, make_corpus, tmp_path, tree_bytes
):
    model, corpus = fresh(), make_corpus(40)
    cut = {"block_rows": 8, "batch_tokens": 24}
    whole, begun = (lefcache.open(tmp_path / name) for name in ("whole", "begun"))
    extract(model, corpus, whole, **cut)

    def stop(progress):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        extract(model, corpus, begun, on_progress=stop, **cut)
    extract(fresh(), corpus, begun, **cut)
    split = "tiny/llama/train"
    assert tree_bytes(begun.path / split) == tree_bytes(whole.path / split)
    assert begun.spec("llama", "tiny").attention == "packed"


def test_packed_and_padded_vectors_are_equal_but_not_mixed(fresh, make_corpus, tmp_path):
    corpus, packed, padded = make_corpus(12), fresh(), fresh(attention="auto")
    caches = [lefcache.open(tmp_path / name) for name in ("packed", "padded")]
    for model, cache in zip((packed, padded), caches, strict=True):
        extract(model, corpus, cache, store_dtype="float32")
    for layer in (0, 2, "last"):
        rows = [cache.rows(f"llama:{layer}", split="train", data="tiny") for cache in caches]
        np.testing.assert_allclose(*map(np.asarray, rows), rtol=0, atol=1e-5)
    with pytest.raises(MismatchError, match="attention: 'packed' in the cache, 'sdpa' now"):
        extract(padded, corpus, caches[0])
