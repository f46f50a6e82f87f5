"""Promise 1 at the command line: estimating and resuming included, each text passes once."""

from collections import Counter

from lefcache.extract import MODELS
from lefcache.extract.huggingface import HuggingFaceBackbone
from lefcache.registry import ModelEntry

TEXTS = ["a cat sat", "no", "yes it is", "the film was very good", "bad", "not good", "three cat"]


def test_each_text_passes_through_the_model_exactly_once(lef, model_folder, monkeypatch, tmp_path):
    passed, forward = Counter(), HuggingFaceBackbone.forward

    def counting(self, batch, layers, deliver):
        passed.update(tuple(encoded.ids) for encoded in batch)
        forward(self, batch, layers, deliver)

    monkeypatch.setattr(HuggingFaceBackbone, "forward", counting)
    monkeypatch.setitem(MODELS, "tiny", ModelEntry(str(model_folder("llama"))))
    (tmp_path / "few").mkdir()
    (tmp_path / "few" / "train.tsv").write_text("\n".join(["text", *TEXTS, ""]))
    words = ("extract", "--data", tmp_path / "few", "--model", "tiny", "--block-rows", 4)
    assert lef(*words, "--dry-run").code == 0
    assert lef(*words, "--limit", 4).code == 0
    assert lef(*words).code == 0
    assert lef(*words).code == 0
    from lefcache.extract import load_backbone

    real = [tuple(each.ids) for each in load_backbone("tiny", device="cpu").tokenize(TEXTS)]
    assert [passed[ids] for ids in real] == [1] * len(TEXTS)
