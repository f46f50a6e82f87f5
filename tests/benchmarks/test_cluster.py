"""The benchmark of a cluster: what the leader does for a block, at a size that takes seconds."""

import json
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "cluster.py"


def test_the_leader_is_measured_alone():
    words = [sys.executable, SCRIPT, "--only", "driver", "--blocks", "200", "--json"]
    words += ["--rate", "1000", "--outstanding", "50"]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)["driver"]
    assert (found["blocks"], found["outstanding"]) == (200, 50)
    assert 0 < found["share_of_a_core"] < 1.5
    assert found["microseconds_a_block"] > 0
    assert found["peak_megabytes"] > 0
