"""The bundled decoder is small, whole, a Llama through and through, and as good as it says."""

import math
import re

import numpy as np
import pytest
import torch

import lefcache
from lefcache.bundled import bundled
from lefcache.extract import load_backbone
from lefcache.extract.embed import embed_batch

FOLDER = bundled("tinylm")


@pytest.fixture(scope="module")
def tinylm():
    return load_backbone("tinylm", dtype="float32", device="cpu")


def test_it_is_small_enough_to_come_with_the_package():
    files = [file for file in FOLDER.iterdir() if file.is_file()]
    names = {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}
    assert {file.name for file in files} == names | {"README.md"}
    assert sum(file.stat().st_size for file in files) <= 4_000_000


def test_its_weights_are_all_there_and_all_read():
    from transformers import AutoModel, AutoModelForCausalLM

    for reader in (AutoModel, AutoModelForCausalLM):
        _, info = reader.from_pretrained(FOLDER, output_loading_info=True)
        assert {name: list(keys) for name, keys in info.items() if keys} == {}


def test_its_last_layer_is_the_raw_one_after_the_final_norm(tinylm):
    assert tinylm.layers == (*range(tinylm.depth + 1), "last")
    assert tinylm.aliases == {}
    encoded = tinylm.tokenize(["According to your app my train left tomorrow."])
    names = [f"last/{tinylm.depth}", "last/last"]
    raw, last = (state.numpy() for state in embed_batch(tinylm, encoded, names).values())
    assert np.abs(raw - last).max() > 0.1
    with torch.inference_mode():
        normed = tinylm.network.norm(torch.from_numpy(raw)).numpy()
    np.testing.assert_allclose(last, normed, rtol=1e-4, atol=1e-5)


def test_it_reads_a_bos_token_and_any_text(tinylm):
    text = "Zażółć gęślą jaźń, 猫! 🙂\n\tEnd."
    [encoded] = tinylm.tokenize([text])
    assert encoded.ids[0] == tinylm.tokenizer.bos_token_id
    assert tinylm.tokenizer.decode(encoded.ids, skip_special_tokens=True).strip() == text


def test_no_text_of_the_demo_is_cut(tinylm):
    texts = [text for split in lefcache.read_corpus("demo").splits.values() for text in split.texts]
    assert not any(encoded.cut for encoded in tinylm.tokenize(texts))


@torch.inference_mode()
def test_its_readme_states_the_perplexity_of_the_weights_beside_it():
    from transformers import AutoModelForCausalLM, AutoTokenizer

    readme = (FOLDER / "README.md").read_text(encoding="utf-8")
    [stated] = re.findall(r"^\| test \| 594 \| ([\d,]+) \| ([\d.]+) \|", readme, re.M)
    tokenizer = AutoTokenizer.from_pretrained(FOLDER)
    network = AutoModelForCausalLM.from_pretrained(FOLDER, dtype=torch.float32).eval()
    surprise, tokens = 0.0, 0
    for text in lefcache.read_corpus("demo").splits["test"].texts:  # alone, without padding
        ids = torch.tensor([[*tokenizer(text)["input_ids"], tokenizer.eos_token_id]])
        given = network(ids[:, :-1]).logits[0].log_softmax(-1)
        surprise -= given.gather(1, ids[0, 1:, None]).sum().item()
        tokens += ids.shape[1] - 1
    assert stated[0] == f"{tokens:,}"
    assert float(stated[1]) == pytest.approx(math.exp(surprise / tokens), abs=0.006)
