"""`lef verify` and `lef rm` as a user types them."""

import pytest

import lefcache
from tests.hostile import set_spec


@pytest.fixture
def made(lef, fakes, texts):
    def make(*words):
        ran = lef("extract", "--data", texts, "--model", "fake", "--block-rows", 8, *words)
        assert ran.code == 0, ran.err
        return ran

    make()
    return make


def spoil(tmp_path, place="reviews/fake/train/mean/2/c/1/0"):
    file = tmp_path / "lef-cache" / place
    content = bytearray(file.read_bytes())
    content[7] ^= 16
    file.write_bytes(content)
    return file


def test_a_whole_cache(lef, made):
    ran = lef("verify", "--json")
    assert ran.code == 0
    nothing = {
        name: [] for name in ("damaged", "missing", "repaired", "strays", "unsealed", "unplaced")
    }
    assert ran.json == {"checked_blocks": 7, **nothing}
    assert "7 blocks checked, all whole" in lef("verify").out


def test_damage_is_found_and_repaired_by_the_command_the_cache_knows(lef, made, tmp_path):
    file = spoil(tmp_path)
    whole = "reviews/fake/train: block 1 of mean/2: its bytes are not those written; rows 8..15"
    ran = lef("verify", "reviews/fake")
    assert ran.code == 3
    assert f"{whole}; repair computes them again" in ran.out
    assert "Mend it with: lef verify reviews/fake --repair\n" in ran.out
    damaged = file.read_bytes()
    ran = lef("verify", "--repair", "--json")
    assert ran.code == 0, ran.err
    [repaired] = ran.json["repaired"]
    assert (repaired["block"], repaired["message"]) == (1, f"{whole}; repair computes them again")
    assert (ran.json["damaged"], ran.json["missing"]) == ([], [])
    assert "1 block computed, 4 there before" in ran.err
    assert file.read_bytes() != damaged
    assert lef("verify").code == 0


def test_a_repair_says_what_it_did(lef, made, tmp_path):
    spoil(tmp_path)
    spoil(tmp_path, "reviews/labels/test/c/0")
    ran = lef("verify", "--repair")
    assert ran.code == 0, ran.err
    assert "rows 8..15; computed again\n" in ran.out
    assert "reviews/labels/test: 10 labels are not those written; read again from" in ran.out
    assert ran.err.count(": read again from the data\n") == 1  # the other labels are left alone


def test_a_repair_is_offered_for_what_it_can_mend_alone(lef, made, tmp_path):
    store = lefcache.open("lef-cache").store
    store.set_attrs("reviews/fake", store.attrs("reviews/fake") | {"spec": {"weights": "other"}})
    ran = lef("verify")
    assert ran.code == 3
    assert ran.out.count("its vectors were made with other weights or settings") == 2
    assert "`lef rm reviews/fake/train`" in ran.out
    assert "Mend" not in ran.out
    spoil(tmp_path, "reviews/labels/test/c/0")
    assert "Mend 1 of them with: lef verify --repair\n" in lef("verify").out


def test_a_split_that_is_gone_is_shown_with_the_way_back(lef, made, tmp_path):
    assert "gone" not in lef("show", "reviews/fake").out
    (tmp_path / "lef-cache/reviews/fake/test").rename(tmp_path / "aside")
    shown = lef("show", "reviews/fake", "--json").json
    assert shown["gone"] == ["test"]
    assert shown["get_back"].startswith("lef extract --data ")
    assert shown["get_back"] in lef("show", "reviews/fake").out
    ran = lef("verify")
    assert ran.code == 3
    assert shown["get_back"] in ran.out
    assert "Mend" not in ran.out
    assert lef("rm", "reviews/fake/test", "--yes").code == 0
    assert lef("verify").code == 0


def test_ls_lists_what_it_can_read_beside_what_it_cannot(lef, made, tmp_path):
    (tmp_path / "lef-cache/reviews/fake/train/zarr.json").write_text("{")
    ran = lef("ls", "--json")
    assert ran.code == 3
    assert {entry["split"] for entry in ran.json} == {"test"}
    assert "reviews/fake/train: this metadata cannot be read" in ran.err
    assert "lef verify" in ran.err
    ran = lef("ls")
    assert ran.code == 3
    assert "reviews/fake/test" in ran.out
    assert "is empty" not in ran.err


@pytest.mark.parametrize("path", ["reviews", "reviews/fake", "reviews/fake/train"])
def test_ls_does_not_hide_what_has_lost_its_metadata(lef, made, tmp_path, path):
    (tmp_path / "lef-cache/notes/2026").mkdir(parents=True)  # which is none of ours
    (tmp_path / "lef-cache" / path / "zarr.json").unlink()
    ran = lef("ls")
    assert ran.code == 3
    assert f"Error: {path}: its metadata is gone; see: lef verify {path}\n" in ran.err
    assert ran.err.count("Error: ") == 1
    assert "is empty" not in ran.err
    assert f"`lef rm {path}`" in lef("verify", path).out
    assert lef("rm", path, "--yes").code == 0
    assert lef("ls").code == 0


def test_without_the_model_it_clears_and_says_what_to_run(lef, made, monkeypatch, tmp_path):
    import lefcache.extract
    from lefcache.errors import ModelError

    def gone(*_, **__):
        raise ModelError("no such model")

    spoil(tmp_path)
    monkeypatch.setattr(lefcache.extract, "load_backbone", gone)
    ran = lef("verify", "--repair")
    assert ran.code == 3
    assert "To compute them, run: lef extract" in ran.err
    assert "block 1 of mean/0 and 4 more: not there, or not yet" in ran.out


def test_labels_come_back_from_the_data(lef, made, tmp_path):
    for what in ("labels", "rows"):
        file = tmp_path / f"lef-cache/reviews/{what}/train/c/0"
        before = file.read_bytes()
        spoil(tmp_path, f"reviews/{what}/train/c/0")
        assert lef("verify").code == 3
        assert lef("verify", "--repair").code == 0
        assert file.read_bytes() == before


@pytest.mark.parametrize("place", ["zarr.json", "reviews/zarr.json", "reviews/fake/zarr.json"])
def test_a_flipped_bit_of_metadata_is_turned_back(lef, made, tmp_path, place):
    file = tmp_path / "lef-cache" / place
    before = file.read_bytes()
    spoil(tmp_path, place)
    assert lef("verify").code == 3
    assert lef("verify", "--repair").code == 0
    assert file.read_bytes() == before


@pytest.mark.parametrize("content", [b'{"version": 9', b"junk", None])
def test_all_the_rest_is_checked_where_the_caches_own_metadata_is_damaged(
    lef, made, tmp_path, content
):
    root = tmp_path / "lef-cache/zarr.json"
    root.write_bytes(content or root.read_bytes().replace(b'"version": 1', b'"version": 9'))
    spoil(tmp_path)
    ran = lef("verify", "--json")
    assert ran.code == 3
    assert ran.json["checked_blocks"] == 7
    found = [(each["path"], each["kind"]) for each in ran.json["damaged"]]
    assert found == [("", "metadata"), ("reviews/fake/train", "block")]


def test_a_newer_cache_and_a_corpus_in_its_place_are_not_checked(lef, made, tmp_path):
    store = lefcache.open(tmp_path / "lef-cache").store
    assert "its metadata is that of reviews" in lef("verify", "--cache", "lef-cache/reviews").err
    store.set_attrs("", store.attrs("") | {"version": 9})
    ran = lef("verify")
    assert (ran.code, "upgrade lefcache" in ran.err) == (1, True)


def test_what_is_not_there_is_refused(lef, made):
    ran = lef("verify", "--cache", "lef-cahce")
    assert (ran.code, "there is no cache" in ran.err) == (1, True)
    for words in (("verify",), ("rm", "--yes"), ("show",)):
        assert "did you mean reviews?" in lef(*words, "review").err
        assert "did you mean reviews/fake?" in lef(*words, "fake").err
        assert "under reviews (did you mean fake?)" in lef(*words, "reviews/fak").err
        assert lef(*words, "reviews/fak/train").code == 1
    assert "write reviews/fake" in lef("verify", "reviews/fake:1").err


def test_rm_asks_and_says_how_much(lef, made):
    assert lef("rm", "reviews/fake/test").code == 2  # no terminal to ask at
    ran = lef("rm", "reviews/fake:1", "--dry-run", "--json")
    assert [each["arrays"] for each in ran.json["removed"]] == [["mean/1"], ["mean/1"]]
    assert ran.json["bytes"] > 0
    assert lef("ls", "--json").json[0]["layers"] == [0, 1, 2, 3, "last"]
    ran = lef("rm", "reviews/fake:1", "--yes")
    assert ran.code == 0
    assert " removed" in ran.out
    assert [each["layers"] for each in lef("ls", "--json").json] == [[0, 2, 3, "last"]] * 2
    ran = lef("rm", "reviews/fake:2,3", "--yes", "--json")
    assert [each["arrays"] for each in ran.json["removed"]] == [["mean/2", "mean/3"]] * 2
    assert "has no mean/2: it has mean: 0, last" in lef("rm", "reviews/fake/mean/2").err
    assert lef("rm", "reviews", "--yes").code == 0
    assert lef("ls", "--json").json == []


def test_a_cache_cannot_allow_the_code_of_a_model(lef, made, tmp_path):
    store = lefcache.open(tmp_path / "lef-cache").store
    attrs = store.attrs("reviews/fake")
    attrs["provenance"] |= {"remote_code": True}
    store.set_attrs("reviews/fake", attrs)
    spoil(tmp_path)
    ran = lef("verify", "--repair")
    assert ran.code == 3
    assert "allow that with lef verify --repair --trust-remote-code" in ran.err
    assert lef("verify", "--repair", "--trust-remote-code").code == 0
    assert "remote_code  yes" in lef("show", "reviews/fake/train").out


def test_a_repair_runs_no_command_but_its_own(lef, made, tmp_path):
    store = lefcache.open(tmp_path / "lef-cache").store
    set_spec(store, "reviews/fake", prompt="&&", instruction="rm")
    spoil(tmp_path)
    ran = lef("verify", "--repair")
    assert ran.code == 3
    assert "was extracted with other settings" in ran.err
    assert store.attrs("reviews/fake")


def test_a_flipped_bit_of_an_arrays_metadata_computes_nothing(lef, made, tmp_path):
    file = tmp_path / "lef-cache/reviews/fake/train/mean/3/zarr.json"
    before = file.read_bytes()
    spoil(tmp_path, "reviews/fake/train/mean/3/zarr.json")
    ran = lef("verify", "--repair")
    assert ran.code == 0, ran.err
    assert "Running: " not in ran.err
    assert file.read_bytes() == before


def test_all_is_checked_where_the_caches_own_metadata_is_gone(lef, made, tmp_path):
    root = tmp_path / "lef-cache/zarr.json"
    before = root.read_bytes()
    root.unlink()
    ran = lef("verify")
    assert ran.code == 3
    assert "metadata of the cache's own folder: " in ran.out
    assert "zarr.json is missing; repair turns a flipped bit back, and writes it again" in ran.out
    assert "7 blocks checked, 1 thing found" in ran.out
    root.write_text("junk")
    ran = lef("verify", "--repair")
    assert ran.code == 3
    assert "delete lef-cache/zarr.json and run this again" in ran.err
    root.unlink()
    assert lef("verify", "--repair").code == 0
    assert root.read_bytes() == before
