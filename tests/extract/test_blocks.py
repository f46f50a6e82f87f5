"""Layer numbers and pooled numbers of real (tiny, random) models, against transformers' own."""

import numpy as np
import pytest
import torch

from lefcache.extract.blocks import listening
from lefcache.extract.embed import embed_batch
from lefcache.extract.pooling import POOLINGS

TEXTS = ["a cat sat on the mat", "no", "", "it was very very good and not one of the two was bad"]
FAMILIES = ["llama", "bert", "t5"]
DEPTH = {"llama": 4, "bert": 3, "t5": 3}


def pooled(model, texts, pool="mean", layers=None):
    """{layer: (B, D)} through the code under test."""
    wanted = layers or model.layers
    values = embed_batch(model, model.tokenize(texts), [f"{pool}/{layer}" for layer in wanted])
    return {layer: values[f"{pool}/{layer}"].numpy() for layer in wanted}


@torch.inference_mode()
def told(model, texts):
    """The states of every layer that transformers reports, and the mask, of a padded batch."""
    ids = [encoded.ids for encoded in model.tokenize(texts)]
    longest = max(map(len, ids))
    tokens = torch.tensor([[*each, *[0] * (longest - len(each))] for each in ids])
    mask = torch.tensor([[1] * len(each) + [0] * (longest - len(each)) for each in ids])
    output = model.network(input_ids=tokens, attention_mask=mask, output_hidden_states=True)
    return output, mask.bool()


def masked_mean(states, mask):
    return np.stack([row[keep].mean(0).numpy() for row, keep in zip(states, mask, strict=True)])


@pytest.mark.parametrize("family", FAMILIES)
def test_every_layer_below_the_top_is_what_transformers_reports(backbone, family):
    model = backbone(family)
    output, mask = told(model, TEXTS)
    ours = pooled(model, TEXTS)
    for layer in range(DEPTH[family]):
        wanted = masked_mean(output.hidden_states[layer], mask)
        np.testing.assert_allclose(ours[layer], wanted, atol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_last_is_the_models_own_last_state(backbone, family):
    model = backbone(family)
    output, mask = told(model, TEXTS)
    layer = model.aliases.get("last", "last")
    ours = pooled(model, TEXTS, layers=[layer])[layer]
    np.testing.assert_allclose(ours, masked_mean(output.last_hidden_state, mask), atol=1e-5)


@pytest.mark.parametrize(
    ("family", "norm"), [("llama", "norm"), ("t5", "encoder.final_layer_norm")]
)
def test_the_final_norm_of_the_raw_top_layer_is_the_last_state(backbone, family, norm):
    model = backbone(family)
    raw = {}
    inputs = model._inputs(model.tokenize(TEXTS))
    with (
        torch.inference_mode(),
        listening(model.blocks, [model.depth], raw.__setitem__, stop=False),
    ):
        output = model.network(**inputs)
    with torch.inference_mode():
        normed = model.network.get_submodule(norm)(raw[model.depth])
    torch.testing.assert_close(normed, output.last_hidden_state)
    assert not torch.allclose(raw[model.depth], output.last_hidden_state)


@pytest.mark.parametrize("family", FAMILIES)
def test_layers_are_0_to_n_and_last_where_a_norm_follows(backbone, family):
    model = backbone(family)
    numbers = tuple(range(DEPTH[family] + 1))
    normed = family != "bert"
    assert model.layers == ((*numbers, "last") if normed else numbers)
    assert model.aliases == ({} if normed else {"last": DEPTH[family]})
    assert (model.depth, model.width) == (DEPTH[family], 16)


@pytest.mark.parametrize("pool", POOLINGS)
@pytest.mark.parametrize("family", FAMILIES)
def test_neighbours_do_not_matter(backbone, family, pool):
    model = backbone(family)
    together = pooled(model, TEXTS, pool)
    for row, text in enumerate(TEXTS):
        alone = pooled(model, [text], pool)
        for layer in model.layers:
            np.testing.assert_allclose(alone[layer][0], together[layer][row], atol=1e-5)


def test_a_left_padding_tokenizer_gives_the_same_numbers(backbone):
    right, left = (pooled(backbone(name), TEXTS) for name in ("llama", "llama-left"))
    for layer, values in right.items():
        np.testing.assert_array_equal(values, left[layer])


@pytest.mark.parametrize("layers", [[0], [1], [0, 2], [3], [1, "last"], ["last"]])
@pytest.mark.parametrize("family", ["llama", "t5"])
def test_stopping_early_changes_no_bit(backbone, family, layers):
    model = backbone(family)
    whole, early = pooled(model, TEXTS), pooled(model, TEXTS, layers=layers)
    for layer in layers:
        np.testing.assert_array_equal(early[layer], whole[layer])


def test_blocks_above_the_deepest_wanted_layer_do_not_run(backbone):
    model, ran = backbone("llama"), []
    hooks = [
        block.register_forward_pre_hook(lambda *_, number=number: ran.append(number))
        for number, block in enumerate(model.blocks, 1)
    ]
    pooled(model, TEXTS, layers=[2])
    for hook in hooks:
        hook.remove()
    assert ran == [1, 2]


@pytest.mark.parametrize("family", FAMILIES)
def test_no_hook_is_left_behind(backbone, family):
    def hooks():
        return [(*block._forward_hooks, *block._forward_pre_hooks) for block in model.blocks]

    model = backbone(family)
    before = hooks()  # transformers has its own
    pooled(model, TEXTS, layers=[0, 1])
    assert hooks() == before


def test_layer_0_with_first_pooling_is_the_same_for_every_text_of_bert(backbone):
    values = pooled(backbone("bert"), TEXTS, "first", layers=[0])[0]
    np.testing.assert_array_equal(values, np.broadcast_to(values[0], values.shape))


def test_a_model_without_a_list_of_blocks_falls_back_to_what_it_reports(backbone, monkeypatch):
    model = backbone("llama")
    heard = pooled(model, TEXTS)
    monkeypatch.setattr(model, "blocks", None)
    reported = pooled(model, TEXTS, layers=[0, 1, 3, "last"])
    for layer, values in reported.items():
        np.testing.assert_allclose(values, heard[layer], atol=1e-6)


def reloaded(model):
    """The same network, read once more."""
    from lefcache.extract.huggingface import HuggingFaceBackbone
    from lefcache.extract.models import ModelSource

    source = ModelSource(model.name, model.source)
    return HuggingFaceBackbone(source, model.spec, model.tokenizer, model.network, model.depth, [])


@pytest.mark.parametrize(
    ("function", "result", "why"),
    [
        ("candidate_blocks", [], "has no list of blocks"),
        ("agree", None, "reports other states than its blocks hold"),
    ],
)
def test_why_a_model_is_not_read_through_its_blocks_is_said(
    backbone, monkeypatch, function, result, why
):
    monkeypatch.setattr(f"lefcache.extract.huggingface.{function}", lambda *_: result)
    model = reloaded(backbone("llama"))
    assert model.blocks is None
    assert model.layers == (0, 1, 2, 3, "last")
    assert model.notes == [f"llama {why}: layer 4 is only `last`"]
