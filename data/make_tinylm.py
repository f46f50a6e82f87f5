"""Train tinylm, a decoder of the Llama architecture, on the demo's training texts.

    python data/make_tinylm.py      write data/tinylm: weights, tokenizer and their README

It takes minutes on one core of a processor. The same machine and versions write the same weights;
another processor rounds differently, and ends a little elsewhere. Labels are not read. The
validation texts choose when to stop, and the test texts are read once, after that.
"""

import copy
import math
import random
import shutil
import time
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from torch import nn
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    get_cosine_schedule_with_warmup,
)

import lefcache

TINYLM = Path(__file__).resolve().parent / "tinylm"
SEED = 20240917
VOCABULARY = 1024
POSITIONS = 256
SHAPE = {
    "hidden_size": 128,
    "intermediate_size": 384,
    "num_hidden_layers": 6,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
}
EPOCHS = 8
BATCH = 32
LEARNING_RATE = 2e-3
WARMUP = 100  # steps
# 129 kB of text for six blocks: without these it knows the texts by heart in a minute.
WEIGHT_DECAY = 0.3
DROPOUT = 0.2


def make_tokenizer(texts):
    """Return a byte-level BPE tokenizer of these texts; any other text can be written with it."""
    special = ["<pad>", "<s>", "</s>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=special,
        initial_alphabet=alphabet,
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", special.index("<s>"))]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        padding_side="right",
        model_max_length=POSITIONS,
        clean_up_tokenization_spaces=False,
    )


def make_network(tokenizer):
    """Return the untrained network, with dropout where a block adds to its input."""
    network = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            max_position_embeddings=POSITIONS,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
            tie_word_embeddings=True,
            use_cache=False,
            **SHAPE,
        )
    )

    def drop(module, _inputs, output):
        first, *rest = output if isinstance(output, tuple) else (output,)
        first = nn.functional.dropout(first, DROPOUT, module.training)
        return (first, *rest) if rest else first

    network.model.embed_tokens.register_forward_hook(drop)
    for block in network.model.layers:
        block.self_attn.register_forward_hook(drop)
        block.mlp.register_forward_hook(drop)
    return network


def encode(tokenizer, texts):
    """Return each text as the ids of its opening token, its own tokens and its end."""
    return [[*ids, tokenizer.eos_token_id] for ids in tokenizer(texts)["input_ids"]]


def batches(rows, rng=None):
    """Return batches of rows of like length, in the order of `rng`, as (ids, mask, labels)."""
    shuffled = rng.sample(rows, len(rows)) if rng else rows
    shuffled = sorted(shuffled, key=len)
    chunks = [shuffled[start : start + BATCH] for start in range(0, len(rows), BATCH)]
    return [collate(chunk) for chunk in (rng.sample(chunks, len(chunks)) if rng else chunks)]


def collate(rows):
    """Return right-padded (B, T) ids, mask and labels; padding is no label."""
    rows = [torch.tensor(row) for row in rows]
    pad = nn.utils.rnn.pad_sequence
    ids, labels = (pad(rows, batch_first=True, padding_value=value) for value in (0, -100))
    return ids, (labels >= 0).long(), labels


@torch.inference_mode()
def nats(network, rows):
    """Return the surprise of all rows given their opening tokens, in nats."""
    network.eval()
    total = 0.0
    for ids, mask, labels in batches(rows):
        logits = network(input_ids=ids, attention_mask=mask).logits[:, :-1].transpose(1, 2)
        total += nn.functional.cross_entropy(logits, labels[:, 1:], reduction="sum").item()
    return total


def perplexity(network, rows):
    """Return the perplexity per token, a text's end counted as one."""
    return math.exp(nats(network, rows) / sum(len(row) - 1 for row in rows))


def train(network, rows, held_out):
    """Train in place, then go back to the epoch that the held-out rows liked best; return it."""
    rng = random.Random(SEED)
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=LEARNING_RATE, betas=(0.9, 0.95), weight_decay=WEIGHT_DECAY
    )
    steps = EPOCHS * math.ceil(len(rows) / BATCH)
    schedule = get_cosine_schedule_with_warmup(optimizer, WARMUP, steps)
    lowest, best, kept = math.inf, 0, None
    for epoch in range(1, EPOCHS + 1):
        network.train()
        for ids, mask, labels in batches(rows, rng):
            optimizer.zero_grad()
            network(input_ids=ids, attention_mask=mask, labels=labels).loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            schedule.step()
        reached = perplexity(network, held_out)
        print(f"epoch {epoch} of {EPOCHS}: validation perplexity {reached:.2f}", flush=True)
        if reached < lowest:
            lowest, best, kept = reached, epoch, copy.deepcopy(network.state_dict())
    network.load_state_dict(kept)
    return best


def save(network, tokenizer):
    """Write the model folder anew, in half precision."""
    shutil.rmtree(TINYLM, ignore_errors=True)
    network.half().save_pretrained(TINYLM)
    (TINYLM / "generation_config.json").unlink()  # it repeats config.json
    tokenizer.save_pretrained(TINYLM)


README = """# tinylm

A decoder of the Llama architecture with {parameters:,} parameters: {blocks} blocks of width
{width}, {heads} heads, a byte-level BPE vocabulary of {vocabulary:,}, float16. It comes with
lefcache so that a decoder's layers (raw `{blocks}` against `last`, after the final norm; a BOS
token; causal attention) can be seen without a download. It is small and so it is weak: from
{bytes:,} bytes of text it has learnt a little of how customers write, and nothing about the world.

`python data/make_tinylm.py` made it from the {texts:,} training texts of the
[demo corpus](../README.md), without their labels: {tokens:,} tokens, {epochs} epochs, the best of
which (number {best}, step {step:,}) was chosen by perplexity on the validation texts. That took
{seconds:.0f} s on one core of a processor with torch {torch}; another processor rounds differently
and ends a little elsewhere.

| split | texts | tokens | perplexity per token | bits per byte |
| --- | --: | --: | --: | --: |
{table}

Tokens are a text's own and its end, each given the BOS token and those before it; bytes are those
of the text and one for its end. The test texts were read once, by the weights that lie here.

Use it to try the tool, not to compare methods. Licence Apache-2.0.
"""


def describe(corpus, best, seconds):
    """Return the README of the weights in the folder, whose figures it computes from them."""
    tokenizer = AutoTokenizer.from_pretrained(TINYLM)
    network = AutoModelForCausalLM.from_pretrained(TINYLM, dtype=torch.float32)
    rows = {name: encode(tokenizer, split.texts) for name, split in corpus.splits.items()}
    lines = []
    for name in ("validation", "test"):
        texts = corpus.splits[name].texts
        surprise, tokens = nats(network, rows[name]), sum(len(row) - 1 for row in rows[name])
        bits = surprise / math.log(2) / sum(len(text.encode()) + 1 for text in texts)
        figures = f"{math.exp(surprise / tokens):.2f} | {bits:.3f}"
        lines.append(f"| {name} | {len(texts):,} | {tokens:,} | {figures} |")
    texts = corpus.splits["train"].texts
    return README.format(
        parameters=network.num_parameters(),
        blocks=SHAPE["num_hidden_layers"],
        width=SHAPE["hidden_size"],
        heads=SHAPE["num_attention_heads"],
        vocabulary=len(tokenizer),
        bytes=sum(len(text.encode()) for text in texts),
        texts=len(texts),
        tokens=sum(len(row) - 1 for row in rows["train"]),
        epochs=EPOCHS,
        best=best,
        step=best * math.ceil(len(texts) / BATCH),
        seconds=seconds,
        torch=torch.__version__.partition("+")[0],
        table="\n".join(lines),
    )


def main():
    """Train, save, and write down what came out."""
    started = time.perf_counter()
    torch.set_num_threads(1)  # sums in one order, whatever the machine has
    torch.manual_seed(SEED)
    corpus = lefcache.read_corpus("demo")
    texts = list(corpus.splits["train"].texts)
    tokenizer = make_tokenizer(texts)
    network = make_network(tokenizer)
    held_out = encode(tokenizer, corpus.splits["validation"].texts)
    best = train(network, encode(tokenizer, texts), held_out)
    save(network, tokenizer)
    seconds = time.perf_counter() - started
    (TINYLM / "README.md").write_text(describe(corpus, best, seconds), encoding="utf-8")


if __name__ == "__main__":
    main()
