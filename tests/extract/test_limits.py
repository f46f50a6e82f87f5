"""What a model can read at all: how many tokens, which ones, and of which types."""

import pytest
import torch
from tokenizers import AddedToken

from lefcache.errors import ModelError
from lefcache.extract import DefectError, examine, extract, load_backbone
from lefcache.extract.embed import embed_batch
from tests.conftest import LLAMA
from tests.extract.families import FAMILIES, Family

FLOAT32 = {"dtype": "float32", "device": "cpu"}
LONG = "very good film cat " * 20
ROPE = {
    "rope_type": "longrope",
    "rope_theta": 10_000.0,
    "short_factor": [1.0] * 4,
    "long_factor": [4.0] * 4,
    "original_max_position_embeddings": 8,
}
PHI3 = Family(
    "phi3",
    {"num_key_value_heads": 2, "original_max_position_embeddings": 8, "rope_parameters": ROPE},
)


@pytest.fixture
def load(tmp_path, word_tokenizer):
    """A function that saves a family's network with a tokenizer and loads both."""

    def load(family, tokenizer=None, **settings):
        family.make().save_pretrained(tmp_path)
        (tokenizer or word_tokenizer(**LLAMA)).save_pretrained(tmp_path)
        return load_backbone(f"it={tmp_path}", **(FLOAT32 | settings))

    return load


@pytest.mark.parametrize(
    ("kind", "more"),
    [
        ("roberta", {}),
        ("mpnet", {}),  # its row for padding is not the configuration's
        ("longformer", {"attention_window": 4}),
        ("esm", {"mask_token_id": 5}),
        ("ibert", {}),
        ("data2vec-text", {}),
        ("roberta-prelayernorm", {}),
        ("bert", {}),
    ],
)
def test_a_text_of_the_most_tokens_is_read(load, kind, more):
    model = load(Family(kind, more))
    [encoded] = model.tokenize([LONG])
    unread = {"mpnet": 2, "bert": 0}.get(kind, 1)
    assert len(encoded) == model.spec.max_length == 48 - unread
    assert embed_batch(model, [encoded], ["mean/2"])["mean/2"].isfinite().all()


def test_no_text_is_so_long_that_long_rope_changes_its_neighbours(load):
    model = load(PHI3)
    assert model.spec.max_length == 8
    assert any("cut at 8 tokens, as one that is longer would" in note for note in model.notes)
    short, long = model.tokenize(["a cat sat", LONG])
    alone = embed_batch(model, [short], ["mean/3"])["mean/3"]
    beside = embed_batch(model, [short, long], ["mean/3"])["mean/3"][:1]
    torch.testing.assert_close(alone, beside)


def test_within_that_length_long_rope_needs_no_note(load):
    assert not any("cut at" in note for note in load(PHI3, max_length=8).notes)


# Tokens beyond the table


@pytest.fixture
def with_image_token(word_tokenizer):
    """Gemma 3's tokenizer, which the model of text alone shares with those that read images."""

    def make(special=True, padding=False):
        tokenizer = word_tokenizer(**LLAMA)
        spare = 32 - len(tokenizer)
        tokenizer.add_tokens([f"spare{number}" for number in range(spare)])
        tokenizer.add_tokens(AddedToken("<image>", special=special), special_tokens=special)
        assert tokenizer.convert_tokens_to_ids("<image>") == 32
        if padding:
            tokenizer.pad_token = "<image>"
        return tokenizer

    return make


def test_a_special_token_without_a_vector_is_a_note(load, with_image_token):
    model = load(FAMILIES["gemma3"], with_image_token())
    [finding] = [f for f in examine(model, with_drift=False).findings if f.name == "vocabulary"]
    assert (finding.verdict, "no text may hold '<image>'" in finding.found) == ("note", True)


def test_a_text_that_spells_it_is_named_and_good_blocks_are_kept(
    load, with_image_token, cache, make_corpus
):
    model = load(FAMILIES["gemma3"], with_image_token())
    corpus = make_corpus(train=["a cat", "no", "yes it is", "very <image> good"])
    with pytest.raises(ModelError, match=r"no vector of '<image>'.*take it out.*very ?<image> ?go"):
        extract(model, corpus, cache, block_rows=2)
    assert cache.pages("it").done_rows == 2


@pytest.mark.parametrize("how", [{"special": False}, {"padding": True}])
def test_a_token_of_texts_or_padding_without_a_vector_is_wrong(load, with_image_token, how):
    with pytest.raises(DefectError, match=r"vocabulary: .* up to 32 .* only 32 tokens"):
        load(FAMILIES["gemma3"], with_image_token(**how))


# Models of other kinds


@pytest.mark.parametrize(
    "error", [TypeError("no attention_mask"), ValueError("pixel_values"), RuntimeError("shape")]
)
def test_a_model_that_wants_more_than_text_is_refused(model_folder, monkeypatch, error):
    from transformers import LlamaModel

    def fail(*_, **__):
        raise error

    monkeypatch.setattr(LlamaModel, "forward", fail)
    with pytest.raises(ModelError, match=rf"cannot be run on text alone.*{error}"):
        load_backbone(str(model_folder("llama")), **FLOAT32)


def test_token_types_other_than_0_are_the_tokenizers(load, word_tokenizer):
    from tokenizers import processors

    tokenizer = word_tokenizer(
        pad_token="[PAD]", model_input_names=["input_ids", "token_type_ids", "attention_mask"]
    )
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="$A:0 [SEP]:0 [CLS]:2", special_tokens=[("[SEP]", 5), ("[CLS]", 4)]
    )
    model = load(FAMILIES["xlnet"], tokenizer)
    texts = ["a cat sat on the mat", "no"]
    found = embed_batch(model, model.tokenize(texts), ["mean/2", "mean/last"])
    for row, text in enumerate(texts):
        read = tokenizer(text, return_tensors="pt")
        assert read["token_type_ids"][0, -1] == 2
        with torch.inference_mode():
            told = model.network(**read, output_hidden_states=True)
            bare = model.network(read["input_ids"], output_hidden_states=True)
        wanted = told.hidden_states[2][0].mean(0)
        torch.testing.assert_close(found["mean/2"][row], wanted)
        torch.testing.assert_close(found["mean/last"][row], told.last_hidden_state[0].mean(0))
        assert not torch.allclose(wanted, bare.hidden_states[2][0].mean(0), atol=1e-3)
