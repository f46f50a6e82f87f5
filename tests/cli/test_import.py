import shlex
import sys

import numpy as np
import pytest

import lefcache


@pytest.fixture
def vectors(tmp_path):
    """`train.npy` and `test.npy` for the texts, which tell the classes apart; and layers."""
    folder = tmp_path / "made"
    rows = {"train": 40, "test": 10}
    for split, count in rows.items():
        (folder / "layers" / split).mkdir(parents=True)
        values = np.random.default_rng(count).standard_normal((count, 6)).astype(np.float32)
        values[:, 0] += 8 * (np.arange(count) % 2)
        np.save(folder / f"{split}.npy", values)
        for layer in ("0", "4", "last"):
            np.save(folder / "layers" / split / f"layer-{layer}.npy", values)
    return folder


KEYS = {
    "model", "corpus", "features", "rows", "width", "dtype", "blocks", "written_blocks",
    "skipped_blocks", "seconds", "bytes", "path", "notes",
}  # fmt: skip


def test_vectors_of_an_api_stand_beside_a_model(lef, fakes, texts, vectors):
    assert lef("extract", "--data", texts, "--model", "fake").code == 0
    ran = lef("import", "api", vectors / "train.npy", vectors / "test.npy", "--data", texts)
    assert ran.code == 0
    assert "Next: lef sweep --data reviews --models api" in ran.out
    swept = lef("sweep", "--models", "api,fake:2", "--json").json
    assert [row["feature"] for row in swept["rows"]] == ["api:last", "fake:2"]
    words = ("--models", "fake:2,api:last", "--epochs", "1", "--width", "4", "--json")
    assert lef("fuse", *words).json["features"] == ["fake:2", "api:last"]


def test_json_is_one_document_with_the_promised_keys(lef, texts, vectors):
    words = ("import", "api", vectors / "train.npy", "--data", texts, "--json")
    ran = lef(*words)
    assert set(ran.json) == KEYS
    assert (ran.json["features"], ran.json["written_blocks"]) == (["api:last"], 1)
    assert "not there yet: the vectors of test" in ran.err
    assert "Next: lef sweep --data reviews --models api" in ran.err
    again = lef(*words)
    assert (again.json["written_blocks"], again.json["skipped_blocks"]) == (0, 1)
    assert "all of it was in the cache already" in again.err


def test_what_a_sweep_lacks_is_said_instead_of_a_sweep_that_fails(lef, texts, vectors):
    ran = lef("import", "api", vectors / "test.npy", "--data", texts)
    assert "Before lef sweep can run: reviews/api was not imported on train" in ran.out
    assert "Next:" not in ran.out


def test_layers_in_folders_are_swept_like_any_model(lef, texts, vectors):
    ran = lef("import", "mine", vectors / "layers", "--data", texts, "--pool", "last")
    assert ran.code == 0, ran.err
    assert "Next: lef sweep --data reviews --models mine:all@last" in ran.out
    swept = lef("sweep", "--models", "mine:all@last,mine:-1@last", "--json").json
    assert [row["feature"] for row in swept["rows"]] == [
        "mine:0@last",
        "mine:4@last",
        "mine:last@last",
    ]
    assert (
        "mine:4 is not among the vectors that were imported"
        in lef("sweep", "--models", "mine:4").err
    )


def test_the_commands_that_are_suggested_import_what_is_missing(lef, texts, vectors, monkeypatch):
    words = ("--data", texts, "--note", "v 1")
    assert lef("import", "api", vectors / "train.npy", *words).code == 0
    monkeypatch.chdir(vectors)
    monkeypatch.setenv("LEF_CACHE", str(vectors.parent / "lef-cache"))
    note = lef("sweep", "--models", "api").err
    command = note.partition("add it with: ")[2].strip()
    assert command.startswith("lef import api test.npy")
    assert lef(*shlex.split(command)[1:]).code == 0
    assert "add it" not in lef("sweep", "--models", "api").err


def test_show_says_what_is_known_and_no_more(lef, texts, vectors):
    lef("import", "api", vectors / "train.npy", "--data", texts, "--note", "text-3, 2026")
    shown = lef("show", "reviews/api/train", "--json").json
    assert shown["spec"] == {"weights": "imported: text-3, 2026"}
    assert shown["rows"]["tokens"] is None
    assert "unknown: these vectors were made elsewhere" in lef("show", "reviews/api/train").out
    assert shown["rows"]["cut"] is None
    assert shown["files"]["own/last"].startswith(f"{vectors}/train.npy, sha256 ")
    for key in ("reviews/api/train", "reviews/api"):
        assert "max_length" not in lef("show", key).out
        assert "max_length" not in lef("show", key, "--json").json["spec"]


def test_an_unfinished_import_is_shown_with_the_command_that_finishes_it(
    lef, texts, vectors, monkeypatch
):
    monkeypatch.setattr("lefcache.vectors.run.BLOCK_ROWS", 16)
    from lefcache.cache import Writer

    commit = Writer.commit

    def stop(self, task, values):
        if task.block:
            raise KeyboardInterrupt
        commit(self, task, values)

    words = ["import", "api", str(vectors / "train.npy"), "--data", str(texts)]
    monkeypatch.setattr(sys, "argv", ["lef", *words])
    with monkeypatch.context() as patch:
        patch.setattr(Writer, "commit", stop)
        ran = lef(*words)
    assert ran.code == 130
    assert ran.err.strip().splitlines()[-1].strip() == shlex.join(["lef", *words])
    [entry] = lef("ls", "--json").json
    assert entry["done_rows"] == 16
    assert entry["resume"].startswith("lef import api ")
    assert lef(*shlex.split(entry["resume"])[1:], "--json").json["skipped_blocks"] == 1
    [entry] = lef("ls", "--json").json
    assert entry["resume"] is None


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train.npy", "--split", "test"], "named after the split train"),
        (["layers", "--pool", "median"], "no pool 'median'"),
        (["nowhere.npy"], "no vectors at"),
        (["layers/train/layer-4.npy", "--depth", "2"], "--depth 2 is less than layer 4"),
    ],
)
def test_a_mistake_is_one_line_with_its_fix(lef, texts, vectors, words, message):
    ran = lef("import", "api", vectors / words[0], *words[1:], "--data", texts)
    assert ran.code == 1
    [line] = [line for line in ran.err.splitlines() if line.startswith("Error: ")]
    assert message in line
    assert not ran.out
    assert not (vectors.parent / "lef-cache").exists()


def test_a_model_cannot_be_extracted_into_imported_vectors(lef, model_folder, texts, vectors):
    assert lef("import", "m", vectors / "train.npy", "--data", texts).code == 0
    ran = lef("extract", "--data", texts, "--model", f"m={model_folder('llama')}")
    assert ran.code == 1
    assert (
        "holds vectors that were made elsewhere and imported: keep both with --as NAME" in ran.err
    )


def test_the_only_corpus_of_a_cache_need_not_be_named(lef, texts, vectors):
    assert lef("import", "api", vectors / "train.npy", "--data", texts).code == 0
    assert lef("import", "api", vectors / "test.npy").code == 0
    assert list(lefcache.open("lef-cache")["reviews"]["api"]) == ["train", "test"]


def test_importing_needs_no_torch(python, texts, vectors, tmp_path):
    code = """
import sys
from click.testing import CliRunner
from cli.main import main
assert CliRunner().invoke(main, ["import", "api", *sys.argv[1:]]).exit_code == 0
print("torch" in sys.modules, "transformers" in sys.modules)
"""
    words = (vectors / "train.npy", "--data", texts, "--cache", tmp_path / "c")
    assert python(code, *words).split() == ["False", "False"]
