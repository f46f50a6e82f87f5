"""`lef push` and `lef pull` as one types them."""

import json

import pytest

from lefcache.cache import open as open_cache
from lefcache.stores.seal import sealed_json

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")

WHERE = "hub:owner/layers"


def test_push_shows_what_goes_where_and_then_its_address(lef, filled, hub):
    done = lef("push", "tiny/fake", WHERE, "--cache", filled.path)
    assert done.code == 0
    assert "hub:owner/layers (new, public: anybody can read it)" in done.err
    assert "tiny/fake/train: mean: 0..3, last; 40 rows, float16" in done.err
    assert "with the labels (--no-labels leaves them out); the texts are not in a cache" in done.err
    assert "the licence of fake is not known here" in done.err
    assert done.out.startswith(f"pushed: {hub.url}/datasets/")
    assert "To get it elsewhere: lef pull hub:owner/layers\n" in done.out
    again = lef("push", "tiny/fake", WHERE, "--cache", filled.path)
    assert again.out == "hub:owner/layers has all of it already\n"


def test_push_as_json(lef, filled, hub):
    dry = lef(
        "push", "tiny", WHERE, "--cache", filled.path, "--private", "--dry-run", "--json"
    ).json
    assert (dry["dry_run"], dry["private"], dry["commit"]) == (True, True, None)
    assert dry["uploaded_files"] == dry["files"] > 40
    assert dry["uploaded_bytes"] == dry["bytes"]
    assert hub.repos == {}
    done = lef("push", "tiny", WHERE, "--cache", filled.path, "--private", "--json").json
    assert done["commit"] == hub.repos["owner/layers"].commits[-1][0]
    assert done["splits"][0]["key"] == "tiny/fake/train"
    assert hub.repos["owner/layers"].private


def test_a_dry_run_needs_nobody_to_be_logged_in(lef, filled, hub, monkeypatch, tmp_path):
    from huggingface_hub import constants

    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    done = lef("push", "tiny", WHERE, "--cache", filled.path, "--dry-run")
    assert done.out.endswith("would be uploaded to hub:owner/layers\n")
    refused = lef("push", "tiny", WHERE, "--cache", filled.path)
    assert refused.code == 1
    assert (
        refused.err
        == "Error: nobody is logged in to the hub: run `hf auth login` (or set HF_TOKEN)\n"
    )


def test_pull_shows_the_settings_and_asks_first(lef, pushed, other):
    asked = lef("pull", WHERE, "--cache", other.path, "--layers", "2")
    assert asked.code == 2
    assert "give --yes, or --dry-run to look" in asked.err
    for line in (
        "licence, as its card says: other, those-of-model-and-corpus",
        "tiny/fake was made with:",
        "max_length            512",
        "tiny/fake/train: mean: 2; 40 rows of width 2, float16, 192 B",
        "to fetch: 6 files, 384 B",
    ):
        assert line in asked.err
    assert list(other) == []
    done = lef("pull", WHERE, "--cache", other.path, "--layers", "2", "--yes")
    assert (done.code, done.out) == (
        0,
        "tiny/fake/train: mean: 2: pulled, every block compared\n",
    )
    again = lef("pull", WHERE, "tiny/fake", "--cache", other.path, "--layers", "2")
    assert (again.code, again.out) == (0, "tiny/fake/train: all of it is here already\n")
    assert lef("verify", "--cache", other.path).code == 0


def test_pull_as_json(lef, pushed, other):
    wanted = ("pull", WHERE, "tiny", "--cache", other.path, "--pool", "mean", "--layers", "1,last")
    dry = lef(*wanted, "--dry-run", "--json").json
    assert dry["from"] == f"{WHERE}@{pushed.commits[-1][0]}"
    assert (dry["dry_run"], dry["files"], dry["here"]) == (True, 9, [])
    assert dry["splits"][0]["arrays"] == ["mean/1", "mean/last"]
    assert not list(other.path.glob("[!.]*"))
    assert lef(*wanted, "--yes", "--json").json["bytes"] == dry["bytes"]
    assert lef("ls", "--cache", other.path, "--json").json[0]["layers"] == [1, "last"]


def test_pull_under_another_name(lef, pushed, other):
    done = lef("pull", WHERE, "--cache", other.path, "--as", "mine/theirs", "--yes")
    assert done.out.startswith("mine/theirs/train: ")
    assert list(open_cache(other.path)["mine"]) == ["theirs"]


def test_a_strangers_words_cannot_steer_the_terminal(lef, pushed, other):
    node = json.loads(pushed.files["tiny/fake/zarr.json"])
    node["attributes"]["source"] = "\x1b[2Jevil"
    files = {**pushed.files, "tiny/fake/zarr.json": sealed_json(node, "tiny/fake")}
    pushed.commit("evil", files)
    done = lef("pull", WHERE, "--cache", other.path, "--dry-run")
    assert "\\x1b[2Jevil" in done.err
    assert "\x1b" not in done.err + done.out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["pull", "hub:layers"], "Error: 'hub:layers' is no place on the hub: write hub:owner"),
        (["pull", WHERE, "--layers", "x"], "Error: there is no layer 'x'"),
        (["pull", WHERE], "Error: the hub has no data set owner/layers, or you may not see it"),
        (["push", "tiny", "s3"], "Error: 's3' is no place on the hub"),
        (["push", "none", WHERE], "Error: no corpus 'none'"),
    ],
)
def test_mistakes_are_one_line(lef, hub, words, message):
    done = lef(*words)
    assert done.code == 1
    assert message in done.err
    assert done.err.count("\n") == 1
