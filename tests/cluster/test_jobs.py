"""Jobs on a cluster of two nodes, of which workers and nodes are lost."""

import os
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import ray
import torch

from lefcache.cluster import Cluster, Workers
from lefcache.cluster.jobs import _after, _checked, _Running
from lefcache.cluster.nodes import connect, hush, room, workers_of
from lefcache.errors import EngineError, FeatureError
from lefcache.version import __version__
from tests.jobs import cluster_jobs


@pytest.fixture
def notes():
    return []


def all_of(job):
    return job


class Counted:
    """Numbers that have come in, and what is left of a range."""

    def __init__(self):
        self.found = []

    def left(self, job):
        known = {number for number, _ in self.found}
        rest = [number for number in range(*job) if number not in known]
        return (rest[0], rest[-1] + 1) if rest else None


def test_what_jobs_give_comes_in_as_it_is_there(two_nodes):
    counted = Counted()
    with Cluster(workers=2) as cluster:
        counted.found += cluster.run(
            cluster_jobs.counting, iter([(0, 3), (3, 6), (6, 7)]), counted.left
        )
    assert sorted(number for number, _ in counted.found) == list(range(7))
    assert len({process for _, process in counted.found}) == 2


def test_a_job_may_be_any_iterator(two_nodes):
    with Cluster(workers=1) as cluster:
        assert [*cluster.run(cluster_jobs.doubled, iter([(1, 2, 3)]), all_of)] == [2, 4, 6]


def test_a_worker_that_is_killed_costs_what_it_was_about(two_nodes, notes):
    counted, killed = Counted(), False
    with Cluster(workers=1) as cluster:
        for number, process in cluster.run(
            cluster_jobs.counting, iter([(0, 6)]), counted.left, notes.append
        ):
            counted.found.append((number, process))
            if number == 2 and not killed:
                os.kill(process, 9)
                killed = True
    assert sorted(number for number, _ in counted.found) == list(range(6))
    assert notes == ["a worker was lost; its work is handed out again"]


def test_a_node_that_is_lost_costs_what_it_was_about(two_nodes, notes):
    extra = two_nodes.add_node(num_cpus=1, object_store_memory=80 << 20)
    counted = Counted()
    with Cluster(workers=3, cpus_per_worker=1) as cluster:
        for receipt in cluster.run(
            cluster_jobs.counting, iter([(0, 9), (9, 18), (18, 27)]), counted.left, notes.append
        ):
            counted.found.append(receipt)
            if len(counted.found) == 4:
                two_nodes.remove_node(extra, allow_graceful=False)
    assert sorted(number for number, _ in counted.found) == list(range(27))
    assert set(notes) <= {
        "a worker was lost; its work is handed out again",
        "a node was lost; its work is handed out again",
    }


def test_a_mistake_is_not_tried_again(two_nodes, notes):
    with Cluster(workers=1) as cluster, pytest.raises(FeatureError, match="no such feature"):
        [*cluster.run(cluster_jobs.failing, iter(["misspelt"]), all_of, notes.append)]
    assert not notes


def test_an_error_that_may_pass_is_tried_again(two_nodes, notes, tmp_path):
    with Cluster(workers=1) as cluster:
        path = str(tmp_path / "tried")
        found = cluster.run(cluster_jobs.failing_once, iter([path]), all_of, notes.append)
        assert [*found] == ["done"]
    assert notes == [
        "a worker failed (OSError: the server is not at home); its work is tried again"
    ]


def test_an_error_that_stays_ends_the_run(two_nodes, notes):
    said = "a worker failed 3 times at the same work: ValueError: odd"
    with Cluster(workers=1) as cluster, pytest.raises(EngineError, match=said):
        [*cluster.run(cluster_jobs.failing, iter(["odd"]), all_of, notes.append)]
    assert len(notes) == 2


def test_a_job_that_ends_its_worker_ends_the_run(two_nodes, monkeypatch):
    monkeypatch.setattr("lefcache.cluster.jobs.CRASHES", 2)
    with Cluster(workers=1) as cluster, pytest.raises(EngineError, match="at ends, without"):
        [*cluster.run(cluster_jobs.failing, iter(["ends"]), all_of)]


def test_ray_writes_nothing_where_a_document_may_go(two_nodes, monkeypatch, capfd):
    monkeypatch.setattr(ray._private.worker, "_worker_logs_enabled", True)
    hush(ray)
    with Cluster(workers=1) as cluster:
        path = [*cluster.run(cluster_jobs.ending_once, iter(["x"]), lambda job: "y")]
    assert path == ["y"]
    time.sleep(1)
    assert capfd.readouterr().out == ""


def test_nobody_works_on_when_a_run_is_given_up(two_nodes):
    with Cluster(workers=1) as cluster:
        run = cluster.run(cluster_jobs.counting, iter([(0, 10_000)]), all_of)
        _, process = next(run)
        run.close()
        assert _ended(process)


def test_an_import_that_was_interrupted_is_begun_again(tmp_path, monkeypatch):
    package = tmp_path / "halves"
    package.mkdir()
    (package / "__init__.py").write_text("from halves import part\nraise KeyboardInterrupt")
    (package / "part.py").touch()
    monkeypatch.syspath_prepend(tmp_path)

    def importing(job):
        yield __import__(job).part

    def run():
        return next(_checked(__version__, torch.get_num_threads(), importing, "halves"))

    with pytest.raises(KeyboardInterrupt):
        run()
    (package / "__init__.py").write_text("import halves.part")
    assert run().__name__ == "halves.part"


def _ended(process):
    """Whether it has gone, or waits for other work."""
    before = _ticks(process)
    time.sleep(0.5)
    return before is None or _ticks(process) is None or _ticks(process) - before < 20


def _ticks(process):
    try:
        return sum(map(int, Path(f"/proc/{process}/stat").read_text().split()[13:15]))
    except OSError:
        return None


def test_without_gpus_there_is_one_worker_a_node_with_all_its_cores():
    nodes = [{"CPU": 8.0}, {"CPU": 8.0}]
    assert workers_of(nodes, None, None, None) == Workers(2, 8, 0)
    assert workers_of(nodes, 4, None, None) == Workers(4, 4, 0)
    assert workers_of(nodes, 4, None, 1) == Workers(4, 1, 0)


def test_with_gpus_there_is_one_worker_for_each_or_for_so_many():
    nodes = [{"CPU": 64.0, "GPU": 8.0}, {"CPU": 64.0, "GPU": 8.0}, {"CPU": 4.0}]
    assert workers_of(nodes[:2], None, None, None) == Workers(16, 8, 1)
    assert workers_of(nodes[:2], None, 4, None) == Workers(4, 32, 4)
    assert workers_of(nodes[:1], 3, None, None).number == 3
    with pytest.raises(EngineError, match="largest has 64 cores and 8 GPUs"):
        workers_of(nodes, None, 16, None)


def test_a_node_without_gpus_leaves_no_gpu_of_the_others_idle():
    nodes = [{"CPU": 64.0, "GPU": 8.0}, {"CPU": 64.0, "GPU": 8.0}, {"CPU": 4.0}]
    assert workers_of(nodes, None, None, None) == Workers(16, 8, 1)
    assert workers_of(nodes, 8, None, None) == Workers(8, 16, 1)
    unequal = [{"CPU": 64.0, "GPU": 8.0}, {"CPU": 32.0, "GPU": 8.0}, {"CPU": 64.0, "GPU": 4.0}]
    assert workers_of(unequal, None, None, None) == Workers(20, 4, 1)


def test_a_node_without_room_is_not_counted():
    nodes = [{"CPU": 64.0}, {"CPU": 8.0}]
    assert workers_of(nodes, None, None, None) == Workers(1, 64, 0)
    assert room(nodes, 16, 0) == 4
    assert room([{"CPU": 64.0, "GPU": 8.0}, {"CPU": 64.0}], 8, 0.5) == 8
    assert room([{"CPU": 64.0, "GPU": 1.0}], 8, 0.25) == 4


def test_an_error_of_the_cluster_itself_is_not_tried_for_ever(notes):
    was = _Running("rows 1 to 9")
    for _ in range(2):
        was = _after(ray, was, ray.exceptions.TaskUnschedulableError("no"), all_of, notes.append)
    with pytest.raises(EngineError, match="failed 3 times at the same work: TaskUnschedulable"):
        _after(ray, was, ray.exceptions.TaskUnschedulableError("no"), all_of, notes.append)
    for _ in range(9):
        was = _after(ray, was, ray.exceptions.ObjectLostError("a", "b", "c"), all_of, notes.append)
    assert notes[-1] == "a node was lost; its work is handed out again"


def test_workers_that_no_node_has_room_for_are_refused(two_nodes):
    with pytest.raises(EngineError, match="no node has room for a worker with 1 core and 1 GPU"):
        Cluster(workers=1, gpus_per_worker=1)


def test_an_address_without_a_cluster_is_refused(monkeypatch):
    def init(*_, **__):
        raise ConnectionError("Could not find any running Ray instance.")

    absent = SimpleNamespace(is_initialized=lambda: False, init=init)
    monkeypatch.setattr("lefcache.cluster.jobs.the_ray", lambda: absent)
    with pytest.raises(EngineError, match=r"no Ray cluster at auto.*ray start --head"):
        Cluster("auto")
    with pytest.raises(EngineError, match="is Ray's client"):
        Cluster("ray://somewhere:10001")


@pytest.mark.parametrize("address", ["127.0.0.1:1", "127.0.0.1:99999", "nowhere.invalid:6379"])
def test_an_address_where_nobody_listens_is_refused_at_once(address):
    def init(*_, **__):
        raise AssertionError("Ray would try for minutes")

    with pytest.raises(EngineError, match=rf"no Ray cluster at {address} .*ray start --head"):
        connect(SimpleNamespace(init=init), address)


def test_without_ray_it_is_said_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(EngineError, match=r"--engine ray needs Ray on every node: .*\[ray\]"):
        Cluster()
