"""What the hub refuses, in one line that names the fix."""

import pytest

from lefcache.errors import MismatchError, StorageError
from lefcache.share.hub import Hub, Place, RemoteFile
from tests.share.conftest import PLACE
from tests.share.stand_in import Repo


@pytest.mark.parametrize(
    ("text", "id", "revision"),
    [
        ("hub:owner/name", "owner/name", None),
        ("hub:Owner_1/My.Name-2", "Owner_1/My.Name-2", None),
        ("hub:owner/name@v1.0", "owner/name", "v1.0"),
        ("hub:owner/name@refs/pr/1", "owner/name", "refs/pr/1"),
    ],
)
def test_a_place_is_read_and_written(text, id, revision):
    place = Place.parse(text)
    assert (place.id, place.revision) == (id, revision)
    assert str(place) == text


@pytest.mark.parametrize(
    "text",
    ["owner/name", "hub:name", "hub:a/b/c", "hub:../x", "hub:a/..", "hub:a/b@../x", "hub:-a/b", ""],
)
def test_what_is_no_place_is_refused(text):
    with pytest.raises(StorageError, match="write hub:owner/name"):
        Place.parse(text)


def test_a_revision_that_is_said_beside_it_counts():
    assert str(Place.parse("hub:owner/name@old", "new")) == "hub:owner/name@new"


ANSWERS = {
    "a token that is no good": (
        401,
        {"X_Error_Message": "Invalid credentials in Authorization header"},
    ),
    "forbidden": (403, {}),
    "rate limit": (429, {"Retry_After": "77"}),
    "trouble": (502, {}),
    "gated": (403, {"X_Error_Code": "GatedRepo"}),
    "no repository": (404, {"X_Error_Code": "RepoNotFound"}),
    "no revision": (404, {"X_Error_Code": "RevisionNotFound"}),
}
WORDS = {
    "a token that is no good": "does not know this token: run `hf auth login` .* with another",
    "forbidden": "this token may not do that in owner/layers: make one with write access",
    "rate limit": r"fewer requests \(rate limit\) for 77 s: wait, then run the same command again",
    "trouble": r"trouble of its own \(502\): wait, then run the same command again: what is done",
    "gated": "is gated: accept its terms at https://huggingface.co/datasets/owner/layers, then run",
    "no repository": "has no data set owner/layers, or you may not see it.*hf auth login",
    "no revision": "there is no such revision of owner/layers",
}


@pytest.mark.parametrize("what", ANSWERS)
def test_refusals_name_the_fix(hub, what):
    status, headers = ANSWERS[what]
    hub.fault = lambda method, path: None if "harness" in path else (status, b"{}", None, headers)
    with pytest.raises(StorageError, match=WORDS[what]) as error:
        Hub(PLACE).look()
    assert "\n" not in str(error.value)


def test_a_repository_that_is_not_there_is_none_to_find(hub):
    assert Hub(PLACE).find() is None
    hub.fault = lambda method, path: (500,)
    with pytest.raises(StorageError, match="trouble of its own"):
        Hub(PLACE).find()


def test_a_private_one_is_seen_by_its_owner_alone(hub, monkeypatch):
    repo = hub.repos["owner/layers"] = Repo(private=True)
    repo.commit("first", {"README.md": b"hello"})
    assert Hub(PLACE).look().private
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(StorageError, match="or you may not see it"):
        Hub(PLACE).look()


def test_nobody_who_is_logged_in(hub, monkeypatch, tmp_path):
    from huggingface_hub import constants

    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    with pytest.raises(StorageError, match="nobody is logged in to the hub: run `hf auth login`"):
        Hub(PLACE).check_token()
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    with pytest.raises(StorageError, match="does not know this token"):
        Hub(PLACE).check_token()


def test_another_owners_repository_is_not_made(hub):
    with pytest.raises(StorageError, match="this token may not do that in somebody/x"):
        Hub(Place("somebody/x")).create(private=False)


def test_offline_is_said(hub, monkeypatch):
    from huggingface_hub import constants
    from huggingface_hub.utils import close_session

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    close_session()
    with pytest.raises(StorageError, match="while HF_HUB_OFFLINE is set"):
        Hub(PLACE).look()


def test_a_hub_that_cannot_be_reached(hub, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")  # nobody listens there
    with pytest.raises(StorageError, match=r"cannot be reached \(.*\): check the network"):
        Hub(PLACE).look()


def test_an_answer_that_makes_no_sense(hub):
    hub.fault = lambda method, path: (200, b"<html>a captive portal</html>")
    with pytest.raises(StorageError, match="answer cannot be used"):
        Hub(PLACE).look()


def test_somebody_elses_commit_is_a_mismatch(hub):
    repo = hub.repos["owner/layers"] = Repo(private=False)
    repo.commit("first", {})
    with pytest.raises(MismatchError, match="changed by somebody else meanwhile"):
        Hub(PLACE).commit({"a.txt": b"a"}, [], "mine", parent="0" * 40)


def test_files_are_told_apart_by_either_hash(tmp_path):
    git = RemoteFile(5, "git:b6fc4c620b67d95f953a5c1c1230aaab5db5a1b0")
    large = RemoteFile(5, "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824")
    (tmp_path / "file").write_bytes(b"hello")
    for remote in (git, large):
        assert remote.is_like(b"hello")
        assert remote.is_like(tmp_path / "file")
        assert not remote.is_like(b"hallo")
        assert not remote.is_like(b"hell")
