"""`--cache s3://...` in every command, and `lef pull`, as one types them."""

import json

import pytest

import lefcache
from lefcache.cache import open as open_cache
from lefcache.cache.writer import Writer
from lefcache.stores.objects import bucket_at
from lefcache.verify import verify
from tests import s3
from tests.hostile import set_spec


@pytest.fixture
def address(s3_server, monkeypatch, tmp_path):
    s3.use(monkeypatch, s3_server)
    monkeypatch.setenv("LEF_MIRROR", str(tmp_path / "mirror"))
    return f"s3://{s3.make_bucket(s3_server)}/run"


@pytest.fixture
def made(lef, fakes, texts, address):
    fakes()
    ran = lef("extract", "--data", texts, "--model", "fake", "--layers", "1,2", "--cache", address)
    assert ran.code == 0, ran.err
    assert f"Next: lef sweep --cache {address} --data reviews --models fake" in ran.out
    assert "free on that disk" not in ran.err
    return address


def test_every_command_takes_an_address(lef, made, tmp_path):
    [test, train] = sorted(lef("ls", "--cache", made, "--json").json, key=lambda e: e["split"])
    assert (train["rows"], train["done_rows"], test["rows"]) == (40, 40, 10)
    assert "mean/2" in lef("show", "reviews/fake/train", "--cache", made).out
    assert lef("verify", "--cache", made).code == 0
    ran = lef("sweep", "--models", "fake", "--cache", made, "--json")
    assert ran.code == 0, ran.err
    assert "reviews/fake/train: 80 vectors pulled and checked" in ran.err
    again = lef("sweep", "--models", "fake", "--cache", made, "--json")
    assert again.json["cached"]
    assert "pull" not in again.err
    assert len(bucket_at(open_cache(made).path).lengths("results")) >= 1
    gone = lef("rm", "reviews/fake", "--yes", "--cache", made)
    assert gone.code == 0, gone.err
    assert lef("ls", "--cache", made, "--json").json == []


def test_chosen_layers_come_to_the_mirror_or_to_a_folder(lef, made, tmp_path):
    ran = lef("pull", "reviews/fake", "--layers", "2", "--cache", made, "--json")
    assert ran.code == 0, ran.err
    assert [each["new"] for each in ran.json["splits"]] == [["mean/2"], ["mean/2"]]
    assert ran.json["path"].startswith(str(tmp_path / "mirror"))
    ran = lef("pull", made, "reviews/fake/train", "--layers", "-1", "--cache", "here")
    assert ran.code == 1
    assert "no layer 3" in ran.err
    ran = lef("pull", made, "reviews/fake/train", "--layers", "1", "--cache", "here")
    assert (ran.code, ran.out) == (0, "1 split in here\n"), ran.err
    assert "1 array pulled, 0 here before" in ran.err
    assert (
        "0 arrays pulled, 1 here before"
        in lef("pull", made, "--layers", "1", "--cache", "here").err
    )
    assert verify(open_cache("here")).whole
    assert lef("sweep", "--models", "fake", "--cache", "here").code == 0


def test_rows_that_were_appended_in_the_bucket_are_pulled_too(lef, made, texts):
    assert lef("pull", made, "--cache", "here").code == 0
    with (texts / "train.tsv").open("a") as file:
        file.write("one more text\tyes\n")
    words = ["extract", "--data", texts, "--model", "fake", "--layers", "1,2", "--cache", made]
    assert lef(*words).code == 0
    ran = lef("pull", made, "--cache", "here")
    assert ran.code == 0, ran.err
    assert {each["rows"] for each in lef("ls", "--cache", "here", "--json").json} == {41, 10}
    assert lef("verify", "--cache", "here").code == 0


def test_other_settings_of_one_name_are_kept_apart(lef, made, texts):
    there = lefcache.open(made).store
    set_spec(there, "reviews/fake", prompt="query: ")
    words = ("extract", "--data", texts, "--model", "fake", "--layers", "1", "--cache", "here")
    assert lef(*words).code == 0
    refused = lef("pull", made, "reviews/fake", "--cache", "here")
    assert refused.code == 1
    assert "--as NAME" in refused.err
    ran = lef("pull", made, "reviews/fake", "--as", "theirs", "--layers", "2", "--cache", "here")
    assert ran.code == 0, ran.err
    assert sorted(open_cache("here")["reviews"]) == ["fake", "theirs"]
    assert verify(open_cache("here")).whole
    assert "name a SOURCE" in lef("pull", "reviews", "--as", "x", "--cache", made).err


def test_a_pull_that_was_stopped_is_finished_by_itself(lef, made, monkeypatch):
    def stopped(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Writer, "commit", stopped)
        lef("pull", made, "reviews/fake/train", "--layers", "2", "--cache", "here")
    resume = lef("ls", "--cache", "here", "--json").json[0]["resume"]
    assert resume == f"lef pull {made} reviews/fake/train --layers 2 --pool mean --cache here"
    ran = lef("verify", "--repair", "--cache", "here")
    assert ran.code == 3
    assert f"run: {resume}" in ran.err
    assert lef(*resume.split()[1:]).code == 0
    assert lef("verify", "--cache", "here").code == 0


SPOILT = {
    "a block": "reviews/fake/train/mean/2/c/0/0",
    "a ledger row": "reviews/fake/train/ledger/0/c/0/0",
    "labels": "reviews/labels/train/c/0",
    "metadata of an array": "reviews/fake/train/mean/1/zarr.json",
}


def without_work(metadata):
    """A model's metadata, but for what went through it: what is repaired did so once more."""
    document = json.loads(metadata)
    for name in ("work", "seal"):
        document["attributes"].pop(name, None)
    return document


def test_what_is_damaged_in_a_bucket_is_repaired_there(lef, made, s3_server):
    name = made.split("/")[2]
    before, bucket = s3.objects(s3_server, name), bucket_at(open_cache(made).path)
    for each in SPOILT.values():
        content = bytearray(bucket.get(each))
        content[7] ^= 16
        bucket.put(each, bytes(content))
    bucket.delete(["reviews/fake/test/mean/1/c/0/0"])
    assert lef("verify", "--cache", made).code == 3
    ran = lef("verify", "--repair", "--cache", made)
    assert ran.code == 0, ran.err
    after = s3.objects(s3_server, name)
    model = next(each for each in before if each.endswith("reviews/fake/zarr.json"))
    before[model], after[model] = (without_work(each[model]) for each in (before, after))
    assert after == before
    bucket.delete(["reviews/fake/train/zarr.json"])
    ran = lef("verify", "--repair", "--cache", made)
    assert ran.code == 3
    assert "take it away with `lef rm reviews/fake/train`" in ran.out


def test_what_cannot_be_pulled_is_told(lef, made):
    assert "name a SOURCE" in lef("pull", "reviews").err
    assert "is no SOURCE" in lef("pull", "reviews", "fake", "--cache", made).err
    assert "no corpus 'nothing'" in lef("pull", "nothing", "--cache", made).err
    empty = f"{made}-empty"
    assert f"there is nothing to pull in {empty}" in lef("pull", "--cache", empty).err
    assert "is not there yet" in lef("ls", "--cache", empty).err


def test_a_key_where_an_address_is_wanted_is_said_to_be_one(lef):
    ran = lef("pull", "reviews/fake")
    assert (ran.code, ran.out) == (2, "")
    assert "reviews/fake was read as a KEY, and there is nothing to pull from" in ran.err
    assert "lef pull hub:OWNER/NAME or lef pull s3://BUCKET/FOLDER reviews/fake" in ran.err
    ran = lef("pull", "s3://bucket/run", "reviews/fake:2,last@max")
    assert ran.code == 2
    assert "write reviews/fake --layers 2,last --pool max" in ran.err
    ran = lef("push", "hub:me/layers", "reviews")
    assert "KEY comes first: lef push reviews hub:me/layers" in ran.err


def test_looking_at_a_local_cache_needs_no_obstore(python, tmp_path):
    code = (
        "import sys; from click.testing import CliRunner; from cli.main import main\n"
        "CliRunner().invoke(main, ['ls', '--cache', sys.argv[1]])\n"
        "print('obstore' in sys.modules)"
    )
    assert python(code, tmp_path).strip() == "False"
