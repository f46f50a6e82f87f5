"""A cache never gives the vectors of another model, setting, text or label for those asked for."""

from dataclasses import fields, replace

import numpy as np
import pytest

from lefcache.errors import MismatchError
from lefcache.extract import extract, load_backbone
from lefcache.spec import Spec
from lefcache.testing import FakeBackbone

CUT = {"block_rows": 4, "batch_tokens": 12}


def another(value):
    return value + 1 if isinstance(value, int) else f"another {value}"


@pytest.mark.parametrize("name", [each.name for each in fields(Spec)])
def test_any_other_field_of_the_spec_is_refused_with_the_difference(cache, make_corpus, name):
    corpus, fake = make_corpus(6), FakeBackbone()
    extract(fake, corpus, cache, **CUT)
    old = getattr(fake.spec, name)
    fake.spec = replace(fake.spec, **{name: another(old)})
    with pytest.raises(MismatchError) as refused:
        extract(fake, corpus, cache, **CUT)
    assert f"{name}: {old!r} in the cache, {another(old)!r} now" in str(refused.value)
    assert "--as NAME" in str(refused.value)


def test_one_changed_tensor_under_the_same_name_is_refused(
    cache, make_corpus, model_folder, tmp_path
):
    import torch
    from transformers import AutoModel, AutoTokenizer

    folder, corpus = tmp_path / "same", make_corpus(train=["no", "very good"])
    model = AutoModel.from_pretrained(model_folder("bert"), add_pooling_layer=False)
    AutoTokenizer.from_pretrained(model_folder("bert")).save_pretrained(folder)
    model.save_pretrained(folder)
    loading = {"name": "same", "dtype": "float32", "device": "cpu"}
    extract(load_backbone(str(folder), **loading), corpus, cache, **CUT)
    with torch.no_grad():
        next(model.parameters())[0, 0] += 1
    model.save_pretrained(folder)
    with pytest.raises(MismatchError, match="weights: "):
        extract(load_backbone(str(folder), **loading), corpus, cache, **CUT)


def test_results_of_old_labels_are_stale(cache, make_corpus):
    from lefcache.corpus import Split
    from lefcache.study import sweep

    def swept():
        return sweep(cache.tables("fake:1..2"), results=cache.results)

    corpus = make_corpus(24)
    extract(FakeBackbone(), corpus, cache, **CUT)
    assert (swept().cached, swept().cached) == (False, True)
    labels = corpus.splits["train"].labels.copy()
    labels[3] = 1 - labels[3]
    corrected = {"train": Split(corpus.splits["train"].texts, labels)}
    [note] = extract(FakeBackbone(), replace(corpus, splits=corrected), cache, **CUT).notes
    assert "1 corrected label" in note
    assert swept().cached is False


def test_appended_rows_cost_the_new_blocks_and_the_partial_one(cache, make_corpus):
    texts = make_corpus(15).splits["train"].texts
    extract(FakeBackbone(), make_corpus(train=texts[:10]), cache, layers="1", **CUT)
    before = np.asarray(cache.rows("fake:1"))
    receipt = extract(FakeBackbone(), make_corpus(train=texts), cache, layers="1", **CUT)
    assert (receipt.computed_blocks, receipt.skipped_blocks) == (2, 2)
    np.testing.assert_array_equal(cache.rows("fake:1")[:10], before)


def test_layers_and_poolings_added_later_touch_nothing_old(cache, make_corpus, tree_bytes):
    corpus, here = make_corpus(10), cache.path / "tiny/fake/train"
    extract(FakeBackbone(), corpus, cache, layers="1", **CUT)
    before = tree_bytes(here)
    extract(FakeBackbone(), corpus, cache, layers="1..2", pools=["mean", "max"], **CUT)
    after = tree_bytes(here)
    assert {name for name in before if after[name] != before[name]} == {"zarr.json"}
