"""Chinese, Arabic, emoji, a very long document and no text at all, through real tokenizers."""

import numpy as np
import pytest

from lefcache.extract import extract, load_backbone
from lefcache.extract.embed import embed_block

LONG = 20_000
TEXTS = {
    "chinese": "这部电影非常好看，我们都很喜欢。",  # noqa: RUF001
    "arabic": "كان الفيلم جيدًا جدًا وأحببناه كثيرًا.",
    "emoji": "👍🏽 🎬❤️‍🔥 👩‍👩‍👧‍👦",
    "mixed": "The film 电影 was جيد 👍 naïve Ω≈ç\u200b\u0301",
    "document": "好" * LONG,
    "words": "film " * LONG,
    "empty": "",
    "blank": " \n\t",
}
CHARACTERS = sorted({character for text in TEXTS.values() for character in text if character > " "})


def byte_level():
    """The tokenizer of GPT-2 and Llama 3, without a merge: each byte is a token."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: number for number, token in enumerate(["<s>", "</s>", *alphabet])}
    tokenizer = Tokenizer(models.BPE(vocabulary, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", 0)]
    )
    return tokenizer, {"bos_token": "<s>", "eos_token": "</s>"}


def word_pieces():
    """The tokenizer of BERT, whose pieces are single characters."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    pieces = [*CHARACTERS, *(f"##{character}" for character in CHARACTERS)]
    vocabulary = {token: number for number, token in enumerate([*special, *pieces])}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=False)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = ("pad", "unk", "cls", "sep")
    return tokenizer, {f"{n}_token": token for n, token in zip(names, special, strict=True)}


def unigram():
    """The tokenizer of T5 and XLM-R, whose pieces are single characters."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -1.0)]
    pieces += [(character, -2.0) for character in CHARACTERS]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=2))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", 1)]
    )
    return tokenizer, {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}


def network(family, words):
    from transformers import (
        BertConfig,
        BertModel,
        LlamaConfig,
        LlamaModel,
        T5Config,
        T5EncoderModel,
    )

    small = {"vocab_size": words, "hidden_size": 8, "intermediate_size": 8}
    small |= {"num_hidden_layers": 2, "num_attention_heads": 2, "max_position_embeddings": 64}
    if family == "llama":
        return LlamaModel(LlamaConfig(**small))
    if family == "bert":
        return BertModel(BertConfig(**small), add_pooling_layer=False)
    return T5EncoderModel(
        T5Config(vocab_size=words, d_model=8, d_kv=4, d_ff=8, num_layers=2, num_heads=2)
    )


TOKENIZERS = {"llama": byte_level, "bert": word_pieces, "t5": unigram}


@pytest.fixture(scope="module")
def polyglot(tmp_path_factory):
    """A function that loads a tiny model which reads every script: `polyglot("t5")`."""
    import torch
    from transformers import PreTrainedTokenizerFast

    root = tmp_path_factory.mktemp("polyglots")

    def load(family, **settings):
        folder = root / family
        if not folder.exists():
            tokenizer, special = TOKENIZERS[family]()
            with torch.random.fork_rng():
                torch.manual_seed(3)
                network(family, tokenizer.get_vocab_size()).save_pretrained(folder)
            PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special).save_pretrained(folder)
        return load_backbone(
            str(folder), device="cpu", dtype="float32", **({"max_length": 64} | settings)
        )

    return load


@pytest.mark.parametrize("long", ["truncate", "windows"])
@pytest.mark.parametrize("family", TOKENIZERS)
def test_every_script_and_length_is_extracted(polyglot, cache, make_corpus, family, long):
    model = polyglot(family, long=long)
    receipt = extract(model, make_corpus(train=list(TEXTS.values())), cache, pools=["mean", "max"])
    assert receipt.rows == len(TEXTS)
    tokens, cut = cache.pages(family).tokens()
    counted = dict(zip(TEXTS, zip(tokens.tolist(), cut.tolist(), strict=True), strict=True))
    assert all(count >= 1 for count, _ in counted.values())
    for name in ("document", "words"):
        count, was_cut = counted[name]
        assert (count == 64, was_cut) == ((True, True) if long == "truncate" else (False, False))
        assert long == "truncate" or count > LONG
    vectors = np.asarray(cache.rows(f"{family}:2"), np.float32)
    assert np.isfinite(vectors).all()
    shown = [list(TEXTS).index(name) for name in ("chinese", "arabic", "emoji", "mixed", "empty")]
    assert len(np.unique(vectors[shown], axis=0)) == len(shown)


@pytest.mark.parametrize("long", ["truncate", "windows"])
@pytest.mark.parametrize("family", TOKENIZERS)
def test_neighbours_in_other_scripts_do_not_matter(polyglot, family, long):
    model = polyglot(family, long=long)
    texts = [text for name, text in TEXTS.items() if name not in ("document", "words")]
    together = embed_block(model, texts, ["mean/2"], {}, 512)["mean/2"]
    for text, vector in zip(texts, together, strict=True):
        alone = embed_block(model, [text], ["mean/2"], {}, 512)["mean/2"][0]
        np.testing.assert_allclose(alone, vector, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("family", TOKENIZERS)
@pytest.mark.parametrize("before", [{}, {"prompt": "电影 "}, {"instruction": "电影 "}])
def test_windows_lose_no_token_and_repeat_none(polyglot, family, before):
    model = polyglot(family, long="windows", max_length=24, **before)
    prompt = "".join(before.values())
    closing = 0 if family == "llama" else 1
    for text in (TEXTS["chinese"] * 5, TEXTS["arabic"] * 4, TEXTS["emoji"] * 6, TEXTS["mixed"] * 3):
        whole = model.tokenizer(prompt + text)["input_ids"]
        [encoded] = model.tokenize([text])
        inside = [list(each.ids)[: len(each) - closing] for each in encoded.windows]
        size = len(whole) - closing - sum(map(len, inside))  # what is repeated, less than nothing
        head = -size // len(encoded.rest)
        joined = inside[0] + [i for each in inside[1:] for i in each[head:]]
        assert joined == whole[: len(whole) - closing]
        assert all(each[:head] == inside[0][:head] for each in inside)


@pytest.mark.parametrize("text", [" " * 500, "x" + " " * 500, " " * 500 + "x", "\n " * 200 + "好"])
@pytest.mark.parametrize("settings", [{}, {"prompt": "查询: "}, {"chat_template": "<s>a {text} b"}])
def test_windows_of_blanks_are_windows(polyglot, text, settings):
    model = polyglot("llama", long="windows", max_length=24, **settings)
    [encoded] = model.tokenize([text])
    assert all(0 < len(each) <= 24 for each in encoded.windows)
    assert sum(len(each) for each in encoded.windows) >= len(text)
    assert np.isfinite(embed_block(model, [text], ["mean/2"], {}, 512)["mean/2"]).all()
