import json
import re

import pytest

FAST = ("--width", 8, "--hidden", "8", "--dropout", "0.1", "--epochs", 3, "--lr", 0.01)


@pytest.fixture
def studied(lef, fakes, texts):
    """Two fusions and a sweep on one corpus."""
    fakes(depth=3)
    assert lef("extract", "--data", texts, "--model", "fake").code == 0
    ids = [
        lef("fuse", "--models", models, *FAST, "--no-baselines", "--json").json["id"]
        for models in ("fake:1,fake:2", "fake:3")
    ]
    words = ("sweep", "--models", "fake", "--show-test", "--no-baselines", "--json")
    ids.append(lef(*words).json["id"])
    return lef, ids


def test_two_results_are_compared_by_their_ids(studied):
    lef, (one, other, swept) = studied
    ran = lef("compare", one[:10], other)
    assert ran.code == 0, ran.err
    assert "on 10 texts" in ran.out
    assert re.search(r"[^.] \((exact McNemar)\)\.\n", ran.out)
    found = lef("compare", one, swept, "--json").json
    assert found["n_test"] == 10
    assert found["sentence"]
    layers = lef("compare", swept, f"{swept}@fake:0", "--csv").out.splitlines()
    assert layers[0].startswith("first,second,n_test,difference")
    assert layers[1].startswith(f"{swept},{swept},10,")
    refused = lef("compare", swept, f"{swept}@fake:9")
    assert (refused.code, refused.err.count("\n")) == (1, 1)
    assert "has no test of fake:9: it shows fake:0, fake:1" in refused.err


def test_results_are_listed_and_stale_ones_marked(studied, texts):
    lef, ids = studied
    listed = lef("results", "--json").json
    assert [each["id"] for each in listed] == ids
    assert [each["kind"] for each in listed] == ["fuse", "fuse", "sweep"]
    assert not any(each["stale"] for each in listed)
    assert lef("compare", "--json").json == listed
    table = lef("results").out
    assert ids[0][:8] in table
    assert "fake:1 + fake:2, concat" in table
    file = texts / "train.tsv"
    lines = file.read_text().splitlines()
    lines[1] = lines[1][:-1] + ("y" if lines[1][-1] == "n" else "n")
    file.write_text("\n".join([*lines, ""]))
    lef("extract", "--data", texts, "--model", "fake")
    assert {each["stale"] for each in lef("results", "--json").json} == {"labels of train"}
    assert "stale: the labels of train changed since" in lef("results").out
    noted = lef("compare", *ids[:2], "--json").json["notes"]
    assert sum("is stale: the labels of train changed since" in line for line in noted) == 2


def test_one_name_is_a_usage_error_and_no_results_are_told(lef):
    assert lef("compare", "one").code == 2
    ran = lef("results")
    assert (ran.code, ran.out) == (0, "")
    assert "No results yet" in ran.err
    assert json.loads(lef("results", "--json").out) == []
    assert lef("compare", "a", "b").code == 1
