"""The words of a command: which layers go with which poolings, which rows with which splits."""

import shlex

import pytest

from lefcache.cache.hints import (
    by_pool,
    command_again,
    files_wanted,
    import_command,
    model_flags,
    products,
    spelled,
    split_flags,
)
from lefcache.spec import Spec


def test_arrays_are_told_apart_by_pooling():
    arrays = ["mean/10", "mean/last", "max/2", "tokens", "mean/9", "mean/9"]
    assert by_pool(arrays) == {"mean": [9, 10, "last"], "max": [2]}


@pytest.mark.parametrize(
    ("arrays", "known", "wanted"),
    [
        ([], [], [([], [])]),
        (["mean/1", "tokens"], [], [([1], ["mean"])]),
        (["mean/2", "max/2", "mean/last", "max/last"], [], [([2, "last"], ["mean", "max"])]),
        (["mean/24", "max/8"], [], [([24], ["mean"]), ([8], ["max"])]),
        (["mean/24", "max/8"], ["mean/8", "max/24"], [([8, 24], ["mean", "max"])]),
        (["mean/1", "max/1", "last/3"], [], [([1], ["mean", "max"]), ([3], ["last"])]),
    ],
    ids=str,
)
def test_a_command_asks_for_no_array_that_nobody_wanted(arrays, known, wanted):
    assert products(arrays, known) == wanted


@pytest.mark.parametrize(
    ("here", "wanted"),
    [
        ({"train": 100, "test": 20}, ["--splits train,test"]),
        ({"train": 30, "test": 20}, ["--splits train,test --limit 30"]),
        ({"train": 10, "test": 10}, ["--splits train,test --limit 10"]),
        ({"train": 9}, ["--splits train --limit 9"]),
        ({"test": 20}, ["--splits test"]),
        ({"train": 30, "test": 5}, ["--splits train --limit 30", "--splits test --limit 5"]),
        ({"train": 100, "test": 5}, ["--splits train", "--splits test --limit 5"]),
    ],
    ids=str,
)
def test_a_command_asks_for_the_rows_that_are_there(here, wanted):
    whole = {"train": 100, "test": 20}
    assert [shlex.join(words) for words in split_flags(here, whole)] == wanted


def test_a_model_is_loaded_again_as_it_was():
    spec = Spec(prompt="a b: ", max_length=99, dtype="float32", attention="sdpa")
    provenance = {"revision": "abc", "remote_code": True}
    assert shlex.join(model_flags(spec, provenance)) == (
        "--prompt 'a b: ' --max-length 99 --revision abc --trust-remote-code"
    )
    assert model_flags(Spec(), {"revision": None, "remote_code": False}) == []
    assert shlex.join(model_flags(Spec(), {}, ("--prompt", ""))) == "--prompt ''"


def test_a_corpus_without_a_source_is_known_by_its_name(cache):
    cache.store.set_attrs("tiny", {"classes": [], "source": "", "splits": {}})
    made = {"spec": Spec().to_json(), "depth": 1, "width": 1, "source": "org/m"}
    cache.store.set_attrs("tiny/m", made)
    command = spelled(command_again(cache.store, "tiny", "m", ["mean/1"], []))
    assert command.endswith("--data tiny --model m=org/m --layers 1 --pool mean")


@pytest.mark.parametrize(
    ("arrays", "wanted"),
    [
        ([], {"own": ["train.npy", "test.npy"]}),
        (["mean/last"], {"mean": ["train.npy", "test.npy"]}),
        (
            ["max/3", "own/last"],
            {"max": ["train/layer-3.npy", "test/layer-3.npy"], "own": ["train.npy", "test.npy"]},
        ),
    ],
    ids=str,
)
def test_files_are_named_so_that_an_import_knows_what_they_are(arrays, wanted):
    assert files_wanted(["train", "test"], arrays) == wanted


def test_an_import_is_one_command_for_each_pooling(cache):
    corpus = {"classes": [], "splits": {}, "source": "a b", "options": {"text-column": "body"}}
    cache.store.set_attrs("tiny", corpus)
    made = {"spec": Spec.of_imported("v 1").to_json(), "depth": 0, "width": 1}
    cache.store.set_attrs("tiny/m", made)
    paths = {"own": ["x.npy"], "max": ["y"]}
    command = spelled(import_command(cache.store, "tiny", "m", paths, ["--z"]))
    rest = f"--cache {cache.path} --data 'a b' --text-column body --z --note 'v 1'"
    assert command == (f"lef import m x.npy --pool own {rest} && lef import m y --pool max {rest}")
