"""Whether layers and heads transfer, end to end on made-up vectors."""

import importlib
import json
import sys

import numpy as np
import pytest

from lefcache.corpus import Corpus, Split
from lefcache.vectors import import_vectors

SIZES = {"train": 60, "test": 40}
KNOWING = {"films": 1, "plays": 1, "news": 2}  # the layer that knows the labels


@pytest.fixture
def filled(cache, tmp_path):
    """Three corpora of four layers; films and plays are of one kind, and of the same classes."""
    draw = np.random.default_rng(0)
    for name, knowing in KNOWING.items():
        labels = {split: draw.permutation(size) % 2 for split, size in SIZES.items()}
        splits = {
            split: Split([f"{name} {split} {row}" for row in range(size)], labels[split].tolist())
            for split, size in SIZES.items()
        }
        classes = ("sport", "trade") if name == "news" else ("bad", "good")
        for split, size in SIZES.items():
            folder = tmp_path / name / split
            folder.mkdir(parents=True)
            for layer in range(4):
                rows = draw.standard_normal((size, 5)).astype(np.float32)
                rows[:, 0] += (4 if layer == knowing else 1) * labels[split]
                np.save(folder / f"layer-{layer}.npy", rows)
        import_vectors("one", [tmp_path / name], Corpus(name, classes, splits), cache)
    return cache


def test_the_matrix_its_means_and_the_heads_are_told(filled, benchmarks, tmp_path, monkeypatch):
    script = importlib.import_module("transfer")
    kinds = {"films": "stage", "plays": "stage", "news": "news"}
    monkeypatch.setattr(script, "KINDS", kinds)
    out = tmp_path / "out"
    words = ["transfer.py", "--cache", filled.path, "--models", "one", "--out", out]
    words += ["--corpora", "films,plays,news"]
    monkeypatch.setattr(sys, "argv", [*map(str, words)])
    script.main()
    document, page = json.loads((out / "transfer.json").read_text()), (out / "transfer.md")
    (found,) = document["transfers"]
    assert [each["best"] for each in found["targets"]] == ["one:1", "one:1", "one:2"]
    text = page.read_text()
    assert "Of the same kind are films, plays (stage) and news (news)." in text
    assert "A layer chosen on one of another kind loses more than the last layer" not in text
    assert "| films | one:1 | own | same layer | +" in text
    assert "| ... on one of the same kind | 0.00 [0.00, 0.00] | 0.00 | 2 |" in text
    assert "| one | films | plays | one:1 | 40 | 0 |" in text
    assert "Not moved: 4 of 6 (other classes)." in text


def test_means_are_over_models_and_targets_with_an_interval(benchmarks):
    report = importlib.import_module("transfer_report")
    mean, (low, high) = report.mean_of([[1.0, 3.0], [], [4.0]])
    assert mean == pytest.approx(3.0)
    assert (low, high) == (2.0, 4.0)
    worse = report._sentence(report.ELSEWHERE, "last layer", [[1.0], [2.0]])
    assert worse == (
        "A layer chosen on another corpus loses more than the last layer: +1.50 points "
        "[+1.00, +2.00], over 2 models x targets."
    )
    assert "is not told apart from" in report._sentence(report.ALIKE, "last layer", [[-1.0], [2.0]])
    assert "loses less than" in report._sentence(report.UNLIKE, "last layer", [[-1.0], [-2.0]])
