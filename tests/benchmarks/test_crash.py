"""Real extractions killed at random moments; benchmarks/crash.py does it some hundred times."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.long

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "crash.py"


def killed(*words):
    """What the benchmark found, killing each command once at most."""
    command = [sys.executable, SCRIPT, *words, "--in-a-row", "1", "--seed", "1", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def document():
    return killed("--kills", "5", "2")


@pytest.mark.parametrize(("format", "kills"), [("zarr", 5), ("hdf5", 2)])
def test_kill_9_loses_nothing_and_leaves_nothing(document, format, kills):
    steps = document[format]["steps"]
    assert sum(tally["kills"] for tally in steps.values()) == kills
    for name, tally in steps.items():
        wrong = {each: tally[each] for each in ("twice", "damaged", "differing", "strays")}
        assert not any(wrong.values()), (name, wrong)
        assert tally["lost"] <= 2  # one block is computed while the one before it is written


def test_kill_9_amid_an_object_store_loses_nothing():
    steps = killed("--store", "s3", "--kills", "2")["s3"]["steps"]
    assert sum(tally["kills"] for tally in steps.values()) == 2
    for name, tally in steps.items():
        wrong = {each: tally[each] for each in ("twice", "damaged", "differing", "strays")}
        assert not any(wrong.values()), (name, wrong)
        assert tally["lost"] <= 2


def test_a_life_has_every_command(document):
    steps = document["zarr"]["steps"]
    assert list(steps)[-2:] == ["convert to hdf5", "back to zarr"]
    assert steps["first rows"]["begun"] >= 8  # blocks of 4 rows in 18 of train and 9 of test
