"""One writer at a time on an object store, also when processes die and networks fail."""

import json
import os
import subprocess
import sys
import threading
import time

import pytest

from lefcache.cache import lease as lease_module
from lefcache.cache.lock import exclusive
from lefcache.errors import BusyError, StorageError
from lefcache.files import Url
from lefcache.stores.objects import bucket_at
from tests import s3

NAME = "a+b+train"


@pytest.fixture
def root(s3_server, monkeypatch):
    s3.use(monkeypatch, s3_server)
    return Url(f"s3://{s3.make_bucket(s3_server)}/run")


@pytest.fixture
def quick(monkeypatch):
    """Leases of two seconds, renewed five times a second."""
    for name, seconds in {"SECONDS": 2, "RENEWAL": 0.2, "SAFETY": 0.5, "GRACE": 0.3}.items():
        monkeypatch.setattr(lease_module, name, seconds)
    monkeypatch.setattr(lease_module, "POLL", 0.05)


def lying(root, **changed):
    """The lease of a process somewhere else."""
    holder = {"pid": 7, "user": "u", "host": "far", "since": "then", "until": time.time() + 99}
    bucket_at(root).put(f".locks/{NAME}.json", json.dumps(holder | changed).encode())


def write_on(root, happens):
    """Write until it is refused, from the moment that something happens."""
    happens()
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        bucket_at(root).put("a", b"b")
        time.sleep(0.05)


def test_a_second_holder_is_told_who_has_it_and_since_when(root):
    with (
        exclusive(root, NAME),
        pytest.raises(BusyError, match=r"a/b/train \(process \d+ of .* on .*, since \d{4}-"),
        exclusive(root, NAME),
    ):
        pass


def test_it_is_free_at_once_after_its_holder_has_ended_or_failed(root):
    with exclusive(root, NAME):
        pass
    with pytest.raises(ZeroDivisionError), exclusive(root, NAME):
        _ = 1 / 0
    with exclusive(root, NAME), exclusive(root, "other"):
        pass
    assert bucket_at(root).lengths(".locks") == {}


def test_of_many_who_come_at_once_one_gets_it(root):
    held, refused, gone = [], [], threading.Event()

    def come():
        try:
            with exclusive(root, NAME):
                held.append(1)
                gone.wait(20)
        except BusyError:
            refused.append(1)
            if len(refused) == 7:
                gone.set()

    threads = [threading.Thread(target=come) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(held), len(refused)) == (1, 7)


def test_waiting_ends_when_the_holder_does(root, quick):
    held, left = threading.Event(), []

    def hold():
        with exclusive(root, NAME):
            held.set()
            time.sleep(0.3)
            left.append(1)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    with exclusive(root, NAME, wait=20):
        assert left == [1]
    thread.join()


def test_a_live_lease_of_another_machine_is_kept_and_one_that_ran_out_taken_over(root):
    lying(root)
    told = "process 7 of u on far, since then"
    with pytest.raises(BusyError, match=told), exclusive(root, NAME):
        pass
    lying(root, until=time.time() - lease_module.GRACE + 5)  # its clock may be behind ours
    with pytest.raises(BusyError), exclusive(root, NAME):
        pass
    lying(root, until=time.time() - lease_module.GRACE - 1)
    with exclusive(root, NAME):
        holder = json.loads(bucket_at(root).get(f".locks/{NAME}.json"))
        assert holder["pid"] == os.getpid()


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff", b'{"until": "never"}'])
def test_a_lease_that_says_nothing_stops_nobody(root, content):
    bucket_at(root).put(f".locks/{NAME}.json", content)
    with exclusive(root, NAME):
        pass


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells containers apart")
def test_a_process_of_this_machine_that_was_killed_is_replaced_at_once(root):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    lying(root, pid=dead.pid, machine=lease_module._machine())
    with exclusive(root, NAME):
        pass
    lying(root, pid=os.getppid(), machine=lease_module._machine())
    with pytest.raises(BusyError), exclusive(root, NAME):
        pass


def test_it_is_renewed_for_as_long_as_it_is_held(root, quick):
    with exclusive(root, NAME):
        time.sleep(2.6)
        bucket_at(root).put("still", b"ours")
        with pytest.raises(BusyError), exclusive(root, NAME):
            pass


def test_it_is_still_ours_after_a_renewal_whose_answer_was_lost(root, quick, monkeypatch):
    with exclusive(root, NAME):
        bucket, lost = bucket_at(root), []
        swap = bucket.swap

        def unheard(*given):
            tag = swap(*given)
            if not lost:
                lost.append(tag)
                raise StorageError("the connection broke")
            return tag

        monkeypatch.setattr(bucket, "swap", unheard)
        time.sleep(2.6)
        assert lost
        bucket.put("still", b"ours")


def test_who_lost_it_writes_nothing_more_and_leaves_it_alone(root, quick):
    with pytest.raises(BusyError, match="could not be renewed in time"), exclusive(root, NAME):
        write_on(root, lambda: lying(root))
    assert json.loads(bucket_at(root).get(f".locks/{NAME}.json"))["host"] == "far"
    bucket_at(root).put("a", b"c")  # what holds no lease is not stopped by one that was lost


def test_who_cannot_renew_it_stops_before_it_runs_out(s3_server, monkeypatch, quick):
    with s3.Faulty(s3_server).running() as proxy:
        s3.use(monkeypatch, proxy.address)
        root = Url(f"s3://{s3.make_bucket(s3_server)}/run")
        monkeypatch.setattr("lefcache.stores.objects.PATIENCE_SECONDS", 0)
        begun = time.monotonic()

        def fail():
            proxy.fault = lambda method, path, number: "500" if ".locks" in path else None

        with pytest.raises(BusyError, match="could not be renewed"), exclusive(root, NAME):
            write_on(root, fail)
        assert time.monotonic() - begun < lease_module.SECONDS + 2


def test_an_error_is_not_hidden_by_a_lease_that_cannot_be_given_back(s3_server, monkeypatch):
    with s3.Faulty(s3_server).running() as proxy:
        s3.use(monkeypatch, proxy.address)
        root = Url(f"s3://{s3.make_bucket(s3_server)}/run")
        monkeypatch.setattr("lefcache.stores.objects.PATIENCE_SECONDS", 0)

        def fail():
            proxy.fault = lambda method, path, number: "500"
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError), exclusive(root, NAME):
            fail()
        proxy.fault = lambda *_: None
        with exclusive(root, "other"):  # nor is what is done spoilt
            proxy.fault = lambda method, path, number: "500" if method != "GET" else None


def test_it_is_asked_for_before_each_batch_of_a_deletion(root, monkeypatch):
    monkeypatch.setattr("lefcache.stores.objects.BATCH", 2)
    bucket, asked = bucket_at(root), []

    def lost():
        asked.append(1)
        if len(asked) > 2:
            raise BusyError("lost")

    names = [f"x/{number}" for number in range(6)]
    for name in names:
        bucket.put(name, b"x")
    bucket.guards.append(lost)
    with pytest.raises(BusyError):
        bucket.delete(names)
    assert sorted(bucket.lengths("x")) == names[4:]
