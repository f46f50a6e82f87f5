"""A cache on an object store is a cache: the same bytes, and stage 2 never reads them twice."""

import sys

import numpy as np
import pytest

import lefcache
from lefcache.cache import open as open_cache
from lefcache.cache.ledger import checksum, seal
from lefcache.cache.remove import doomed, remove
from lefcache.errors import (
    BusyError,
    DamagedError,
    FeatureError,
    IncompleteError,
    MismatchError,
    StorageError,
)
from lefcache.extract import extract
from lefcache.files import Url
from lefcache.stores import objects as objects_module
from lefcache.stores.objects import bucket_at
from lefcache.testing import FakeBackbone
from lefcache.verify import verify
from tests import s3

CHOICES = {"layers": "1,2,last", "block_rows": 4}


@pytest.fixture
def address(s3_server, monkeypatch, tmp_path):
    s3.use(monkeypatch, s3_server)
    monkeypatch.setenv("LEF_MIRROR", str(tmp_path / "mirror"))
    return Url(f"s3://{s3.make_bucket(s3_server)}/run")


@pytest.fixture
def there(address, make_corpus):
    """Ten rows of train and two of test on an object store."""
    cache = open_cache(address)
    extract(FakeBackbone(), make_corpus(10, test=["one text", "another"]), cache, **CHOICES)
    return cache


@pytest.fixture
def gets(monkeypatch):
    """The objects that were read, as they are."""
    names, real = [], objects_module.Bucket.tagged
    monkeypatch.setattr(
        objects_module.Bucket,
        "tagged",
        lambda bucket, name: names.append(name) or real(bucket, name),
    )
    return names


def vectors(names):
    return sorted(name for name in names if "/c/" in name and name.split("/")[3] in ("mean", "max"))


def test_every_object_is_a_file_of_a_local_cache(there, cache, make_corpus, tree_bytes, s3_server):
    extract(FakeBackbone(), make_corpus(10, test=["one text", "another"]), cache, **CHOICES)
    local = {n: b for n, b in tree_bytes(cache.path).items() if not n.startswith(".locks")}
    bucket = there.path.split("/")[2]
    remote = s3.objects(s3_server, bucket, "run/")
    differ = {name for name in local.keys() | remote.keys() if local.get(name) != remote.get(name)}
    assert differ <= {"tiny/fake/zarr.json"}  # which says when it was made
    assert len(remote) > 40


def test_the_tree_is_that_of_any_cache(there):
    assert isinstance(lefcache.open(there.path), type(there))
    assert repr(there).startswith(f"<Cache {there.path}\n  <tiny/fake/train: 10 of 10 rows")
    [test, train] = sorted(there.ls(), key=lambda entry: entry["split"])
    assert (train["rows"], train["done_rows"], test["rows"]) == (10, 10, 2)
    assert there.spec("fake") == FakeBackbone().spec
    found = there["tiny"]["fake"]["train"]["mean"]["2"]
    assert found[0].tolist()[0] == there.rows("fake:2")[0][0]


def test_a_table_may_be_pulled_as_it_is_read(there, gets):
    eager = there.tables("fake:1,fake:1+last")
    later = open_cache(there.path, later=True)
    remove(there.mirror.store, doomed(there.mirror, "tiny"))
    gets.clear()
    tables = later.tables("fake:1,fake:1+last")
    train = tables["train"]
    assert not vectors(gets)
    assert [*tables] == [*eager]
    assert (train.specs, train.origins) == (eager["train"].specs, eager["train"].origins)
    assert [each.stored for each in train.rows] == [each.stored for each in eager["train"].rows]
    assert train.rows[0][3:5].tolist() == eager["train"].rows[0][3:5].tolist()
    assert {name.split("/")[4] for name in vectors(gets)} == {"1"}
    for ours, theirs in zip(train.rows, eager["train"].rows, strict=True):
        assert np.array_equal(ours, theirs)
    assert later.rows("fake:1")[[2, 0]].tolist() == there.rows("fake:1")[[2, 0]].tolist()
    assert {name.split("/")[2] for name in vectors(gets)} == {"train"}
    assert len(vectors(gets)) == len({*vectors(gets)})


def test_stage_2_reads_what_it_needs_once_and_no_more(there, gets):
    table = there.table("fake:1,fake:last")
    assert np.asarray(table.rows[0])[:, 1].tolist() == [3, 1, 7, 2, 5] * 2
    wanted = [f"tiny/fake/train/mean/{n}/c/{c}/0" for n in ("1", "last") for c in range(3)]
    assert vectors(gets) == wanted
    gets.clear()
    open_cache(there.path).tables("fake:1,fake:last")
    assert {name.split("/")[2] for name in vectors(gets)} == {"test"}
    gets.clear()
    assert len(there.tables("fake:1")["test"]) == 2
    assert vectors(gets) == []
    assert verify(there.mirror).whole


def test_what_was_changed_there_is_noticed(there, make_corpus):
    before = np.asarray(there.rows("fake:1"))
    assert there.table("fake:1").labels.tolist() == [0, 1] * 5
    # Corrected labels, other settings, more rows, other texts.
    corpus = make_corpus(10, test=["one text", "another"])
    corpus.splits["train"].labels[:] = 1
    extract(FakeBackbone(), corpus, there, **CHOICES)
    assert there.table("fake:1").labels.tolist() == [1] * 10
    extract(FakeBackbone(), make_corpus(12), there, **CHOICES)
    assert len(there.rows("fake:1")) == 12
    assert np.array_equal(there.rows("fake:1")[:10], before)
    remove(there.store, doomed(there, "tiny/fake"))
    extract(FakeBackbone(), make_corpus(12), there, **CHOICES, store_dtype="float32")
    assert there.rows("fake:1").dtype == np.float32
    remove(there.store, doomed(there, "tiny"))
    extract(FakeBackbone(), make_corpus(train=["quite", "other texts"]), there, **CHOICES)
    assert np.asarray(there.rows("fake:1"))[:, 1].tolist() == [1, 2]
    assert verify(there.mirror).whole


@pytest.fixture
def changed_there(there):
    """A function that has a block of a layer come out otherwise, as another machine may have it."""

    def change(layer="1"):
        name = f"tiny/fake/train/mean/{layer}/c/1/0"
        bucket = bucket_at(there.path)
        rows = np.frombuffer(bucket.get(name), np.float16).copy()
        rows[0] += 1
        there.store.write(f"tiny/fake/train/mean/{layer}", 4, rows.reshape(4, -1))
        [generation] = there.pages("fake").generations
        row = generation.ledger[1].copy()
        row[1 + generation.arrays.index(f"mean/{layer}")] = checksum(rows.reshape(4, -1))
        there.store.write("tiny/fake/train/ledger/0", 1, seal(row[0], row[1:-1]))
        return rows[0]

    return change


def test_of_a_changed_block_no_other_is_pulled_again(there, changed_there, gets):
    there.table("fake:1,fake:2")
    there.rows("fake:last")
    first = changed_there()
    gets.clear()
    assert there.rows("fake:1")[4][0] == first
    # What was pulled together has one ledger, and so comes again together.
    assert vectors(gets) == [f"tiny/fake/train/mean/{layer}/c/1/0" for layer in (1, 2)]
    gets.clear()
    there.table("fake:1,fake:2,fake:last")
    assert vectors(gets) == []
    assert verify(there.mirror).whole


def test_of_appended_rows_only_the_blocks_that_are_new_are_pulled(there, make_corpus, gets):
    there.rows("fake:1")
    extract(FakeBackbone(), make_corpus(12), there, **CHOICES)
    gets.clear()
    assert len(there.rows("fake:1")) == 12
    assert vectors(gets) == ["tiny/fake/train/mean/1/c/2/0"]


def test_a_layer_of_many_that_were_interrupted_can_be_had_alone(there):
    def stop(path, total, rows):
        if rows:
            raise KeyboardInterrupt

    there.on_pull = stop
    with pytest.raises(KeyboardInterrupt):
        there.table("fake:1,fake:2")
    there.on_pull = None
    assert len(there.rows("fake:1")) == 10
    remove(there.store, doomed(there, "tiny/fake:2"))
    assert len(open_cache(there.path).rows("fake:1")) == 10
    assert verify(there.mirror).whole


def test_rows_that_changed_on_the_way_are_refused_and_not_kept(there):
    bucket, name = bucket_at(there.path), "tiny/fake/train/mean/2/c/1/0"
    content = bytearray(bucket.get(name))
    content[3] ^= 1
    bucket.put(name, bytes(content))
    with pytest.raises(DamagedError, match=r"rows 4\.\.7 .* lef verify .* --cache s3://"):
        there.rows("fake:2")
    assert there.mirror.pages("fake").done["mean/2"] == 4


def test_what_is_missing_or_unfinished_is_told_with_a_command_for_that_cache(address, make_corpus):
    cache, passes = open_cache(address), []

    def stop(_):
        passes.append(1)
        if len(passes) > 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        extract(FakeBackbone(on_forward=stop), make_corpus(10), cache, layers="1", block_rows=4)
    with pytest.raises(IncompleteError, match=rf"8 of 10 rows.*lef extract --cache {address}"):
        cache.table("fake:1")
    with pytest.raises(FeatureError, match=f"lef extract --cache {address}"):
        cache.table("fake:3")
    assert not cache.mirror.exists
    extract(FakeBackbone(), make_corpus(10), cache, layers="1", block_rows=4)
    assert len(cache.table("fake:1")) == 10
    assert bucket_at(address).lengths(".locks") == {}


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a dead holder at once")
def test_a_killed_extraction_is_resumed_at_once_to_the_same_bytes(address, make_corpus, python):
    code = (
        "import os; from lefcache.cache import open; from lefcache.testing import FakeBackbone\n"
        "from lefcache.extract import extract; from tests.conftest import numbered_texts\n"
        "from lefcache.corpus import Corpus, Split; import numpy as np, sys\n"
        "labels = (np.arange(10) % 2).astype(np.int32)\n"
        "splits = {'train': Split(numbered_texts(10), labels)}\n"
        "corpus = Corpus('tiny', ('no', 'yes'), splits, 'demo')\n"
        "passes = []\n"
        "def die(_):\n"
        "    passes.append(1)\n"
        "    if len(passes) > 2: os._exit(9)\n"
        "extract(FakeBackbone(on_forward=die), corpus, open(sys.argv[1]), layers='1', block_rows=4)"
    )
    assert python(code, address, check=False).returncode == 9
    cache = open_cache(address)
    assert bucket_at(address).lengths(".locks")
    before = cache.pages("fake").done_rows
    assert before in (4, 8)
    receipt = extract(FakeBackbone(), make_corpus(10), cache, layers="1", block_rows=4)
    assert receipt.skipped_blocks == before // 4
    assert verify(cache).whole
    assert np.asarray(cache.rows("fake:1"))[:, 1].tolist() == [3, 1, 7, 2, 5] * 2


def test_an_interrupted_pull_goes_on_where_it_was(there, gets):
    def stop(path, total, rows):
        if rows:
            raise KeyboardInterrupt

    there.on_pull = stop
    with pytest.raises(KeyboardInterrupt):
        there.rows("fake:2")
    gets.clear()
    told = []
    there.on_pull = lambda *progress: told.append(progress)
    there.rows("fake:2")
    assert vectors(gets) == [f"tiny/fake/train/mean/2/c/{chunk}/0" for chunk in (1, 2)]
    path = "tiny/fake/train"
    assert told == [(path, 6, 0), (path, 6, 4), (path, 6, 2)]


def test_verify_finds_what_is_damaged_missing_or_whole(there):
    assert verify(there).whole
    assert verify(there).checked_blocks == verify(there, "tiny/fake/train").checked_blocks + 1
    bucket = bucket_at(there.path)
    bucket.delete(["tiny/fake/train/mean/2/c/0/0"])
    bucket.put("tiny/fake/test/zarr.json", bucket.get("tiny/fake/test/zarr.json")[:-3])
    report = verify(there)
    assert [each.block for each in report.missing] == [0]
    assert "tiny/fake/test" in {each.path for each in report.damaged}


def test_a_second_writer_is_told_of_the_first(there, make_corpus):
    def second(_):
        with pytest.raises(BusyError, match="another process is writing tiny/fake/train"):
            extract(FakeBackbone(), make_corpus(20), open_cache(there.path), **CHOICES)

    extract(FakeBackbone(on_forward=second), make_corpus(20), there, **CHOICES)


def test_hdf5_is_refused_and_another_model_of_one_name(there, make_corpus):
    with pytest.raises(StorageError, match="only hold Zarr"):
        there.convert("tiny/fake/train", "hdf5")
    with pytest.raises(StorageError, match="leave out --format hdf5"):
        extract(FakeBackbone(), make_corpus(9, name="new"), there, format="hdf5")
    with pytest.raises(MismatchError, match="max_length"):
        extract(FakeBackbone(max_length=7), make_corpus(10), there, **CHOICES)


def test_results_are_shared(there, tmp_path, monkeypatch):
    from lefcache import results

    with there.sharing_results():
        results.save(there.results, "tiny", "0" * 16, {"a": 1}, np.arange(3))
    monkeypatch.setenv("LEF_MIRROR", str(tmp_path / "another machine"))
    other = open_cache(there.path)
    with other.sharing_results():
        found = results.find(other.results, "tiny", "0" * 16)
    assert found.payload == {"a": 1}
    assert found.predictions().tolist() == [0, 1, 2]


@pytest.mark.parametrize("kind", ["500", "drop", "lost", "torn"])
def test_an_extraction_through_faults_has_the_same_bytes(
    s3_server, monkeypatch, tmp_path, make_corpus, kind, cache
):
    """No ledger row without its block, at any moment; and in the end all that there should be."""
    monkeypatch.setenv("LEF_MIRROR", str(tmp_path / "mirror"))
    with s3.Faulty(s3_server).running() as proxy:
        s3.use(monkeypatch, proxy.address)
        name, seen = s3.make_bucket(s3_server), []

        def fault(method, path, number):
            if method == "PUT" and ".locks" not in path:
                seen.append(path)
                return kind if len(seen) % 7 == 0 else None
            return None

        proxy.fault = fault
        remote = open_cache(f"s3://{name}/run")
        choices = {"layers": "1,2", "block_rows": 4}
        extract(FakeBackbone(), make_corpus(10), remote, **choices)
        assert len(proxy.happened) > 3
        order = [path for method, path in proxy.requests if method == "PUT" and "/c/" in path]
        for block in range(3):
            ledger = order.index(f"/{name}/run/tiny/fake/train/ledger/0/c/{block}/0")
            for layer in (1, 2):
                chunk = f"/{name}/run/tiny/fake/train/mean/{layer}/c/{block}/0"
                assert max(n for n, path in enumerate(order) if path == chunk) < ledger
        proxy.fault = lambda *_: None
        assert verify(remote).whole
        extract(FakeBackbone(), make_corpus(10), cache, **choices)
        for feature in ("fake:1", "fake:2"):
            assert np.array_equal(remote.rows(feature), cache.rows(feature))
