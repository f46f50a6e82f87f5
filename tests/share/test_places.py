"""Of a stranger's list only what a cache has is believed, and nothing that climbs out."""

from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lefcache.errors import StorageError
from lefcache.share.hub import Place, RemoteFile, Snapshot
from lefcache.share.places import Listing, node_of

PARTS = ("tiny", "fake", "train", "mean", "2", "c", "0", "zarr.json", "labels", "ledger", "last")
CLIMBING = ("..", ".", "", "~", "C:", "a\\b", "\x00", "con", "results", ".locks", "é", "x" * 300)


@pytest.mark.parametrize(
    ("path", "node"),
    [
        ("zarr.json", ""),
        ("tiny/zarr.json", "tiny"),
        ("tiny/labels/train/c/0", "tiny/labels/train"),
        ("tiny/fake/train/mean/24/c/7/0", "tiny/fake/train/mean/24"),
        ("tiny/fake/train/mean/last/zarr.json", "tiny/fake/train/mean/last"),
        ("tiny/fake/train/tokens/c/0", "tiny/fake/train/tokens"),
        ("tiny/fake/train/ledger/10/c/3/0", "tiny/fake/train/ledger/10"),
        ("README.md", None),
        ("c/0", None),
        ("tiny/fake/train/mean/024/c/0/0", None),
        ("tiny/fake/train/mean/24/c/00/0", None),
        ("tiny/fake/holdout/zarr.json", None),
        ("tiny/fake/train/median/2/zarr.json", None),
        ("results/x/zarr.json", None),
        ("tiny/results/train/zarr.json", None),
        ("con/zarr.json", None),
        ("Tiny/zarr.json", None),
        (".git/zarr.json", None),
        ("tiny/fake/train/mean/24/c/7/0\n", None),
    ],
)
def test_a_file_belongs_to_its_node_or_to_none(path, node):
    assert node_of(path) == node


@given(st.lists(st.sampled_from([*PARTS, *CLIMBING]), min_size=1, max_size=9).map("/".join))
def test_what_is_fetched_stays_in_its_folder(path):
    files = {path: RemoteFile(1, "git:0")}
    try:
        listing = Listing(
            Snapshot(Place("owner/x", "0" * 40), private=False, licence="", files=files)
        )
    except StorageError:
        return
    for node, found in listing.nodes.items():
        for name in found:
            parts = PurePosixPath(name).parts
            assert not {*parts} & {*CLIMBING}
            assert name.startswith(node)
            assert not PurePosixPath(name).is_absolute()
