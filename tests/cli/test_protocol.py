import pytest

FAST = ("--width", 16, "--hidden", "8", "--dropout", "0.1", "--epochs", 2, "--lr", 0.01)
NAMES = [
    "majority class",
    "tf-idf + logistic regression",
    "last layer",
    "layer 0",
    "fixed depth 0.6",
]


@pytest.fixture
def extracted(lef, fakes, texts):
    fakes(depth=5)
    assert lef("extract", "--data", texts, "--model", "fake").code == 0
    return lef


def test_the_operator_is_chosen_on_validation_and_its_test_alone_is_shown(extracted):
    words = ("fuse", "--models", "fake:1,fake:2", *FAST)
    several = (*words, "--op", "concat,hadamard-res,quaternion")
    found = extracted(*several, "--json").json
    assert [each["op"] for each in found["ops"]] == ["concat", "hadamard-res", "quaternion"]
    shown = [each["op"] for each in found["ops"] if each["test_accuracy"]]
    assert shown == [found["op"]]
    best = max(found["ops"], key=lambda each: each["val_accuracy"]["mean"])
    assert found["val_accuracy"]["mean"] == best["val_accuracy"]["mean"]
    ran = extracted(*several)
    assert "chosen" in ran.out
    assert "not shown" in extracted("results").out
    every = extracted(
        *words, "--op", "concat,hadamard-res,quaternion", "--show-test", "--json"
    ).json
    assert all(each["test_accuracy"] for each in every["ops"])
    assert every["id"] == found["id"]
    wrong = extracted(*words, "--op", "concat,cat")
    assert (wrong.code, "'cat' is not one of concat" in wrong.err) == (2, True)
    beside = extracted(*words, "--op", "all,concat")
    assert (beside.code, "all goes alone" in beside.err) == (2, True)


def test_every_table_has_its_baselines(extracted):
    swept = extracted("sweep", "--models", "fake:1..2", "--json").json
    assert [each["name"] for each in swept["baselines"]] == NAMES
    assert all(each["test_accuracy"] is not None for each in swept["baselines"])
    assert [row["test_accuracy"] is None for row in swept["rows"]].count(False) == 1
    words = ("fuse", "--models", "fake:1,fake:2", *FAST)
    fused = extracted(*words, "--json").json
    assert [each["name"] for each in fused["baselines"]] == NAMES
    alone = extracted(*words, "--alone", "--json").json["baselines"]
    assert [each["name"] for each in alone] == [*NAMES, "alone", "alone"]
    assert extracted(*words, "--json").json["baselines"] == alone  # they are there now
    for ran in (extracted("sweep", "--models", "fake:1..2"), extracted(*words)):
        assert "tf-idf + logistic regression" in ran.out
        assert "fixed depth 0.6, fake:3" in ran.out
    assert extracted(*words, "--no-baselines", "--json").json["baselines"] == []


def test_without_its_texts_a_baseline_is_missing_and_the_rest_is_there(extracted, texts):
    for file in texts.iterdir():
        file.unlink()
    texts.rmdir()
    ran = extracted("sweep", "--models", "fake:1..2")
    assert ran.code == 0
    assert "no tf-idf + logistic regression: the texts of reviews are not on this" in ran.err
    assert "majority class" in ran.out


@pytest.mark.parametrize("study", [("sweep",), ("fuse", *FAST)])
def test_a_learning_curve_has_a_line_for_each_size(extracted, study):
    words = (*study, "--models", "fake:1,fake:2", "--n-train", "all,10,20")
    found = extracted(*words, "--json").json
    sizes = [point["n_train"] for point in found["curve"]]
    assert sizes[:2] == [10, 20]
    assert sizes[2] > 20
    assert found["n_train"] == sizes[2]
    assert [point["baselines"][1]["n_train"] for point in found["curve"]][:2] == [10, 20]
    whole = extracted(*words[:-2], "--json").json
    assert whole["cached"]
    assert whole["id"] == found["id"]
    assert "learning curve" in extracted(*words).out
    if study[0] == "fuse":
        told = extracted(*words, "--seed", 1).err.splitlines()
        heads = [line for line in told if line.endswith("rows to train on:")]
        assert heads == ["10 rows to train on:", "20 rows to train on:", "all rows to train on:"]
    refused = extracted(*words[:-1], "10,1000")
    assert (refused.code, refused.err.count("\n")) == (1, 1)
    assert "--n-train 1000: reviews has" in refused.err
