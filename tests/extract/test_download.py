"""Models that are whole or not: shards, downloads that were interrupted, names that mislead."""

import json
import re
import shutil
from types import SimpleNamespace

import huggingface_hub
import pytest
from huggingface_hub import constants

from lefcache.errors import ModelError
from lefcache.extract import load_backbone, resolve_model
from lefcache.extract.identity import tokenizer_hash
from lefcache.extract.models import locate, on_this_machine, weight_files
from lefcache.registry import MODELS, ModelEntry

FLOAT32 = {"dtype": "float32", "device": "cpu"}
COMMIT = "0" * 40


@pytest.fixture(scope="session")
def sharded(model_folder, tmp_path_factory):
    """The folder of a tiny model in several shards."""
    from transformers import AutoModel

    folder = tmp_path_factory.mktemp("sharded") / "llama"
    shutil.copytree(model_folder("llama"), folder)
    (folder / "model.safetensors").unlink()
    AutoModel.from_pretrained(model_folder("llama")).save_pretrained(folder, max_shard_size="8KB")
    assert len(weight_files(folder)) > 2
    return folder


@pytest.fixture
def copied(sharded, tmp_path):
    """A copy of the sharded model, to spoil."""
    return shutil.copytree(sharded, tmp_path / "copied")


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A function that puts a folder where the hub's downloads are kept: `hub(folder, "a/b")`."""

    def keep(folder, name):
        home = tmp_path / "hub" / f"models--{name.replace('/', '--')}"
        (home / "refs").mkdir(parents=True)
        (home / "refs" / "main").write_text(COMMIT)
        return shutil.copytree(folder, home / "snapshots" / COMMIT)

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return keep


def test_a_model_in_shards_is_loaded_and_known_by_all_of_them(sharded, model_folder):
    assert load_backbone(str(sharded), **FLOAT32).depth == 4
    listed = json.loads((sharded / "model.safetensors.index.json").read_text())["weight_map"]
    assert {file.name for file in weight_files(sharded)} == set(listed.values())


def test_one_file_wins_over_shards_as_in_transformers(copied, model_folder):
    shutil.copy(model_folder("llama") / "model.safetensors", copied)
    assert [file.name for file in weight_files(copied)] == ["model.safetensors"]


def test_a_folder_without_some_shards_names_them(copied):
    first, second, *others = weight_files(copied)
    first.unlink()
    second.unlink()
    with pytest.raises(ModelError, match="incomplete: it lacks") as raised:
        load_backbone(str(copied), **FLOAT32)
    assert f"{first.name}, {second.name} (2 of {2 + len(others)} weight files)" in str(raised.value)


@pytest.mark.parametrize(
    "content", ["{", "[]", "{}", '{"weight_map": 3}', '"text"', b"\xff\xfe"], ids=repr
)
def test_a_damaged_index_is_named(copied, content):
    index = copied / "model.safetensors.index.json"
    index.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ModelError, match=re.escape(str(index))):
        load_backbone(str(copied), **FLOAT32)


def test_a_download_that_was_whole_is_used(sharded, hub):
    folder = hub(sharded, "org/whole")
    assert locate(resolve_model("org/whole")) == folder
    assert load_backbone("org/whole", **FLOAT32).provenance["revision"] == COMMIT


def list_tree(folder, *more):
    """What newer versions of the hub's library write down: all files of the repository."""
    names = [*(file.name for file in folder.iterdir()), *more]
    files = {name: {"size": 1, "blob_id": "0"} for name in names}
    trees = folder.parents[1] / "trees"
    trees.mkdir()
    (trees / f"{COMMIT}.json").write_text(json.dumps({"format_version": 1, "files": files}))


def test_a_download_that_lacks_only_what_is_never_fetched_is_whole(sharded, hub):
    folder = hub(sharded, "org/tree")
    list_tree(folder, "README.md", "onnx/model.onnx", "tf.h5", "pytorch_model.bin")
    with pytest.raises(FileNotFoundError, match="incomplete"):
        huggingface_hub.snapshot_download("org/tree", local_files_only=True)
    assert locate(resolve_model("org/tree")) == folder


def test_a_download_that_lacks_a_vocabulary_is_not_whole(sharded, hub):
    list_tree(hub(sharded, "org/words"), "vocab.txt")
    with pytest.raises(ModelError, match="HF_HUB_OFFLINE is set"):
        locate(resolve_model("org/words"))


@pytest.mark.parametrize("spoil", ["shard", "config.json", "all shards"])
def test_an_interrupted_download_is_finished_and_not_loaded(sharded, hub, spoil, monkeypatch):
    folder = hub(sharded, "org/torn")
    shards = weight_files(folder)
    for file in {"shard": shards[1:], "all shards": shards}.get(spoil, [folder / spoil]):
        file.unlink()
    asked = []

    def download(source, *, local_files_only=False, **settings):
        if local_files_only:
            return str(folder)
        asked.append(settings)
        return str(shutil.copytree(sharded, folder, dirs_exist_ok=True))

    offers(monkeypatch, "model.safetensors.index.json", "pytorch_model.bin")
    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    assert load_backbone("org/torn", **FLOAT32).depth == 4
    assert len(asked) == 1
    assert "*.safetensors" in asked[0]["allow_patterns"]
    assert "*.bin" not in asked[0]["allow_patterns"]


def offers(monkeypatch, *names):
    """A hub whose every repository has these files."""
    info = SimpleNamespace(siblings=[SimpleNamespace(rfilename=name) for name in names])
    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", lambda *_, **__: info)


@pytest.mark.parametrize(
    ("names", "wanted", "unwanted"),
    [
        (["model.safetensors", "pytorch_model.bin"], "*.safetensors", "*.bin"),
        (["pytorch_model.bin"], "*.bin", "*.safetensors"),
        (["adapter.safetensors", "pytorch_model.bin"], "*.bin", "*.safetensors"),
    ],
)
def test_weights_are_fetched_in_one_format(monkeypatch, hub, names, wanted, unwanted):
    asked = []
    offers(monkeypatch, *names)
    fetch = huggingface_hub.snapshot_download

    def download(source, *, local_files_only=False, **settings):
        if local_files_only:
            return fetch(source, local_files_only=True, **settings)
        asked.extend(settings["allow_patterns"])
        return "/nowhere"

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    locate(resolve_model("org/model"))
    assert wanted in asked
    assert unwanted not in asked
    assert {"*.spm", "*.tiktoken", "bpe.codes", "*.model"} <= set(asked)


@pytest.mark.parametrize("name", ["foo--bar", "foo.git", "a/b--c", "-foo", "foo..bar"])
def test_what_the_hub_would_never_take_is_one_line(name):
    with pytest.raises(ModelError, match=f"'{name}' can be no model on the hub"):
        load_backbone(f"m={name}", **FLOAT32)


@pytest.mark.parametrize("size", [0, 1, 7, 100, 3000])
def test_a_torn_bin_cannot_be_loaded(model_folder, tmp_path, size):
    import torch
    from safetensors.torch import load_file

    folder = shutil.copytree(model_folder("llama"), tmp_path / "torn")
    file = folder / "pytorch_model.bin"
    torch.save(load_file(folder / "model.safetensors"), file)
    (folder / "model.safetensors").unlink()
    assert load_backbone(str(folder), **FLOAT32).depth == 4
    file.write_bytes(file.read_bytes()[:size])
    with pytest.raises(ModelError, match="cannot be loaded"):
        load_backbone(str(folder), **FLOAT32)


@pytest.mark.parametrize("content", [b"x" * 50, b"\x80\x02.", b"\x80\x02}q\x00"], ids=repr)
def test_a_bin_that_is_something_else_cannot_be_loaded(model_folder, tmp_path, content):
    folder = shutil.copytree(model_folder("llama"), tmp_path / "other")
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(content)
    with pytest.raises(ModelError, match="cannot be loaded"):
        load_backbone(str(folder), **FLOAT32)


@pytest.mark.parametrize("name", ["spiece.spm", "vocab.tiktoken", "bpe.codes", "spm.model"])
def test_every_kind_of_vocabulary_is_part_of_the_tokenizer(model_folder, tmp_path, name):
    folder = shutil.copytree(model_folder("llama"), tmp_path / "copied")
    before = tokenizer_hash(folder)
    (folder / name).write_bytes(b"tokens")
    assert tokenizer_hash(folder) != before


def test_a_folder_with_an_equals_sign_is_a_folder(model_folder, tmp_path, monkeypatch):
    shutil.copytree(model_folder("bert"), tmp_path / "lr=3")
    found = resolve_model(str(tmp_path / "lr=3"))
    assert (found.name, found.source) == ("lr-3", str(tmp_path / "lr=3"))
    monkeypatch.chdir(tmp_path)
    assert resolve_model("lr=3").source == "lr=3"
    named = resolve_model(f"mine={tmp_path / 'lr=3'}")
    assert (named.name, named.source) == ("mine", str(tmp_path / "lr=3"))


def test_what_is_on_this_machine_is_found_without_a_network(sharded, hub, monkeypatch):
    monkeypatch.setitem(MODELS, "mine", ModelEntry("org/whole"))
    assert on_this_machine("mine") is None
    folder = hub(sharded, "org/whole")
    assert on_this_machine("mine") == folder
    (folder / "config.json").unlink()
    assert on_this_machine("mine") is None


def test_a_misspelt_short_name_is_told_the_right_ones():
    with pytest.raises(ModelError, match=r"one of .*mistral.*did you mean minilm\?"):
        locate(resolve_model("minilmm"))
    with pytest.raises(ModelError) as raised:
        locate(resolve_model("org/minilmm"))
    assert "did you mean" not in str(raised.value)


# A pinned revision, and a licence that is to be accepted


@pytest.fixture
def pinned(hub, sharded, monkeypatch):
    """`mine`, pinned to the commit that is on this machine; the folder of that commit."""
    monkeypatch.setitem(MODELS, "mine", ModelEntry("org/pinned", revision=COMMIT))
    return hub(sharded, "org/pinned")


def test_a_pinned_revision_is_the_one_read(pinned):
    (pinned.parents[1] / "refs" / "main").write_text("1" * 40)  # the branch has moved on
    assert locate(resolve_model("mine")) == pinned
    assert on_this_machine("mine") == pinned
    assert load_backbone("mine", **FLOAT32).provenance["revision"] == COMMIT


def test_another_revision_can_be_asked_for(pinned):
    other = shutil.copytree(pinned, pinned.parent / ("1" * 40))
    (pinned.parents[1] / "refs" / "main").write_text("1" * 40)
    assert locate(resolve_model("mine"), "main") == other
    assert locate(resolve_model("mine"), "1" * 40) == other
    assert locate(resolve_model("org/pinned")) == other  # a hub id has no entry


def test_a_revision_that_is_not_here_is_named_with_the_one_that_is(pinned, monkeypatch):
    monkeypatch.setitem(MODELS, "mine", ModelEntry("org/pinned", revision="2" * 40))
    assert on_this_machine("mine") is None
    with pytest.raises(ModelError) as raised:
        locate(resolve_model("mine"))
    assert f"`hf download org/pinned --revision {'2' * 40}`" in str(raised.value)
    assert "--revision main reads that" in str(raised.value)
    with pytest.raises(ModelError) as raised:
        locate(resolve_model("org/elsewhere"), "2" * 40)
    assert "reads that" not in str(raised.value)


@pytest.fixture
def gated(monkeypatch):
    """`mine`, gated; a function that says which token there is on a machine with a network."""
    monkeypatch.setitem(MODELS, "mine", ModelEntry("org/gated", gated=True))

    def online(token):
        monkeypatch.setattr(huggingface_hub, "is_offline_mode", lambda: False)
        monkeypatch.setattr(huggingface_hub, "get_token", lambda: token)

    return online


GATED = r"org/gated is gated: accept .*https://huggingface\.co/org/gated, then run `hf auth login`"


def test_a_gated_model_without_a_token_is_told_before_the_hub_is_asked(gated, monkeypatch):
    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", lambda *_, **__: pytest.fail("asked"))
    gated(token=None)
    with pytest.raises(ModelError, match=GATED):
        locate(resolve_model("mine"))


def test_a_gated_model_whose_licence_was_not_accepted_is_told_the_same(gated, monkeypatch):
    from huggingface_hub.errors import GatedRepoError

    def refuse(*_, **__):
        raise GatedRepoError("403", response=SimpleNamespace(headers={}, request=None))

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", refuse)
    gated(token="hf_one")
    with pytest.raises(ModelError, match=GATED):
        locate(resolve_model("mine"))


def test_a_gated_model_offline_says_both(gated):
    with pytest.raises(ModelError, match=r"HF_HUB_OFFLINE.*hf download org/gated.*licence"):
        locate(resolve_model("mine"))
