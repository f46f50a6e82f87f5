"""What arrives at the hub: the tree as it lies on disk, in one commit, and only what is new."""

import json
from dataclasses import replace

import numpy as np
import pytest
import zarr

from lefcache.cache import register as register_module
from lefcache.cache.adopt import adopt
from lefcache.cache.corpora import adopt_corpus
from lefcache.cache.lock import exclusive
from lefcache.errors import (
    BusyError,
    DamagedError,
    FeatureError,
    IncompleteError,
    MismatchError,
    StorageError,
)
from lefcache.extract import extract
from lefcache.share import push as push_module
from lefcache.share import tree
from lefcache.share.push import planned, push
from lefcache.testing import FakeBackbone
from lefcache.vectors import import_vectors
from lefcache.verify import verify
from tests.share.conftest import PLACE
from tests.share.stand_in import Repo

# The library's own: it gives an upload to its HTTP client in a way that this one calls old.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")


def laid_down(repo, folder):
    for path, content in repo.files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    return folder


def test_the_files_are_those_of_the_cache(filled, pushed, tree_bytes):
    here = {path: content for path, content in tree_bytes(filled.path).items() if path[0] != "."}
    beside = {".gitattributes", "README.md"}
    assert {path: pushed.files[path] for path in pushed.files.keys() - beside} == here


def test_zarr_opens_what_was_pushed_without_us(filled, pushed, tmp_path):
    group = zarr.open_group(laid_down(pushed, tmp_path / "clone"), mode="r")
    vectors = group["tiny/fake/train/mean/2"]
    assert np.array_equal(vectors[:], filled.rows("fake:2")[:])
    assert vectors.metadata.dimension_names == ("row", "feature")
    assert group["tiny"].attrs["classes"] == ["no", "yes"]


def test_it_is_one_commit_that_says_what_it_is(pushed):
    assert [message for _, message, _ in pushed.commits] == [
        "initial commit",
        "lef push tiny/fake/train",
    ]


def test_pushed_again_nothing_is_sent(filled, pushed, send, hub):
    plan, commit = send(filled)
    assert (plan.changed, plan.gone, plan.changed_bytes, commit) == ((), (), 0, "")
    assert hub.count("PUT|commit") == 0


def test_only_what_changed_is_sent(filled, pushed, send, hub, make_corpus):
    extract(FakeBackbone(), make_corpus(40), filled, pools=["max"], layers="2")
    plan, commit = send(filled)
    assert {path for path in plan.changed if path.endswith("c/0/0")} == {
        "tiny/fake/train/max/2/c/0/0",
        "tiny/fake/train/ledger/1/c/0/0",
        "tiny/fake/train/magnitudes/1/c/0/0",
    }
    assert "tiny/fake/train/mean/2/zarr.json" not in plan.changed
    assert "README.md" in plan.changed
    assert hub.count("PUT") == sum("/c/" in path for path in plan.changed)
    assert pushed.commits[-1][0] == commit


def test_a_model_comes_beside_those_that_are_there(filled, pushed, send, make_corpus):
    extract(FakeBackbone(name="second"), make_corpus(40), filled)
    before = {*pushed.files}
    plan, _ = send(filled, "tiny/second")
    assert before < {*pushed.files}
    assert not any(path.startswith("tiny/fake") for path in plan.changed)
    card = pushed.files["README.md"].decode()
    assert "| tiny/fake/train |" in card
    assert "| tiny/second/train |" in card


def test_a_split_in_hdf5_is_pushed_as_zarr(filled, send, hub, make_corpus, tmp_path):
    filled.convert("tiny/fake/train", "hdf5")
    send(filled)
    repo = hub.repos["owner/layers"]
    assert not any(path.endswith(".h5") for path in repo.files)
    group = zarr.open_group(laid_down(repo, tmp_path / "clone"), mode="r")
    assert np.array_equal(group["tiny/fake/train/mean/2"][:], filled.rows("fake:2")[:])
    assert [each.name for each in filled.path.glob(".push*")] == []
    plan, _ = send(filled)
    assert plan.changed == ()


def test_labels_may_stay_at_home(filled, send, hub):
    plan, _ = send(filled, labels=False)
    files = hub.repos["owner/layers"].files
    assert set(np.frombuffer(files["tiny/labels/train/c/0"], np.int32)[:40]) == {-1}
    assert json.loads(files["tiny/zarr.json"])["attributes"]["classes"] == []
    assert not plan.labelled
    assert "no, yes" not in files["README.md"].decode()
    assert filled.table("fake:2").classes == ("no", "yes")


def test_nothing_tells_of_this_machine(cache, send, hub, make_corpus, tmp_path):
    backbone = FakeBackbone()
    backbone.source = "/home/somebody/models/fake"
    backbone.provenance = {"device": "fake", "host": "our-machine", "threads": 1}
    corpus = make_corpus(40, source="/home/somebody/texts")
    extract(backbone, corpus, cache)
    np.save(tmp_path / "train.npy", np.ones((40, 3), np.float32))
    import_vectors("own", [tmp_path / "train.npy"], corpus, cache)
    send(cache)
    files = hub.repos["owner/layers"].files
    for path, content in files.items():
        for told in (b"somebody", b"our-machine", str(tmp_path).encode()):
            assert told not in content, path
    attrs = json.loads(files["tiny/fake/zarr.json"])["attributes"]
    assert attrs["source"] == "fake"
    assert attrs["provenance"] == {"device": "fake", "threads": 1}


@pytest.mark.parametrize(
    ("source", "provenance", "shown"),
    [
        ("./private/models/fake", {}, "fake"),
        ("../private/fake", {"revision": "0" * 40}, "fake"),
        ("private/models/fake", {}, "fake"),
        ("private/fake", {"revision": None}, "fake"),
        ("s3://private/fake", {}, "fake"),
        ("\\\\private\\share\\fake", {}, "fake"),
        ("owner/fake", {"revision": "0" * 40}, "owner/fake"),
        ("tinylm", {"revision": None}, "tinylm"),
    ],
)
def test_places_of_ones_own_are_not_told(cache, send, hub, make_corpus, source, provenance, shown):
    backbone = FakeBackbone()
    backbone.source, backbone.provenance = source, provenance
    extract(backbone, make_corpus(4, source="texts=./private/texts"), cache, layers="1")
    send(cache)
    files = hub.repos["owner/layers"].files
    assert not [path for path, content in files.items() if b"private" in content]
    assert json.loads(files["tiny/fake/zarr.json"])["attributes"]["source"] == shown


def test_where_layers_were_pulled_from_is_not_told(filled, other, send, hub):
    adopt_corpus(other.store, filled.pages("fake"), "tiny")
    adopt(other.store, filled.pages("fake"), ["mean/2"], "tiny/fake/train", "s3://private/run")
    assert b"s3://private" in (other.path / "tiny/fake/train/zarr.json").read_bytes()
    send(other)
    files = hub.repos["owner/layers"].files
    assert not [path for path, content in files.items() if b"private" in content]


# What changes meanwhile


def relabelled(cache, make_corpus):
    corpus = make_corpus(40)
    corpus.splits["train"].labels[:] = 1
    cache.register(corpus)


def test_labels_that_are_corrected_meanwhile_are_all_old_or_all_new(
    filled, hub, get, other, make_corpus
):
    before = filled.table("fake:2").labels
    with planned(filled, "tiny", PLACE) as plan:
        relabelled(filled, make_corpus)
        push(plan)
    get(other)
    assert np.array_equal(other.table("fake:2").labels, before)
    assert filled.table("fake:2").labels.tolist() == [1] * 40


def test_labels_that_are_half_replaced_are_refused(filled, send, make_corpus, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(register_module, "_replace", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            relabelled(filled, make_corpus)
    with pytest.raises(IncompleteError, match=r"labels/train is being replaced.*nothing is pushed"):
        send(filled)


def test_labels_are_not_read_while_they_are_written(filled, send, monkeypatch):
    monkeypatch.setattr(tree, "PATIENCE", 0.0)
    with exclusive(filled.path, "tiny"), pytest.raises(BusyError):
        send(filled)


def test_rows_that_were_appended_before_the_lock_was_had_are_pushed_too(
    filled, send, get, other, make_corpus, monkeypatch
):
    locked, late = push_module.exclusive, [60]

    def late_lock(*given, **more):
        while late:
            extract(FakeBackbone(), make_corpus(late.pop()), filled, block_rows=16)
        return locked(*given, **more)

    monkeypatch.setattr(push_module, "exclusive", late_lock)
    send(filled)
    get(other)
    assert len(other.rows("fake:2")) == 60
    assert verify(other).whole


def test_what_is_not_finished_is_refused_with_the_command(filled, send, hub, make_corpus):
    def stop(batch):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        extract(FakeBackbone(on_forward=stop), make_corpus(40), filled, pools=["max"])
    with pytest.raises(IncompleteError, match=r"not finished: nothing is pushed.*lef extract"):
        send(filled)
    assert hub.repos == {}


def test_what_is_damaged_is_refused_with_the_command(filled, send, hub):
    chunk = filled.path / "tiny/fake/train/mean/2/c/1/0"
    chunk.write_bytes(b"\xff" + chunk.read_bytes()[1:])
    with pytest.raises(DamagedError, match=r"block 1 of mean/2.*nothing is pushed.*--repair"):
        send(filled)
    assert hub.repos == {}


def test_what_is_being_written_is_busy(filled, send):
    with exclusive(filled.path, "tiny+fake+train"), pytest.raises(BusyError):
        send(filled)


def test_a_key_that_names_nothing_is_refused(filled, send):
    with pytest.raises(FeatureError, match="no model 'none'"):
        send(filled, "tiny/none")


def test_other_texts_of_the_same_name_are_refused(filled, pushed, send, other, make_corpus):
    extract(FakeBackbone(name="second"), make_corpus(train=["another text"] * 40), other)
    with pytest.raises(MismatchError, match=r"row 0 \(counted from 0\) is another text"):
        send(other)


def test_fewer_texts_are_refused(filled, pushed, send, other, make_corpus):
    texts = list(make_corpus(40).splits["train"].texts)
    extract(FakeBackbone(name="second"), make_corpus(train=texts[:30]), other)
    with pytest.raises(MismatchError, match="it has 40 rows, this cache 30"):
        send(other)


def test_other_settings_of_the_same_name_are_refused(filled, pushed, send, other, make_corpus):
    changed = FakeBackbone()
    changed.spec = replace(changed.spec, prompt="query: ")
    extract(changed, make_corpus(40), other)
    with pytest.raises(MismatchError, match="prompt: '' in the repository, 'query: ' now"):
        send(other)


def test_layers_are_taken_away_only_when_told_to(filled, pushed, send, other, make_corpus):
    extract(FakeBackbone(), make_corpus(40), other, layers="2", block_rows=16)
    with pytest.raises(MismatchError, match=r"4 layers that this cache has not.*--prune"):
        send(other)
    plan, _ = send(other, prune=True)
    assert "tiny/fake/train/mean/3/c/0/0" in plan.gone
    assert not any("mean/3" in path for path in pushed.files)


def test_a_private_repository_is_made_and_kept(filled, send, hub):
    send(filled, private=True)
    assert hub.repos["owner/layers"].private
    plan, _ = send(filled)
    assert plan.private


def test_a_public_one_is_not_taken_for_private(filled, pushed, send):
    with pytest.raises(MismatchError, match="public already"):
        send(filled, private=True)


def test_a_hub_that_says_no_is_heard_before_anything_is_read(filled, pushed, send, hub):
    read = []
    with pytest.raises(MismatchError, match="public already"):
        send(filled, private=True, on_split=lambda *split: read.append(split))
    hub.fault = lambda method, path: (401,)
    with pytest.raises(StorageError):
        send(filled, on_split=lambda *split: read.append(split))
    assert read == []


def test_a_repository_with_other_things_keeps_them(filled, send, hub):
    repo = hub.repos["owner/layers"] = Repo(private=False)
    repo.commit("mine", {"notes.txt": b"my notes"})
    send(filled)
    assert repo.files["notes.txt"] == b"my notes"


def test_a_push_that_was_stopped_changed_nothing_and_sends_the_rest(filled, send, hub):
    def fault(method, path):
        return (500,) if method == "PUT" and hub.count("PUT") > 5 else None

    hub.fault = fault
    with pytest.raises(StorageError, match=r"trouble of its own \(500\).*what is done is kept"):
        send(filled)
    repo = hub.repos["owner/layers"]
    assert len(repo.commits) == 1
    sent, hub.fault = len(hub.blobs), lambda *_: None
    hub.seen.clear()
    send(filled)
    assert hub.count("PUT") == len(hub.blobs) - sent
    assert len(repo.commits) == 2


def test_one_bad_answer_costs_nothing(filled, send, hub):
    def fault(method, path):
        first = hub.seen.count(f"{method} {path}") == 1
        return (503,) if first and (method == "PUT" or "preupload" in path) else None

    hub.fault = fault
    send(filled)
    assert hub.repos["owner/layers"].commits[-1][1] == "lef push tiny/fake/train"


def test_somebody_who_was_quicker_is_not_overwritten(filled, pushed, hub, send, make_corpus):
    extract(FakeBackbone(), make_corpus(40), filled, pools=["max"], layers="2")

    def quicker(method, path):
        if "/commit/" in path:
            pushed.commit("theirs", {**pushed.files, "theirs.txt": b""})

    hub.fault = quicker
    with pytest.raises(MismatchError, match="changed by somebody else meanwhile"):
        send(filled)
    assert "theirs.txt" in pushed.files
