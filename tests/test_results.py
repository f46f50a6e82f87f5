import json
import os
import shutil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lefcache import results
from lefcache.errors import CorpusError, DamagedError, StorageError
from tests.hostile import DEEP, edits, few, flipped, many, only_our_errors

ID = "0123456789abcdef"
PREDICTIONS = np.arange(6, dtype=np.int32).reshape(2, 3)


def test_an_id_depends_on_values_and_not_on_their_order():
    one = results.result_id({"a": 1, "b": [1, 2], "c": {"d": None}})
    assert one == results.result_id({"c": {"d": None}, "b": [1, 2], "a": 1})
    assert len(one) == 16
    assert int(one, 16) >= 0
    others = ({"a": 2, "b": [1, 2]}, {"a": 1, "b": [2, 1]}, {"a": 1.5}, {})
    assert len({one, *map(results.result_id, others)}) == 5


def test_what_is_saved_is_found(tmp_path):
    assert results.find(tmp_path, "mr", ID) is None
    path = results.save(tmp_path, "mr", ID, {"accuracy": 0.5}, PREDICTIONS)
    assert path == tmp_path / "mr" / f"{ID}.json"
    found = results.find(tmp_path, "mr", ID)
    assert found.id == ID
    assert found.payload == {"accuracy": 0.5}
    np.testing.assert_array_equal(found.predictions(), PREDICTIONS)
    assert sorted(each.name for each in path.parent.iterdir()) == [f"{ID}.json", f"{ID}.npy"]


def test_predictions_may_be_missing_on_purpose(tmp_path):
    results.save(tmp_path, "mr", ID, {})
    assert results.find(tmp_path, "mr", ID).predictions() is None


def test_a_kill_between_predictions_and_json_leaves_it_to_be_done(tmp_path, monkeypatch):
    place = results.replace_file

    def killed(path, content):
        if path.suffix == ".json":
            raise KeyboardInterrupt
        place(path, content)

    with monkeypatch.context() as patch:
        patch.setattr(results, "replace_file", killed)
        with pytest.raises(KeyboardInterrupt):
            results.save(tmp_path, "mr", ID, {"accuracy": 0.1}, PREDICTIONS + 1)
    assert [each.name for each in (tmp_path / "mr").iterdir()] == [f"{ID}.npy"]
    assert results.find(tmp_path, "mr", ID) is None
    assert not [*results.list(tmp_path)]
    results.save(tmp_path, "mr", ID, {"accuracy": 0.5}, PREDICTIONS)
    np.testing.assert_array_equal(results.find(tmp_path, "mr", ID).predictions(), PREDICTIONS)


def test_a_kill_while_writing_leaves_no_half_file(tmp_path, monkeypatch):
    def killed(number):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", killed)
    with pytest.raises(KeyboardInterrupt):
        results.save(tmp_path, "mr", ID, {})
    assert not [*(tmp_path / "mr").iterdir()]


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"payload": 1, "predictions": null}'])
def test_damaged_json_is_named(tmp_path, content):
    path = results.save(tmp_path, "mr", ID, {})
    path.write_text(content)
    with pytest.raises(DamagedError, match=f"{ID}.json is no result: delete "):
        results.find(tmp_path, "mr", ID)


def test_changed_or_missing_predictions_are_named(tmp_path):
    path = results.save(tmp_path, "mr", ID, {}, PREDICTIONS)
    beside = path.with_suffix(".npy")
    beside.write_bytes(beside.read_bytes()[:-1] + b"?")
    with pytest.raises(DamagedError, match=f"{ID}.npy has changed"):
        results.load(path).predictions()
    beside.unlink()
    with pytest.raises(DamagedError, match=f"{ID}.npy is missing"):
        results.load(path).predictions()


def test_nothing_is_ever_pickled(tmp_path):
    with pytest.raises(ValueError, match="pickle"):
        results.save(tmp_path, "mr", ID, {}, np.array([{}], dtype=object))
    assert results.find(tmp_path, "mr", ID) is None


def test_a_list_goes_by_corpus_and_id(tmp_path):
    for corpus, id in (("sst2", "b"), ("mr", "c"), ("mr", "a")):
        results.save(tmp_path, corpus, id, {"corpus": corpus})
    assert [each.id for each in results.list(tmp_path)] == ["a", "c", "b"]
    assert [each.id for each in results.list(tmp_path, "mr")] == ["a", "c"]
    assert not [*results.list(tmp_path / "nothing")]


def test_nan_is_no_json(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        results.save(tmp_path, "mr", ID, {"accuracy": float("nan")})


def test_a_file_in_the_way_is_a_storage_error(tmp_path):
    (tmp_path / "mr").write_text("in the way")
    with pytest.raises(StorageError, match="cannot write"):
        results.save(tmp_path, "mr", ID, {})


def test_a_corpus_cannot_lead_out_of_the_folder(tmp_path):
    with pytest.raises(CorpusError, match="cannot name a folder"):
        results.save(tmp_path, "../mr", ID, {})


def test_the_json_is_readable_by_anyone(tmp_path):
    path = results.save(tmp_path, "mr", ID, {"accuracy": 0.5}, PREDICTIONS)
    assert json.loads(path.read_text())["payload"] == {"accuracy": 0.5}


def test_where_folders_cannot_be_opened_results_are_kept_all_the_same(tmp_path, monkeypatch):
    def on_windows(path, *_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.delattr(os, "O_DIRECTORY")
    monkeypatch.setattr(os, "open", on_windows)
    results.save(tmp_path, "mr", ID, {"accuracy": 0.5})
    monkeypatch.undo()
    assert results.find(tmp_path, "mr", ID).payload == {"accuracy": 0.5}


# Results of a stranger


def npy(header, content=b"", magic=b"\x93NUMPY\x01\x00"):
    text = header.encode().ljust(118) + b"\n"
    return magic + len(text).to_bytes(2, "little") + text + content


BOMBS = {
    "a shape beyond all memory": npy(
        f"{{'descr': '<f8', 'fortran_order': False, 'shape': ({2**50},)}}"
    ),
    "a shape beyond all numbers": npy(
        "{'descr': '<f8', 'fortran_order': False, 'shape': (10**99,)}"
    ),
    "a negative shape": npy("{'descr': '<f8', 'fortran_order': False, 'shape': (-1,)}", bytes(8)),
    "objects": npy(
        "{'descr': '|O', 'fortran_order': False, 'shape': (1,)}", b"cos\nsystem\n(S'id'\ntR."
    ),
    "texts": npy("{'descr': '<U2', 'fortran_order': False, 'shape': (1,)}", bytes(8)),
    "a structure": npy(
        "{'descr': [('a', '<f8')], 'fortran_order': False, 'shape': (1,)}", bytes(8)
    ),
    "code": npy("{'descr': __import__('os').system('id'), 'fortran_order': 0, 'shape': ()}"),
    "no end": npy("{'descr': '<f8', 'fortran_order': False, 'shape': (" + "(" * 50),
    "a later version": npy("{}", magic=b"\x93NUMPY\x09\x00"),
    "a zip": b"PK\x03\x04" + bytes(40),
    "a pickle": b"\x80\x04cos\nsystem\n(S'id'\ntR.",
    "more than it says": npy("{'descr': '<f8', 'fortran_order': False, 'shape': (1,)}", bytes(9)),
    "nothing": b"",
}


def laid_down(folder, raw):
    """A result whose predictions are these bytes, with the digest that they have."""
    path = results.save(folder, "mr", ID, {}, PREDICTIONS)
    path.with_suffix(".npy").write_bytes(raw)
    document = json.loads(path.read_text())
    document["predictions"] = results._digest(raw, 16)
    path.write_text(json.dumps(document))
    return path


@pytest.mark.parametrize("name", BOMBS)
def test_predictions_that_are_no_numbers_are_refused_before_room_is_made(tmp_path, name):
    path = laid_down(tmp_path, BOMBS[name])
    with pytest.raises(DamagedError, match=r"\.npy is no array"):
        results.load(path).predictions()


@given(st.data())
@few
def test_any_predictions_are_read_or_refused(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("fuzz")
    good = results.save(folder, "mr", ID, {}, PREDICTIONS).with_suffix(".npy").read_bytes()
    with only_our_errors():
        results.load(laid_down(folder, data.draw(flipped(good)))).predictions()


@given(st.data())
@many
def test_any_document_is_read_or_refused(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("fuzz")
    path = results.save(folder, "mr", ID, {"a": [1]}, PREDICTIONS, np.arange(3, dtype=np.int32))
    path.write_text(json.dumps(data.draw(edits(json.loads(path.read_text())))))
    with only_our_errors():
        found = results.find(folder, "mr", ID)
        found.predictions()
        found.truth()


@pytest.mark.parametrize("content", [DEEP, "NaN", '{"predictions": null, "payload": {"a": NaN}}'])
def test_what_is_no_json_is_no_result(tmp_path, content):
    path = results.save(tmp_path, "mr", ID, {})
    path.write_text(content)
    with pytest.raises(DamagedError, match="is no result"):
        results.load(path)


@pytest.mark.parametrize("name", ["", "mr", f"mr/{ID}.json", f"mr/{ID}.npy"])
def test_links_in_the_place_of_results_are_refused(tmp_path, name):
    home = tmp_path / "home"
    theirs = tmp_path / "theirs"
    results.save(home, "mr", ID, {}, PREDICTIONS)
    home.rename(theirs)
    place = home / name
    if name:
        shutil.copytree(theirs, home)
        shutil.rmtree(place) if place.is_dir() else place.unlink()
    place.symlink_to(theirs / name)
    before = {file: file.read_bytes() for file in theirs.rglob("*.*")}
    with pytest.raises(DamagedError, match="is a link"):
        results.find(home, "mr", ID).predictions()
    if name in ("", "mr"):
        with pytest.raises(DamagedError, match="is a link"):
            results.save(home, "mr", ID, {"other": 1})
    assert {file: file.read_bytes() for file in theirs.rglob("*.*")} == before
