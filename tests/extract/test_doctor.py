"""Sound models are found to be sound, and every defect, injected, is found under its name."""

import itertools
import json
import pickle
import shlex
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

import lefcache
from lefcache.errors import ModelError
from lefcache.extract import DefectError, examine, extract, load_backbone
from lefcache.extract.checks import CHECKS
from lefcache.extract.checks.probe import distance
from lefcache.extract.doctor import examine_stored
from lefcache.extract.finding import Diagnosis, Finding

CPU = {"dtype": "float32", "device": "cpu"}
ROWS = ["a cat sat on the mat", "no", "yes it is", "the film was very good", "", "bad", "no"]


@pytest.fixture
def fresh(model_folder):
    """A function that loads a tiny model for one test, which may spoil it."""
    return lambda family="llama", **settings: load_backbone(
        str(model_folder(family)), checked=False, **(CPU | settings)
    )


@pytest.fixture
def spoilt(model_folder, tmp_path):
    """A function that copies a model's folder and changes its tensors, config or tokenizer."""

    def spoil(family="llama", tensors=None, config=None, tokenizer=None):
        from safetensors.torch import load_file, save_file

        folder = shutil.copytree(model_folder(family), tmp_path / "spoilt")
        if tensors:
            file = folder / "model.safetensors"
            held = load_file(file)
            tensors(held)
            save_file(held, file, metadata={"format": "pt"})
        if config:
            file = folder / "config.json"
            file.write_text(json.dumps(json.loads(file.read_text()) | config))
        if tokenizer:
            tokenizer.save_pretrained(folder)
        return str(folder)

    return spoil


def wrong(diagnosis):
    return [each.name for each in diagnosis.wrong]


def found(backbone, name, verdict="wrong", **settings):
    """The finding of this name, which must be of this verdict."""
    diagnosis = examine(backbone, **({"with_drift": False} | settings))
    [finding] = [each for each in diagnosis.findings if each.name == name]
    assert finding.verdict == verdict, str(finding)
    assert verdict != "wrong" or finding.fix
    return finding


def after(module, change):
    """Put a change behind a module's output, whatever it is wrapped in."""

    def hook(_, __, output):
        if isinstance(output, tuple):
            return (change(output[0]), *output[1:])
        return change(output)

    module.register_forward_hook(hook)


@pytest.mark.parametrize("family", ["llama", "llama-left", "llama-bare", "bert", "t5"])
def test_a_sound_model_is_ok_in_everything(fresh, family):
    diagnosis = examine(fresh(family))
    assert {each.verdict for each in diagnosis.findings} == {"ok"}, diagnosis.findings
    assert [each.name for each in diagnosis.findings] == [*CHECKS, "drift"]
    assert diagnosis.verdict == f"{family} is sound: 16 checks, nothing wrong."


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("family", ["llama", "bert", "t5"])
def test_a_sound_model_is_sound_in_narrow_arithmetic(fresh, family, dtype):
    assert wrong(examine(fresh(family, dtype=dtype))) == []


def test_checks_are_announced_one_by_one(fresh):
    said = []
    examine(fresh(), ["a cat", "no"], with_drift=False, on_check=said.append)
    assert said == ["probe", *CHECKS]


def test_a_model_without_a_list_of_blocks_is_sound_with_notes(fresh):
    model = fresh()
    model.blocks, model.layers = None, (0, 1, 2, 3, "last")
    diagnosis = examine(model, with_drift=False)
    assert wrong(diagnosis) == []
    notes = [each.name for each in diagnosis.findings if each.verdict == "note"]
    assert notes == ["depth", "final norm"]
    assert diagnosis.verdict.endswith("nothing wrong, 2 notes.")


def test_the_verdict_names_what_is_wrong():
    findings = (Finding("a", "ok", ""), Finding("b", "wrong", ""), Finding("c", "note", ""))
    diagnosis = Diagnosis("m", findings)
    assert "1 of 3 checks found something wrong (b)" in diagnosis.verdict
    assert not diagnosis.to_json()["sound"]


# Weights


def test_missing_weights(spoilt):
    folder = spoilt(tensors=lambda held: held.pop("layers.1.mlp.up_proj.weight"))
    with pytest.raises(DefectError, match=r"weights: .*lef doctor --model") as raised:
        load_backbone(folder, checked=False, **CPU)
    [finding] = raised.value.findings
    assert (finding.name, finding.verdict) == ("weights", "wrong")
    assert "layers.1.mlp.up_proj.weight (1 in all)" in finding.found
    sent = pickle.loads(pickle.dumps(raised.value))  # as the worker of a cluster does
    assert (str(sent), sent.findings) == (str(raised.value), raised.value.findings)


def test_files_of_more_blocks_than_the_config(spoilt):
    with pytest.raises(DefectError, match=r"depth: .*blocks that its config leaves out: layers\.3"):
        load_backbone(spoilt(config={"num_hidden_layers": 3}), **CPU)


def test_loading_the_first_blocks_only_is_no_defect(model_folder):
    assert load_backbone(str(model_folder("llama")), layers=[1], **CPU).layers == (0, 1, 2)


@pytest.mark.parametrize("family", ["llama", "bert", "t5"])
def test_a_tensor_that_is_not_the_files(fresh, family):
    model = fresh(family)
    *_, (name, weight) = (each for each in model.blocks.named_parameters() if each[1].ndim > 1)
    torch.nn.init.normal_(weight, std=0.02)
    assert name in found(model, "weights").found


def test_weights_of_a_head_model_have_another_prefix(spoilt):
    def prefix(held):
        for name in list(held):
            held[f"model.{name}"] = held.pop(name)

    assert wrong(examine(load_backbone(spoilt(tensors=prefix), **CPU), with_drift=False)) == []


def test_weights_in_the_old_format(fresh, tmp_path, model_folder):
    from safetensors.torch import load_file

    folder = shutil.copytree(model_folder("bert"), tmp_path / "old")
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    model = load_backbone(str(folder), **CPU)
    found(model, "weights", "ok")
    model.network.encoder.layer[0].output.dense.weight.mul_(2)
    assert "1 of" in found(model, "weights").found


def test_a_tensor_that_no_file_names_is_a_note(fresh):
    model = fresh()
    model.network.register_parameter("extra", torch.nn.Parameter(torch.randn(5, 3)))
    assert "extra" in found(model, "weights", "note").found


def test_every_check_counts_the_same_tensors(fresh):
    model = fresh("bert")
    model.network.register_module("pooler", torch.nn.Linear(16, 16))  # that no vector goes through
    named = len([*model.network.parameters()]) - 2
    assert found(model, "weights", "ok").found.startswith(f"{named} of {named} tensors")
    assert found(model, "damage", "ok").found.startswith(f"{named} tensors")


def test_a_zeroed_tensor(spoilt):
    folder = spoilt(tensors=lambda held: held["layers.2.self_attn.v_proj.weight"].zero_())
    finding = found(load_backbone(folder, **CPU), "damage")
    assert "one number only: layers.2.self_attn.v_proj.weight" in finding.found


def test_a_constant_tensor_outside_the_blocks_is_a_note(spoilt):
    name = "embeddings.token_type_embeddings.weight"
    folder = spoilt("bert", tensors=lambda held: held[name].zero_())
    assert name in found(load_backbone(folder, **CPU), "damage", "note").found


def test_nan_in_the_weights(spoilt):
    folder = spoilt(tensors=lambda held: held["layers.3.mlp.up_proj.weight"][0].fill_(np.nan))
    with pytest.raises(DefectError, match=r"magnitude: NaN or infinity .* the first is 4"):
        load_backbone(folder, **CPU)
    model = load_backbone(folder, checked=False, **CPU)
    assert "1 with NaN or infinity" in found(model, "damage").found


def test_dropout_left_on(fresh):
    model = fresh("bert")
    model.network.train()
    names = wrong(examine(model, with_drift=False))
    assert "evaluation" in names
    assert "repeatable" in names


# Tokens


def test_more_tokens_than_the_table_holds(spoilt, fresh):
    tokenizer = fresh().tokenizer
    tokenizer.add_tokens([f"more{number}" for number in range(20)])
    with pytest.raises(DefectError, match=r"vocabulary: .*only 32 tokens"):
        load_backbone(spoilt(tokenizer=tokenizer), **CPU)


def twice(opening, closing):
    """A tokenizer whose post-processor adds a special token once too often."""
    from tokenizers import processors

    def change(tokenizer):
        known = tokenizer.get_vocab()
        tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
            single=" ".join(f"{opening} $A {closing}".split()),
            special_tokens=[(token, known[token]) for token in ("<s>", "</s>")],
        )

    return change


@pytest.mark.parametrize(
    ("around", "what"),
    [(("<s> <s>", ""), "begin with <s> twice"), (("<s>", "</s> </s>"), "end with </s> twice")],
)
def test_a_special_token_added_twice(fresh, around, what):
    model = fresh()
    twice(*around)(model.tokenizer)
    assert what in found(model, "special tokens").found


def test_a_bos_in_the_prompt_beside_that_of_the_tokenizer(fresh):
    finding = found(fresh(prompt="<s>"), "special tokens")
    assert "<s> twice" in finding.found
    assert "--prompt" in finding.fix


def test_another_bos_than_the_config_speaks_of_is_a_note(spoilt):
    model = load_backbone(spoilt(config={"bos_token_id": 7}), **CPU)
    assert "bos_token_id 7" in found(model, "special tokens", "note").found


def test_a_bos_that_is_not_added_is_a_note(fresh):
    model = fresh()
    twice("", "")(model.tokenizer)
    assert "'<s>' and does not add it" in found(model, "special tokens", "note").found


def test_long_texts_that_are_not_cut(fresh, monkeypatch):
    model = fresh()
    tokenize, cut = model.tokenize, model.spec
    monkeypatch.setattr(model, "tokenize", lambda texts: _uncut(model, tokenize, texts, cut))
    assert "the limit is 64 tokens" in found(model, "truncation").found


def _uncut(model, tokenize, texts, spec):
    model.spec = replace(spec, max_length=9_999)
    try:
        return tokenize(texts)
    finally:
        model.spec = spec


def test_cut_texts_that_are_not_counted(fresh, monkeypatch):
    model = fresh()
    monkeypatch.setattr(model, "_cuts", lambda texts, batch: [False] * len(texts))
    assert "is not counted as cut" in found(model, "truncation").found


def test_long_texts_in_windows_are_sound(fresh, monkeypatch):
    model = fresh(long="windows", max_length=12)
    assert "is read in 6 windows of up to 12" in found(model, "truncation", "ok").found
    model.spec = replace(model.spec, max_length=10)
    monkeypatch.setattr(model, "tokenize", fresh(long="windows", max_length=60).tokenize)
    assert "the limit is 10" in found(model, "truncation").found


# Layers


def delivering(model, monkeypatch, change):
    """Let `change(layer, states, seen)` say what is delivered as a layer."""
    forward = model.forward

    def changed(batch, layers, deliver):
        seen = {}

        def hand(layer, states):
            seen[layer] = states.clone()
            deliver(layer, change(layer, states, seen))

        forward(batch, layers, hand)

    monkeypatch.setattr(model, "forward", changed)


def test_a_hook_off_by_one(fresh, monkeypatch):
    model = fresh()
    delivering(
        model,
        monkeypatch,
        lambda layer, states, seen: seen[layer - 1] if layer in (2, 3) else states,
    )
    finding = found(model, "hooks")
    assert "2 of 5 layers" in finding.found
    assert "the first is 2" in finding.found


@pytest.mark.parametrize("states", [None, ()])
def test_a_model_that_reports_no_states(fresh, states):
    model = fresh()
    forward = model.network.forward

    def silent(**inputs):
        output = forward(**inputs)
        output["hidden_states"] = states
        output.hidden_states = states
        return output

    model.network.forward = silent
    assert "4 blocks" in found(model, "hooks").found


def test_blocks_that_are_left_out(fresh):
    model = fresh()
    model.blocks = model.blocks[:3]
    diagnosis = [check(_probe(model)) for name, check in CHECKS.items() if name == "depth"]
    assert "3 blocks are read, its config says 4" in diagnosis[0].found


def _probe(model):
    from lefcache.extract.checks.probe import Probe

    return Probe(model, model.tokenize(["a cat"]), [], [])


def test_a_top_layer_that_is_normed_already(fresh, monkeypatch):
    model = fresh()
    norm = model.network.norm
    delivering(model, monkeypatch, lambda layer, states, _: norm(states) if layer == 4 else states)
    assert "no norm of the model makes `last`" in found(model, "final norm").found


def test_a_last_state_that_is_not_normed(fresh, monkeypatch):
    model = fresh()
    delivering(
        model, monkeypatch, lambda layer, states, seen: seen[4] if layer == "last" else states
    )
    assert wrong(examine(model, with_drift=False)) == ["hooks", "final norm"]


def test_a_last_state_without_a_norm_that_explains_it_is_a_note(fresh):
    model = fresh()
    model.network.norm = torch.nn.Linear(16, 16)
    found(model, "final norm", "note")


def test_large_values_are_a_note_that_says_what_happens_to_them(fresh):
    model = fresh()
    after(model.blocks[2], lambda states: states * 1e6)
    assert "2 of 6 layers will be stored as float32" in found(model, "magnitude", "note").found


def test_states_that_are_not_finite(fresh):
    model = fresh()
    after(model.blocks[1], lambda states: states * np.inf)
    finding = found(model, "magnitude")
    assert "the first is 2" in finding.found
    assert None in finding.to_json()["figures"].values()


# Rows


def test_a_module_that_draws_random_numbers(fresh):
    model = fresh()
    after(model.blocks[0], lambda states: states + torch.randn_like(states))
    assert "something random" in found(model, "repeatable").fix


def test_last_bits_that_change_are_a_note(fresh):
    model, passes = fresh(), itertools.count()
    after(model.blocks[0], lambda states: states * (1 + 1e-6 * next(passes)))
    found(model, "repeatable", "note")


def test_a_batch_norm(fresh):
    model = fresh()
    after(model.blocks[1], lambda states: states - states.mean(0, keepdim=True))
    finding = found(model, "neighbours")
    assert "change with the texts beside it" in finding.found
    assert finding.figures["1"] < 1e-5
    assert finding.figures["2"] > 1e-3


def test_rows_that_know_their_place(fresh):
    model = fresh()
    after(
        model.blocks[0],
        lambda states: states + torch.arange(len(states))[:, None, None].to(states.dtype),
    )
    found(model, "batch order")


def test_a_mask_that_is_ignored(fresh):
    model = fresh("bert")
    forward = model.network.forward

    def blind(attention_mask, **inputs):
        return forward(attention_mask=torch.ones_like(attention_mask), **inputs)

    model.network.forward = blind
    names = wrong(examine(model, with_drift=False))
    assert names == ["neighbours", "padding"]
    assert "reads its padding" in found(model, "padding").found


def changed_inputs(model, monkeypatch, change):
    inputs = model._inputs
    monkeypatch.setattr(model, "_inputs", lambda batch: change(inputs(batch)))


def test_texts_padded_on_the_left(fresh, monkeypatch):
    model = fresh()
    changed_inputs(
        model, monkeypatch, lambda inputs: {name: each.flip(1) for name, each in inputs.items()}
    )
    assert "padded on the left" in found(model, "padding").found


def test_padding_that_is_attended_to(fresh, monkeypatch):
    model = fresh("bert")
    changed_inputs(
        model,
        monkeypatch,
        lambda inputs: inputs | {"attention_mask": torch.ones_like(inputs["attention_mask"])},
    )
    assert "padding is read as text" in found(model, "padding").found


def test_a_causal_model_that_looks_ahead(fresh):
    model = fresh()
    after(model.blocks[1], lambda states: states + states.mean(1, keepdim=True))
    finding = found(model, "direction")
    assert "bidirectional" in finding.found
    assert "declares to be causal" in finding.found


def test_a_bidirectional_model_that_does_not_look_ahead(fresh):
    model = fresh("bert")
    model.network.config.is_causal = False
    for module in model.network.modules():
        if hasattr(module, "query"):
            after(module, torch.zeros_like)
    for block in model.blocks:
        after(block.attention.output.dense, torch.zeros_like)
    assert "declares to be bidirectional" in found(model, "direction").found


# Arithmetic


def test_narrow_arithmetic_that_drifts(fresh):
    model = fresh(dtype="bfloat16")
    after(model.blocks[2], lambda states: states + states.roll(1, -1))
    finding = found(model, "drift", with_drift=True)
    assert "bfloat16 against float32" in finding.found
    assert finding.figures["2"] > 0.99
    assert finding.figures["3"] < 0.9


def test_bfloat16_that_would_drift_is_a_note(fresh):
    model = fresh()
    after(model.blocks[2], lambda states: states + states.roll(1, -1))
    assert "keep --dtype float32" in found(model, "drift", "note", with_drift=True).fix


def test_a_second_load_that_fails_is_a_note(fresh, monkeypatch):
    def full(*_, **__):
        raise ModelError("does not fit")

    model = fresh()
    monkeypatch.setattr("lefcache.extract.drift.load_backbone", full)
    assert "does not fit" in found(model, "drift", "note", with_drift=True).found


def test_a_distance_is_relative_to_the_token_and_sees_nan():
    other = torch.tensor([[100.0, 1.0], [0.5, 0.25], [0.0, 0.0]])
    assert distance(other, other) == 0
    assert distance(other + torch.tensor([[1.0, 0], [0, 0], [0, 0]]), other) == pytest.approx(0.01)
    assert distance(other * torch.nan, other) == distance(other[:2], other) == np.inf


# The short form


def test_loading_examines_in_two_passes(model_folder, monkeypatch):
    from lefcache.extract.huggingface import HuggingFaceBackbone

    passes, forward = [], HuggingFaceBackbone.forward

    def counted(self, batch, layers, deliver):
        passes.append(len(batch))
        forward(self, batch, layers, deliver)

    monkeypatch.setattr(HuggingFaceBackbone, "forward", counted)
    load_backbone(str(model_folder("llama")), **CPU)
    assert passes == [1, 2]


def test_loading_refuses_a_model_that_reads_its_padding(model_folder, monkeypatch):
    from lefcache.extract.huggingface import HuggingFaceBackbone

    inputs = HuggingFaceBackbone._inputs

    def seen(self, batch):
        return {
            name: each | (name == "attention_mask") for name, each in inputs(self, batch).items()
        }

    monkeypatch.setattr(HuggingFaceBackbone, "_inputs", seen)
    with pytest.raises(ModelError, match=r"neighbours: .*lef doctor --model \S+bert"):
        load_backbone(str(model_folder("bert")), **CPU)
    assert load_backbone(str(model_folder("bert")), checked=False, **CPU).depth == 3


# What a cache holds


@pytest.fixture
def kept(backbone, make_corpus, cache):
    """A model, a corpus, and a cache that holds the one's vectors of the other."""
    model, corpus = backbone("llama"), make_corpus(train=ROWS, test=ROWS[:3])
    extract(model, corpus, cache, pools=["mean", "last"], block_rows=4, batch_tokens=16)
    return model, corpus, cache


def verdicts(findings):
    return {each.name: each.verdict for each in findings}


def test_a_cache_holds_what_the_model_gives(kept):
    model, corpus, cache = kept
    findings = examine_stored(cache, model, corpus)
    assert set(verdicts(findings).values()) == {"ok"}
    assert len(findings) == 5
    assert "bit for bit" in findings[1].found


def test_other_numbers_in_a_cache_are_found(kept):
    model, corpus, cache = kept
    file = cache.path / "tiny/llama/train/mean/2/c/0/0"
    values = np.fromfile(file, np.float16)
    (values * np.float16(1.1)).tofile(file)
    found = verdicts(examine_stored(lefcache.open(cache.path), model, corpus))
    assert [name for name, verdict in found.items() if verdict == "wrong"] == [
        "cache train, in its batches",
        "cache train, alone",
    ]


def test_a_cache_of_other_settings_is_found(kept, backbone):
    _, corpus, cache = kept
    first, *_ = examine_stored(cache, backbone("llama", prompt="very "), corpus)
    assert (first.name, first.verdict) == ("cache settings", "wrong")
    assert "prompt" in first.found


def test_a_cache_of_other_texts_is_found(kept, make_corpus):
    model, _, cache = kept
    findings = examine_stored(cache, model, make_corpus(train=[*ROWS[:-1], "yes"]))
    assert verdicts(findings)["cache train"] == "wrong"


def test_a_cache_without_the_model_is_skipped(cache, backbone, make_corpus):
    model = backbone("llama", prompt="very ")
    [finding] = examine_stored(cache, model, make_corpus(3))
    assert finding.verdict == "skipped"
    assert "is not in the cache" in finding.found
    words = shlex.split(finding.fix.partition(": ")[2])
    assert words[:4] == ["lef", "extract", "--cache", str(cache.path)]
    assert words[words.index("--data") + 1] == "demo"
    assert words[words.index("--model") + 1].endswith(model.source)
    assert words[words.index("--prompt") + 1] == "very "
