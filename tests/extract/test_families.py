"""Every layer of every family is the state that the model itself has there.

What is right is computed here, from the network before it was saved: each text alone, without
padding or mask, through `output_hidden_states`.
"""

import functools
import random

import numpy as np
import pytest
import torch

from lefcache.errors import FeatureError, ModelError
from lefcache.extract import DefectError, extract, load_backbone, place_order
from lefcache.extract.doctor import examine
from lefcache.extract.embed import embed_batch
from lefcache.extract.packing import PACKABLE, PACKED
from lefcache.extract.pooling import POOLINGS
from lefcache.extract.shallow import CUT_SHORT
from tests.extract.families import FAMILIES, Family

FLOAT32 = {"dtype": "float32", "device": "cpu"}
TEXTS = [
    "a cat sat on the mat",
    "no",
    "not one of the two was bad and it is a cat on the mat and it was very very good",
    "",
    "the film was very good",
    "three bad cat film",
]
SHUFFLED = random.Random(0).sample(range(len(TEXTS)), len(TEXTS))
BATCHES = [range(len(TEXTS)), *([row] for row in range(len(TEXTS))), SHUFFLED[:2], SHUFFLED[2:]]
NAMED = {"eos_token": "</s>", "pad_token": "[PAD]", "bos_token": "<s>"}
TOKENIZERS = {
    "bos": {"opening": "<s>", **NAMED},
    "bos-left": {"opening": "<s>", "padding_side": "left", **NAMED},
    "bare": {"closing": "</s>", **NAMED},
    "bare-left": {"padding_side": "left", **NAMED},
}


@pytest.fixture(scope="module")
def network():
    """A function that gives the network of a family as it was before it was saved."""
    return functools.cache(lambda name: FAMILIES[name].make())


@pytest.fixture(scope="module")
def folder(tmp_path_factory, network, word_tokenizer):
    """A function that gives the folder of a family with one of the tokenizers."""

    @functools.cache
    def save(name, tokenizer="bos"):
        place = tmp_path_factory.mktemp(f"{name}-{tokenizer}")
        network(name).save_pretrained(place)
        word_tokenizer(**TOKENIZERS[tokenizer]).save_pretrained(place)
        return place

    return save


@pytest.fixture(scope="module")
def load(folder):
    """A function that loads a family with one of the tokenizers."""
    return functools.cache(
        lambda name, tokenizer="bos", **settings: load_backbone(
            f"{name}={folder(name, tokenizer)}", **FLOAT32, **settings
        )
    )


@pytest.fixture(scope="module")
def told(network):
    """A function that gives {layer: (T, D)} as a family's network tells it of one text's tokens.

    Its raw top layer is there only where the network tells that.
    """

    @functools.cache
    @torch.inference_mode()
    def tell(name, ids):
        family, made = FAMILIES[name], network(name)
        made = made.get_encoder() if made.config.is_encoder_decoder else made
        read = torch.tensor([ids])
        output = made(input_ids=read, output_hidden_states=True)
        states = dict(enumerate(output.hidden_states, family.listed))
        if family.listed:
            states[0] = made.get_input_embeddings()(read)
        if family.final or family.whole:  # the last one listed is what the norm made of it
            del states[max(states)]
        states["last"] = output.last_hidden_state
        return {layer: each[0].numpy() for layer, each in states.items()}

    return tell


def pooled(states, bos):
    """{pool: (D,)} of one text's (T, D)."""
    bare = states[1:] if bos and len(states) > 1 else states
    return {
        "mean": states.mean(0),
        "mean_nobos": bare.mean(0),
        "last": states[-1],
        "first": states[0],
        "max": states.max(0),
    }


def ids_of(model, text):
    return tuple(model.tokenizer(text)["input_ids"] or [0])


def close(ours, wanted):
    np.testing.assert_allclose(ours, wanted, rtol=0, atol=2e-5 * np.abs(wanted).max())


@pytest.mark.parametrize("tokenizer", TOKENIZERS)
@pytest.mark.parametrize("name", FAMILIES)
def test_every_pooled_layer_is_the_models_own_in_any_batch(load, told, name, tokenizer):
    check_every_pooled_layer(load(name, tokenizer), told, name, tokenizer)


@pytest.mark.parametrize("tokenizer", TOKENIZERS)
@pytest.mark.parametrize("name", [n for n, each in FAMILIES.items() if each.type in PACKABLE])
def test_every_pooled_layer_is_the_models_own_where_texts_are_packed(load, told, name, tokenizer):
    model = load(name, tokenizer, attention=PACKED)
    assert model.spec.attention == PACKED
    check_every_pooled_layer(model, told, name, tokenizer)


@pytest.mark.parametrize("name", [n for n, each in FAMILIES.items() if each.type not in PACKABLE])
def test_a_model_that_cannot_be_packed_is_refused(folder, name):
    with pytest.raises(ModelError, match=r"cannot be packed: .*leave out --attention packed"):
        load_backbone(f"{name}={folder(name)}", attention=PACKED, **FLOAT32)


def check_every_pooled_layer(model, told, name, tokenizer):
    """Each layer and pooling of each text, in each batch, against what the network told."""
    bos = tokenizer.startswith("bos")
    states = [told(name, ids_of(model, text)) for text in TEXTS]
    wanted = [{layer: pooled(each, bos) for layer, each in text.items()} for text in states]
    layers = [layer for layer in model.layers if layer in wanted[0]]
    assert {*layers, *model.aliases} == {*wanted[0]}
    names = [f"{pool}/{layer}" for pool in POOLINGS for layer in layers]
    for batch in BATCHES:
        values = embed_batch(model, model.tokenize([TEXTS[row] for row in batch]), names)
        for each in names:
            pool, _, layer = each.partition("/")
            key = layer if layer == "last" else int(layer)
            close(values[each].numpy(), np.stack([wanted[row][key][pool] for row in batch]))


@pytest.mark.parametrize("name", [name for name, each in FAMILIES.items() if not each.whole])
def test_the_raw_top_layer_becomes_the_last_state_token_by_token(load, network, told, name):
    model, family = load(name), FAMILIES[name]
    depth = model.depth
    assert model.layers == (*range(depth + 1), *(["last"] if family.final else []))
    assert model.aliases == ({} if family.final else {"last": depth})
    encoded, heard = model.tokenize(TEXTS), {}
    model.forward(encoded, model.layers, heard.__setitem__)
    with torch.inference_mode():
        state = heard[depth]
        for module in family.final:
            state = network(name).get_submodule(module)(state)
    for row, (text, tokens) in enumerate(zip(TEXTS, encoded, strict=True)):
        wanted = told(name, ids_of(model, text))["last"]
        close(state[row, : len(tokens)].numpy(), wanted)
        raw = heard[depth][row, : len(tokens)].numpy()
        same = raw.shape == wanted.shape and np.allclose(raw, wanted, atol=1e-2)
        assert same != bool(family.final)


@pytest.mark.parametrize("name", [name for name, each in FAMILIES.items() if each.whole])
def test_without_blocks_to_listen_to_the_top_layer_is_only_last(load, name):
    model = load(name)
    assert model.blocks is None
    assert (model.layers, model.aliases) == ((*range(model.depth), "last"), {})
    assert f"{name} {FAMILIES[name].whole}: layer {model.depth} is only `last`" in model.notes


@pytest.mark.parametrize("name", FAMILIES)
def test_a_model_cut_short_gives_the_bits_of_the_whole(load, folder, name):
    whole, family = load(name), FAMILIES[name]
    numbers = [layer for layer in whole.layers if layer != "last"]
    wanted = embed_batch(whole, whole.tokenize(TEXTS), [f"mean/{layer}" for layer in numbers])
    for layer in numbers:
        model = load_backbone(f"{name}={folder(name)}", layers=[layer], **FLOAT32)
        if family.type not in CUT_SHORT:
            assert model.loaded == whole.depth
        elif not family.whole:
            assert model.loaded == min(layer + 1, whole.depth)
        assert any("are loaded" in note for note in model.notes) == (model.loaded < whole.depth)
        for about in ("depth", "width", "aliases", "spec"):
            assert getattr(model, about) == getattr(whole, about)
        array = f"mean/{layer}"
        values = embed_batch(model, model.tokenize(TEXTS), [array])[array]
        np.testing.assert_array_equal(values, wanted[array])


@pytest.mark.parametrize("name", FAMILIES)
def test_the_doctor_finds_nothing_wrong(load, name):
    assert not examine(load(name), with_drift=False).wrong


def test_every_model_type_that_may_be_packed_is_proved_here():
    assert {each.type for each in FAMILIES.values()} >= PACKABLE


def test_every_model_type_that_may_be_cut_short_is_proved_here():
    assert {each.type for each in FAMILIES.values() if not each.whole} >= CUT_SHORT


@pytest.mark.parametrize("last", [False, True])
def test_last_of_a_model_cut_short_is_not_there(folder, make_corpus, last):
    model = load_backbone(f"bert={folder('bert')}", layers=[1 + last], **FLOAT32)
    assert model.aliases == {"last": 3}
    if last:  # nothing was cut off
        assert place_order(model, make_corpus(3), layers="last").arrays == ("mean/3",)
        return
    with pytest.raises(FeatureError, match=r"no layer last in this model: it has 0\.\.2$"):
        place_order(model, make_corpus(3), layers="last")


def test_rows_for_deeper_layers_than_are_loaded_are_refused(folder, cache, make_corpus):
    whole, short = (
        load_backbone(f"llama={folder('llama')}", layers=layers, **FLOAT32)
        for layers in (None, [0])
    )
    corpus = make_corpus(8)
    extract(whole, corpus, cache, limit=4)
    assert extract(short, corpus, cache, layers="0", limit=4).computed_blocks == 0
    with pytest.raises(FeatureError, match=r"holds layer 2 as well, and 0\.\.1 are loaded"):
        extract(short, corpus, cache, layers="0")


@pytest.mark.parametrize(("name", "widths"), [("opt-wide", (16, 24)), ("opt-350m", (16, 8))])
def test_a_last_state_of_another_width_has_its_own(load, cache, make_corpus, name, widths):
    model = load(name)
    assert model.width == max(widths)
    extract(model, make_corpus(train=TEXTS), cache)
    shapes = [cache.rows(f"{name}:{layer}", split="train").shape for layer in (3, "last")]
    assert shapes == [(len(TEXTS), width) for width in widths]


@pytest.mark.parametrize(
    ("kind", "config"),
    [
        ("mobilebert", {"true_hidden_size": 16, "intra_bottleneck_size": 16}),  # sees trigrams
        ("convbert", {"head_ratio": 1, "conv_kernel_size": 3}),
        ("fnet", {}),
        ("nystromformer", {}),
        ("yoso", {}),
    ],
)
def test_a_model_whose_padding_reaches_its_texts_is_refused(tmp_path, word_tokenizer, kind, config):
    few = {"num_key_value_heads": None, "embedding_size": 16}
    Family(kind, few | config).make().save_pretrained(tmp_path)
    word_tokenizer(**TOKENIZERS["bos"]).save_pretrained(tmp_path)
    with pytest.raises(DefectError, match=r"neighbours: .* bring them with lef import"):
        load_backbone(f"{kind}={tmp_path}", **FLOAT32)


@pytest.mark.parametrize("base", [False, True])
def test_a_model_that_shortens_its_texts_is_refused(tmp_path, word_tokenizer, base):
    from transformers import FunnelBaseModel, FunnelConfig, FunnelModel

    config = FunnelConfig(
        vocab_size=32, block_sizes=[1, 1, 1], d_model=16, n_head=2, d_head=8, d_inner=32
    )
    (FunnelBaseModel if base else FunnelModel)(config).save_pretrained(tmp_path)
    word_tokenizer(**TOKENIZERS["bos"]).save_pretrained(tmp_path)
    with pytest.raises(ModelError, match=r"one state of each token|cannot be run on text alone"):
        load_backbone(f"funnel={tmp_path}", **FLOAT32)


def test_a_model_with_several_states_for_a_token_is_refused(tmp_path, word_tokenizer):
    streams = Family(
        "gemma3n_text",
        {
            "head_dim": 8,
            "laurel_rank": 4,
            "num_kv_shared_layers": 0,
            "hidden_size_per_layer_input": 8,
            "vocab_size_per_layer_input": 32,
            "activation_sparsity_pattern": [0.0] * 3,
            "layer_types": ["full_attention"] * 3,
        },
    )
    streams.make().save_pretrained(tmp_path)
    word_tokenizer(**TOKENIZERS["bos"]).save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="does not report one state of each token for each"):
        load_backbone(f"streams={tmp_path}", **FLOAT32)
