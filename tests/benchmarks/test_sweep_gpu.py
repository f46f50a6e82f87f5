"""The sweep benchmark of a GPU, end to end at the size that any machine can run."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "sweep_gpu.py"


def test_both_ways_are_timed_and_reckoned_for_all_epochs():
    words = [sys.executable, SCRIPT, "--device", "cpu", "--json", "--rounds", "1", "--epochs", "1"]
    words += ["--rows", "100", "--width", "8", "--layers", "2", "--whole"]
    found = json.loads(subprocess.run(words, capture_output=True, text=True, check=True).stdout)
    assert (found["device"], found["layers"], found["rows"]) == ("cpu", 2, 100)
    assert found["whole_seconds"] > 0
    assert found["ratio"]["median"] == pytest.approx(
        found["one_by_one_seconds"] / found["together_seconds"]
    )
