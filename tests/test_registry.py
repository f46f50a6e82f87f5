"""What is known of the models that have a short name, and what follows from it."""

import json
import re

import pytest

from lefcache.extract import extract, load_backbone, place_order
from lefcache.extract.models import on_this_machine
from lefcache.extract.pooling import POOLINGS
from lefcache.registry import MODELS, ModelEntry, training_notes
from lefcache.testing import FakeBackbone

METHOD = "llama2 llama2-chat mistral qwen2.5 falcon3 gemma2 nvembed e5"
OTHERS = (
    "llama3 qwen3 gemma3 phi olmo2 modernbert bert roberta xlm-r deberta-v3 mpnet bge gte t5 minilm"
)


def test_the_models_of_the_method_come_first_and_the_others_are_there():
    assert list(MODELS)[:8] == METHOD.split()
    assert {*OTHERS.split()} <= {*MODELS}


@pytest.mark.parametrize("name", MODELS)
def test_every_entry_says_what_a_model_is(name):
    entry = MODELS[name]
    assert entry.bundled or re.fullmatch(r"[\w.-]+/[\w.-]+", entry.source)
    assert entry.depth > 0
    assert entry.width > 0
    assert entry.licence
    assert entry.revision == "" or re.fullmatch(r"[0-9a-f]{40}", entry.revision)
    assert entry.pool in ("", "own", *POOLINGS)
    assert len({*entry.trained_on}) == len(entry.trained_on)


def test_no_two_short_names_are_one_model():
    assert len({entry.source for entry in MODELS.values()}) == len(MODELS)


@pytest.mark.parametrize("name", ["minilm", "tinylm"])
def test_entries_of_models_that_are_here_are_true(name):
    config = json.loads((on_this_machine(name) / "config.json").read_text())
    entry = MODELS[name]
    assert (config["num_hidden_layers"], config["hidden_size"]) == (entry.depth, entry.width)


def test_a_model_of_another_shape_than_its_entry_is_noted(model_folder, monkeypatch):
    folder = str(model_folder("llama"))
    for depth, width, told in ((4, 16, False), (5, 16, True), (4, 17, True), (0, 0, False)):
        monkeypatch.setitem(MODELS, "mine", ModelEntry(folder, depth=depth, width=width))
        notes = load_backbone("mine", device="cpu").notes
        assert any("is it the right one?" in note for note in notes) == told


def test_a_model_cut_to_its_first_blocks_is_still_the_right_one(model_folder, monkeypatch):
    monkeypatch.setitem(MODELS, "mine", ModelEntry(str(model_folder("llama")), depth=4, width=16))
    notes = load_backbone("mine", device="cpu", layers=[1]).notes
    assert not any("right one" in note for note in notes)


# The pooling of a model's authors


def pools(source, **choices):
    fake = FakeBackbone(name=source)
    return lambda corpus: dict.fromkeys(
        name.partition("/")[0] for name in place_order(fake, corpus, **choices).arrays
    )


@pytest.mark.parametrize(
    ("source", "wanted"),
    [("bge", ["mean", "first"]), ("e5", ["mean"]), ("llama2", ["mean"]), ("org/any", ["mean"])],
)
def test_the_authors_pooling_is_stored_beside_the_mean(make_corpus, source, wanted):
    assert list(pools(source)(make_corpus(3))) == wanted


def test_poolings_that_are_named_are_all_there_is(make_corpus):
    assert list(pools("bge", pools=["max"])(make_corpus(3))) == ["max"]


# What a model has seen


@pytest.mark.parametrize(
    ("model", "corpus"),
    [
        ("nvembed", ["imdb"]),
        ("nvembed", ["reviews", "stanfordnlp/imdb"]),
        ("nvembed", ["x", "/data/IMDB/"]),
        ("nvembed", ["x", r"C:\data\imdb"]),
        ("nvembed", ["mteb", "mteb/toxic_conversations_50k"]),
        ("t5", ["SST-2"]),
        ("t5", ["mr"]),
        ("bge", ["amazon", "fancyzhx/amazon_polarity"]),
    ],
)
def test_a_corpus_that_a_model_was_trained_on_is_told(model, corpus):
    (note,) = training_notes(model, corpus)
    assert note.startswith(f"{model} was trained on ")


@pytest.mark.parametrize(
    ("model", "corpus"),
    [("nvembed", ["sst2"]), ("mistral", ["imdb"]), ("org/any", ["imdb"]), ("t5", ["sst"])],
)
def test_nothing_is_said_of_another_one(model, corpus):
    assert training_notes(model, corpus) == []


def test_the_receipt_says_it_too(cache, make_corpus):
    receipt = extract(FakeBackbone(name="nvembed"), make_corpus(3, name="imdb"), cache)
    assert any("was trained on imdb" in note for note in receipt.notes)
