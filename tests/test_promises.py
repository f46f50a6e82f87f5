"""The six promises of the README, under the same numbers."""

from collections import Counter
from dataclasses import fields, replace

import numpy as np
import pytest

from lefcache.cache import open as open_cache
from lefcache.errors import MismatchError
from lefcache.extract import extract
from lefcache.spec import Spec
from lefcache.testing import FakeBackbone

SETTINGS = {"block_rows": 4, "batch_tokens": 16}
TEXTS = ["a cat sat on the mat", "no", "yes it is", "the film was very good", "", "bad", "not good"]


def test_promise_1_each_text_passes_through_each_model_exactly_once(cache, backbone, make_corpus):
    corpus, model = make_corpus(train=TEXTS, test=["one of three", "two"]), backbone("llama")
    passed, forward = Counter(), model.forward

    def counting(batch, layers, deliver):
        passed.update(tuple(encoded.ids) for encoded in batch)
        forward(batch, layers, deliver)

    texts = [*TEXTS, "one of three", "two"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(model, "forward", counting)
        extract(model, corpus, cache, pools=["mean", "last", "max"], **SETTINGS)
        extract(model, corpus, cache, pools=["mean", "last", "max"], **SETTINGS)
    assert passed == Counter(tuple(encoded.ids) for encoded in model.tokenize(texts))
    assert set(passed.values()) == {1}


STAGE_TWO = """
import sys
sys.modules["transformers"] = sys.modules["accelerate"] = None  # importing them now fails
import lefcache
from lefcache.train import Recipe, train

table = lefcache.open(sys.argv[1]).table("fake:1,fake:2~3,fake:last", split="train")
head, result = train(table, Recipe(epochs=1, width=8, hidden=(8,), dropout=(0.5,)), device="cpu")
print(len(table), "lefcache.extract" in sys.modules)
"""


def test_promise_2_training_never_loads_a_language_model(cache, make_corpus, python):
    extract(FakeBackbone(), make_corpus(40), cache)
    assert python(STAGE_TWO, cache.path) == "40 False\n"


@pytest.mark.parametrize("family", ["llama", "bert", "t5"])
def test_promise_3_a_killed_extraction_resumes_to_the_bytes_of_an_uninterrupted_one(
    cache, tmp_path, backbone, make_corpus, tree_bytes, family
):
    corpus, model = make_corpus(train=TEXTS), backbone(family)
    other, forward, passes = open_cache(tmp_path / "other"), model.forward, []

    def failing(batch, layers, deliver):
        passes.append(len(batch))
        if len(passes) == 3:
            raise KeyboardInterrupt
        forward(batch, layers, deliver)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(model, "forward", failing)
        with pytest.raises(KeyboardInterrupt):
            extract(model, corpus, cache, **SETTINGS)
    receipt = extract(model, corpus, cache, **SETTINGS)
    extract(model, corpus, other, **SETTINGS)
    below = f"tiny/{family}/train"
    assert receipt.skipped_blocks == 1
    assert tree_bytes(cache.path / below) == tree_bytes(other.path / below)


def test_promise_4_a_chunk_is_the_c_order_bytes_of_its_rows(cache, backbone, make_corpus):
    extract(backbone("llama"), make_corpus(train=TEXTS), cache, **SETTINGS)
    for layer, rows in cache["tiny"]["llama"]["train"]["mean"].items():
        folder = cache.path / f"tiny/llama/train/mean/{layer}/c"
        raw = b"".join((folder / f"{chunk}/0").read_bytes() for chunk in range(2))
        assert raw[: rows.nbytes] == np.ascontiguousarray(rows, rows.dtype).tobytes()
        assert raw[rows.nbytes :].count(0) == len(raw) - rows.nbytes


@pytest.mark.parametrize("family", ["llama", "llama-left", "llama-bare", "bert", "t5"])
def test_promise_5_a_vector_is_the_same_alone_and_in_any_batch(
    tmp_path, backbone, make_corpus, family
):
    model, made = backbone(family), []
    for number, (texts, tokens) in enumerate([(TEXTS, 4096), (TEXTS, 1), (TEXTS[::-1], 24)]):
        cache = open_cache(tmp_path / str(number))
        extract(model, make_corpus(train=texts), cache, batch_tokens=tokens, store_dtype="float32")
        made.append(np.stack([cache.rows(f"{family}:{layer}")[:] for layer in model.layers]))
    np.testing.assert_allclose(made[0], made[1], atol=1e-5)
    np.testing.assert_allclose(made[0], made[2][:, ::-1], atol=1e-5)


OTHER = {str: "other", int: 7}


@pytest.mark.parametrize("name", [each.name for each in fields(Spec)])
def test_promise_6_a_changed_setting_is_refused_with_the_difference(cache, make_corpus, name):
    extract(FakeBackbone(), make_corpus(5), cache, **SETTINGS)
    changed = FakeBackbone()
    old = getattr(changed.spec, name)
    changed.spec = replace(changed.spec, **{name: OTHER[type(old)]})
    difference = f"{name}: {old!r} in the cache, {OTHER[type(old)]!r} now"
    with pytest.raises(MismatchError, match=difference):
        extract(changed, make_corpus(5), cache, **SETTINGS)


@pytest.mark.parametrize("row", range(len(TEXTS)))
def test_promise_6_a_changed_character_is_refused_with_its_row(cache, make_corpus, row):
    extract(FakeBackbone(), make_corpus(train=TEXTS), cache, **SETTINGS)
    changed = [text + "." * (number == row) for number, text in enumerate(TEXTS)]
    with pytest.raises(MismatchError, match=rf"row {row} \(counted from 0\) is another text"):
        extract(FakeBackbone(), make_corpus(train=changed), cache, **SETTINGS)


def test_promise_6_a_changed_tensor_is_refused(cache, make_corpus, model_folder, tmp_path):
    import shutil

    from safetensors.torch import load_file, save_file

    from lefcache.extract import load_backbone

    folder = shutil.copytree(model_folder("bert"), tmp_path / "bert")
    settings = {"dtype": "float32", "device": "cpu"}
    extract(load_backbone(str(folder), **settings), make_corpus(train=TEXTS), cache)
    file = folder / "model.safetensors"
    tensors = load_file(file)
    next(iter(tensors.values())).flatten()[0] += 1e-3
    save_file(tensors, file, metadata={"format": "pt"})
    with pytest.raises(MismatchError, match=r"weights: 'sha256:.*' in the cache, 'sha256:.*' now"):
        extract(load_backbone(str(folder), **settings), make_corpus(train=TEXTS), cache)
