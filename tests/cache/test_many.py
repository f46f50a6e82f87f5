"""Many at once: one writes, others read, and nobody sees half a block."""

import subprocess
import sys
import time

import numpy as np
import pytest

from lefcache.errors import BusyError
from lefcache.extract import extract
from lefcache.testing import FakeBackbone

# Looks again and again until it sees all; prints how often it saw a part, and its sum.
READER = """
import sys, time
from pathlib import Path
import numpy as np
import lefcache
from lefcache.cache.ledger import checksum
from lefcache.dtypes import raw
from lefcache.errors import FeatureError, IncompleteError

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
                for layer in range(3) for pool in ("mean", "max")]
        break
    except (FeatureError, IncompleteError):
        parts += seen
    time.sleep(0.05)  # eight of them would leave the writer no time
print(parts, float(sum(np.asarray(each, np.float64).sum() for each in rows)))
"""


@pytest.mark.parametrize("format", ["zarr", "hdf5"])
def test_eight_readers_see_only_whole_blocks_while_one_writes(cache, make_corpus, format):
    words = [sys.executable, "-c", READER, str(cache.path)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    readers = [subprocess.Popen(words, **pipes) for _ in range(8)]
    backbone = FakeBackbone(2, on_forward=lambda _: time.sleep(0.04))
    choices = {"pools": ["mean", "max"], "block_rows": 4, "format": format, "fsync": False}
    extract(backbone, make_corpus(80), cache, **choices)
    told = [reader.communicate(timeout=60) for reader in readers]
    assert not any(error for _, error in told), told
    features = [f"fake:{layer}@{pool}" for layer in range(3) for pool in ("mean", "max")]
    total = sum(float(np.asarray(cache.rows(each), np.float64).sum()) for each in features)
    seen = [out.split() for out, _ in told]
    assert {float(sum) for _, sum in seen} == {total}
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
chosen = np.arange(64)[::-1]
held = [layer[chosen] for layer in layers] + [layer[chosen] for layer in layers[::-1]]
table = cache.table([f"fake:{layer}" for layer in range(34)])
maps = Path("/proc/self/maps")
mapped = maps.read_text().count(str(cache.path)) if maps.exists() else 0
assert mapped <= 16, mapped  # a quarter of the files that may be open
print(sum(len(each.extents) for each in layers), all((np.asarray(a) == b[::-1]).all()
      for a, b in zip(table.rows, held)))
"""


@pytest.mark.parametrize("format", ["zarr", "hdf5"])
def test_a_thousand_chunks_stay_under_the_limit_of_open_files(cache, make_corpus, format, python):
    backbone = FakeBackbone(33)
    extract(backbone, make_corpus(64), cache, block_rows=2, format=format, fsync=False)
    assert python(MANY, cache.path).split() == ["1088", "True"]
