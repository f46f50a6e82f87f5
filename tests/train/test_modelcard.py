import math
from dataclasses import replace

import pytest
import yaml

from lefcache.columns import Reading
from lefcache.feature import Feature
from lefcache.recipe import Recipe
from lefcache.spec import Origin, Spec
from lefcache.train.card import Card
from lefcache.train.figures import Figures
from lefcache.train.modelcard import model_card

FIGURES = {
    "corpus": "sst2",
    "source": "stanfordnlp/sst2",
    "seed": 3,
    "best_epoch": 17,
    "n_train": 67349,
    "n_val": 100,
    "n_val_known": 3,
    "val_accuracy": 0.91,
    "val_ci95": [0.85, 0.95],
    "n_test": 872,
    "test_accuracy": 0.8991,
    "test_ci95": [0.876, 0.918],
    "test_macro_f1": 0.8979,
}
MINILM = Origin("minilm", ("mean/3",), ("float16",), "minilm", "8b32")
MINE = Origin("mine", ("mean/2", "mean/3"), ("float16", "float32"), "/home/me/secret/checkpoint")
VECTORS = Origin("openai", ("mean/last",), ("float32",))


def card_of(*origins, **figures):
    return Card(
        features=tuple(
            Feature(each.model, "last" if each == VECTORS else 3 if each == MINILM else "2~3")
            for each in origins
        ),
        widths=(384, 16, 8)[: len(origins)],
        specs=(Spec("sha256:abc", prompt="query: "),) * len(origins),
        origins=origins,
        classes=("no", "yes"),
        recipe=Recipe(op="hadamard-res"),
        figures=FIGURES | figures,
        reading=Reading(text_column="sentence"),
    )


def metadata(text):
    return yaml.safe_load(text.split("---\n")[1])


def test_the_hub_reads_data_models_and_scores():
    read = metadata(model_card(card_of(MINILM, MINE), licence="mit"))
    assert read["license"] == "mit"
    assert read["library_name"] == "lefcache"
    assert read["base_model"] == ["sentence-transformers/all-MiniLM-L6-v2"]
    assert read["datasets"] == ["stanfordnlp/sst2"]
    [result] = read["model-index"][0]["results"]
    # What is our test is the validation split of SST-2 on the hub, whose own test has no labels.
    assert result["dataset"] == {"type": "stanfordnlp/sst2", "name": "sst2", "split": "validation"}
    accuracy, f1 = result["metrics"]
    assert (accuracy["type"], accuracy["value"]) == ("accuracy", 0.8991)
    assert accuracy["name"] == "accuracy on 872 texts, 95 % interval 0.8760 to 0.9180"
    assert (f1["type"], f1["value"]) == ("f1", 0.8979)


def test_a_licence_that_nobody_chose_is_not_made_up():
    text = model_card(card_of(MINILM))
    assert metadata(text)["license"] == "other"
    assert "its author has chosen none yet" in text
    assert "- `minilm`: Apache-2.0" in text


def test_a_person_reads_how_good_it_is_and_how_sure():
    text = model_card(card_of(MINILM, selected_by="carved from train", seeds=5))
    assert "| accuracy | test | this head | 89.9 % |  | 87.6 % to 91.8 % | 872 |" in text
    assert "| accuracy | validation | this head | 91.0 % |  | 85.0 % to 95.0 % | 100 |" in text
    assert "Epoch 17 of 120 is the best by accuracy on rows carved from train." in text
    assert "seed 3, the best of 5 by the rows that chose" in text
    assert "3 of 100 validation texts are in train too" in text
    assert "| text column | `sentence` |" in text
    assert "| op | `hadamard-res` |" in text
    assert "prompt ` query:  `" in text


def test_a_figure_of_the_papers_protocol_is_said_to_flatter():
    text = model_card(card_of(MINILM, selected_by="test split"))
    assert "the test chose the epoch" in text
    assert "| validation |" not in text  # the test by another name
    assert "the test chose the epoch" not in model_card(card_of(MINILM))


def estimate(mean, low, high):
    return {"mean": mean, "std": 0.012, "ci95": [low, high], "values": [mean]}


def test_what_other_seeds_gave_stands_beside_it():
    study = {"test_accuracy": estimate(0.88, 0.86, 0.9), "test_log_loss": estimate(0.4, 0.3, 0.5)}
    text = model_card(card_of(MINILM, study=study, seeds=5))
    assert "| accuracy | test | this head | 89.9 % |" in text
    assert "| accuracy | test | 5 seeds | 88.0 % | 1.2 % | 86.0 % to 90.0 % | 872 |" in text
    assert "| log-loss | test | 5 seeds | 0.400 | 0.012 | 0.300 to 0.500 | 872 |" in text
    assert metadata(text)["model-index"][0]["results"][0]["metrics"][0]["value"] == 0.8991
    alone = model_card(card_of(MINILM, study=study, seeds=1))
    assert "| log-loss | test | this head | 0.400 |  | 0.300 to 0.500 | 872 |" in alone


def test_without_a_test_there_is_no_test_score():
    text = model_card(card_of(MINILM, n_test=0, test_accuracy=None, test_macro_f1=None))
    assert "model-index" not in metadata(text)
    assert "| test |" not in text
    assert "never scored on a test split" in text


def test_the_folders_of_its_author_are_not_told():
    text = model_card(card_of(MINE, source=""))
    assert "secret" not in text
    assert "`mine`: not known to lefcache; ask its authors" in text
    assert "base_model" not in metadata(text)


def test_a_head_on_imported_vectors_says_what_it_cannot_do():
    text = model_card(card_of(MINILM, VECTORS))
    assert "It labels no raw text: lefcache cannot make the vectors of `openai`" in text
    assert "lef predict" not in text


def test_what_a_model_was_trained_on_is_said():
    origin = replace(MINILM, model="t5", source="t5")
    assert "t5 was trained on sst2" in model_card(card_of(origin))


def test_a_mix_shows_what_each_layer_counts_for():
    text = model_card(card_of(MINILM, MINE, layer_weights=[0.25, 0.75]))
    assert "`minilm:3` 0.250, `mine:2~3` 0.750" in text


HOSTILE = [
    {"test_accuracy": {"mean": "x"}},
    {"val_accuracy": 7},
    "<b>\n# x",
    None,
    math.nan,
    [1],
    {},
    -5,
    True,
    "9",
    10**400,
    [math.inf, 1],
]


@pytest.mark.parametrize("value", HOSTILE, ids=lambda value: repr(value)[:20])
def test_figures_of_a_stranger_are_left_out_or_shown_as_words(value):
    card = card_of(MINILM, **dict.fromkeys([*FIGURES, "layer_weights", "study", "seeds"], value))
    text = model_card(replace(card, classes=("<script>", "a|b\n# c")))
    body = text.split("---\n", 2)[2]
    assert not any(line.startswith("# x") for line in body.splitlines())
    assert "`<script>`, `a|b\\u000a# c`" in body
    assert "nan" not in body
    assert yaml.safe_load(text.split("---\n")[1])["library_name"] == "lefcache"


def test_a_number_that_is_none_is_no_score():
    assert Figures(FIGURES | {"test_accuracy": "0.99"}).scores()[1].name == "macro F1"
    assert Figures({}).scores() == []
