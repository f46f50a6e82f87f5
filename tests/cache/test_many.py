"""Many at once: one writes, others read, and nobody sees half a block."""

import subprocess
import sys
import time

import numpy as np
import pytest

from lefcache.cache import begin
from lefcache.errors import BusyError
from lefcache.extract import extract
from lefcache.testing import FakeBackbone

# Eight processes say that they are ready and look again and again until they see all; each
# prints how often it saw a part, and the sum.
READERS = """
import os, sys, time
from pathlib import Path
import h5py
import numpy as np
import lefcache
from lefcache.cache.ledger import checksum
from lefcache.dtypes import raw
from lefcache.errors import FeatureError, IncompleteError

print("ready", flush=True)
for _ in range(3):  # twice as many each time
    os.fork()
parts = 0
while True:
    cache = lefcache.open(sys.argv[1])
    seen = False
    for line in cache.ls():
        pages = cache.pages("fake", "train", "tiny")
        for generation in pages.generations:
            for name in generation.arrays:
                for block, rows, crc in generation.checksums(name):
                    start = block * pages.block_rows
                    there = cache.store.read(f"{pages.path}/{name}", start + rows, start=start)
                    assert checksum(raw(there)) == crc, (name, block)
                    seen = True
    try:
        rows = [cache.rows(f"fake:{layer}@{pool}", "train", "tiny")
                for layer in range(4) for pool in ("mean", "max")]
        break
    except (FeatureError, IncompleteError):
        parts += seen
    time.sleep(0.05)  # eight of them would leave the writer no time
total = float(sum(np.asarray(each, np.float64).sum() for each in rows))
os.write(1, f"{parts} {total}\\n".encode())
while True:
    try:
        assert os.wait()[1] == 0
    except ChildProcessError:
        break
"""


@pytest.mark.parametrize("format", ["zarr", "hdf5"])
def test_eight_readers_see_only_whole_blocks_while_one_writes(cache, make_corpus, format):
    words = [sys.executable, "-c", READERS, str(cache.path)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(words, **pipes) as readers:
        assert readers.stdout.readline() == "ready\n"
        backbone = FakeBackbone(3, on_forward=lambda _: time.sleep(0.04))
        choices = {"pools": ["mean", "max"], "block_rows": 4, "format": format, "fsync": False}
        extract(backbone, make_corpus(48), cache, **choices)
        told, error = readers.communicate(timeout=60)
    assert not error
    features = [f"fake:{layer}@{pool}" for layer in range(4) for pool in ("mean", "max")]
    total = sum(float(np.asarray(cache.rows(each), np.float64).sum()) for each in features)
    seen = [line.split() for line in told.splitlines()]
    assert [float(sum) for _, sum in seen] == [total] * 8
    assert any(int(parts) for parts, _ in seen)


def test_a_split_that_is_being_written_is_not_converted(cache, make_corpus):
    def convert(_):
        with pytest.raises(BusyError, match=r"tiny/fake/train \(process \d+ of .*, since "):
            cache.convert("tiny/fake/train", "hdf5")

    extract(FakeBackbone(on_forward=convert), make_corpus(9), cache, block_rows=4)
    assert cache.rows("fake:1").shape == (9, 2)


MANY = """
import resource, sys
from pathlib import Path
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
import numpy as np
import lefcache
cache = lefcache.open(sys.argv[1])
layers = [cache.rows(f"fake:{layer}") for layer in range(34)]
chosen = np.arange(120)[::-1]
held = [layer[chosen] for layer in layers] + [layer[chosen] for layer in layers[::-1]]
table = cache.table([f"fake:{layer}" for layer in range(34)])
maps = Path("/proc/self/maps")
mapped = maps.read_text().count(str(cache.path)) if maps.exists() else 0
assert mapped <= 16, mapped  # a quarter of the files that may be open
print(sum(len(each.extents) for each in layers), all((np.asarray(a) == b[::-1]).all()
      for a, b in zip(table.rows, held)))
"""


@pytest.mark.parametrize("format", ["zarr", "hdf5"])
def test_thousands_of_chunks_stay_under_the_limit_of_open_files(
    cache, make_corpus, format, python, monkeypatch
):
    monkeypatch.setattr(begin, "CHUNK_ROWS_LEAST", 2)
    monkeypatch.setattr(begin, "CHUNK_BYTES", 8)  # two rows of two numbers
    corpus = make_corpus(120)
    extract(FakeBackbone(33), corpus, cache, block_rows=64, format=format, fsync=False)
    assert cache.store.info("tiny/fake/train/mean/1").chunk_rows == 2
    assert python(MANY, cache.path).split() == ["2040", "True"]
