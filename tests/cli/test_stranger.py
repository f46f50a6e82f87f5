"""What a newcomer types by mistake, and what is said to it."""

import numpy as np
import pytest


@pytest.fixture
def made(lef, fakes, texts):
    assert lef("extract", "--data", texts, "--model", "fake").code == 0
    return texts


def test_other_columns_of_a_known_corpus_are_told_those_of_the_cache(lef, fakes, tmp_path):
    folder = tmp_path / "news"
    folder.mkdir()
    rows = "".join(f"{row};a text {row};{'ab'[row % 2]}\n" for row in range(9))
    (folder / "train.csv").write_text(f"id;body;kind\n{rows}")
    words = ("--data", folder, "--model", "fake", "--label-column", "kind")
    assert lef("extract", *words, "--text-column", "body").code == 0
    ran = lef("extract", *words, "--text-column", "id")
    assert ran.code == 1
    assert "the cache's were read with --text-column body --label-column kind" in ran.err


def test_a_file_is_no_name_of_a_model(lef, texts, tmp_path):
    for split, rows in (("train", 40), ("test", 10)):
        np.save(tmp_path / f"{split}.npy", np.ones((rows, 4), np.float32))
    ran = lef("import", "train.npy", "test.npy", "--data", texts)
    assert ran.code == 2
    assert "the model's NAME comes first: lef import NAME train.npy test.npy" in ran.err


def test_a_shell_that_is_missing_is_listed_without_escapes(lef):
    ran = lef("completion")
    assert ran.code == 2
    assert "\\t" not in ran.err
    assert "bash" in ran.err


def test_a_folder_of_other_files_is_no_empty_cache(lef, texts):
    ran = lef("ls", "--cache", texts)
    assert "holds no cache but other files" in ran.err
    assert "Start with" not in ran.err


def test_results_of_a_corpus_that_is_misspelt(lef, made):
    ran = lef("results", "--data", "review")
    assert ran.code == 1
    assert "did you mean reviews?" in ran.err


def test_a_study_says_that_the_cache_was_made_from_another_folder(lef, made, tmp_path):
    assert "was made from" not in lef("sweep", "--data", made, "--models", "fake").err
    other = tmp_path / "other" / "Reviews"
    other.mkdir(parents=True)
    ran = lef("sweep", "--data", other, "--models", "fake")
    assert ran.code == 0
    assert f"the cache's reviews was made from {made}, not from {other}" in ran.err


def test_many_features_are_said_before_one_head_is_trained_on_them(lef, made):
    words = ("--width", "4", "--hidden", "4", "--epochs", "1")
    ran = lef("fuse", "--models", "fake:all", *words)
    assert ran.code == 0
    assert "fake:3 + fake:last: one head on all of these" in ran.err
    assert "--models fake:all" in ran.out  # and no list of them
    assert "one head on all" not in lef("fuse", "--models", "fake:1,fake:2", *words).err


def test_an_operator_that_is_misspelt(lef, made):
    ran = lef("fuse", "--models", "fake:1,fake:2", "--op", "hadamard_res")
    assert ran.code == 2
    assert "did you mean hadamard-res?" in ran.err
