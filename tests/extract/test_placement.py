"""Models larger than a device: spread over the memory and the disk, to the same numbers."""

import gc
import shutil
from types import SimpleNamespace

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from lefcache.errors import ModelError
from lefcache.extract import examine, extract, load_backbone, loading
from lefcache.extract.embed import embed_batch, embed_in_memory
from lefcache.extract.placement import described, input_device
from lefcache.testing import FakeBackbone

TEXTS = ["a cat sat on the mat", "no", "the film was very good"]
FLOAT32 = {"dtype": "float32"}


def size(network):
    return sum(weight.numel() * weight.element_size() for weight in network.parameters())


@pytest.fixture
def spread(model_folder, backbone):
    """A function that loads a model of which only a part fits in the memory."""

    def load(family, part=0.5, **settings):
        most = int(part * size(backbone(family).network))
        source = settings.pop("source", model_folder(family))
        settings = FLOAT32 | {"device_map": "auto", "max_memory": {"cpu": most}} | settings
        return load_backbone(str(source), **settings)

    return load


def names(model):
    return [f"{pool}/{layer}" for pool in ("mean", "first", "max") for layer in model.layers]


@pytest.mark.parametrize("part", [0.0, 0.6])
@pytest.mark.parametrize("family", ["llama", "bert", "t5"])
def test_weights_on_the_disk_give_the_numbers_of_the_whole_model(family, part, backbone, spread):
    whole, parted = backbone(family), spread(family, part)
    assert any(weight.is_meta for weight in parted.network.parameters())
    assert parted.spec == whole.spec
    assert (parted.layers, parted.aliases, parted.width) == (
        whole.layers,
        whole.aliases,
        whole.width,
    )
    batch = whole.tokenize(TEXTS)
    for _ in range(2):  # weights are fetched anew in each pass
        expected = embed_batch(whole, batch, names(whole))
        found = embed_batch(parted, parted.tokenize(TEXTS), names(whole))
        assert all(torch.equal(found[name], expected[name]) for name in names(whole))


def test_a_pass_that_ends_early_leaves_the_next_one_whole(backbone, spread):
    whole, parted = backbone("llama"), spread("llama", 0.0)
    batch = whole.tokenize(TEXTS)
    for layer in (0, 2, 4, 1):
        name = f"mean/{layer}"
        expected = embed_batch(whole, batch, [name])[name]
        assert torch.equal(embed_batch(parted, batch, [name])[name], expected)
    assert all(weight.is_meta for weight in parted.network.parameters())


def test_a_model_that_fits_is_not_parted(spread):
    model = spread("llama", 4.0)
    assert not any(weight.is_meta for weight in model.network.parameters())
    assert model.provenance["device_map"] == "all on cpu"


def test_only_the_first_blocks_can_be_spread(backbone, spread):
    parted, whole = spread("llama", 0.3, layers=[2]), backbone("llama")
    batch = whole.tokenize(TEXTS)
    expected = embed_batch(whole, batch, ["mean/2"])["mean/2"]
    assert torch.equal(embed_batch(parted, batch, ["mean/2"])["mean/2"], expected)


def test_the_second_model_of_a_drift_is_spread_as_the_first_is(spread, monkeypatch):
    from lefcache.extract import drift

    loaded, load = [], drift.load_backbone

    def remembered(*words, **choices):
        loaded.append(load(*words, **choices))
        return loaded[-1]

    monkeypatch.setattr(drift, "load_backbone", remembered)
    diagnosis = examine(spread("llama", 0.3))
    assert diagnosis.findings[-1].name == "drift"
    assert any(weight.is_meta for weight in loaded[0].network.parameters())


def test_the_cache_says_how_the_model_was_spread(spread, cache, make_corpus):
    model = spread("llama")
    extract(model, make_corpus(train=TEXTS), cache)
    told = cache["tiny"]["llama"]["train"].model_attrs["provenance"]["device_map"]
    assert "on disk" in told
    assert f"spread by accelerate: {told}" in model.notes


def test_what_must_be_written_anew_is_gone_with_the_model(model_folder, spread, tmp_path):
    from safetensors.torch import load_file

    source = shutil.copytree(model_folder("llama"), tmp_path / "binary")
    torch.save(load_file(source / "model.safetensors"), source / "pytorch_model.bin")
    (source / "model.safetensors").unlink()
    model = spread("llama", 0.0, source=source)
    folder = model.placement.offload
    assert list(folder.iterdir())
    embed_batch(model, model.tokenize(TEXTS), ["mean/1"])
    del model
    gc.collect()
    assert not folder.exists()
    spread("llama", 0.0, source=source, offload_folder=tmp_path / "named")
    gc.collect()
    assert list((tmp_path / "named").iterdir())


def test_a_model_that_cannot_be_loaded_leaves_no_folder(model_folder, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    torn = shutil.copytree(model_folder("llama"), tmp_path / "torn")
    (torn / "model.safetensors").write_bytes(b"torn")
    with pytest.raises(ModelError, match="cannot be loaded"):
        load_backbone(str(torn), device_map="auto")
    gc.collect()
    assert list((tmp_path / "temporary").iterdir()) == []


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"device_map": "auto", "device": "cpu"}, "leave out --device or --device-map"),
        ({"device_map": "balanced"}, "'balanced' is not one of none, auto"),
        ({"offload_folder": "there"}, "give --device-map auto too"),
        ({"max_memory": {"cpu": 1}}, "give --device-map auto too"),
    ],
)
def test_what_cannot_be_meant_is_refused(model_folder, settings, told):
    with pytest.raises(ModelError, match=told):
        load_backbone(str(model_folder("llama")), **settings)


def test_a_folder_that_cannot_be_made_is_refused(model_folder, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ModelError, match=r"cannot be offloaded to .*file.*--offload-folder"):
        load_backbone(
            str(model_folder("llama")), device_map="auto", offload_folder=tmp_path / "file"
        )


def test_too_little_memory_while_loading_is_no_torn_file(model_folder, monkeypatch):
    from transformers import LlamaModel

    def full(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    monkeypatch.setattr(LlamaModel, "_load_pretrained_model", full)
    folder = str(model_folder("llama"))
    with pytest.raises(ModelError, match=r"spread it with --device-map auto, or half the bytes"):
        load_backbone(folder, device="cpu", dtype="float32")
    with pytest.raises(ModelError, match="although it is spread") as raised:
        load_backbone(folder, device_map="auto", dtype="bfloat16")
    assert "half the bytes" not in str(raised.value)


def test_gpus_are_counted_and_the_disk_is_no_device():
    network = torch.nn.Sequential(torch.nn.Linear(1, 1))
    network.hf_device_map = {"a": "cpu", "b": "cpu", "c": "disk"}
    assert described(network) == "2 parts on cpu, 1 on disk"
    assert input_device(network) == torch.device("cpu")
    network.hf_device_map = {"a": 0, "b": 1, "c": 1, "d": "disk"}
    assert described(network) == "1 part on GPU 0, 2 on GPU 1, 1 on disk"
    network[0]._hf_hook = SimpleNamespace(execution_device="cuda:1")
    assert input_device(network) == torch.device("cuda:1")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a second device")
def test_layers_on_several_devices_are_gathered():
    class Spread(FakeBackbone):
        def forward(self, batch, layers, deliver):
            def apart(layer, states):
                deliver(layer, states.to("cuda" if layer == 1 else "cpu"))

            super().forward(batch, layers, apart)

    arrays = ["mean/0", "mean/1", "mean/last"]
    batch = FakeBackbone().tokenize(TEXTS)
    for one, other in zip(
        embed_in_memory(Spread(), batch, arrays),
        embed_in_memory(FakeBackbone(), batch, arrays),
        strict=True,
    ):
        assert torch.equal(one, other)


# Apple's GPUs


class NoFloat64(TorchDispatchMode):
    """Refuses what mps has not got, and counts what it let pass."""

    passed = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(made):
            assert not (isinstance(leaf, torch.Tensor) and leaf.dtype == torch.float64), func
        self.passed += 1
        return made


@pytest.mark.parametrize("family", ["llama", "bert", "t5"])
def test_nothing_is_computed_in_float64(family, backbone):
    model = backbone(family)
    arrays = [
        f"{pool}/{layer}"
        for pool in ("mean", "mean_nobos", "last", "first", "max")
        for layer in model.layers
    ]
    with NoFloat64() as seen:
        embed_in_memory(model, model.tokenize(TEXTS), arrays)
    assert seen.passed > len(arrays)  # otherwise it would have looked on at nothing


def test_mps_is_taken_where_torch_has_it(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    device = loading._device("auto")
    assert device == torch.device("mps")
    assert not loading._fast_bfloat16(device)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert loading._device("auto") == torch.device("cpu")
