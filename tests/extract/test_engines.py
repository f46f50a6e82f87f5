"""The same bytes whoever computes them: this process, ranks of torchrun, workers of a cluster."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from threading import Timer
from types import SimpleNamespace

import pytest
from filelock import FileLock

import lefcache
from lefcache.cache.crew import at_work, hand_of, leading
from lefcache.cache.lock import exclusive
from lefcache.cluster import Cluster
from lefcache.corpus import Corpus, Split
from lefcache.errors import BusyError, EngineError, MismatchError, ModelError, StorageError
from lefcache.extract import extract
from lefcache.extract.compute import Assignment
from lefcache.extract.engines import Local, engine_here
from lefcache.extract.order import place_order, request_for
from lefcache.extract.ranks import Ranks
from lefcache.extract.spread import Spread
from lefcache.repair import clear
from lefcache.testing import FakeBackbone
from lefcache.verify import verify
from tests.jobs import models
from tests.s3 import CREDENTIALS, Faulty, make_bucket, objects

JOBS = Path(__file__).parents[1] / "jobs"

ROWS = 43
SETTINGS = {"block_rows": 4, "batch_tokens": 12}
# Texts that a lost worker costs at most: the block it was at, and those that were tokenised or
# written around it; and the five of `test`, which are in train too.
IN_FLIGHT = 5 * 4 + 5


def texts_of(rows):
    return [f"{'a ' * (number % 7)}row {number}" for number in range(rows)]


def corpus_of(rows=ROWS):
    splits = {"train": Split(texts_of(rows)), "test": Split(texts_of(5))}
    return Corpus("tiny", ("no", "yes"), splits, "demo")


def vectors(folder):
    """Every file that a cache holds, but for who wrote it when."""
    found = {}
    for file in sorted(Path(folder).rglob("*")):
        if file.is_file() and ".locks" not in file.parts:
            content = file.read_bytes()
            if file.name == "zarr.json":
                content = json.loads(content)
                for timed in ("work", "seal"):  # seconds, and the checksum over them
                    content.get("attributes", {}).pop(timed, None)
            found[file.relative_to(folder)] = content
    assert not [name for name in found if "partial" in str(name)]
    return found


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    folder = tmp_path_factory.mktemp("local") / "cache"
    extract(FakeBackbone(), corpus_of(), lefcache.open(folder), **SETTINGS)
    return vectors(folder)


@pytest.mark.parametrize("format", ["hdf5", None])
def test_workers_are_refused_one_file_that_only_one_may_write(cache, format):
    more = {"engine": Spread(SimpleNamespace(pickled=bytes), b""), **SETTINGS}
    if format is None:  # kept so already
        extract(FakeBackbone(), corpus_of(), cache, limit=4, format="hdf5", **SETTINGS)
    before = [*cache.path.rglob("*.h5")]
    with pytest.raises(MismatchError, match=r"workers of a Ray cluster .* one writer only"):
        extract(FakeBackbone(), corpus_of(), cache, format=format, **more)
    assert [*cache.path.rglob("*.h5")] == before


def test_blocks_whose_receipts_were_lost_with_their_worker_were_computed(cache):
    class Forgetful(Local):
        def run(self, *of):
            for number, done in enumerate(super().run(*of)):
                if number % 2:
                    yield done

    receipt = extract(FakeBackbone(), corpus_of(), cache, engine=Forgetful(), **SETTINGS)
    assert (receipt.computed_blocks, receipt.skipped_blocks) == (13, 0)


# Ranks


def ranks(folder, *more, world=3):
    """What each rank said; when one dies the others are stopped, as torchrun does."""
    words = [sys.executable, JOBS / "rank_run.py", folder, str(ROWS), *more]
    environment = os.environ | {"WORLD_SIZE": str(world), "MASTER_PORT": str(os.getpid())}
    environment |= {"OMP_NUM_THREADS": "1", "TORCHELASTIC_RUN_ID": Path(folder).name}
    started = [
        subprocess.Popen(
            words, env=environment | {"RANK": str(rank)}, stdout=subprocess.PIPE, text=True
        )
        for rank in range(world)
    ]
    while None in (codes := [each.poll() for each in started]) and not any(codes):
        time.sleep(0.1)
    for each in started if any(codes) else ():
        each.terminate()
    return [each.communicate()[0] for each in started], [each.returncode for each in started]


def test_ranks_write_the_bytes_of_one_process(tmp_path, local):
    said, codes = ranks(tmp_path / "cache")
    assert codes == [0, 0, 0]
    assert vectors(tmp_path / "cache") == local
    computed = [int(each.splitlines()[0]) for each in said]
    assert computed[0] == 13  # the leader answers for all: 11 blocks of train, 2 of test
    assert all(computed[1:])
    assert not [*(tmp_path / "cache/.locks").glob("*crew*")]


def test_what_ranks_that_were_stopped_had_finished_is_kept(tmp_path, local):
    _, codes = ranks(tmp_path / "cache", texts_of(ROWS)[35])
    assert 9 in codes
    assert 4 <= lefcache.open(tmp_path / "cache").pages("fake", "train").done_rows < ROWS
    said, codes = ranks(tmp_path / "cache")
    assert codes == [0, 0, 0]
    assert int(said[0].splitlines()[0]) < 13
    assert vectors(tmp_path / "cache") == local


def test_ranks_that_begin_an_array_anew_which_a_repair_took_away_keep_each_others_rows(
    tmp_path, local
):
    folder = tmp_path / "cache"
    cache = lefcache.open(folder)
    extract(FakeBackbone(), corpus_of(), cache, **SETTINGS)
    (folder / "tiny/fake/train/mean/2/zarr.json").write_text("{")
    clear(cache, verify(cache))
    assert cache.store.info("tiny/fake/train/mean/2") is None
    _, codes = ranks(folder)
    assert codes == [0, 0, 0]
    assert vectors(folder) == local


def test_a_rank_whose_leader_does_not_come_says_so(cache, monkeypatch):
    monkeypatch.setattr("lefcache.extract.ranks.LEADER_SECONDS", 0.3)
    with pytest.raises(BusyError, match=r"rank 1 waited .* for rank 0 to begin tiny/fake/train"):
        extract(FakeBackbone(), corpus_of(), cache, engine=Ranks(1, 2, "run"), **SETTINGS)


def test_the_first_rank_goes_on_without_those_that_do_not_join(cache, monkeypatch, local):
    monkeypatch.setattr("lefcache.extract.ranks.JOIN_SECONDS", 0.3)
    notes = []
    receipt = extract(
        FakeBackbone(),
        corpus_of(),
        cache,
        engine=Ranks(0, 2, "run"),
        on_note=notes.append,
        **SETTINGS,
    )
    assert vectors(cache.path) == local
    assert [*receipt.workers] == ["rank 0"]
    assert "1 of 2 ranks did not join within minutes" in notes
    assert "rank 0 computes 5 blocks of ranks that have ended" in notes


def test_a_rank_that_comes_late_finds_all_finished(cache):
    extract(FakeBackbone(), corpus_of(), cache, **SETTINGS)
    started = time.monotonic()
    for rank in (1, 0):  # a first one that finds all finished waits for nobody
        engine = Ranks(rank, 2, "run")
        receipt = extract(FakeBackbone(), corpus_of(), cache, engine=engine, **SETTINGS)
        assert (receipt.rows, receipt.computed_blocks) == (ROWS + 5, 0)
    assert time.monotonic() < started + 30  # of the minutes for which ranks wait


def test_the_first_rank_waits_for_nobody_without_whom_all_is_finished(cache):
    extract(FakeBackbone(), corpus_of(), cache, limit=40, **SETTINGS)
    notes, started = [], time.monotonic()
    more = {"engine": Ranks(0, 2, "run"), "on_note": notes.append, "splits": ["train"]}
    extract(FakeBackbone(), corpus_of(), cache, **more, **SETTINGS)
    assert time.monotonic() < started + 30
    assert not notes


def test_a_rank_of_another_version_is_refused(cache, monkeypatch):
    with exclusive(cache.path, "split"), leading(cache.path, "split", "run") as crew:
        monkeypatch.setattr("lefcache.cache.crew.__version__", "0.0.1")
        with (
            pytest.raises(MismatchError, match=r"has lefcache 0\.0\.1, and the one that leads"),
            hand_of(cache.path, "split", crew.key, "rank1"),
        ):
            pass


def test_a_process_of_torchrun_is_a_rank_and_any_other_is_alone():
    assert isinstance(engine_here({}), Local)
    assert isinstance(engine_here({"RANK": "0", "WORLD_SIZE": "1"}), Local)
    found = engine_here({"RANK": "3", "WORLD_SIZE": "8", "TORCHELASTIC_RUN_ID": "x"})
    assert isinstance(found, Ranks)
    assert (found.rank, found.world, found.leads) == (3, 8, False)
    assert found.run_id.startswith("x/")


def test_a_hand_is_not_kept_out_by_who_looks_whether_it_is_at_work(cache):
    look = FileLock(cache.path / ".locks/split@rank1.lock", thread_local=False)
    with exclusive(cache.path, "split"), leading(cache.path, "split", "run") as crew:
        look.acquire()
        Timer(0.2, look.release).start()
        with hand_of(cache.path, "split", crew.key, "rank1"):
            assert at_work(cache.path, "split", "rank1")


def test_hands_of_a_killed_leader_keep_others_out(cache):
    corpus, backbone = corpus_of(), FakeBackbone()
    extract(backbone, corpus, cache, limit=4, **SETTINGS)
    order = place_order(backbone, corpus, **SETTINGS)
    request = request_for(backbone, corpus, order, "train")
    with (
        leading(cache.path, request.lock, "run") as crew,
        hand_of(cache.path, request.lock, crew.key, "rank1"),
        pytest.raises(BusyError, match="another process is writing tiny/fake/train"),
    ):
        extract(backbone, corpus, cache, **SETTINGS)
    assert extract(backbone, corpus, cache, **SETTINGS).computed_blocks == 10 + 1
    with (
        pytest.raises(StorageError, match="not the one that this run writes to"),
        hand_of(cache.path, request.lock, crew.key, "rank1"),
    ):
        pass


# Ray


@pytest.fixture
def spread(two_nodes, tmp_path):
    """A function that extracts with two workers."""

    def spread(folder=tmp_path / "cache", rows=ROWS, on_note=None, workers=2, **load):
        with Cluster(workers=workers) as cluster:
            engine = Spread(cluster, models.Load(str(tmp_path / "seen"), **load))
            return extract(
                engine.backbone(),
                corpus_of(rows),
                lefcache.open(folder),
                engine=engine,
                on_note=on_note or (lambda line: None),
                **SETTINGS,
            )

    return spread


def computed(tmp_path):
    """How often each text was read."""
    lines = (tmp_path / "seen").read_text().splitlines()
    return {text: lines.count(text) for text in dict.fromkeys(lines)}


def twice(tmp_path):
    """The texts that were read more than once."""
    return {text for text, times in computed(tmp_path).items() if times > 1}


def test_workers_write_the_bytes_of_one_process(spread, tmp_path, local):
    receipt = spread()
    assert vectors(tmp_path / "cache") == local
    assert (receipt.computed_blocks, receipt.rows) == (13, ROWS + 5)
    assert len(receipt.workers) == 2
    assert all(receipt.workers.values())
    again = spread()
    assert (again.computed_blocks, again.skipped_blocks) == (0, 13)


def test_a_worker_that_is_lost_costs_the_blocks_in_flight(spread, tmp_path, local):
    notes = []
    spread(deadly=texts_of(ROWS)[22], on_note=notes.append)
    assert vectors(tmp_path / "cache") == local
    assert notes == ["a worker was lost; its work is handed out again"]
    # The block it died at, and those that were tokenised, computed or written before it.
    assert sum(times > 2 for times in computed(tmp_path).values()) <= 5
    assert sum(times > 1 for text, times in computed(tmp_path).items()) <= 5 + 12


def test_a_node_that_is_lost_costs_the_blocks_in_flight(two_nodes, tmp_path):
    extra = two_nodes.add_node(num_cpus=1, object_store_memory=80 << 20)
    notes, seen = [], []

    def lose_it(done):
        seen.append(done)
        if len(seen) == 12:
            two_nodes.remove_node(extra, allow_graceful=False)

    with Cluster(workers=3, cpus_per_worker=1) as cluster:
        engine = Spread(cluster, models.Load(str(tmp_path / "seen")))
        cache = lefcache.open(tmp_path / "cache")
        more = {"engine": engine, "on_progress": lose_it, "on_note": notes.append}
        extract(engine.backbone(), corpus_of(150), cache, **more, **SETTINGS)
    alone = tmp_path / "alone"
    extract(FakeBackbone(), corpus_of(150), lefcache.open(alone), **SETTINGS)
    assert vectors(cache.path) == vectors(alone)
    assert all(note.endswith("was lost; its work is handed out again") for note in notes)
    assert len(twice(tmp_path)) <= IN_FLIGHT


def test_a_bucket_whose_server_fails_now_and_then_gets_the_same_bytes(
    two_nodes, tmp_path, s3_server, monkeypatch, local
):
    bucket = make_bucket(s3_server)
    with Faulty(s3_server).running() as server:
        server.fault = lambda method, path, number: "500" if number % 10 == 3 else None
        environment = CREDENTIALS | {"AWS_ENDPOINT_URL": server.address}
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        load = models.Load(str(tmp_path / "seen"), environment=tuple(environment.items()))
        with Cluster(workers=2) as cluster:
            engine = Spread(cluster, load)
            cache = lefcache.open(f"s3://{bucket}/cache")
            extract(engine.backbone(), corpus_of(), cache, engine=engine, **SETTINGS)
        assert len(server.happened) > 20
    found = objects(s3_server, bucket, "cache/")
    arrays = {str(name): content for name, content in local.items() if "/c/" in str(name)}
    assert {name: found.get(name) for name in arrays} == arrays
    assert not [name for name in found if name.startswith(".locks/") and "crew" in name]
    assert len(twice(tmp_path)) <= IN_FLIGHT


def test_a_straggler_holds_up_nobody(spread, tmp_path, local):
    spread(slow=texts_of(ROWS)[5])
    assert vectors(tmp_path / "cache") == local


def test_a_poisoned_row_ends_the_run_and_keeps_the_others(spread, tmp_path, local):
    poison = texts_of(ROWS)[30]
    with pytest.raises(EngineError, match=r"failed 3 times .* this text is poison"):
        spread(poisoned=poison)
    assert lefcache.open(tmp_path / "cache").pages("fake", "train").done_rows >= 4
    spread()
    assert vectors(tmp_path / "cache") == local


def test_a_model_may_be_loaded_by_a_function_of_a_script(two_nodes, tmp_path, local):
    with Cluster(workers=2) as cluster:
        engine = Spread(cluster, lambda: FakeBackbone(depth=3))
        cache = lefcache.open(tmp_path / "cache")
        extract(engine.backbone(), corpus_of(), cache, engine=engine, **SETTINGS)
    assert vectors(cache.path) == local


def test_a_model_that_cannot_be_loaded_is_an_error_in_seconds(spread):
    began = time.monotonic()
    with pytest.raises(ModelError, match="no model at 'nowhere'"):
        spread(missing=True)
    assert time.monotonic() - began < 30


def test_a_worker_with_another_model_is_refused(spread):
    with pytest.raises(ModelError, match=r"is another one than where this run began: .*weights"):
        spread(changing=True)


def test_a_worker_that_does_not_see_the_cache_is_an_error_in_seconds(spread, monkeypatch):
    whole = Assignment.__init__

    def elsewhere(self, **fields):
        whole(self, **(fields | {"cache": Path("/nowhere/else")}))

    monkeypatch.setattr(Assignment, "__init__", elsewhere)
    began = time.monotonic()
    with pytest.raises(StorageError, match=r"/nowhere/else is not the one .* share"):
        spread()
    assert time.monotonic() - began < 30


DRIVER = """
import sys
import ray, lefcache
from tests.jobs import models
from lefcache.cluster import Cluster
from lefcache.extract import extract
from lefcache.extract.spread import Spread
from tests.extract.test_engines import corpus_of, SETTINGS
ray.init(sys.argv[1], log_to_driver=False, logging_level="CRITICAL")
with Cluster(workers=2) as cluster:
    engine = Spread(cluster, models.Load(sys.argv[2] + "-seen"))
    extract(engine.backbone(), corpus_of(150), lefcache.open(sys.argv[2]), engine=engine,
            on_progress=lambda each: each.rows and print(each.rows, flush=True), **SETTINGS)
"""


def test_a_driver_that_is_killed_loses_nothing_that_was_finished(two_nodes, tmp_path):
    folder = tmp_path / "cache"
    words = [sys.executable, "-c", DRIVER, two_nodes.address, folder]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=environment) as driver:
        for _ in range(12):
            assert driver.stdout.readline()
        driver.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:  # the workers of a driver that has gone end by themselves
        try:
            again = extract(FakeBackbone(), corpus_of(150), lefcache.open(folder), **SETTINGS)
            break
        except BusyError:
            time.sleep(0.5)
    assert again.skipped_blocks >= 12
    alone = tmp_path / "alone"
    extract(FakeBackbone(), corpus_of(150), lefcache.open(alone), **SETTINGS)
    assert vectors(folder) == vectors(alone)
