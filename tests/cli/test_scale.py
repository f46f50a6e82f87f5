import csv
import io
import re
import shlex

import pytest

from lefcache.study import Scale

FAST = ("--width", 8, "--hidden", "8", "--dropout", "0.1", "--epochs", 2, "--lr", 0.01)
WORDS = ("scale", "--models", "one:1,one:last,two:2", "--seeds", 2, *FAST)


@pytest.fixture
def extracted(lef, fakes, texts):
    fakes(depth=3)
    for model in ("one", "two"):
        assert lef("extract", "--data", texts, "--model", model).code == 0
    return lef


def test_steps_costs_and_the_next_command_are_shown(extracted):
    ran = extracted(*WORDS, "--store", "float16,bfloat16")
    assert ran.code == 0, ran.err
    assert ran.out.startswith("reviews: one feature more at a time (hadamard-res, 2 seeds; n = 4")
    assert "the same 3 features in other stores, against float16" in ran.out
    assert "what it costs" in ran.out
    assert re.search(r"features? pays?: |All 3 features pay", ran.out)
    assert "unknown" not in ran.out  # the extraction above was timed
    assert "2 features (float16): " in ran.err
    following = ran.out.splitlines()[-1].removeprefix("Next: ")
    assert following.startswith("lef fuse --data reviews --models one:1")
    assert "--save head" in following
    assert extracted(*shlex.split(following)[1:]).code == 0


def test_the_operator_that_help_calls_usual_is_the_one(extracted):
    help = " ".join(extracted("scale", "--help").out.split())
    usual = re.search(r"fuses the projected features\. \[default: ([a-z-]+)\]", help)[1]
    assert extracted(*WORDS, "--json").json["op"] == usual == "hadamard-res"


def test_the_document_is_whole_and_csv_has_its_rows(extracted):
    document = extracted(*WORDS, "--project", "1000x4x2", "--json").json
    (projected,) = document.pop("projections")
    assert document.pop("rate")["model"] in ("one", "two")
    assert projected["bytes"]["float32"] > projected["bytes"]["float16"]
    assert projected["seconds"] > 0
    found = Scale.from_json(document)
    rows = [*csv.DictReader(io.StringIO(extracted(*WORDS, "--csv").out))]
    assert [row["features"] for row in rows] == [",".join(step.features) for step in found.steps]
    assert [float(row["val_accuracy"]) for row in rows] == [
        step.val_accuracy.mean for step in found.steps
    ]
    assert [row["best_by_bytes"] for row in rows].count("true") == len(found.best_by_bytes)


def test_a_projection_needs_no_models(extracted):
    ran = extracted("scale", "--project", "67349x33x4096", "--rate", "200T", "--tokens", 25)
    assert ran.code == 0, ran.err
    assert re.search(r"67,349 x 33 x 4,096 +6\.44 +18\.\d GB +36\.\d GB +1\.7 +1 min 48 s", ran.out)
    assert "Rate: 200 Tflop/s, as given." in ran.out
    lines = extracted("scale", "--project", "10x4x2", "--csv").out.splitlines()
    assert lines[0].startswith("rows,layers,width,")
    assert len(lines) == 2


def test_what_was_never_timed_is_unknown(lef):
    ran = lef("scale", "--project", "67349x33x4096")
    assert ran.code == 0, ran.err
    assert "unknown" in ran.out
    assert "give --rate" in ran.out
    ran = lef("scale", "--project", "67349x33x4096", "--rate", "200T")
    assert "give --tokens of a text to know the time" in ran.out
    assert lef("scale", "--project", "67349x33x4096", "--tokens", -5).code == 2


def test_mistakes_name_the_fix(extracted):
    assert "For example: lef scale --data reviews --models" in extracted("scale").err
    assert "such as 1000000x33x4096" in extracted("scale", "--project", "many").err
    assert "such as 200T" in extracted("scale", "--project", "1x1x1", "--rate", "fast").err
    assert "a vote is one head for each feature" in extracted(*WORDS, "--op", "vote").err
