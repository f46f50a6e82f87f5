"""What comes from the hub: only what was asked for, and nothing before all of it was checked."""

import json
import shlex
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from lefcache.cache import open as open_cache
from lefcache.cache.writer import Writer
from lefcache.errors import (
    BusyError,
    DamagedError,
    FeatureError,
    LefError,
    MismatchError,
    StorageError,
)
from lefcache.extract import extract
from lefcache.files import Url
from lefcache.share import pull as pulling
from lefcache.share.pull import looked
from lefcache.share.tree import folder_of
from lefcache.stores.seal import sealed_json
from lefcache.testing import FakeBackbone
from lefcache.vectors import import_vectors
from lefcache.verify import verify
from tests.share.conftest import PLACE

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")

VECTORS = "tiny/fake/train/mean/2/c/1/0"


def nothing_of(cache):
    """Whether a cache holds nothing, also aside."""
    return list(cache) == [] and not list(cache.path.glob(".pull*"))


def changed(repo, path, content):
    """The same repository with one file that was never what was pushed."""
    repo.commit("changed", {**repo.files, path: content})


def with_attrs(repo, path, **attrs):
    """The same repository with other metadata, and a seal that fits it."""
    node = json.loads(repo.files[path])
    node["attributes"] |= attrs
    changed(repo, path, sealed_json(node, node["attributes"]["place"]))


def test_one_layer_comes_without_the_rest(filled, pushed, get, hub, other):
    offer, notes = get(other, layers="2")
    assert notes == []
    chunks = {path.split("/resolve/")[1][41:] for path in hub.seen if "/c/" in path}
    assert {path.rpartition("/c/")[0] for path in chunks} == {
        "tiny/labels/train",
        "tiny/rows/train",
        "tiny/fake/train/ledger/0",
        "tiny/fake/train/mean/2",
        "tiny/fake/train/tokens",
    }
    assert verify(other).whole
    assert other.ls()[0]["layers"] == [2]
    assert np.array_equal(other.rows("fake:2", verify=True)[:], filled.rows("fake:2")[:])
    assert len(offer.files) == 6


def test_all_of_it_is_the_same_cache(filled, pushed, get, other):
    get(other)
    for layer in (0, 1, 2, 3, "last"):
        assert np.array_equal(other.rows(f"fake:{layer}")[:], filled.rows(f"fake:{layer}")[:])
    mine, theirs = other.table("fake:2"), filled.table("fake:2")
    assert np.array_equal(mine.labels, theirs.labels)
    assert (mine.classes, mine.specs) == (theirs.classes, theirs.specs)
    assert verify(other).whole
    assert verify(other).strays == []


def test_it_says_where_it_came_from(pushed, get, other):
    get(other, layers="2")
    origin = f"hub:owner/layers@{pushed.commits[-1][0]}"
    assert other.provenance("fake")["pulled_from"] == origin
    assert other.pages("fake").attrs["pulled"] == {"mean/2": origin}


def test_what_is_here_is_not_fetched_again(pushed, get, hub, other):
    get(other, layers="2")
    hub.seen.clear()
    offer, _ = get(other, layers="2,last")
    assert [part.arrays for part in offer.parts] == [("mean/last",)]
    assert hub.count("GET .*mean/2/c/") == 0
    offer, _ = get(other, layers="2,last")
    assert (offer.parts, offer.here) == ((), ("tiny/fake/train",))


def test_other_layers_are_extracted_beside_it(pushed, get, other, make_corpus):
    get(other, layers="2")
    extract(FakeBackbone(), make_corpus(40), other, layers="3")
    assert other.ls()[0]["layers"] == [2, 3]
    assert verify(other).whole


def test_a_look_leaves_nothing(pushed, other):
    with looked(other, PLACE, layers="2") as offer:
        assert offer.parts[0].described.spec.weights == "fake"
        assert offer.parts[0].described.bytes == 3 * 16 * 2 * 2
        assert offer.snapshot.licence == "other, those-of-model-and-corpus"
        assert offer.bytes == offer.parts[0].described.bytes + 3 * 16 * 4
    assert nothing_of(other)


def test_without_labels_there_are_none(filled, send, get, hub, other, make_corpus):
    send(filled, labels=False)
    get(other, layers="2")
    assert other.table("fake:2").labels is None
    other.register(make_corpus(40))
    assert other.table("fake:2").classes == ("no", "yes")


def test_imported_vectors_travel_too(cache, send, get, hub, other, make_corpus, tmp_path):
    np.save(tmp_path / "train.npy", np.eye(40, 3, dtype=np.float32))
    import_vectors("own", [tmp_path / "train.npy"], make_corpus(40), cache)
    send(cache)
    get(other)
    assert np.array_equal(other.rows("own:last")[:], cache.rows("own:last")[:])
    assert other.pages("own").files["own/last"]["file"] == "train.npy"
    assert verify(other).whole


@pytest.mark.parametrize("format", ["zarr", "hdf5"])
def test_it_may_be_pushed_on_in_either_format(filled, send, get, hub, other, format):
    filled.convert("tiny/fake/train", format)
    send(filled)
    get(other, layers="2")
    extract_here = np.array_equal(other.rows("fake:2")[:], filled.rows("fake:2")[:])
    assert extract_here


# What was asked for


def test_a_layer_may_be_named_by_its_alias(cache, send, get, hub, other, backbone, make_corpus):
    extract(backbone("bert"), make_corpus(9), cache)
    send(cache)
    get(other, layers="last")
    assert other.pages("bert").arrays == ["mean/3", "tokens"]
    assert np.array_equal(other.rows("bert:last")[:], cache.rows("bert:last")[:])


def test_poolings_and_keys_choose(filled, send, get, hub, other, make_corpus):
    extract(FakeBackbone(), make_corpus(40), filled, pools=["max"], layers="1,2")
    extract(FakeBackbone(name="second"), make_corpus(40), filled, layers="1")
    send(filled)
    get(other, "tiny/fake", layers="1", pools=["max"])
    assert [(each["model"], each["layers"], each["pools"]) for each in other.ls()] == [
        ("fake", [1], ["max"])
    ]
    with pytest.raises(FeatureError, match=r"--as names one model.*tiny/fake, tiny/second"):
        get(other, name="theirs")


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ({"key": "tiny/fak"}, r"has no tiny/fak .*: it has tiny/fake/train"),
        ({"layers": "9"}, "no layer 9 in this model: it has 0..3, last"),
        ({"pools": ["max"]}, "tiny/fake/train has no pool max: it has mean"),
        ({"pools": ["median"]}, "no pool 'median'"),
        ({"name": "../up"}, r"'\.\.' cannot be a name here"),
        ({"name": "labels"}, "'labels' cannot be a name here"),
    ],
)
def test_what_is_not_there_is_said(pushed, get, other, what, message):
    with pytest.raises(FeatureError, match=message):
        get(other, **what)
    assert nothing_of(other)


def test_a_repository_without_a_cache_is_none(pushed, get, other):
    pushed.commit("emptied", {"README.md": b"nothing"})
    with pytest.raises(FeatureError, match="holds no vectors"):
        get(other)


def test_an_older_commit_can_be_had(filled, pushed, send, get, other, make_corpus):
    first = pushed.commits[-1][0]
    extract(FakeBackbone(), make_corpus(40), filled, pools=["max"])
    send(filled)
    get(other, place=replace(PLACE, revision=first))
    assert other.ls()[0]["pools"] == ["mean"]


# What is here already


def test_other_settings_are_refused_and_may_stand_beside(pushed, get, other, make_corpus):
    here = FakeBackbone()
    here.spec = replace(here.spec, prompt="query: ")
    extract(here, make_corpus(40), other)
    before = other.ls()
    with pytest.raises(MismatchError, match=r"(?s)prompt: 'query: ' in the cache, '' now.*--as"):
        get(other)
    assert other.ls() == before
    get(other, name="theirs", layers="2")
    assert [each["model"] for each in other.ls()] == ["fake", "theirs"]
    assert verify(other).whole


def test_other_texts_are_refused_and_may_stand_beside(pushed, get, other, make_corpus):
    extract(FakeBackbone(), make_corpus(train=["another"] * 40), other)
    with pytest.raises(MismatchError, match=r"row 0 .* --as CORPUS/NAME"):
        get(other)
    get(other, name="tiny-theirs/fake", layers="2")
    assert list(other) == ["tiny", "tiny-theirs"]
    assert verify(other).whole


# What goes wrong on the way


def test_wrong_bytes_are_refused_and_nothing_is_seen(filled, pushed, get, hub, other):
    good = pushed.files[VECTORS]
    changed(pushed, VECTORS, b"\xff" + good[1:])
    with pytest.raises(DamagedError, match=r"rows 16\.\.31 of tiny/fake/train/mean/2 are not"):
        get(other)
    assert list(other) == []
    pushed.commits.pop()
    get(other)
    assert verify(other).whole


@pytest.mark.parametrize(
    "path",
    [
        "zarr.json",
        "tiny/zarr.json",
        "tiny/labels/train/c/0",
        "tiny/rows/train/c/0",
        "tiny/fake/zarr.json",
        "tiny/fake/train/zarr.json",
        "tiny/fake/train/mean/2/zarr.json",
        "tiny/fake/train/ledger/0/zarr.json",
        "tiny/fake/train/ledger/0/c/1/0",
        "tiny/fake/train/tokens/c/2",
    ],
)
def test_one_wrong_bit_anywhere_is_refused(pushed, get, other, path):
    content = bytearray(pushed.files[path])
    content[len(content) // 3] ^= 4
    changed(pushed, path, bytes(content))
    with pytest.raises(DamagedError, match="hub:owner/layers@"):
        get(other)
    assert list(other) == []


def test_a_file_that_is_missing_or_short_is_refused_at_once(pushed, get, hub, other):
    files = {path: each for path, each in pushed.files.items() if path != VECTORS}
    pushed.commit("lost", files)
    with pytest.raises(DamagedError, match="mean/2/c/1/0 is not there, where 64 bytes belong"):
        get(other)
    changed(pushed, VECTORS, b"short")
    with pytest.raises(DamagedError, match="mean/2/c/1/0 is 5 bytes long"):
        get(other)
    assert hub.count("GET .*mean/2/c/0") == 0
    assert nothing_of(other)


def test_a_download_that_is_cut_goes_on_where_it_was(filled, pushed, get, hub, other):
    cut = []

    def fault(method, path):
        if method == "GET" and path.startswith("/cdn/") and path not in cut:
            cut.append(path)
            return 200, hub.blobs[path.removeprefix("/cdn/")], 20
        return None

    hub.fault = fault
    get(other, layers="2")
    assert cut
    assert verify(other).whole


def test_a_pull_that_was_stopped_goes_on_with_what_it_has(filled, pushed, get, hub, other):
    def fault(method, path):
        return (500,) if "/mean/3/c/" in path else None

    hub.fault = fault
    with pytest.raises(StorageError, match=r"trouble of its own \(500\)"):
        get(other)
    assert list(other) == []
    [stray] = verify(other).strays
    assert stray.startswith(".pull+owner+layers+")
    hub.fault = lambda *_: None
    hub.seen.clear()
    get(other)
    assert hub.count("GET /cdn/") < 18
    assert verify(other).whole
    assert verify(other).strays == []


def test_a_kill_while_it_is_taken_over_costs_nothing(filled, pushed, get, other, monkeypatch):
    def killed(*arguments, **settings):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(pulling, "adopt", killed)
        with pytest.raises(KeyboardInterrupt):
            get(other)
    offer, _ = get(other)
    assert offer.bytes == 0
    assert verify(other).whole


@pytest.mark.parametrize("name", ["", "mine/theirs"])
def test_a_kill_at_its_last_step_is_finished_by_the_pull_that_it_was(
    lef, filled, pushed, other, monkeypatch, name
):
    """The command is the one that `lef ls` shows: no model is needed for it."""
    commits, real = [], Writer.commit

    def killed(writer, *given):
        commits.append(given)
        if len(commits) == 2:
            raise KeyboardInterrupt
        return real(writer, *given)

    with monkeypatch.context() as patch:
        patch.setattr(Writer, "commit", killed)
        words = ["--layers", "1,last", *(["--as", name] if name else [])]
        lef("pull", PLACE, "tiny/fake", *words, "--yes", "--cache", other.path)
    [told] = [line.strip() for line in lef("ls", "--cache", other.path).out.splitlines()[-1:]]
    assert told.startswith(f"lef pull hub:owner/layers@{pushed.commits[-1][0]} tiny/fake/train ")
    assert lef(*shlex.split(told)[1:], "--yes").code == 0
    assert verify(other).whole
    assert other.ls()[0]["resume"] is None


def test_what_was_fetched_of_an_older_commit_is_thrown_away(filled, pushed, get, hub, other):
    hub.fault = lambda method, path: (500,) if "/mean/3/c/" in path else None
    with pytest.raises(StorageError):
        get(other)
    hub.fault = lambda *_: None
    changed(pushed, "notes.txt", b"")
    get(other, layers="1")
    assert list(other.path.glob(".pull*")) == []


def test_a_full_disk_is_foreseen(pushed, get, hub, other, monkeypatch):
    monkeypatch.setattr(pulling, "_free", lambda folder: 100)
    with pytest.raises(StorageError, match="100 bytes free, and this takes"):
        get(other)
    assert hub.count("GET .*mean/2/c/") == 0


# A stranger's repository


@pytest.mark.parametrize(
    "path",
    [
        "../../etc/passwd",
        "tiny/../../up/zarr.json",
        "/etc/passwd",
        "tiny\\..\\up",
        "C:/windows",
        "tiny/fake/train/mean/2/c/\x00",
        "tiny//zarr.json",
        "~/zarr.json",
        "a\n/zarr.json",
    ],
)
def test_names_that_climb_out_are_refused(pushed, get, hub, other, path):
    hub.extra = [{"type": "file", "path": path, "size": 1, "oid": "0" * 40}]
    with pytest.raises(StorageError, match="which no cache can have"):
        get(other)
    assert hub.count("resolve") == 0


def test_metadata_of_absurd_size_is_not_fetched(pushed, get, hub, other):
    path = "tiny/evil/train/zarr.json"
    hub.extra = [{"type": "file", "path": path, "size": 1 << 40, "oid": "0" * 40}]
    with pytest.raises(StorageError, match=r"is 1,099,511,627,776 bytes long, and metadata is"):
        get(other)
    assert hub.count("resolve") == 0


@pytest.mark.parametrize(
    ("path", "attrs"),
    [
        ("tiny/zarr.json", {"splits": {"../up": 40}}),
        ("tiny/zarr.json", {"splits": {"train": -1}}),
        ("tiny/zarr.json", {"splits": {"train": 1 << 50}}),
        ("tiny/zarr.json", {"splits": []}),
        ("tiny/zarr.json", {"classes": "no"}),
        ("tiny/zarr.json", {"classes": ["no"]}),
        ("tiny/zarr.json", {"options": {"config; rm -rf": "x"}}),
        ("tiny/zarr.json", {"checksums": {"labels/train": "x"}}),
        ("tiny/fake/zarr.json", {"spec": 5}),
        ("tiny/fake/zarr.json", {"spec": {"weights": 5}}),
        ("tiny/fake/zarr.json", {"width": 0}),
        ("tiny/fake/zarr.json", {"depth": "deep"}),
        ("tiny/fake/zarr.json", {"source": ["a"]}),
        ("tiny/fake/zarr.json", {"flags": [5]}),
        ("tiny/fake/zarr.json", {"provenance": None}),
        ("tiny/fake/train/zarr.json", {"rows": 1 << 60}),
        ("tiny/fake/train/zarr.json", {"block_rows": 12}),
        ("tiny/fake/train/zarr.json", {"block_rows": 0}),
        ("tiny/fake/train/zarr.json", {"batch_tokens": None}),
        ("tiny/fake/train/zarr.json", {"arrays": ["mean/../../up"]}),
        ("tiny/fake/train/zarr.json", {"aliases": {"x": "y"}}),
        ("tiny/fake/train/zarr.json", {"files": 5}),
        ("tiny/fake/train/ledger/0/zarr.json", {"arrays": ["../../x"] * 6}),
        ("tiny/fake/train/ledger/0/zarr.json", {"arrays": ["mean/2"]}),
    ],
)
def test_metadata_without_sense_is_refused_though_its_seal_holds(pushed, get, other, path, attrs):
    with_attrs(pushed, path, **attrs)
    with pytest.raises(LefError, match=r"hub:owner/layers@|newer lefcache|no settings"):
        get(other)
    assert list(other) == []


def test_a_split_in_another_ones_place_is_refused(pushed, get, hub, other):
    model = pushed.files["tiny/fake/zarr.json"]
    changed(pushed, "tiny/fake/zarr.json", pushed.files["tiny/zarr.json"])
    with pytest.raises(DamagedError, match=r"tiny/fake/zarr\.json is not what was written"):
        get(other)
    changed(pushed, "tiny/fake/zarr.json", model)
    get(other)
    assert verify(other).whole
    assert other.store.seal("tiny/fake").place == "tiny/fake"


def test_arrays_of_absurd_shape_are_refused_before_they_are_made(pushed, get, hub, other):
    path = "tiny/fake/train/mean/2/zarr.json"
    node = json.loads(pushed.files[path])
    grid = {"name": "regular", "configuration": {"chunk_shape": [1 << 40, 1 << 20]}}
    node |= {"shape": [40, 1 << 20], "chunk_grid": grid}
    changed(pushed, path, sealed_json(node, "tiny/fake/train/mean/2"))
    with pytest.raises(DamagedError, match="larger than any"):
        get(other)


def test_a_newer_format_is_refused(pushed, get, other):
    with_attrs(pushed, "zarr.json", version=99)
    with pytest.raises(MismatchError, match="newer lefcache"):
        get(other)


def test_labels_that_are_none_of_the_classes_are_refused(pushed, get, other):
    with_attrs(pushed, "tiny/zarr.json", classes=["no"], checksums={})
    with pytest.raises(DamagedError, match="none of the classes"):
        get(other)
    assert nothing_of(open_cache(other.path))


def test_a_cache_on_an_object_store_is_brought_to_a_folder_first(tmp_path):
    away = SimpleNamespace(path=Url("s3://bucket/run1"))
    with pytest.raises(StorageError, match="bring it to a folder first"):
        folder_of(away)
    assert folder_of(SimpleNamespace(path=tmp_path)) == tmp_path


def test_two_pulls_of_one_place_do_not_clear_away_each_others_files(pushed, other):
    with looked(other, PLACE, layers="2") as offer:
        with pytest.raises(BusyError), looked(other, PLACE):
            pass
        pulling.pull(other, offer)
    assert verify(other).whole
