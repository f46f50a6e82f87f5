import os
import shutil
import signal
import subprocess
import sys
import time

import pytest

from lefcache.extract import extract
from lefcache.testing import FakeBackbone

SETTINGS = {"block_rows": 4, "batch_tokens": 12}


class Counter:
    """Counts forward passes and the texts in them; can fail at a given one."""

    def __init__(self, fail_at=None, error=KeyboardInterrupt):
        self.passes = self.texts = 0
        self.fail_at, self.error = fail_at, error

    def __call__(self, batch):
        if self.passes == self.fail_at:
            raise self.error
        self.passes += 1
        self.texts += len(batch)


@pytest.fixture
def counter():
    return Counter


@pytest.fixture
def run(cache):
    """A function that extracts with a fake model in blocks of 4 rows."""

    def run(corpus, *, into=cache, backbone=None, on_forward=None, **choices):
        fake = backbone or FakeBackbone(on_forward=on_forward)
        return extract(fake, corpus, into, **(SETTINGS | choices))

    return run


SLOW = """
import sys, time
import lefcache
from lefcache.corpus import Corpus, Split
from lefcache.extract import extract
from lefcache.testing import FakeBackbone

def on_forward(batch):
    print("forward", flush=True)
    time.sleep(0.02)

texts = sys.argv[2].split("|")
corpus = Corpus("tiny", ("no", "yes"), {"train": Split(texts)}, "demo")
extract(FakeBackbone(on_forward=on_forward), corpus, lefcache.open(sys.argv[1]),
        block_rows=4, batch_tokens=12)
"""


@pytest.fixture
def killed():
    """A function that runs the fake extraction in a process and kills it after some passes."""

    def kill(folder, texts, passes, later=0.0):
        command = [sys.executable, "-c", SLOW, str(folder), "|".join(texts)]
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, env=environment
        ) as process:
            for _ in range(passes):
                assert process.stdout.readline() == "forward\n"
            time.sleep(later)
            process.send_signal(signal.SIGKILL)
        assert process.returncode == -signal.SIGKILL

    return kill


@pytest.fixture
def small_disk(request, tmp_path):
    """A folder on a disk of 256 KiB, or of what is asked for, where the system lets us make one."""
    size = getattr(request, "param", "256k")
    folder = tmp_path / "small"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if os.geteuid() != 0 or not shutil.which("mount"):
        pytest.skip("making a small disk needs root")
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("no mounts here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)
