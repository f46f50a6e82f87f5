"""The pairs of real data, end to end on made-up vectors and small heads."""

import importlib
import json
import sys

import numpy as np
import pytest

from lefcache.study.paired import SCORES


@pytest.fixture
def script(benchmarks, monkeypatch):
    """The script, with heads and features small enough for a test."""
    small = {"CORPORA": {"tiny": None}, "WIDTH": 16}
    small["EARLY"] = {"hidden": (8,), "dropout": (0.1,), "lr": 1e-2, "epochs": 3}
    fusion, script = importlib.import_module("fusion"), importlib.import_module("pairs")
    for name, value in small.items():
        monkeypatch.setattr(fusion, name, value)
        monkeypatch.setattr(script, name, value)
    monkeypatch.setattr(script, "LAYERS", (0, 2))
    return script


@pytest.fixture
def document(filled, script, tmp_path, monkeypatch):
    """What the script writes, as JSON and as Markdown."""
    monkeypatch.setattr(script, "LAYERS", (0,))
    words = ["pairs.py", "--cache", filled.path, "--models", "one,two", "--trial", "--no-time"]
    monkeypatch.setattr(sys, "argv", [*map(str, words), "--out", str(tmp_path / "out")])
    script.main()
    written = tmp_path / "out"
    return json.loads((written / "pairs.json").read_text()), (written / "pairs.md").read_text()


def test_the_pairs_are_settled_by_a_rule(filled, script):
    one = script.features_of(filled, "one", "tiny")
    assert one == ["one:0", "one:2", "one:3"]
    couples = [*script.couples_of([one, ["two:0", "two:3"]])]
    assert len(couples) == len({*couples}) == 3 * 2 + 2 + 1
    assert ("one:0", "one:2") in couples
    assert ("one:0", "one:3") not in couples


def test_every_score_is_held_against_what_was_measured(document):
    figures, page = document
    (tiny,) = figures["corpora"]
    assert len(tiny["pairs"]) == 2 * 2 + 1 + 1
    assert tiny["n_test"] == 40
    alone = {one["feature"]: one for one in tiny["singles"]}
    for each in tiny["pairs"]:
        known = each["measured"]
        better = alone[known["better"]]
        others = [alone[each[name]]["head_val_accuracy"] for name in ("first", "second")]
        assert better["head_val_accuracy"] == max(others)
        gain = known["head_test_accuracy"] - better["head_test_accuracy"]
        assert known["gain"] == pytest.approx(gain)
    summary = figures["summary"]
    assert {each["score"] for each in summary["correlations"]} == {*SCORES}
    for title in ("Which scores predict", "The predicted accuracy", "Every pair"):
        assert f"## {title}\n" in page
    assert "- **linear CKA** " in page
    assert page.count("| one:") + page.count("| two:") >= len(tiny["pairs"])
    (choice,) = summary["choices"]
    assert choice["best"] >= choice["test_accuracy"]
    assert 1 <= choice["rank"] <= 6


def record(gain, score, told, measured):
    scores = dict.fromkeys(SCORES, score)
    known = {"gain": gain, "head_test_accuracy": measured}
    interval = {"predicted_ci95": [told - 0.1, told + 0.1]}
    return scores | {"predicted": told, "accuracy": 0.05, "measured": known} | interval


def test_a_score_predicts_where_its_interval_leaves_out_nothing(benchmarks):
    findings = importlib.import_module("pairs_findings")
    report = importlib.import_module("pairs_report")
    gains = np.arange(20) / 100
    scores = 3 * gains + 0.05 * (np.arange(20) % 2)  # nearly in the order of the gains
    pairs = zip(gains, scores, strict=True)
    records = [record(gain, score, 0.5, 0.45 if gain < 0.1 else 0.7) for gain, score in pairs]
    found = findings._correlation(*findings._lists(records, "cka"))
    assert found["n"] == 20
    assert 0.9 < found["spearman"] < 1
    assert 0.9 < found["pearson"] < 1
    assert report._sign(found["spearman_ci95"]) == 1
    assert [report._sign(each) for each in ((-0.5, -0.1), (-0.1, 0.2), None)] == [-1, 0, 0]
    errors = findings._errors(records, "predicted", "predicted_ci95")
    assert errors["coverage"] == 0.5
    assert errors["mean_absolute_error"] == pytest.approx(0.125)
    assert errors["mean_error"] == pytest.approx(-0.075)
    assert report._fate({"mr": 0, "r8": 0}) == "does not predict the gain on any of mr, r8."
    assert report._fate({"mr": 1, "r8": 1}) == (
        "predicts: the higher, the larger the gain on all of mr, r8."
    )
    assert report._fate({"mr": -1, "r8": 0}) == (
        "predicts: the higher, the smaller the gain on mr; it does not predict it on r8."
    )
    assert report._fate({"mr": 1, "r8": -1}).endswith("so do not go by it.")


def test_the_timing_is_of_what_was_asked(filled, script, monkeypatch, capsys):
    monkeypatch.setattr(script, "TIMED_ROWS", 300)
    monkeypatch.setattr(script, "MADE_UP", 600)
    monkeypatch.setattr(script, "TIMED", 2)
    script.time_here([])
    figures = json.loads(capsys.readouterr().out)
    assert (figures["pairs"], figures["rows"], figures["widths"]) == (1, 300, [600, 600])
    assert figures["peak_mb"] >= figures["before_mb"] > 0
    script.time_here([str(filled.path), "tiny", "one:0,one:2,two:0"])
    assert json.loads(capsys.readouterr().out)["pairs"] == 3
