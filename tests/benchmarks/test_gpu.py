"""The benchmark of a GPU, end to end at the size that any machine can run."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "gpu.py"


@pytest.fixture(scope="module")
def document(tmp_path_factory):
    words = [sys.executable, SCRIPT, "--device", "cpu", "--json"]
    words += ["--folder", tmp_path_factory.mktemp("caches")]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert not list(Path(words[-1]).iterdir())
    return json.loads(done.stdout)


def test_without_a_gpu_the_size_is_tiny(document):
    assert (document["size"], document["device"][:3]) == ("tiny", "cpu")
    assert document["matrix_rate"] > 0
    assert document["disk_rate"] > 0


def test_every_contender_is_measured_on_both_kinds_of_texts(document):
    assert [each["data"] for each in document["data"]] == ["SST-2-like", "R8-like"]
    for each in document["data"]:
        rates = each["tokens_per_second"]
        assert set(rates) == {
            *("floor", "one", "packed", "floor of two", "two", "plain", "per layer")
        }
        assert each["packed_times_padded"] > 0
        assert all(rate > 0 for rate in rates.values())


def test_shares_and_stages_are_there_for_one_and_two_poolings(document):
    for each in document["data"]:
        for found in each["lefcache"].values():
            assert 0 < found["share_of_floor"] < 3
            assert 0 < found["share_of_matrix_rate"] < 1
            assert 0 <= found["padding"] < 0.5
            assert set(found["stages"]) == {"tokenise", "forward", "pool", "copy", "write"}
            assert found["disk_is_the_limit"] in (True, False)
        assert each["lefcache"]["two"]["bytes"] == 2 * each["lefcache"]["one"]["bytes"]
