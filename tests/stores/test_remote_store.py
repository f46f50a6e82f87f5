"""The contract of stores on a real S3 server, with the bytes of a local store, and its faults."""

import time

import numpy as np
import pytest

from lefcache.errors import DamagedError, StorageError
from lefcache.files import Url
from lefcache.stores import objects as objects_module
from lefcache.stores.objects import bucket_at
from lefcache.stores.remote_store import RemoteStore
from lefcache.stores.zarr_store import ZarrStore
from tests import s3
from tests.stores.test_store_contract import StoreContract


class TestRemote(StoreContract):
    @pytest.fixture(autouse=True)
    def bucket(self, s3_server, monkeypatch):
        s3.use(monkeypatch, s3_server)
        self.endpoint, self.name = s3_server, s3.make_bucket(s3_server)

    def make(self, root):
        return RemoteStore(root if isinstance(root, Url) else Url(f"s3://{self.name}/{root.name}"))

    def objects(self):
        return s3.objects(self.endpoint, self.name, "store/")

    def raw(self, store, path, chunk):
        below = "/0" * (len(store.info(path).shape) - 1)
        return self.objects()[f"{path}/c/{chunk}{below}"]

    def exists(self, root):
        return bool(self.objects())

    test_what_was_written_is_put_on_the_disk_once = None  # a put returns when it is there to stay
    test_a_store_below_a_file_is_a_storage_error = None  # nothing is below a file there

    def test_every_object_is_the_file_of_a_local_store(self, filled, tmp_path, tree_bytes):
        local = ZarrStore(tmp_path / "local")
        for store in (filled, local):
            store.create("a/b", (10, 3), "<f4", 4, ("row", "feature"))
            for start in (0, 4, 8):
                store.write("a/b", start, self.values[start : start + 4])
            store.resize("a/b", 7)
            store.set_attrs("a", {"made": "here", "ü": [1, None]})
            store.create("bits", (2, 2), "bfloat16", 2, ("row", "feature"))
            store.write("bits", 0, np.ones((2, 2), np.float32))
        assert self.objects() == tree_bytes(local.root)

    def test_a_chunk_that_is_begun_keeps_its_other_rows(self, filled):
        filled.write("a/b", 4, -self.values[4:6])
        expected = np.concatenate([self.values[:4], -self.values[4:6], self.values[6:]])
        np.testing.assert_array_equal(filled.read("a/b"), expected)

    def test_a_lost_chunk_is_damage_and_no_zeros(self, filled):
        filled.bucket.delete(["a/b/c/1/0"])
        for read in (filled.read, filled.extents):
            with pytest.raises(DamagedError, match="0 bytes where 48 were written"):
                read("a/b")
        assert [chunk is None for chunk in filled.chunks("a/b")] == [False, True, False]
        assert not filled.read("a/b", sparse=True)[4:8].any()

    def test_metadata_that_cannot_be_read_is_damage(self, filled):
        filled.bucket.put("a/b/zarr.json", b"{")
        for look in (filled.attrs, filled.info, filled.seal):
            with pytest.raises(DamagedError, match=r"s3://.*/a/b: this metadata cannot be read"):
                look("a/b")

    def test_a_flipped_bit_of_metadata_is_noticed_and_mended(self, filled):
        content = filled.bucket.get("a/b/zarr.json")
        filled.bucket.put("a/b/zarr.json", content.replace(b'"shape"', b'"rhape"'))
        assert filled.seal("a/b").broken
        assert filled.mend("a/b")
        assert filled.bucket.get("a/b/zarr.json") == content

    @pytest.mark.parametrize("left", [None, b"", b"no metadata"])
    def test_a_bare_group_is_written_again_and_no_other(self, filled, left):
        before = self.objects()
        for path in ("a", "a/b"):
            if left is None:
                filled.bucket.delete([f"{path}/zarr.json"])
            else:
                filled.bucket.put(f"{path}/zarr.json", left)
            assert not filled.mend(path)
        assert filled.mend("a", bare=True)
        after = self.objects()
        assert after.pop("a/zarr.json") == before["a/zarr.json"]
        assert after.get("a/b/zarr.json") == left
        assert not filled.seal("a").broken

    def test_a_deletion_that_was_cut_short_leaves_what_can_be_deleted(self, filled, monkeypatch):
        def stop():
            raise KeyboardInterrupt

        real = filled.bucket.delete
        monkeypatch.setattr(filled.bucket, "delete", lambda names: (real(names[:2]), stop()))
        with pytest.raises(KeyboardInterrupt):
            filled.delete("a")
        monkeypatch.undo()
        assert filled.children("") == ["a"]
        filled.delete("a")
        assert self.objects().keys() == {"zarr.json"}

    def test_hdf5_is_refused_with_the_reason(self, store):
        with pytest.raises(StorageError, match=r"in place.*leave out --format hdf5"):
            store.begin("x", "hdf5", {})


@pytest.fixture
def faulty(s3_server, monkeypatch):
    """A proxy that fails as it is told, and a store behind it."""
    with s3.Faulty(s3_server).running() as proxy:
        s3.use(monkeypatch, proxy.address)
        monkeypatch.setattr(objects_module, "PATIENCE_SECONDS", 6)
        proxy.store = RemoteStore(Url(f"s3://{s3.make_bucket(s3_server)}/run"))
        yield proxy


def every(kind, nth, *methods):
    """A fault that befalls each nth request of some methods."""
    seen = []

    def fault(method, path, number):
        if method in methods:
            seen.append(path)
            return kind if len(seen) % nth == 0 else None
        return None

    return fault


@pytest.mark.parametrize(
    ("kind", "methods"),
    [
        ("500", ("PUT", "GET", "HEAD")),
        ("drop", ("PUT", "GET", "HEAD")),
        ("lost", ("PUT", "GET")),
        ("torn", ("PUT",)),
        ("half", ("GET",)),
    ],
)
def test_faults_are_tried_again_until_every_byte_is_there(faulty, kind, methods):
    faulty.fault = every(kind, 3, *methods)
    values = np.arange(1, 61, dtype="<f4").reshape(20, 3)
    faulty.store.create("a/b", (20, 3), "<f4", 4, ("row", "feature"))
    faulty.store.write("a/b", 0, values)
    np.testing.assert_array_equal(faulty.store.read("a/b"), values)
    assert len(faulty.happened) >= 3
    faulty.fault = lambda *_: None
    np.testing.assert_array_equal(faulty.store.read("a/b"), values)


def test_a_server_that_cuts_every_upload_short_is_told(faulty):
    faulty.fault = every("torn", 1, "PUT")
    with pytest.raises(StorageError, match="shorter than it was written"):
        faulty.store.set_attrs("", {"a": 1})


def test_a_server_that_fails_for_good_is_told_after_a_while(faulty, monkeypatch):
    monkeypatch.setattr(objects_module, "PATIENCE_SECONDS", 1)
    assert faulty.store.attrs("") == {}
    faulty.fault = every("500", 1, "PUT", "GET", "HEAD")
    begun = time.monotonic()
    with pytest.raises(StorageError, match=r"s3://.*the server fails again and again"):
        faulty.store.set_attrs("", {"a": 1})
    assert time.monotonic() - begun < 30


def test_no_server_is_told_within_seconds(monkeypatch):
    s3.use(monkeypatch, "http://127.0.0.1:9")
    monkeypatch.setattr(objects_module, "FIRST_SECONDS", 1)
    begun = time.monotonic()
    with pytest.raises(StorageError, match="no server answers: check AWS_ENDPOINT_URL"):
        RemoteStore(Url("s3://bucket/run")).attrs("")
    assert time.monotonic() - begun < 20


@pytest.mark.parametrize("look", ["attrs", "children", "info"])
def test_no_such_bucket_is_told(s3_server, monkeypatch, look):
    s3.use(monkeypatch, s3_server)
    with pytest.raises(StorageError, match="s3://no-such-bucket/run: there is no such bucket"):
        getattr(RemoteStore(Url("s3://no-such-bucket/run")), look)("")


def test_what_is_denied_is_told(faulty, monkeypatch):
    real = faulty._answer
    monkeypatch.setattr(
        faulty, "_answer", lambda request, status, *rest, **how: real(request, 403, *rest, **how)
    )
    with pytest.raises(StorageError, match="access is denied"):
        faulty.store.attrs("")


def test_numbers_in_a_name_are_not_taken_for_a_status():
    told = "Error performing GET http://host/b/mean/403/c/301/0 in 4.401ms - Server returned {}"
    assert objects_module._fix(told.format("non-2xx status code: 500 Error")).startswith(
        "the server fails again"
    )
    assert "AWS_REGION" in objects_module._fix(
        "Received redirect without LOCATION, this normally indicates"
    )


KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")


@pytest.mark.parametrize("lacking", [KEYS, KEYS[:1], KEYS[1:]])
def test_without_credentials_the_variables_are_named(s3_server, monkeypatch, lacking):
    s3.use(monkeypatch, s3_server)
    monkeypatch.setattr(objects_module, "FIRST_SECONDS", 1)
    monkeypatch.setenv("AWS_METADATA_ENDPOINT", "http://127.0.0.1:9")  # which clouds have
    for name in lacking:
        monkeypatch.delenv(name)
    with pytest.raises(StorageError, match=f"credentials were found: set {KEYS[0]} and {KEYS[1]}"):
        RemoteStore(Url("s3://bucket/run")).attrs("")


@pytest.mark.parametrize("endpoint", ["garbage", "127.0.0.1:9000", "http://", "ftp://host"])
def test_an_endpoint_that_is_no_address_is_named(s3_server, monkeypatch, endpoint):
    s3.use(monkeypatch, s3_server)
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    with pytest.raises(StorageError, match="AWS_ENDPOINT_URL is no address: write http://"):
        RemoteStore(Url("s3://bucket/run")).attrs("")


def test_a_setting_of_no_meaning_is_told(s3_server, monkeypatch):
    s3.use(monkeypatch, s3_server)
    monkeypatch.setenv("AWS_VIRTUAL_HOSTED_STYLE_REQUEST", "perhaps")
    with pytest.raises(StorageError, match=r"AWS_\* variable has a value.*perhaps"):
        RemoteStore(Url("s3://bucket/run")).attrs("")


def test_an_endpoint_without_tls_must_be_allowed(s3_server, monkeypatch):
    s3.use(monkeypatch, s3_server)
    monkeypatch.delenv("AWS_ALLOW_HTTP")
    with pytest.raises(StorageError, match="AWS_ALLOW_HTTP=true"):
        RemoteStore(Url("s3://bucket/run")).attrs("")


def test_an_address_without_a_bucket_is_refused():
    with pytest.raises(StorageError, match="names no bucket"):
        RemoteStore(Url("s3://")).attrs("")


def test_without_obstore_the_extra_is_named(python):
    code = (
        "import importlib.util; importlib.util.find_spec = lambda name: None\n"
        "from lefcache.files import Url\n"
        "from lefcache.errors import StorageError\n"
        "from lefcache.stores.remote_store import RemoteStore\n"
        "try: RemoteStore(Url('s3://b/c')).attrs('')\n"
        "except StorageError as error: print(error)"
    )
    assert "object stores need obstore: run pip install -e" in python(code)


def test_an_answer_that_was_lost_is_no_other_writer(faulty):
    bucket = bucket_at(faulty.store.root)
    assert bucket.get("x") is None
    faulty.fault = every("lost", 2, "PUT")
    tags = [bucket.swap("x", b"first", None)]
    tags.append(bucket.swap("x", b"second", tags[0]))
    assert all(tags)
    assert bucket.get("x") == b"second"
    assert bucket.swap("x", b"third", tags[0]) is None
