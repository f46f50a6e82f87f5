"""Too little memory: batches are halved, blocks bounded, and what cannot fit says so."""

import numpy as np
import pytest
import torch

import lefcache.extract.order
from lefcache.cache import open as open_cache
from lefcache.errors import FeatureError, ModelError
from lefcache.extract import estimate, extract, load_backbone, place_order
from lefcache.extract.embed import embed_block
from lefcache.testing import FakeBackbone

CUDA = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
MPS = RuntimeError("MPS backend out of memory (MPS allocated: 17.71 GB, other allocations: 1 MB)")
TEXTS = [" ".join(["x"] * (1 + number % 5)) + f" {number}" for number in range(11)]


class Small(FakeBackbone):
    """A fake on a device that holds only so many texts, and remembers what it was given."""

    def __init__(self, most, error=CUDA, **settings):
        super().__init__(on_forward=self._count, **settings)
        self.most, self.error, self.sizes = most, error, []

    def _count(self, batch):
        self.sizes.append(len(batch))
        if len(batch) > self.most:
            raise self.error


def block(backbone, texts=TEXTS, on_split=None):
    names = [f"{pool}/{layer}" for pool in ("mean", "last") for layer in (0, 2, "last")]
    return embed_block(backbone, texts, names, {}, 1000, on_split=on_split)


@pytest.mark.parametrize("error", [CUDA, MPS], ids=["cuda", "mps"])
@pytest.mark.parametrize("most", [1, 2, 3, 7])
def test_a_batch_too_large_is_halved_to_the_same_numbers(most, error):
    whole, halved = block(FakeBackbone()), block(Small(most, error))
    assert whole.keys() == halved.keys()
    for name, values in whole.items():
        np.testing.assert_array_equal(values, halved[name])


def test_halving_goes_in_order_by_a_fixed_rule():
    split, model = [], Small(3)
    block(model, [f"a {number}" for number in range(11)], split.append)
    assert model.sizes == [11, 6, 3, 3, 5, 3, 2]
    assert split == [11, 6, 5]


def test_the_receipt_says_that_batches_were_halved(cache, make_corpus):
    corpus = make_corpus(train=[f"a {number}" for number in range(11)])
    receipt = extract(Small(3), corpus, cache, batch_tokens=1000)
    assert receipt.notes[0].startswith("3 batches (the largest of 11 texts) did not fit in memory")
    assert receipt.to_json()["halved_batches"] == 3
    again = extract(Small(3), corpus, cache)
    assert (again.notes, again.halved_batches) == ((), 0)
    np.testing.assert_array_equal(np.asarray(cache.rows("fake:1"))[:, 0], [10.5] * 11)


def test_the_cache_remembers_that_batches_were_halved(cache, make_corpus):
    texts = [f"a {number}" for number in range(22)]
    for count in (11, 22):
        extract(Small(3), make_corpus(train=texts), cache, batch_tokens=1000, limit=count)
    assert cache.store.attrs("tiny/fake/train")["halved_batches"] == 3 + 7
    extract(FakeBackbone(name="large"), make_corpus(train=texts), cache)
    assert "halved_batches" not in cache.store.attrs("tiny/large/train")


def test_batches_halved_before_the_run_was_stopped_are_remembered(cache, make_corpus):
    with pytest.raises(ModelError):
        extract(Small(0), make_corpus(train=["a b", "c d"]), cache)
    assert cache.store.attrs("tiny/fake/train")["halved_batches"] == 1


def test_a_single_text_that_does_not_fit_is_named_by_its_length(cache, make_corpus):
    with pytest.raises(ModelError, match=r"single text of 7 tokens does not fit.*--max-length"):
        extract(Small(0), make_corpus(train=["a b c d e f g"]), cache)


def test_another_error_of_torch_is_no_lack_of_memory(cache, make_corpus):
    with pytest.raises(RuntimeError, match="device-side assert"):
        extract(Small(0, RuntimeError("CUDA error: device-side assert")), make_corpus(3), cache)


@pytest.mark.parametrize("error", [CUDA, MPS], ids=["cuda", "mps"])
def test_a_model_that_does_not_fit_says_so(model_folder, monkeypatch, error):
    def full(*_, **__):
        raise error

    monkeypatch.setattr(torch.nn.Module, "to", full)
    told = r"llama does not fit in the memory of cpu as float32: .*--device-map auto"
    with pytest.raises(ModelError, match=told):
        load_backbone(str(model_folder("llama")), dtype="float32", device="cpu")


# The buffer of a block


@pytest.fixture
def buffer(monkeypatch):
    """A function that sets how many bytes a block may take."""
    return lambda size: monkeypatch.setattr(lefcache.extract.order, "BUFFER_BYTES", size)


@pytest.mark.parametrize(("dtype", "rows"), [("float16", 16), ("auto", 8), ("float32", 8)])
def test_a_block_is_counted_as_it_is_held(buffer, make_corpus, dtype, rows):
    buffer(16 * 2 * 2 * 5)  # rows, width, bytes, arrays
    order = place_order(FakeBackbone(), make_corpus(5), block_rows=64, store_dtype=dtype)
    assert order.block_rows == rows


def test_arrays_added_to_a_cache_are_refused_where_a_block_would_not_fit(
    run, cache, make_corpus, buffer, tree_bytes
):
    corpus = make_corpus(40)
    run(corpus, layers="1", block_rows=32)
    buffer(32 * 2 * 4 * 3)  # three new arrays
    before = tree_bytes(cache.path)
    fake = FakeBackbone()
    order = place_order(fake, corpus, layers="0,2..3,last", block_rows=32)
    for ask in (estimate, lambda *wanted: extract(*wanted[:3], order=order)):
        with pytest.raises(FeatureError, match=r"have 32 rows .* 4 arrays .* at most 3 of them"):
            ask(fake, corpus, cache, order)
    assert tree_bytes(cache.path) == before
    for layers in ("0,2", "3,last"):
        run(corpus, layers=layers, block_rows=32)
    assert run(corpus, block_rows=32).computed_blocks == 0


def test_duplicates_are_scattered_one_array_at_a_time():
    import tracemalloc

    texts = [f"w{number % 500}" for number in range(1000)]
    names = [f"mean/{layer}" for layer in range(40)]
    fake = FakeBackbone(depth=40, width=256)
    tracemalloc.start()
    values = embed_block(fake, texts, names, {}, 64)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    held = sum(each.nbytes for each in values.values())
    assert peak < 1.2 * held  # 1.5 if both forms of all arrays were alive


def test_a_halved_block_has_the_same_bytes_again(tmp_path, make_corpus, tree_bytes):
    made = []
    for number in range(2):
        cache = open_cache(tmp_path / str(number))
        extract(Small(2), make_corpus(20), cache, block_rows=8)
        made.append(tree_bytes(cache.path / "tiny/fake/train"))
    assert made[0] == made[1]
