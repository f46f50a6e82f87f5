"""The questions that are asked of real data, end to end on made-up vectors and small heads."""

import importlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from lefcache.corpus import Corpus, Split
from lefcache.vectors import import_vectors

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
SIZES = {"train": 60, "test": 40}


@pytest.fixture
def filled(cache, tmp_path):
    """A cache with two models of three blocks; only the middle of the first knows the labels."""
    draw = np.random.default_rng(0)
    splits, labels = {}, {}
    for split, size in SIZES.items():
        labels[split] = draw.permutation(size) % 2
        splits[split] = Split([f"{split} {row}" for row in range(size)], labels[split].tolist())
    corpus = Corpus("tiny", ("no", "yes"), splits)
    for model, width in (("one", 6), ("two", 5)):
        for split, size in SIZES.items():
            folder = tmp_path / model / split
            folder.mkdir(parents=True)
            for layer in range(4):
                rows = draw.standard_normal((size, width)).astype(np.float32)
                if (model, layer) == ("one", 1):
                    rows[:, 0] += 8 * labels[split]
                np.save(folder / f"layer-{layer}.npy", rows)
        import_vectors(model, [tmp_path / model], corpus, cache)
    return cache


@pytest.fixture
def document(filled, tmp_path, monkeypatch):
    """What the script writes, as JSON and as Markdown."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    fusion = importlib.import_module("fusion")
    for name, value in {
        "CORPORA": {"tiny": None},
        "EARLY": {"hidden": (8,), "dropout": (0.1,), "lr": 1e-2, "epochs": 8},
        "HEADS": ("concat", "hadamard-res", "quaternion-res"),
        "WIDTH": 16,
        "WIDTHS": (4,),
        "SIZES": (20,),
    }.items():
        monkeypatch.setattr(fusion, name, value)
    asked = ",".join(each for each in fusion.QUESTIONS if each not in ("paper", "whole", "layers"))
    words = ["fusion.py", "--cache", filled.path, "--models", "one,two", "--only", asked]
    monkeypatch.setattr(sys, "argv", [*map(str, words), "--out", str(tmp_path / "out")])
    fusion.main()
    written = tmp_path / "out"
    return json.loads((written / "fusion.json").read_text()), (written / "fusion.md").read_text()


def test_every_question_is_answered_and_told(document):
    figures, page = document
    questions = {record["question"] for record in figures["heads"]}
    assert questions == {"pairs", "averages", "widths", "curves"}
    assert figures["chosen"]["tiny"]["one"] == "one:1"
    assert all(record["seeds"] == 3 for record in figures["heads"])
    assert all(record["n_test"] == SIZES["test"] for record in figures["heads"])
    for title in ("The claims", "The pair, by every operator", "How wide", "How many labels"):
        assert f"## {title}\n" in page
    assert "- **A middle layer beats the last one**: holds in 1 of 2 comparisons" in page
    assert "better: tiny one:1 - one:3" in page
    [table] = [part for part in page.split("## ") if part.startswith("The pair, by every")]
    rows = [line for line in table.splitlines() if line.startswith("|")][2:]
    assert len(rows) == sum(record["question"] == "pairs" for record in figures["heads"])
    assert rows[0].startswith("| one:1 alone | ")
    assert all("[" in row.split("|")[4] for row in rows[1:])  # a difference with its interval
