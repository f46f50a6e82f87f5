"""The benchmark of `lef verify`: a few injuries of each kind, and the speed of a tiny cache."""

import json
import random
import subprocess
import sys

import pytest


@pytest.fixture
def run(benchmarks):
    def run(*words):
        command = [sys.executable, benchmarks / "verify.py", *map(str, words)]
        return json.loads(subprocess.run(command, capture_output=True, check=True).stdout)

    return run


def test_every_injury_is_found_and_none_invented(run, tmp_path):
    found = run("--injuries", 40, "--megabytes", 1, "--rounds", 1)
    for format in ("zarr", "hdf5"):
        each = found[format]
        assert (each["injuries"], each["missed"], each["invented"]) == (20, [], 0)
        assert sum(each["kinds"].values()) == 20
        assert each["speed"]["warm"]["clock"]["ratio"] > 0


def test_an_injury_is_undone_to_the_same_bytes(benchmarks, tmp_path, tree_bytes):
    from verify_injuries import injured, make, places, swapped

    cache = make(tmp_path, "zarr", 150, 8, 4, 64)
    before, dice = tree_bytes(tmp_path), random.Random(1)
    for injuries in (injured(dice, places(cache)), swapped(cache, dice)):
        for _ in range(10):
            _, undo = next(injuries)
            assert tree_bytes(tmp_path) != before
            undo()
            assert tree_bytes(tmp_path) == before
