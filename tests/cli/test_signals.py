"""Ctrl-C and SIGTERM, sent to `lef extract` in a process of its own."""

import os
import shlex
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import lefcache
from cli.signals import Stopped, stoppable

ROOT = Path(__file__).parents[2]
# Says what it does on stdout; the second block is in the model while the first is being written.
STUB = r"""
import os, signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # also where the tests run in background
import lefcache.extract
from cli.main import main
from lefcache.cache.writer import Writer
from lefcache.testing import FakeBackbone

passes, blocks = [], []  # since the first block was written, and the blocks that were
commit, seconds = Writer.commit, float(sys.argv.pop(1))

def on_forward(batch):
    passes.extend(blocks)
    if len(passes) == 2:
        try:
            os.write(1, b"third\n")  # at once, beside what another thread says
            time.sleep(60)
        except KeyboardInterrupt:
            os.write(1, b"heard\n")
            raise

def slowly(writer, task, values):
    if task.block == 1:
        os.write(1, b"writing\n")
        time.sleep(seconds)
    sums = commit(writer, task, values)
    blocks.append(task)
    return sums

Writer.commit = slowly
lefcache.extract.load_backbone = lambda model, **_: FakeBackbone(on_forward=on_forward)
main(sys.argv[1:], prog_name="lef")
"""


@pytest.fixture
def started(write_tsv, tmp_path):
    """A function that starts an extraction whose second block takes so long to be written.

    It returns when the third is in the model.
    """
    texts = write_tsv("texts", train=[("a cat", "yes"), ("no", "no")] * 10)
    words = ["extract", "--data", str(texts), "--model", "fake", "--block-rows", "4"]
    running = []

    def start(seconds):
        command = [sys.executable, "-c", STUB, str(seconds), *words]
        environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        process = subprocess.Popen(command, cwd=tmp_path, env=environment, text=True, **pipes)
        running.append(process)
        assert {process.stdout.readline() for _ in range(2)} == {"writing\n", "third\n"}
        return process, words

    yield start
    for process in running:
        process.kill()
        process.communicate()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_the_block_that_is_being_written_is_finished(started, tmp_path, number, code):
    process, words = started(1)
    process.send_signal(number)
    _, told = process.communicate(timeout=30)
    assert process.returncode == code, told
    *_, what, command = told.strip().splitlines()
    assert what.startswith("Interrupted. Every finished block is safe in the cache. Go on with:")
    assert command.strip() == shlex.join(["lef", *words])
    assert "Traceback" not in told
    cache = lefcache.open(tmp_path / "lef-cache")
    assert cache.pages("fake", "train", "texts").done_rows == 8
    assert not list(cache.path.rglob("*.partial"))


@pytest.mark.parametrize("second", [signal.SIGINT, signal.SIGTERM])
def test_the_second_ends_it_at_once(started, tmp_path, second):
    process, _ = started(60)
    process.send_signal(signal.SIGTERM)
    assert process.stdout.readline() == "heard\n"
    process.send_signal(second)
    process.communicate(timeout=10)
    assert process.returncode == -second
    cache = lefcache.open(tmp_path / "lef-cache")
    assert cache.pages("fake", "train", "texts").done_rows == 4


def test_what_the_shell_ignores_stays_ignored(monkeypatch):
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with stoppable():
            os.kill(os.getpid(), signal.SIGINT)
            with pytest.raises(Stopped):
                os.kill(os.getpid(), signal.SIGTERM)
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_afterwards_signals_do_what_they_did():
    before = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]
    with stoppable():
        pass
    assert [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)] == before


def test_a_thread_may_run_a_command():
    before, seen = signal.getsignal(signal.SIGTERM), []

    def look():
        with stoppable():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert seen == [before]
