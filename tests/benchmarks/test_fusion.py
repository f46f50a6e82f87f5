"""The questions that are asked of real data, end to end on made-up vectors and small heads."""

import importlib
import json
import re
import sys

import pytest


@pytest.fixture
def document(filled, benchmarks, tmp_path, monkeypatch):
    """What the script writes, as JSON and as Markdown."""
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
    assert all(record["n_test"] == 40 for record in figures["heads"])
    for title in ("The claims", "The pair, by every operator", "How wide", "How many labels"):
        assert f"## {title}\n" in page
    assert "- **A middle layer beats the last one**: holds in 1 of 2 comparisons" in page
    assert "better: tiny one:1 - one:3" in page
    assert re.search(r"gain most where labels are few\*\*: 20 rows: .*; all rows: ", page)
    [table] = [part for part in page.split("## ") if part.startswith("The pair, by every")]
    rows = [line for line in table.splitlines() if line.startswith("|")][2:]
    assert len(rows) == sum(record["question"] == "pairs" for record in figures["heads"])
    assert rows[0].startswith("| one:1 alone | ")
    assert all("[" in row.split("|")[4] for row in rows[1:])  # a difference with its interval
