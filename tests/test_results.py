import json
import os

import numpy as np
import pytest

from lefcache import results
from lefcache.errors import CorpusError, DamagedError, StorageError

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
