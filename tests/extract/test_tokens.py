"""What a model reads of a text: special tokens, prompt, instruction, cuts."""

import numpy as np
import pytest

from lefcache.errors import ModelError
from lefcache.extract.embed import embed_batch, embed_block

FAMILIES = ["llama", "llama-left", "llama-bare", "bert", "t5"]
TEXT = "the film was very good"
LONG = " ".join(["very"] * 200)


def vectors(model, texts, arrays=("mean/2",)):
    return embed_batch(model, model.tokenize(texts), arrays)


@pytest.mark.parametrize("family", FAMILIES)
def test_an_empty_text_is_at_least_one_token(backbone, family):
    for text in ("", " "):
        assert len(backbone(family).tokenize([text])[0]) >= 1


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("pool", ["mean", "mean_nobos", "last", "first", "max"])
def test_an_empty_text_has_a_finite_vector(backbone, family, pool):
    name = f"{pool}/1"
    assert np.isfinite(vectors(backbone(family), ["", TEXT], [name])[name].numpy()).all()


@pytest.mark.parametrize(
    ("family", "bos"),
    [("llama", True), ("llama-left", True), ("llama-bare", False), ("bert", True), ("t5", False)],
)
def test_a_token_that_begins_every_text_is_known(backbone, family, bos):
    assert [each.bos for each in backbone(family).tokenize([TEXT, ""])] == [
        bos,
        bos,
    ]


def test_mean_nobos_leaves_out_bos_alone(backbone):
    model = backbone("llama")
    count = len(model.tokenize([TEXT])[0])
    values = vectors(model, [TEXT], ["mean/2", "mean_nobos/2", "first/2"])
    total = values["mean_nobos/2"] * (count - 1) + values["first/2"]
    np.testing.assert_allclose(values["mean/2"] * count, total, rtol=1e-4, atol=1e-5)


def test_without_bos_mean_nobos_is_the_mean(backbone):
    values = vectors(backbone("llama-bare"), [TEXT], ["mean/2", "mean_nobos/2"])
    np.testing.assert_array_equal(values["mean/2"], values["mean_nobos/2"])


@pytest.mark.parametrize("family", FAMILIES)
def test_a_long_text_is_cut_and_says_so(backbone, family):
    model = backbone(family, max_length=12)
    long, short = model.tokenize([LONG, TEXT])
    assert (len(long), long.cut) == (12, True)
    assert not short.cut


def test_a_text_that_just_fits_is_not_cut(backbone):
    model = backbone("llama", max_length=6)  # BOS and five words
    assert [each.cut for each in model.tokenize([TEXT, TEXT + " film"])] == [False, True]


@pytest.mark.parametrize(("family", "limit"), [("llama", 64), ("bert", 48)])
def test_texts_are_cut_at_the_positions_that_a_model_has(backbone, family, limit):
    model = backbone(family)
    assert model.spec.max_length == limit
    assert any(f"cut at {limit} tokens" in note for note in model.notes)
    assert np.isfinite(vectors(model, [LONG])["mean/2"].numpy()).all()


def test_the_other_end_can_be_cut_off(backbone):
    text = "good " + LONG
    left, right = (
        backbone("llama", max_length=4, truncation_side=side).tokenize([text, "good"])
        for side in ("left", "right")
    )
    good = right[1].ids[-1]
    assert good in right[0].ids
    assert good not in left[0].ids
    assert left[0].ids[0] == right[0].ids[0]  # BOS stays


def test_a_prompt_is_read_and_pooled(backbone):
    prompted, plain = backbone("llama", prompt="the film "), backbone("llama")
    [encoded] = prompted.tokenize(["was bad"])
    assert (list(encoded.ids), encoded.skip) == (
        list(plain.tokenize(["the film was bad"])[0].ids),
        0,
    )


@pytest.mark.parametrize("family", FAMILIES)
def test_an_instruction_is_attended_to_and_not_pooled(backbone, family):
    told, plain = backbone(family, instruction="the film "), backbone(family)
    [encoded], [whole] = told.tokenize(["was bad"]), plain.tokenize(["the film was bad"])
    assert list(encoded.ids) == list(whole.ids)
    assert encoded.skip == whole.bos + 2
    values = vectors(told, ["was bad"], ["mean/0", "mean/3"])
    alone = vectors(plain, ["was bad"], ["mean_nobos/0", "mean_nobos/3"])
    if family != "bert":  # BERT adds positions at layer 0
        np.testing.assert_allclose(values["mean/0"], alone["mean_nobos/0"], atol=1e-6)
    assert not np.allclose(values["mean/3"], alone["mean_nobos/3"], atol=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_an_instruction_before_an_empty_text_leaves_one_token_to_pool(backbone, family):
    [encoded] = backbone(family, instruction="the film ").tokenize([""])
    assert encoded.skip == len(encoded) - 1


def test_the_tokens_array_counts_what_is_pooled_and_flags_the_cut(backbone):
    model = backbone("llama", instruction="the film ", max_length=6)
    values = embed_block(model, ["was bad", LONG], ["mean/1"], {}, 1024)
    cut = np.uint32(1 << 31)
    assert values["tokens"].tolist() == [2, 3 | cut]


def test_long_and_short_texts_do_not_disturb_each_other(backbone):
    model = backbone("llama", max_length=10)
    np.testing.assert_allclose(
        vectors(model, [LONG, TEXT])["mean/2"][1], vectors(model, [TEXT])["mean/2"][0], atol=1e-5
    )


PROMPT = "the film was very good "  # five tokens


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("kind", ["prompt", "instruction"])
def test_a_prompt_that_leaves_no_room_for_text_is_refused(backbone, family, kind):
    own = len(backbone(family).tokenizer("")["input_ids"])
    with pytest.raises(
        ModelError, match=rf"max_length {own + 5} leaves no room.* {own + 5} tokens"
    ):
        backbone(family, max_length=own + 5, **{kind: PROMPT})
    model = backbone(family, max_length=own + 6, **{kind: PROMPT})
    one, other = model.tokenize(["yes", "bad cat"])
    assert list(one.ids) != list(other.ids)
    assert other.cut
    assert not one.cut


def test_a_prompt_and_an_instruction_are_measured_together(backbone):
    with pytest.raises(ModelError, match="11 tokens; give a higher --max-length or a shorter"):
        backbone("llama", max_length=11, prompt=PROMPT, instruction=PROMPT)


def test_a_prompt_longer_than_the_positions_of_a_model_is_refused(backbone):
    with pytest.raises(ModelError, match=r"max_length 64 leaves no room for text.* 201 tokens"):
        backbone("llama", prompt=LONG)


@pytest.mark.parametrize("kind", ["prompt", "instruction"])
def test_cutting_on_the_left_would_cut_the_prompt_and_is_refused(backbone, kind):
    with pytest.raises(ModelError, match=r"truncation_side left would cut off 'the film"):
        backbone("llama", truncation_side="left", **{kind: PROMPT})
