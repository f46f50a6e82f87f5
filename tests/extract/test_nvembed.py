"""NV-Embed against its formulas, said here once more in float64 and one text at a time."""

import json
import os
from dataclasses import replace
from math import erf, sqrt

import numpy as np
import pytest
import torch

from lefcache.errors import FeatureError, ModelError
from lefcache.extract import MODELS, Encoded, extract, load_backbone
from lefcache.extract.doctor import examine_stored
from lefcache.extract.embed import embed_batch, span_of
from lefcache.extract.nvembed import _without_weights
from lefcache.predict import Predictor
from lefcache.recipe import Recipe
from lefcache.spec import Spec
from lefcache.train import train

WIDTH, DEPTH, HEADS, GROUPS, INNER = 16, 3, 4, 2, 24
LATENTS, CROSS_HEADS, CROSS_WIDTH = 5, 2, 6
EPS, THETA = 1e-5, 500.0
WORDS = ["a", "bad", "cat", "film", "good", "it", "no", "the", "very", "was"]
TEXTS = ["the cat was very very good", "no", "it was a bad bad film", "", "good film"]
ARRAYS = [*(f"mean/{layer}" for layer in (*range(DEPTH + 1), "last")), "own/last"]
INSTRUCTION = "the film "
FLOAT32 = {"dtype": "float32", "device": "cpu"}

# As the hub has it; what is left out there are the defaults of the code that comes with it.
CONFIG = {
    "_name_or_path": "nvidia/NV-Embed-v2",
    "add_eos": True,
    "add_pad_token": True,
    "architectures": ["NVEmbedModel"],
    "auto_map": {
        "AutoConfig": "configuration_nvembed.NVEmbedConfig",
        "AutoModel": "modeling_nvembed.NVEmbedModel",
    },
    "hidden_size": WIDTH,
    "is_mask_instruction": True,
    "latent_attention_config": {
        "model_type": "latent_attention",
        "num_latents_value": LATENTS,
        "num_cross_heads": CROSS_HEADS,
        "cross_dim_head": CROSS_WIDTH,
        "hidden_dim": WIDTH,
        "latent_dim": WIDTH,
        "output_normalize": True,
    },
    "mask_type": "b",
    "model_type": "nvembed",
    "padding_side": "right",
    "text_config": {
        "_name_or_path": "nvidia/NV-Embed-v2",
        "model_type": "bidir_mistral",
        "hidden_size": WIDTH,
        "intermediate_size": INNER,
        "num_hidden_layers": DEPTH,
        "num_attention_heads": HEADS,
        "num_key_value_heads": GROUPS,
        "max_position_embeddings": 64,
        "rms_norm_eps": EPS,
        "rope_theta": THETA,
        "sliding_window": 4,  # which the published code does not look at
        "vocab_size": 3 + 1 + 2 * len(WORDS),
        "torchscript": False,
    },
    "torch_dtype": "float32",
    "transformers_version": "4.42.4",
}


def shapes():
    """Every published name with its shape."""
    head, inner = WIDTH // HEADS, CROSS_HEADS * CROSS_WIDTH
    block = {
        "input_layernorm": (WIDTH,),
        "post_attention_layernorm": (WIDTH,),
        "self_attn.q_proj": (HEADS * head, WIDTH),
        "self_attn.k_proj": (GROUPS * head, WIDTH),
        "self_attn.v_proj": (GROUPS * head, WIDTH),
        "self_attn.o_proj": (WIDTH, HEADS * head),
        "mlp.gate_proj": (INNER, WIDTH),
        "mlp.up_proj": (INNER, WIDTH),
        "mlp.down_proj": (WIDTH, INNER),
    }
    mistral = {"embed_tokens": (CONFIG["text_config"]["vocab_size"], WIDTH), "norm": (WIDTH,)}
    for number in range(DEPTH):
        mistral |= {f"layers.{number}.{name}": shape for name, shape in block.items()}
    named = {f"embedding_model.{name}.weight": shape for name, shape in mistral.items()}
    cross = {
        "0.norm.weight": (WIDTH,),
        "0.norm.bias": (WIDTH,),
        "0.norm_context.weight": (WIDTH,),
        "0.norm_context.bias": (WIDTH,),
        "0.fn.to_q.weight": (inner, WIDTH),
        "0.fn.to_kv.weight": (2 * inner, WIDTH),
        "0.fn.to_out.weight": (WIDTH, inner),
        "1.norm.weight": (WIDTH,),
        "1.norm.bias": (WIDTH,),
        "1.fn.net.0.weight": (8 * WIDTH, WIDTH),
        "1.fn.net.0.bias": (8 * WIDTH,),
        "1.fn.net.2.weight": (WIDTH, 4 * WIDTH),
        "1.fn.net.2.bias": (WIDTH,),
    }
    latent = {f"cross_attend_blocks.{name}": shape for name, shape in cross.items()}
    latent["latents"] = (LATENTS, WIDTH)
    return named | {f"latent_attention_model.{name}": shape for name, shape in latent.items()}


def random_weights():
    """Weights large enough for every term of every formula to show."""
    generator = np.random.default_rng(11)
    return {
        name: generator.uniform(0.5, 2.0, shape)
        if "norm" in name and name.endswith("weight")
        else generator.standard_normal(shape) * 0.25
        for name, shape in shapes().items()
    }


def write_tokenizer(folder):
    """One token a word, with the blanks and special tokens of Llama's and Mistral's own."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    pieces = ["<unk>", "<s>", "</s>", "▁", *(f"{b}{word}" for b in ("▁", "") for word in WORDS)]
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
    tokenizer.add_special_tokens(["<unk>", "<s>", "</s>"])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", 1)]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {
        "add_bos_token": True,
        "add_eos_token": False,
        "bos_token": "<s>",
        "eos_token": "</s>",
        "unk_token": "<unk>",
        "legacy": True,
        "model_max_length": 1000000000000000019884624838656,
        "tokenizer_class": "LlamaTokenizer",
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))


def write_weights(folder, weights):
    """Two shards and their index, as the hub has four."""
    from safetensors.torch import save_file

    names = sorted(weights)
    files = {"model-00001-of-00002.safetensors": names[::2]}
    files["model-00002-of-00002.safetensors"] = names[1::2]
    for file, held in files.items():
        tensors = {name: torch.from_numpy(weights[name].astype(np.float32)) for name in held}
        save_file(tensors, folder / file, metadata={"format": "pt"})
    index = {name: file for file, held in files.items() for name in held}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))


@pytest.fixture(scope="session")
def weights():
    return random_weights()


@pytest.fixture
def written(tmp_path, weights):
    """A function that writes the folder of a tiny NV-Embed, with some changes."""

    def write(config=CONFIG, **changed):
        folder = tmp_path / "nvembed"
        folder.mkdir(exist_ok=True)
        (folder / "config.json").write_text(json.dumps(config))
        write_tokenizer(folder)
        named = {name.replace("__", "."): value for name, value in changed.items()}
        kept = {name: value for name, value in (weights | named).items() if value is not None}
        write_weights(folder, kept)
        return folder

    return write


@pytest.fixture(scope="session")
def folder(tmp_path_factory, weights):
    folder = tmp_path_factory.mktemp("hub") / "nvembed"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(CONFIG))
    write_tokenizer(folder)
    write_weights(folder, weights)
    return folder


@pytest.fixture(scope="session")
def loaded(folder):
    """A function that loads the tiny NV-Embed, once for each settings."""
    models = {}

    def load(**settings):
        key = tuple(settings.items())
        if key not in models:
            models[key] = load_backbone(str(folder), **(FLOAT32 | settings))
        return models[key]

    return load


# The formulas. One text, no padding, float64.


def softmax(scores):
    shares = np.exp(scores - scores.max(-1, keepdims=True))
    return shares / shares.sum(-1, keepdims=True)


def rms_norm(states, weight):
    return weight * states / np.sqrt((states**2).mean(-1, keepdims=True) + EPS)


def layer_norm(states, weight, bias):
    centred = states - states.mean(-1, keepdims=True)
    return weight * centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5) + bias


def rotate(states):
    """(T, heads, d): pairs (i, i + d/2) turned by position * theta^(-2i/d)."""
    half = states.shape[-1] // 2
    angle = np.arange(len(states))[:, None] * THETA ** (-np.arange(half) / half)  # (T, d/2)
    cos, sin = np.cos(angle)[:, None], np.sin(angle)[:, None]
    one, two = states[..., :half], states[..., half:]
    return np.concatenate([one * cos - two * sin, two * cos + one * sin], -1)


def attention(states, get):
    """Every token sees every token; each pair of query heads shares a key and a value head."""
    tokens, width = len(states), WIDTH // HEADS
    query = rotate((states @ get("q_proj").T).reshape(tokens, HEADS, width))
    key = rotate((states @ get("k_proj").T).reshape(tokens, GROUPS, width))
    value = (states @ get("v_proj").T).reshape(tokens, GROUPS, width)
    read = []
    for head in range(HEADS):
        group = head // (HEADS // GROUPS)
        scores = query[:, head] @ key[:, group].T / sqrt(width)
        read.append(softmax(scores) @ value[:, group])
    return np.concatenate(read, -1) @ get("o_proj").T


def mistral(weights, ids):
    """The raw states (T, D) of layers 0..n, and those after the final norm."""
    states = weights["embedding_model.embed_tokens.weight"][ids]
    every = [states]
    for number in range(DEPTH):

        def get(name, number=number):
            return weights[f"embedding_model.layers.{number}.{name}.weight"]

        normed = rms_norm(states, get("input_layernorm"))
        states = states + attention(normed, lambda name, get=get: get(f"self_attn.{name}"))
        normed = rms_norm(states, get("post_attention_layernorm"))
        gate = normed @ get("mlp.gate_proj").T
        gated = gate / (1 + np.exp(-gate)) * (normed @ get("mlp.up_proj").T)
        states = states + gated @ get("mlp.down_proj").T
        every.append(states)
    return every, rms_norm(states, weights["embedding_model.norm.weight"])


def latent_attention(weights, states):
    def get(name):
        return weights[f"latent_attention_model.{name}"]

    def block(name):
        return get(f"cross_attend_blocks.{name}")

    normed = layer_norm(states, block("0.norm.weight"), block("0.norm.bias"))
    context = layer_norm(
        get("latents"), block("0.norm_context.weight"), block("0.norm_context.bias")
    )
    query = normed @ block("0.fn.to_q.weight").T
    key, value = np.split(context @ block("0.fn.to_kv.weight").T, 2, -1)
    read = []
    for head in range(CROSS_HEADS):
        own = slice(head * CROSS_WIDTH, (head + 1) * CROSS_WIDTH)
        read.append(softmax(query[:, own] @ key[:, own].T / sqrt(CROSS_WIDTH)) @ value[:, own])
    states = states + np.concatenate(read, -1) @ block("0.fn.to_out.weight").T
    normed = layer_norm(states, block("1.norm.weight"), block("1.norm.bias"))
    value, gate = np.split(normed @ block("1.fn.net.0.weight").T + block("1.fn.net.0.bias"), 2, -1)
    gelu = gate * 0.5 * (1 + np.vectorize(erf)(gate / sqrt(2)))
    return states + (value * gelu) @ block("1.fn.net.2.weight").T + block("1.fn.net.2.bias")


def official(weights, ids, skip=0):
    """{array: (D,)}: every layer pooled like the official vector, and that vector."""
    every, last = mistral(weights, ids)
    pooled = {f"mean/{layer}": states[skip:].mean(0) for layer, states in enumerate(every)}
    own = latent_attention(weights, last)[skip:].mean(0)
    return pooled | {"mean/last": last[skip:].mean(0), "own/last": own / np.linalg.norm(own)}


def ids_of(text, instruction=""):
    """Token ids, said by hand: BOS, a piece a word, the end token."""
    words = (instruction + text).split(" ")
    pieces = [word for word in words if word]
    blank = [3] if (instruction + text).endswith(" ") else []
    return [1, *(4 + WORDS.index(word) for word in pieces), *blank, 2]


@pytest.fixture(scope="session")
def rounded(weights):
    """The weights as they are stored, in float64."""
    return {name: each.astype(np.float32).astype(np.float64) for name, each in weights.items()}


@pytest.mark.parametrize("attention", ["sdpa", "eager", "packed"])
@pytest.mark.parametrize("instruction", ["", INSTRUCTION])
def test_every_layer_and_the_official_vector_are_their_formulas(
    loaded, rounded, instruction, attention
):
    model = loaded(instruction=instruction, attention=attention)
    assert model.layers == (*range(DEPTH + 1), "last")
    together = embed_batch(model, model.tokenize(TEXTS), ARRAYS)
    for row, text in enumerate(TEXTS):
        alone = embed_batch(model, model.tokenize([text]), ARRAYS)
        # "the film " has three tokens alone: BOS and its two words are left out.
        wanted = official(rounded, ids_of(text, instruction), 3 if instruction else 0)
        for name in ARRAYS:
            np.testing.assert_allclose(together[name][row], wanted[name], atol=1e-5, rtol=1e-5)
            np.testing.assert_allclose(alone[name][0], wanted[name], atol=1e-5, rtol=1e-5)


def test_a_text_is_read_between_bos_and_the_end_token(loaded):
    texts = ["the cat", "", "no "]
    read = loaded().tokenize(texts)
    assert [list(each.ids) for each in read] == [ids_of(text) for text in texts]
    assert all(each.bos and not each.skip and not each.cut for each in read)


def test_the_blank_that_ends_an_instruction_stands_for_bos_when_tokens_are_left_out(loaded):
    [encoded] = loaded(instruction="the film ").tokenize(["was bad"])
    assert (list(encoded.ids), encoded.skip) == (ids_of("was bad", "the film "), 3)
    pooled = [WORDS[i - 4] for i in encoded.ids[encoded.skip : -1]]
    assert pooled == ["was", "bad"]


def test_without_that_blank_the_last_token_of_the_instruction_is_pooled_as_officially(loaded):
    [encoded] = loaded(instruction="the film").tokenize([" was bad"])
    assert encoded.skip == 2
    pooled = [WORDS[i - 4] for i in encoded.ids[encoded.skip : -1]]
    assert pooled == ["film", "was", "bad"]


def test_a_prompt_is_pooled_after_an_instruction_that_is_not(loaded):
    [encoded] = loaded(instruction="the film ", prompt="was ").tokenize(["bad"])
    assert (list(encoded.ids), encoded.skip) == (ids_of("was bad", "the film "), 3)


def test_a_text_that_is_cut_loses_its_end_token_as_officially(loaded, rounded):
    model = loaded(max_length=4)
    long, short = model.tokenize(["the cat was very good", "the cat"])
    assert (list(long.ids), long.cut) == (ids_of("the cat was")[:-1], True)
    assert (list(short.ids), short.cut) == (ids_of("the cat"), False)
    vector = embed_batch(model, [long], ["own/last"])["own/last"][0]
    np.testing.assert_allclose(vector, official(rounded, long.ids)["own/last"], atol=1e-5)


def test_windows_of_a_long_text_keep_instruction_and_end_token(loaded):
    model = loaded(max_length=6, instruction="the film ", long="windows")
    [encoded] = model.tokenize(["it was very very good"])
    assert [list(each.ids) for each in encoded.windows] == [
        ids_of(part, "the film ") for part in ("it was", "very very", "good")
    ]
    assert {each.skip for each in encoded.windows} == {3}


def test_an_instruction_that_leaves_no_room_is_refused(loaded):
    with pytest.raises(ModelError, match="leaves no room for text"):
        loaded(instruction=INSTRUCTION, max_length=4)


@pytest.mark.parametrize("attention", ["sdpa", "eager", "packed"])
@pytest.mark.parametrize("others", [[], ["the cat was very very good"]])
def test_a_later_token_changes_an_earlier_state(loaded, attention, others):
    def first(text):
        heard = {}
        model = loaded(attention=attention)
        batch = model.tokenize([text, *others])  # alone there is no padding, and no mask is made
        model.forward(batch, model.layers, lambda k, states: heard.update({k: states[0, 1]}))
        return heard

    one, two = first("the cat was good"), first("the cat was bad")
    assert torch.equal(one[0], two[0])
    assert all((one[k] - two[k]).abs().max() > 1e-3 for k in (1, 2, 3, "last"))


def test_neighbours_and_padding_do_not_matter(loaded):
    model = loaded(instruction=INSTRUCTION)
    batch = model.tokenize(TEXTS)
    together = embed_batch(model, batch, ARRAYS)
    for row, each in enumerate(batch):
        alone = embed_batch(model, [each], ARRAYS)
        for name in ARRAYS:
            np.testing.assert_allclose(alone[name][0], together[name][row], atol=1e-5)


def test_what_is_left_out_never_enters_the_official_vector(loaded):
    model = loaded()
    states = torch.randn(2, 6, WIDTH, generator=torch.Generator().manual_seed(3))
    batch = [Encoded([1] * 6, skip=3, bos=True), Encoded([1] * 4, skip=2, bos=True)]
    before = model.own(states, span_of(batch, states))
    changed = states.clone()
    changed[0, :3] += 5
    changed[1, :2] -= 5
    changed[1, 4:] = float("nan")  # padding
    torch.testing.assert_close(model.own(changed, span_of(batch, changed)), before)
    changed[0, 3] += 1
    assert not torch.allclose(model.own(changed, span_of(batch, states))[0], before[0])


def test_an_instruction_is_attended_to(loaded):
    one, two = (loaded(instruction=each) for each in ("the film ", "the cat "))
    vectors = [embed_batch(m, m.tokenize(["was bad"]), ARRAYS) for m in (one, two)]
    assert torch.equal(vectors[0]["mean/0"], vectors[1]["mean/0"])
    assert not torch.allclose(vectors[0]["own/last"], vectors[1]["own/last"], atol=1e-3)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_gives_the_same_direction_at_length_one_in_float32(loaded, dtype):
    half = loaded(dtype=dtype)
    assert {each.dtype for each in half.network.parameters()} == {getattr(torch, dtype)}
    assert half.network.rotary_emb.inv_freq.dtype == torch.float32
    exact = embed_batch(loaded(), loaded().tokenize(TEXTS), ["own/last"])["own/last"]
    vectors = embed_batch(half, half.tokenize(TEXTS), ["own/last"])["own/last"]
    assert vectors.dtype == torch.float32
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(len(TEXTS)))
    assert (vectors * exact).sum(1).min() > 0.98


def test_code_that_came_with_the_model_is_not_run(written):
    folder = written()
    for name in ("modeling_nvembed.py", "configuration_nvembed.py"):
        (folder / name).write_text("raise SystemExit('remote code')\n")
    assert load_backbone(str(folder), trust_remote_code=True, **FLOAT32).depth == DEPTH


def test_only_the_first_blocks_are_loaded_for_shallow_layers_with_the_same_numbers(folder, loaded):
    model = load_backbone(str(folder), layers=[0, 1], **FLOAT32)
    assert (len(model.blocks), model.layers, model.depth) == (2, (0, 1, 2), DEPTH)
    assert model.own is None
    names = ["mean/0", "mean/1", "mean/2"]
    here, there = (embed_batch(m, m.tokenize(TEXTS), names) for m in (model, loaded()))
    assert all(torch.equal(here[name], there[name]) for name in names)


def test_the_tiny_model_has_every_published_name(weights, written):
    assert len(weights) == 2 + 9 * DEPTH + 14
    assert load_backbone(str(written()), **FLOAT32).depth == DEPTH


def test_what_config_json_leaves_out_makes_the_published_number_of_weights():
    config = {"text_config": {"rms_norm_eps": EPS}, "latent_attention_config": None}
    parts = _without_weights("nvidia/NV-Embed-v2", config, Spec())
    assert sum(each.numel() for part in parts for each in part.parameters()) == 7_851_016_192


LATENT = "latent_attention_model__"


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({f"{LATENT}latents": None}, r"it lacks latent_attention_model\.latents \(1 in all\)"),
        ({"embedding_model__norm__weight": None}, r"it lacks embedding_model\.norm\.weight"),
        (
            {f"{LATENT}extra": np.ones(2)},
            r"it has, and should not, latent_attention_model\.extra \(1 in all\)",
        ),
        (
            {"embedding_model__layers__3__mlp__up_proj__weight": np.ones((INNER, WIDTH))},
            r"it has, and should not, embedding_model\.layers\.3\.mlp",
        ),
        (
            {f"{LATENT}latents": np.ones((LATENTS, WIDTH + 1))},
            r"another shape latent_attention_model\.latents \(5, 17\) for \(5, 16\)",
        ),
    ],
    ids=["a missing latent", "a missing norm", "an extra one", "an extra block", "another shape"],
)
@pytest.mark.parametrize("layers", [None, [1]])
def test_other_weights_than_the_published_ones_are_refused_by_name(
    written, changed, message, layers
):
    folder = written(**changed)
    with pytest.raises(ModelError, match=message):
        load_backbone(str(folder), layers=layers, **FLOAT32)


def test_weights_in_another_format_are_refused(written):
    folder = written()
    for file in folder.glob("model*"):
        file.unlink()
    (folder / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(ModelError, match="format safetensors"):
        load_backbone(str(folder), **FLOAT32)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda folder: (folder / "model-00002-of-00002.safetensors").write_bytes(b"torn"),
        lambda folder: (folder / "tokenizer.json").write_text("{"),
        lambda folder: (folder / "config.json").write_text(
            json.dumps(CONFIG | {"text_config": {"hidden_size": "wide"}})
        ),
    ],
    ids=["weights", "tokenizer", "config"],
)
def test_a_spoilt_folder_cannot_be_loaded(written, spoil):
    folder = written()
    spoil(folder)
    with pytest.raises(ModelError, match="cannot be loaded as NV-Embed"):
        load_backbone(str(folder), **FLOAT32)


@pytest.mark.parametrize("setting", [{"mask_type": "c"}, {"is_mask_instruction": False}])
def test_a_model_that_works_otherwise_is_refused(written, setting):
    folder = written(CONFIG | setting)
    with pytest.raises(ModelError, match="no NV-Embed as published"):
        load_backbone(str(folder), **FLOAT32)


# Its place in the cache.


@pytest.fixture
def extracted(folder, cache, make_corpus):
    corpus = make_corpus(train=[*TEXTS, "very good", "a cat", "the bad film"])
    model = load_backbone(str(folder), instruction=INSTRUCTION, **FLOAT32)
    extract(model, corpus, cache, store_dtype="float32")
    return model, corpus


def test_the_default_is_the_mean_of_every_layer_and_the_official_vector(cache, extracted):
    model, corpus = extracted
    assert set(cache.pages("nvembed").arrays) == {*ARRAYS, "tokens"}
    texts = corpus.splits["train"].texts
    wanted = embed_batch(model, model.tokenize(texts), ARRAYS)
    last = np.asarray(cache.rows("nvembed:last", "train"))
    np.testing.assert_allclose(last, wanted["own/last"], atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(last, axis=1), 1.0, rtol=1e-5)
    mean = np.asarray(cache.rows("nvembed:last@mean", "train"))
    np.testing.assert_allclose(mean, wanted["mean/last"], atol=1e-5)
    assert [str(each) for each in cache.features("nvembed")] == [
        *(f"nvembed:{layer}" for layer in range(DEPTH + 1)),
        "nvembed:last",
    ]


def test_the_doctor_makes_stored_official_vectors_again(cache, extracted):
    model, corpus = extracted
    _, *compared = examine_stored(cache, model, corpus)
    assert {each.verdict for each in compared} == {"ok"}
    assert all("own/last" in each.figures for each in compared)


def test_an_interrupted_extraction_is_one_command_to_resume(cache, folder, make_corpus):
    corpus = make_corpus(train=TEXTS)
    model = load_backbone(str(folder), **FLOAT32)
    forward, model.forward = model.forward, None
    with pytest.raises(TypeError):
        extract(model, corpus, cache)
    model.forward = forward
    command = cache.pages("nvembed").resume_command()
    assert "&&" not in command
    assert "--layers 0..3,last --pool mean --pool own" in command


@pytest.mark.parametrize("feature", ["nvembed:last", "nvembed:1", "nvembed:last@mean"])
def test_a_head_labels_raw_text_with_it(cache, extracted, feature):
    _, corpus = extracted
    table = cache.table(feature)
    head, _ = train(table, Recipe(op="concat", width=4, hidden=(4,), dropout=(0.0,), epochs=1))
    predictor = Predictor(head, device="cpu")
    given = predictor.features(corpus.splits["train"].texts)
    np.testing.assert_allclose(given[0], np.asarray(table.rows[0]), atol=1e-5)
    assert (predictor.backbones["nvembed"].own is None) == (feature == "nvembed:1")


def test_a_head_on_an_own_vector_refuses_a_model_without_one(cache, extracted, backbone):
    head, _ = train(cache.table("nvembed:last"), Recipe(op="concat", width=4, epochs=1))
    card = head.card
    llama = backbone("llama")
    head.card = replace(
        card,
        specs=(llama.spec,),
        origins=(replace(card.origins[0], source=llama.source),),
    )
    with pytest.raises(ModelError, match="nvembed has no pooled vector of its own"):
        Predictor(head, device="cpu")


@pytest.fixture
def short_name(monkeypatch, folder):
    """The short name nvembed, with the tiny model in the place of the hub's."""
    entry = replace(MODELS["nvembed"], source=str(folder), instruction=INSTRUCTION)
    monkeypatch.setitem(MODELS, "nvembed", entry)


def test_its_short_name_brings_an_instruction_that_can_be_taken_away(
    short_name, cache, make_corpus
):
    model = load_backbone("nvembed", **FLOAT32)
    assert model.spec.instruction == INSTRUCTION
    assert any("which is not pooled" in note for note in model.notes)
    bare = load_backbone("nvembed", name="bare", instruction="", **FLOAT32)
    assert bare.spec.instruction == ""
    extract(bare, make_corpus(train=TEXTS), cache, layers="1")
    with pytest.raises(FeatureError, match="--instruction ''"):
        cache.rows("bare:2", "train")


def test_the_entry_is_in_the_official_template():
    assert MODELS["nvembed"].instruction.startswith("Instruct: ")
    assert MODELS["nvembed"].instruction.endswith("\nQuery: ")


# The real weights.

QUERIES = [
    "are judo throws allowed in wrestling?",
    "how to become a radiology technician in michigan?",
]
PASSAGES = [
    "Since you're reading this, you are probably someone from a judo background or someone who is "
    "just wondering how judo techniques can be applied under wrestling rules. So without further "
    "ado, let's get to the question. Are Judo throws allowed in wrestling? Yes, judo throws are "
    "allowed in freestyle and folkstyle wrestling. You only need to be careful to follow the slam "
    "rules when executing judo throws. In wrestling, a slam is lifting and returning an opponent "
    "to the mat with unnecessary force.",
    "Below are the basic steps to becoming a radiologic technologist in Michigan:Earn a high "
    "school diploma. As with most careers in health care, a high school education is the first "
    "step to finding entry-level employment. Taking classes in math and science, such as anatomy, "
    "biology, chemistry, physiology, and physics, can help prepare students for their college "
    "studies and future careers.Earn an associate degree. Entry-level radiologic positions "
    "typically require at least an Associate of Applied Science. Before enrolling in one of these "
    "degree programs, students should make sure it has been properly accredited by the Joint "
    "Review Committee on Education in Radiologic Technology (JRCERT).Get licensed or certified in "
    "the state of Michigan.",
]
QUESTION = "Instruct: Given a question, retrieve passages that answer the question\nQuery: "


@pytest.mark.weights
@pytest.mark.skipif("LEF_NVEMBED" not in os.environ, reason="LEF_NVEMBED names no folder")
def test_the_scores_of_the_published_example():
    source = os.environ["LEF_NVEMBED"]
    vectors = []
    model = load_backbone(source, dtype="float32", instruction=QUESTION)
    for texts, instruction in ((QUERIES, QUESTION), (PASSAGES, "")):
        model.spec = replace(model.spec, instruction=instruction)
        vectors.append(embed_batch(model, model.tokenize(texts), ["own/last"])["own/last"].cpu())
    scores = 100 * vectors[0] @ vectors[1].T
    # Their gate is the tanh form of the GELU: the last digits may differ.
    wanted = torch.tensor([[87.4269, 0.4629], [0.9653, 86.0372]])
    torch.testing.assert_close(scores, wanted, atol=0.05, rtol=0)
