"""What choosing a layer loses, end to end on made-up vectors and small heads."""

import importlib
import json
import sys

import numpy as np
import pytest

SIZES = {"train": 60, "test": 40}  # of the corpus `filled`


@pytest.fixture
def run(filled, benchmarks, tmp_path, monkeypatch):
    """Run the script and read what it wrote: `figures, page = run()`."""
    monkeypatch.setattr(importlib.import_module("fusion"), "CORPORA", {"tiny": None})
    script = importlib.import_module("which_layer")
    recipe = {"hidden": (16,), "dropout": (0.1,), "lr": 1e-2, "epochs": 15, "batch": 10}
    for name, value in {
        "CORPORA": {"tiny": None},
        "WIDTH": 16,
        "EARLY": recipe,
        "SEEDS": 2,
        "DRAWN": 2,
        "BUDGETS": ("0.5%", "2%", "5000%"),
    }.items():
        monkeypatch.setattr(script, name, value)

    def start(*more):
        words = ["which_layer.py", "--cache", filled.path, "--models", "one,two", *more]
        words += ["--corpora", "tiny", "--out", tmp_path / "out"]
        monkeypatch.setattr(sys, "argv", [*map(str, words)])
        script.main()
        written = tmp_path / "out"
        return json.loads((written / "select.json").read_text()), (
            written / "select.md"
        ).read_text()

    return start


def test_everything_is_chosen_and_told(run):
    figures, page = run()
    one, two = figures["cells"]
    assert (one["model"], two["model"]) == ("one", "two")
    hows = {each["how"] for each in one["choices"]}
    assert {"select, 0.5%", "select, 5000%", "last layer", "fixed depth 0.6"} < hows
    assert {"ridge, all rows", "anisotropy, all rows", "the sweep itself, on validation"} < hows
    assert all(len(seeds) == 2 for seeds in one["sweep"]["test_accuracy"].values())
    chosen = [each["feature"] for each in one["choices"] if each["how"] == "select, 5000%"]
    assert chosen == ["one:1", "one:1"]
    for title in ("Is it worth having?", "Regret", "How the scores agree", "Each corpus and model"):
        assert f"## {title}" in page
    assert f"n = {SIZES['test']} test texts" in page
    assert "- select, 5000%: not reached: it took" in page


def test_a_trial_says_that_it_is_one(run):
    figures, page = run("--trial")
    assert "its figures mean nothing" in page
    assert figures["cells"][0]["sweep"]["seeds"] == 1


def test_regret_is_that_of_the_means_with_an_interval_around_it(run, benchmarks):
    report = importlib.import_module("which_layer_report")

    def cell(best, other):
        tested = {"m:0": best, "m:1": other}
        return {
            "sweep": {"test_accuracy": tested, "seeds": len(best), "seconds": 100.0, "n_test": 400},
            "choices": [
                {"how": "a", "feature": "m:0", "seconds": 1.0},
                {"how": "a", "feature": "m:1", "seconds": 3.0},
            ],
        }

    cells = [cell([0.9, 0.8], [0.7, 0.7]), cell([0.6, 0.6], [0.6, 0.4])]
    assert report.regret(cells[0], "a") == pytest.approx(7.5)
    assert report.mean_regret(cells, "a") == pytest.approx(6.25)
    low, high = report.regret_interval(cells, "a")
    assert 0 <= low < 6.25 < high <= 10
    assert report.time_share(cells, "a") == pytest.approx(0.02)
    assert report.time_share(cells, "a", seeds=1) == pytest.approx(0.04)
    assert report.standard_error(cells[0]) == pytest.approx(100 * np.sqrt(0.85 * 0.15 / 400))
