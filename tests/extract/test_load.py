"""Models that can be loaded, and the messages of those that cannot."""

import json
import shutil
import time

import numpy as np
import pytest
import torch

from lefcache.errors import ModelError
from lefcache.extract import MODELS, load_backbone
from lefcache.extract.embed import embed_batch
from tests.conftest import SENTENCES
from tests.extract.families import DEBERTA_V3, Family

FLOAT32 = {"dtype": "float32", "device": "cpu"}


@pytest.fixture
def copied(model_folder, tmp_path):
    """A function that gives a copy of a model's folder, to spoil."""
    return lambda family: shutil.copytree(model_folder(family), tmp_path / "copied")


def edit(folder, change):
    """Change the tensors of a saved model in place."""
    from safetensors.torch import load_file, save_file

    file = folder / "model.safetensors"
    tensors = load_file(file)
    change(tensors)
    save_file(tensors, file, metadata={"format": "pt"})


def test_a_model_is_frozen_and_in_evaluation(backbone):
    network = backbone("llama").network
    assert not network.training
    assert not any(weight.requires_grad for weight in network.parameters())


def test_a_name_can_be_given_in_front_of_a_folder(model_folder):
    model = load_backbone(f"mine={model_folder('bert')}", **FLOAT32)
    assert (model.name, model.source) == ("mine", str(model_folder("bert")))


def test_as_wins_over_the_folder(model_folder):
    assert load_backbone(str(model_folder("bert")), name="other", **FLOAT32).name == "other"


@pytest.mark.parametrize("name", ["Mine", "labels", "results", "a b", "-x", "", "aux", "x."])
def test_a_name_that_a_cache_cannot_hold_is_refused(model_folder, name):
    folder = model_folder("bert")
    near = {"Mine": "mine", "a b": "a-b", "-x": "x", "x.": "x"}.get(name, "NAME")
    with pytest.raises(ModelError, match="cannot name a model") as refused:
        load_backbone(f"{name}={folder}", **FLOAT32)
    assert str(refused.value).endswith(f"name it with --model {near}={folder}")


@pytest.mark.parametrize(
    ("family", "architecture"),
    [("llama", "decoder"), ("bert", "encoder"), ("t5", "encoder-decoder")],
)
def test_provenance_tells_encoders_from_decoders(backbone, family, architecture):
    assert backbone(family).provenance["architecture"] == architecture


def test_provenance_names_versions_and_device(backbone):
    provenance = backbone("llama").provenance
    assert provenance["torch"] == torch.__version__
    assert provenance["device"].startswith("cpu")


def test_the_same_folder_gives_the_same_spec(model_folder):
    one, two = (load_backbone(str(model_folder("llama")), **FLOAT32).spec for _ in range(2))
    assert one == two


def test_one_changed_tensor_changes_the_spec(model_folder, copied):
    before = load_backbone(str(model_folder("llama")), **FLOAT32).spec
    folder = copied("llama")
    edit(folder, lambda tensors: tensors["norm.weight"].add_(1e-6))
    after = load_backbone(str(folder), **FLOAT32).spec
    assert [line.partition(":")[0] for line in before.difference(after)] == ["weights"]


def test_code_that_comes_with_a_model_is_part_of_it(model_folder, copied):
    before = load_backbone(str(model_folder("llama")), **FLOAT32).spec
    folder = copied("llama")
    (folder / "modeling_own.py").write_text("one = 1\n")
    assert before.weights != load_backbone(str(folder), **FLOAT32).spec.weights


def test_the_attention_that_auto_stands_for_is_in_the_spec(backbone):
    assert backbone("llama").spec.attention == "sdpa"
    assert backbone("llama", attention="eager").spec.attention == "eager"


def test_one_changed_token_changes_the_spec(backbone, copied):
    folder = copied("llama")
    file = folder / "tokenizer.json"
    file.write_text(file.read_text().replace('"cat"', '"dog"'))
    after = load_backbone(str(folder), **FLOAT32).spec
    difference = backbone("llama").spec.difference(after)
    assert [line.partition(":")[0] for line in difference] == ["tokenizer"]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_arithmetic_asked_for_is_the_one_used(model_folder, dtype):
    model = load_backbone(str(model_folder("llama")), device="cpu", dtype=dtype)
    assert next(model.network.parameters()).dtype == getattr(torch, dtype)
    assert model.spec.dtype == dtype


def test_auto_arithmetic_is_settled_and_noted(model_folder):
    model = load_backbone(str(model_folder("llama")), device="cpu")
    assert model.spec.dtype in ("float32", "bfloat16")
    assert any("--dtype overrides" in note for note in model.notes)


def test_a_whole_t5_is_read_by_its_encoder(tmp_path, model_folder):
    from transformers import AutoTokenizer, T5Config, T5ForConditionalGeneration

    config = T5Config(
        vocab_size=32,
        d_model=16,
        d_kv=8,
        d_ff=32,
        num_layers=3,
        num_heads=2,
        pad_token_id=0,
        decoder_start_token_id=0,
    )
    T5ForConditionalGeneration(config).save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(model_folder("t5")).save_pretrained(tmp_path)
    model = load_backbone(f"t5={tmp_path}", **FLOAT32)
    assert (model.depth, model.layers) == (3, (0, 1, 2, 3, "last"))
    pooled = embed_batch(model, model.tokenize(["a cat"]), ["mean/last"])["mean/last"]
    assert np.isfinite(pooled.numpy()).all()


def test_missing_weights_are_an_error_and_not_random_numbers(copied):
    folder = copied("llama")
    edit(folder, lambda tensors: tensors.pop("layers.1.mlp.up_proj.weight"))
    with pytest.raises(ModelError, match=r"lacks the weights layers\.1\.mlp\.up_proj\.weight"):
        load_backbone(str(folder), **FLOAT32)


def test_a_missing_pooler_is_nothing_that_is_read(copied):
    assert load_backbone(str(copied("bert")), **FLOAT32).depth == 3  # saved without a pooler


@pytest.mark.parametrize(
    "spoil",
    [
        lambda folder: (folder / "model.safetensors").write_bytes(b"torn"),
        lambda folder: (folder / "config.json").write_text("{"),
        lambda folder: (folder / "config.json").write_text('{"model_type": "from-the-future"}'),
        lambda folder: (folder / "tokenizer.json").write_text("{"),
        lambda folder: [(folder / f).unlink() for f in ("tokenizer.json", "tokenizer_config.json")],
    ],
    ids=["weights", "config", "unknown model type", "tokenizer", "no tokenizer"],
)
def test_a_spoilt_folder_cannot_be_loaded(copied, spoil):
    folder = copied("llama")
    spoil(folder)
    with pytest.raises(ModelError, match="cannot be loaded"):
        load_backbone(str(folder), **FLOAT32)


def test_weights_of_another_shape_cannot_be_loaded(copied):
    folder = copied("llama")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"intermediate_size": 48}))
    with pytest.raises(ModelError, match="cannot be loaded"):
        load_backbone(str(folder), **FLOAT32)


@pytest.mark.parametrize("missing", ["config.json", "model.safetensors"])
def test_a_folder_that_is_no_model_says_what_it_needs(copied, missing):
    folder = copied("llama")
    (folder / missing).unlink()
    with pytest.raises(ModelError, match=r"needs config\.json and model\.safetensors"):
        load_backbone(str(folder), **FLOAT32)


def test_a_path_that_is_nowhere_lists_the_short_names():
    with pytest.raises(ModelError, match=f"no model at '/no/where/at/all'.*{next(iter(MODELS))}"):
        load_backbone("/no/where/at/all")


@pytest.mark.parametrize("model", ["mistral", "some-org/not-here"])
def test_a_model_that_is_not_downloaded_says_so_at_once_when_offline(model):
    source = MODELS[model].source if model in MODELS else model
    started = time.monotonic()
    with pytest.raises(ModelError, match=f"hf download {source}") as raised:
        load_backbone(model)
    assert time.monotonic() - started < 5
    assert "HF_HUB_OFFLINE" in str(raised.value)
    assert "=FOLDER" in str(raised.value)


@pytest.mark.parametrize(
    "settings",
    [
        {"dtype": "float8"},
        {"dtype": "nn"},
        {"attention": "telepathy"},
        {"truncation_side": "middle"},
        {"max_length": 0},
        {"max_length": -3},
        {"max_length": 1},  # BOS alone
        {"wings": 2},
        {"weights": "mine"},
        {"device": "abacus"},
    ],
    ids=lambda settings: " ".join(f"{name}={value}" for name, value in settings.items()),
)
def test_a_setting_that_cannot_work_is_refused(model_folder, settings):
    with pytest.raises(ModelError):
        load_backbone(str(model_folder("llama")), **(FLOAT32 | settings))


@pytest.mark.parametrize("alias", MODELS)
def test_every_short_name_can_name_a_model_in_a_cache(alias):
    from lefcache.extract.models import resolve_model

    assert resolve_model(alias).name == alias
    assert resolve_model(MODELS[alias].source).name


def test_a_tokenizer_that_is_an_spm_model_alone_is_read(tmp_path):
    """As the hub has deberta-v3."""
    from sentencepiece import SentencePieceTrainer

    SentencePieceTrainer.train(
        sentence_iterator=iter(SENTENCES * 20),
        model_prefix=str(tmp_path / "spm"),
        vocab_size=60,
        pad_id=0,
        unk_id=1,
        bos_id=-1,
        eos_id=-1,
        user_defined_symbols=["[CLS]", "[SEP]", "[MASK]"],
        hard_vocab_limit=False,
        minloglevel=2,
    )
    Family("deberta-v2", DEBERTA_V3 | {"vocab_size": 80}).make().save_pretrained(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"vocab_type": "spm"}))
    model = load_backbone(f"it={tmp_path}", **FLOAT32)
    [encoded] = model.tokenize(["a cat sat on the mat"])
    words = model.tokenizer.convert_ids_to_tokens(encoded.ids)
    assert (words[0], words[-1], encoded.bos) == ("[CLS]", "[SEP]", True)
    assert "[UNK]" not in words
    assert embed_batch(model, [encoded], ["mean/2"])["mean/2"].isfinite().all()


def test_code_of_an_attention_is_fetched_only_for_who_allows_it(model_folder):
    """A cache or a head names the attention, and may be a stranger's."""
    with pytest.raises(ModelError, match="--trust-remote-code"):
        load_backbone(str(model_folder("bert")), attention="stranger/kernels", device="cpu")


@pytest.mark.parametrize("name", ["attn_implementation", "_attn_implementation"])
def test_a_model_that_asks_for_code_of_an_attention_is_refused(model_folder, tmp_path, name):
    folder = shutil.copytree(model_folder("bert"), tmp_path / "bert")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {name: "stranger/kernels"}))
    with pytest.raises(ModelError, match=r"code from the hub.*--trust-remote-code"):
        load_backbone(str(folder), device="cpu")


PICKLE = """
import os, pickle, sys

class Bomb:
    def __reduce__(self):
        return os.mkdir, (sys.argv[2],)

open(sys.argv[1], "wb").write(pickle.dumps({"a": Bomb()}, protocol=2))
"""


def test_weights_that_are_a_pickle_run_nothing(model_folder, tmp_path, python):
    folder = shutil.copytree(model_folder("bert"), tmp_path / "bert")
    (folder / "model.safetensors").unlink()
    python(PICKLE, folder / "pytorch_model.bin", tmp_path / "run")
    with pytest.raises(ModelError):
        load_backbone(str(folder), device="cpu")
    assert not (tmp_path / "run").exists()


def test_code_beside_a_model_runs_only_for_who_allows_it(model_folder, tmp_path):
    folder = shutil.copytree(model_folder("bert"), tmp_path / "bert")
    config = json.loads((folder / "config.json").read_text())
    (folder / "code.py").write_text(f"open({str(tmp_path / 'run')!r}, 'w')\nclass Config: ...")
    config |= {"model_type": "stranger", "auto_map": {"AutoConfig": "code.Config"}}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError):
        load_backbone(str(folder), device="cpu")
    assert not (tmp_path / "run").exists()


def test_that_code_was_allowed_is_recorded_and_said(model_folder):
    backbone = load_backbone(str(model_folder("bert")), device="cpu", trust_remote_code=True)
    assert backbone.provenance["remote_code"] is True
    assert any("--trust-remote-code" in note for note in backbone.notes)
    assert load_backbone(str(model_folder("bert")), device="cpu").provenance["remote_code"] is False
