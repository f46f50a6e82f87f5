"""Programs that know nothing of lefcache read the same numbers from its files."""

import json

import h5py
import numpy as np
import pytest

from lefcache.extract import extract
from lefcache.testing import FakeBackbone

SPLIT = "tiny/fake/train"
LAYERS = ("1", "last")


@pytest.fixture
def made(cache, make_corpus):
    """A function that extracts in a format, and gives the vectors as lefcache reads them."""

    def make(format):
        extract(FakeBackbone(), make_corpus(11), cache, block_rows=4, format=format)
        return {layer: np.asarray(cache.rows(f"fake:{layer}")) for layer in LAYERS}

    return make


def test_zarr(made, cache):
    import zarr

    ours = made("zarr")
    split = zarr.open_group(cache.path, mode="r")[SPLIT]
    for layer in LAYERS:
        np.testing.assert_array_equal(split[f"mean/{layer}"][...], ours[layer])
    labels = zarr.open_array(cache.path / "tiny/labels/train", mode="r")[...]
    np.testing.assert_array_equal(labels, cache.table("fake:1").labels)
    assert split.attrs["rows"] == 11


def test_xarray(made, cache):
    import xarray

    ours = made("zarr")
    with xarray.open_zarr(cache.path, group=f"{SPLIT}/mean", consolidated=False) as opened:
        for layer in LAYERS:
            assert opened[layer].dims == ("row", "feature")
            np.testing.assert_array_equal(opened[layer].values, ours[layer])


def test_tensorstore(made, cache):
    import tensorstore

    ours = made("zarr")
    for layer in LAYERS:
        place = {"driver": "file", "path": str(cache.path / SPLIT / "mean" / layer)}
        opened = tensorstore.open({"driver": "zarr3", "kvstore": place}).result()
        assert opened.domain.labels == ("row", "feature")
        np.testing.assert_array_equal(opened.read().result(), ours[layer])


def test_h5py(made, cache):
    ours = made("hdf5")
    with h5py.File(cache.path / f"{SPLIT}.h5", "r") as file:
        for layer in LAYERS:
            np.testing.assert_array_equal(file[f"mean/{layer}"][...], ours[layer])
            assert [each.label for each in file[f"mean/{layer}"].dims] == ["row", "feature"]
        assert json.loads(file.attrs["rows"]) == 11


def test_zarr_and_tensorstore_read_an_object_store(s3_server, monkeypatch, tmp_path, make_corpus):
    import tensorstore
    import zarr
    from obstore.store import S3Store

    from lefcache.cache import open as open_cache
    from tests import s3

    s3.use(monkeypatch, s3_server)
    monkeypatch.setenv("LEF_MIRROR", str(tmp_path / "mirror"))
    bucket = s3.make_bucket(s3_server)
    cache = open_cache(f"s3://{bucket}/run")
    extract(FakeBackbone(), make_corpus(9), cache, layers="1", block_rows=4)
    ours = np.asarray(cache.rows("fake:1"))
    objects = S3Store(bucket, prefix="run", client_options={"allow_http": True})
    group = zarr.open_group(zarr.storage.ObjectStore(objects, read_only=True), mode="r")
    np.testing.assert_array_equal(group[f"{SPLIT}/mean/1"][...], ours)
    place = {
        "driver": "s3",
        "bucket": bucket,
        "path": f"run/{SPLIT}/mean/1/",
        "endpoint": s3_server,
        "aws_region": "us-east-1",
        "aws_credentials": {"type": "environment"},
    }
    opened = tensorstore.open({"driver": "zarr3", "kvstore": place}).result()
    np.testing.assert_array_equal(opened.read().result(), ours)
