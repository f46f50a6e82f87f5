"""The steps of made-up vectors, and the time of the model that comes with the package."""

import importlib
import json
import sys


def test_steps_stores_and_times_are_written(filled, benchmarks, tmp_path, monkeypatch):
    script = importlib.import_module("scale")
    small = {"hidden": (8,), "dropout": (0.1,), "lr": 1e-2, "epochs": 2}
    for name, value in {"CORPUS": "tiny", "WIDTH": 16, "EARLY": small}.items():
        monkeypatch.setattr(script, name, value)
    words = ["scale.py", "--cache", filled.path, "--models", "one:1,two:0,one:2", "--trial"]
    words += ["--timed", "minilm", "--data", "demo", "--out", tmp_path / "out"]
    monkeypatch.setattr(sys, "argv", [*map(str, words)])
    script.main()
    document = json.loads((tmp_path / "out/cost.json").read_text())
    assert [len(step["features"]) for step in document["scale"]["steps"]] == [1, 2, 3]
    assert len(document["scale"]["stores"]) == 2
    (time,) = document["times"]
    assert (time["model"], time["rows"], time["foretold"]) == ("minilm", 20, {})
    assert "| minilm | " in (tmp_path / "out/cost.md").read_text()
