"""Every contender of the sweep benchmark does its work, so that like is held against like."""

import argparse
import importlib

import pytest


@pytest.mark.parametrize("contender", ["ridge", "logistic", "mlp", "plain", "loader", "sklearn"])
def test_every_contender_finds_the_layer_that_knows(contender, filled, benchmarks):
    contenders = importlib.import_module("sweep_contenders")
    run = contenders.OTHERS.get(contender, contenders.run_ours)
    options = argparse.Namespace(contender=contender, epochs=40)
    assert run(filled.tables("one", "tiny"), options) > 0.9


def test_ratios_are_taken_of_those_that_took_part(benchmarks, monkeypatch):
    script = importlib.import_module("sweep")
    seconds = {"ridge": 1.0, "logistic": 2.0, "mlp": 50.0, "plain": 100.0, "loader": 110.0}
    monkeypatch.setattr(
        script, "measure", lambda name, data, options: {"seconds": seconds.get(name, 8.0)}
    )
    options = argparse.Namespace(rounds=3, epochs=1)
    found = script.compare("tiny", options, narrow=False)
    assert "mlp, bfloat16" not in found["figures"]
    ratios = {(each["of"], each["to"]): each["median"] for each in found["ratios"]}
    assert ratios["plain", "ridge"] == 100
    assert ratios["plain", "mlp"] == 2
    assert ("plain", "mlp, bfloat16") not in ratios
    again = script.compare("tiny", options, narrow=True)
    assert ("plain", "mlp, bfloat16") in {(each["of"], each["to"]) for each in again["ratios"]}
