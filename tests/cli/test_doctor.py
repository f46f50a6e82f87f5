"""`lef doctor`: a table, a verdict in plain words, and exit code 3."""

import csv
import io
import shutil

import pytest

from lefcache.extract.checks import CHECKS


@pytest.fixture
def words(model_folder):
    return ["doctor", "--model", f"tiny={model_folder('llama')}", "--device", "cpu"]


def test_a_sound_model(lef, words):
    ran = lef(*words, "--dtype", "float32")
    assert ran.code == 0
    lines = ran.out.splitlines()
    assert lines[-1] == "tiny is sound: 16 checks, nothing wrong."
    assert [line.split()[0] for line in lines[2:-1]] == [name.split()[0] for name in CHECKS] + [
        "drift"
    ]
    assert "neighbours ..." in ran.err


def test_json_and_csv_say_the_same(lef, words):
    document = lef(*words, "--no-drift", "--json").json
    assert document["sound"]
    assert [each["name"] for each in document["findings"]] == list(CHECKS)
    assert document["findings"][7]["figures"]["last"] == pytest.approx(0, abs=1e-6)
    rows = list(csv.DictReader(io.StringIO(lef(*words, "--no-drift", "--csv").out)))
    assert [row["check"] for row in rows] == list(CHECKS)
    assert {row["verdict"] for row in rows} == {"ok"}


@pytest.fixture
def damaged(model_folder, tmp_path):
    """A function that copies a model and changes its tensors."""
    from safetensors.torch import load_file, save_file

    def damage(change):
        folder = shutil.copytree(model_folder("llama"), tmp_path / "damaged")
        held = load_file(folder / "model.safetensors")
        change(held)
        save_file(held, folder / "model.safetensors", metadata={"format": "pt"})
        return folder

    return damage


def test_something_wrong_is_exit_code_3_with_a_verdict(lef, damaged):
    folder = damaged(lambda held: held["layers.1.mlp.up_proj.weight"].zero_())
    ran = lef("doctor", "--model", folder, "--device", "cpu", "--no-drift")
    assert ran.code == 3
    assert "layers.1.mlp.up_proj.weight. Fix: is this the right folder" in ran.out
    assert ran.out.splitlines()[-1] == (
        "damaged is not to be trusted as it is: 1 of 15 checks found something wrong (damage)."
    )


def test_a_model_that_cannot_be_examined_further_is_exit_code_3_too(lef, damaged):
    folder = damaged(lambda held: held.pop("layers.1.mlp.up_proj.weight"))
    ran = lef("doctor", "--model", folder, "--device", "cpu", "--json")
    assert ran.code == 3
    assert [each["name"] for each in ran.json["findings"]] == ["weights"]


def test_a_model_that_is_nowhere_is_a_mistake_and_no_damage(lef):
    ran = lef("doctor", "--model", "/no/where/at/all")
    assert (ran.code, ran.out) == (1, "")


def test_a_cache_is_compared_with_the_settings_it_was_made_with(lef, words, texts):
    model = words[1:]
    made = lef("extract", *model, "--data", texts, "--max-length", 16, "--prompt", "very ")
    assert made.code == 0
    ran = lef(*words, "--no-drift", "--data", "reviews")
    assert ran.code == 0, ran.out
    assert "cache train, in its batches" in ran.out
    assert "bit for bit" in ran.out
    other = lef(*words, "--no-drift", "--data", "reviews", "--prompt", "not ", "--json")
    assert other.code == 3
    wrong = [each["name"] for each in other.json["findings"] if each["verdict"] == "wrong"]
    assert wrong[0] == "cache settings"


def test_a_corpus_that_is_not_in_the_cache_is_skipped_and_told_how_to_get_there(lef, words, texts):
    ran = lef(*words, "--no-drift", "--data", texts)
    assert ran.code == 0
    assert "reviews/tiny is not in the cache" in ran.out
    assert f"lef extract --data {texts} --model tiny=" in " ".join(ran.out.split())
    assert "tiny is sound: 15 checks, nothing wrong, 1 skipped." in ran.out
