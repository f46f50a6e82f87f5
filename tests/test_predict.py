import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import lefcache
from lefcache.corpus import Corpus, Split
from lefcache.errors import (
    CorpusError,
    DamagedError,
    LefError,
    MismatchError,
    ModelError,
    NotFiniteError,
    StorageError,
)
from lefcache.extract import extract, load_backbone
from lefcache.predict import Predictor, load
from lefcache.recipe import Recipe
from lefcache.train import logits, train

TINY = Recipe(op="hadamard-res", width=8, hidden=(8,), dropout=(0.1,), lr=1e-2, batch=4, epochs=3)
TEXTS = [
    "a cat sat on the mat",
    "no",
    "the film was very good",
    "not one of the two was bad and it is a cat on the mat and it was very very good",
    "yes it is",
    "three bad cat film",
    "it was not good and it was not bad",
    "",
] * 3
CORPUS = Corpus(
    "tiny",
    ("no", "yes"),
    {"train": Split(TEXTS, np.arange(len(TEXTS), dtype=np.int32) % 2)},
)


@pytest.fixture
def trained(cache, backbone):
    """A function that extracts with tiny models and trains a head: `trained("llama:2,bert:1")`."""

    def make(features, pools=("mean",), store_dtype="auto"):
        for family in dict.fromkeys(each.partition(":")[0] for each in features.split(",")):
            extract(backbone(family), CORPUS, cache, pools=pools, store_dtype=store_dtype)
        table = cache.table(features)
        return train(table, TINY)[0], table

    return make


def softmax(values):
    shares = np.exp(values - values.max(axis=1, keepdims=True))
    return shares / shares.sum(axis=1, keepdims=True)


FEATURES = (
    "llama:2",
    "llama:last",
    "llama:0",
    "llama:1~3,bert:last",
    "bert:1,t5:2,llama:4",
    "t5:last,t5:1+3",
    "bert:2@max,bert:1@first",
)


@pytest.mark.parametrize("features", FEATURES)
def test_raw_text_and_cached_rows_agree(trained, features):
    head, table = trained(features, pools=("mean", "max", "first"))
    predictor = Predictor(head, device="cpu")
    for given, rows in zip(predictor.features(TEXTS), table.rows, strict=True):
        np.testing.assert_allclose(given, np.asarray(rows), rtol=2e-3, atol=2e-4)
    shares = predictor.predict_proba(TEXTS)
    np.testing.assert_allclose(shares, softmax(logits(head, table)), atol=1e-4)


@pytest.mark.parametrize("features", ["llama:2,bert:last", "llama:1~3"])
def test_raw_text_and_cached_rows_agree_in_bfloat16(trained, tmp_path, features):
    head, table = trained(features, store_dtype="bfloat16")
    predictor = load(head.save(tmp_path / "head"), device="cpu")
    for given, rows in zip(predictor.features(TEXTS), table.rows, strict=True):
        assert given.dtype == rows.dtype == np.float32
        np.testing.assert_allclose(given, np.asarray(rows), rtol=2**-7, atol=1e-4)
        if "~" not in features:  # in the type of the cache: to the bit, but for another batching
            assert (given.view(np.uint32) & 0xFFFF == 0).all()
            assert (given == np.asarray(rows)).mean() > 0.99
    cached = softmax(logits(head, table))
    np.testing.assert_allclose(predictor.predict_proba(TEXTS), cached, atol=1e-3)


def test_a_saved_head_predicts_as_the_one_it_was(trained, tmp_path):
    head, _ = trained("llama:2,bert:last")
    ours = Predictor(head, device="cpu").predict_proba(TEXTS)
    theirs = lefcache.load(head.save(tmp_path / "head"), device="cpu")
    np.testing.assert_array_equal(theirs.predict_proba(TEXTS), ours)
    named = [theirs.classes[place] for place in ours.argmax(axis=1)]
    assert theirs.predict(TEXTS) == named
    assert set(named) <= {"no", "yes"}


def test_a_stream_gives_what_predict_gives(trained):
    predictor = Predictor(trained("bert:1")[0], device="cpu")
    shares = predictor.predict_proba(TEXTS)
    streamed = list(predictor.stream(iter(TEXTS), rows=5))
    assert [each.text for each in streamed] == TEXTS
    found = np.array([list(each.probabilities.values()) for each in streamed])
    np.testing.assert_allclose(found, shares, atol=1e-5)
    assert all(
        each.label == max(each.probabilities, key=each.probabilities.get) for each in streamed
    )


def test_a_stream_is_answered_before_it_ends(trained):
    def endless():
        while True:
            yield "the film was very good"

    answers = Predictor(trained("bert:1")[0], device="cpu").stream(endless(), rows=2)
    assert next(answers).text == "the film was very good"


def test_no_texts_are_no_answers(trained):
    predictor = Predictor(trained("bert:1")[0], device="cpu")
    assert predictor.predict([]) == []
    assert predictor.predict_proba([]).shape == (0, 2)


def test_what_is_no_text_is_refused_with_its_row(trained):
    predictor = Predictor(trained("bert:1")[0], device="cpu")
    for texts in ("one text", None, 5):
        for ask in (predictor.predict, lambda texts: next(predictor.stream(texts))):
            with pytest.raises(CorpusError, match=r"no list of texts: write predict\(\[text\]\)"):
                ask(texts)
    for wrong in (None, 5, float("nan"), b"no"):
        with pytest.raises(CorpusError, match=r"row 1 has .* where a text should be"):
            predictor.predict(["no", wrong])


def test_texts_that_a_model_cut_are_marked(cache, model_folder):
    backbone = load_backbone(
        f"bert={model_folder('bert')}", dtype="float32", device="cpu", max_length=8
    )
    extract(backbone, CORPUS, cache)
    predictor = Predictor(train(cache.table("bert:1"), TINY)[0], device="cpu")
    texts = ["no", TEXTS[3], "no", TEXTS[3], ""]
    assert [each.cut for each in predictor.stream(texts)] == [False, True, False, True, False]
    assert "cut" not in next(predictor.stream(texts)).to_json()


def test_a_model_that_the_head_does_not_read_is_refused(trained):
    with pytest.raises(
        ModelError, match=r"no model brt \(did you mean bert\?\): its models are bert"
    ):
        Predictor(trained("bert:1")[0], models={"brt": "elsewhere"}, device="cpu")


def test_a_model_may_be_spread_over_what_there_is(trained):
    head, _ = trained("bert:1")
    spread = Predictor(head, device_map="auto")
    assert any("spread by accelerate" in note for note in spread.backbones["bert"].notes)
    whole = Predictor(head).predict_proba(TEXTS)
    np.testing.assert_allclose(spread.predict_proba(TEXTS), whole, atol=1e-5)


@pytest.mark.parametrize("family", ["llama", "bert", "t5"])
def test_a_model_is_loaded_up_to_the_layer_that_is_read(trained, family):
    head, _ = trained(f"{family}:0,{family}:1")
    network = Predictor(head, device="cpu").backbones[family].network
    assert network.config.num_hidden_layers == 2


@pytest.mark.parametrize("family", ["llama", "bert", "t5"])
@pytest.mark.parametrize("deepest", [0, 1, 2, 3])
def test_a_part_of_a_model_has_the_numbers_of_the_whole(backbone, model_folder, family, deepest):
    layers = list(range(deepest + 1))
    whole = backbone(family)
    part = load_backbone(str(model_folder(family)), layers=layers, dtype="float32", device="cpu")
    assert (part.depth, part.spec) == (whole.depth, whole.spec)
    batch = whole.tokenize(TEXTS[:4])
    expected, found = {}, {}
    whole.forward(batch, layers, expected.__setitem__)
    part.forward(batch, layers, found.__setitem__)
    for layer in layers:
        np.testing.assert_array_equal(found[layer], expected[layer])


def test_a_part_of_a_model_has_no_last_layer(model_folder):
    part = load_backbone(str(model_folder("bert")), layers=[1], dtype="float32", device="cpu")
    assert (part.layers, part.aliases) == ((0, 1, 2), {"last": 3})
    whole = load_backbone(str(model_folder("bert")), layers=[1, "last"], device="cpu")
    assert whole.aliases == {"last": 3}


def test_other_weights_than_those_trained_on_are_refused(trained, model_folder, tmp_path):
    head, _ = trained("llama:2")
    moved = shutil.copytree(model_folder("llama"), tmp_path / "moved")
    there = Predictor(head, models={"llama": str(moved)}, device="cpu")
    np.testing.assert_array_equal(
        there.predict_proba(TEXTS[:3]), Predictor(head, device="cpu").predict_proba(TEXTS[:3])
    )
    weights = load_file(moved / "model.safetensors")
    name = next(iter(weights))
    weights[name].view(-1)[0] += 1
    save_file(weights, moved / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(MismatchError, match=r"weights: .* --model llama=FOLDER"):
        Predictor(head, models={"llama": str(moved)}, device="cpu")


def test_a_model_that_is_gone_is_asked_for(trained, tmp_path):
    head, _ = trained("bert:1")
    [origin] = head.card.origins
    gone = replace(origin, source=str(tmp_path / "gone"))
    head.card = replace(head.card, origins=(gone,))
    with pytest.raises(ModelError, match=r"--model bert=FOLDER .*models=\{'bert': 'FOLDER'\}"):
        Predictor(head, device="cpu")


PLACES = ["~nosuchuser/x", "a\0b", "a" * 5000, "C:\\Users\\me\\model", "http://evil/x", "\udcff"]


@pytest.mark.parametrize("place", PLACES)
def test_a_place_that_is_none_is_refused(trained, place):
    head, _ = trained("bert:1")
    head.card = replace(head.card, origins=(replace(head.card.origins[0], source=place),))
    with pytest.raises(ModelError):
        Predictor(head, device="cpu")


def test_every_feature_of_a_model_is_checked_against_it(trained):
    card = trained("bert:1,bert:2")[0].card
    wrong = {
        "width: 5 in the head": {"widths": (card.widths[0], 5)},
        "max_length": {"specs": (card.specs[0], replace(card.specs[1], max_length=7))},
    }
    for difference, changed in wrong.items():
        head, _ = trained("bert:1,bert:2")
        head.card = replace(card, **changed)
        with pytest.raises(MismatchError, match=difference):
            Predictor(head, device="cpu")


def test_attention_that_is_code_of_a_stranger_is_not_run_unasked(trained):
    head, _ = trained("bert:1")
    spec = replace(head.card.specs[0], attention="strangers/attention")
    head.card = replace(head.card, specs=(spec,))
    with pytest.raises(ModelError, match="--trust-remote-code"):
        Predictor(head, device="cpu")


@pytest.mark.parametrize("text", ["\udcff", None, 5, b"bytes"])
def test_what_is_no_text_is_named(trained, text):
    predictor = Predictor(trained("bert:1")[0], device="cpu")
    with pytest.raises(CorpusError, match="row 1"):
        predictor.predict(["a text", text])
    answers = predictor.stream(iter(["a text", text]), rows=1)
    assert next(answers).text == "a text"
    with pytest.raises(CorpusError, match="row 1"):
        next(answers)


@pytest.mark.parametrize("rows", [0, -1])
def test_a_stream_of_no_rows_is_refused_at_once(trained, rows):
    with pytest.raises(CorpusError, match="at least 1"):
        Predictor(trained("bert:1")[0], device="cpu").stream(["a text"], rows=rows)


def test_values_that_are_no_numbers_name_the_text(trained):
    predictor = Predictor(trained("bert:1")[0], device="cpu")
    predictor.head.classify[-1].bias.data[:] = float("nan")
    with pytest.raises(NotFiniteError, match="'the film"):
        predictor.predict(["the film was very good"])
    network = predictor.backbones["bert"].network
    with torch.no_grad():
        next(network.parameters())[:] = float("inf")
    with pytest.raises(NotFiniteError, match=r"'the film was very good the film was .*' reach"):
        predictor.predict(["the film was very good " * 9] * 2)


def test_more_texts_are_labelled_together_on_a_gpu(trained):
    predictor = Predictor(trained("bert:1")[0], device="cpu")
    few = predictor.rows
    predictor.backbones["bert"].on_gpu = True
    assert predictor.rows > few


def test_vectors_that_came_from_elsewhere_cannot_be_made_again(trained):
    head, _ = trained("bert:1")
    head.card = replace(head.card, origins=(replace(head.card.origins[0], source=None),))
    with pytest.raises(ModelError, match="brought along"):
        Predictor(head, device="cpu")


def test_code_of_a_stranger_is_not_run_unasked(trained):
    head, _ = trained("bert:1")
    head.card = replace(head.card, origins=(replace(head.card.origins[0], remote_code=True),))
    with pytest.raises(ModelError, match="--trust-remote-code"):
        Predictor(head, device="cpu")


@pytest.mark.parametrize("array", ["mean/x", "own/1", "os/system", "mean", "../1", "mean/99"])
def test_an_array_that_a_stranger_made_up_is_refused(trained, array):
    head, _ = trained("bert:1")
    made_up = replace(head.card.origins[0], arrays=(array,))
    head.card = replace(head.card, origins=(made_up,))
    with pytest.raises(ModelError, match="no "):
        Predictor(head, device="cpu")


STRANGE = {
    "max_length": [0, -1, 2**31, 2**63, 10**400],
    "dtype": ["", "float64", "os.system", "\x1b[31m", "x" * 4000],
    "attention": ["", "os.system", "\0", "eager|flash", "../../x", "\udcff", "packed", "x" * 4000],
    "long": ["", "windows", "both"],
    "truncation_side": ["", "left", "up"],
    "chat_template": ["own", "{", "{text}{text}", "{{ 9 ** 9 ** 9 }}{text}", "\udcff{text}"],
    "prompt": ["\udcff", "\0", "x " * 4000, "\x1b[2J"],
    "instruction": ["\udcff", "\0", "x " * 4000],
    "numerics": [-1, 10**400],
    "weights": ["", "imported", "\x1b[31m"],
    "tokenizer": ["", "x" * 4000],
}


@pytest.mark.parametrize("field", STRANGE)
def test_settings_that_a_stranger_made_up_are_refused_or_read(trained, tmp_path, field):
    head, _ = trained("bert:1")
    spec, folder = head.card.specs[0], tmp_path / "head"
    for value in STRANGE[field]:
        head.card = replace(head.card, specs=(replace(spec, **{field: value}),))
        said = ""
        try:
            assert load(head.save(folder), device="cpu").predict(["no"])
        except LefError as error:
            said = str(error)
        assert (len(said) < 1000, "\n" in said) == (True, False), value


SOURCES = [
    "",
    ".",
    "..",
    "/",
    "/etc/passwd",
    "/dev/zero",
    "/proc/self/mem",
    "hub:x/y",
    "\n",
    "-",
    "a=b",
]


@pytest.mark.parametrize("source", SOURCES)
def test_a_model_where_none_lies_is_refused(trained, source):
    head, _ = trained("bert:1")
    head.card = replace(head.card, origins=(replace(head.card.origins[0], source=source),))
    with pytest.raises(LefError) as caught:
        Predictor(head, device="cpu")
    assert len(str(caught.value)) < 1000


def test_no_head_is_no_predictor(split, tmp_path):
    with pytest.raises(StorageError, match="lef fuse --save"):
        load(tmp_path)
    (tmp_path / "head.json").write_text("{}")
    with pytest.raises(DamagedError):
        load(tmp_path)
    with pytest.raises(ModelError, match="train"):
        Predictor(train(split(40, (5,)), replace(TINY, op="concat"))[0])
