"""Loading only the first blocks of a model, where only shallow layers are asked for."""

from collections.abc import Collection
from typing import Any

from lefcache.cache import TOKENS, Cache, Task
from lefcache.errors import FeatureError
from lefcache.extract.backbone import Backbone
from lefcache.feature import Layer, deepest_layer, describe_layers

# Model types whose first blocks give the same numbers without the others; tests prove each. What is
# not here is loaded whole: the last block may be built otherwise (gpt_neox_japanese), or the number
# of blocks decide which of them share keys (gemma3n) or weights (albert).
CUT_SHORT = {
    "bart", "bert", "bloom", "camembert", "cohere", "cohere2", "deberta", "deberta-v2",
    "distilbert", "electra", "eurobert", "falcon", "falcon_mamba", "gemma", "gemma2", "gemma3_text",
    "gpt2", "gpt_neo", "gpt_neox", "gpt_oss", "gptj", "granite", "llama", "mamba", "mamba2",
    "mistral", "mixtral", "modernbert", "mpnet", "mpt", "mt5", "nomic_bert", "olmo", "olmo2",
    "olmo3", "opt", "phi", "phi3", "qwen2", "qwen2_moe", "qwen3", "qwen3_moe", "roberta", "smollm3",
    "stablelm", "starcoder2", "t5", "xlm-roberta",
}  # fmt: skip


def layers_to_load(layers: str, cache: Cache, model: str, corpus: str) -> list[Layer] | None:
    """What `load_backbone` has to load to extract `0..3,8`; None for all of it, as for `-1`.

    What the cache holds of the model counts too: rows are added to all arrays of a block at once.
    """
    deepest = deepest_layer(layers)
    if deepest is None:
        return None
    begun = cache[corpus][model].values() if corpus in cache and model in cache[corpus] else ()
    return [deepest, *{each for page in begun for pool in page.pools for each in page.layers(pool)}]


def blocks_for(layers: Collection[Layer] | None) -> int | None:
    """How many blocks it takes to read these layers; None for all of them."""
    numbers = [layer for layer in layers or () if isinstance(layer, int) and layer >= 0]
    if not layers or len(numbers) < len(layers):
        return None
    # One more than is read: what a model reports after its last block is no check of that block.
    return max(numbers) + 1


def shorten(config: Any, blocks: int) -> None:
    """Make a model's configuration that of its first blocks."""
    for name in ("layer_types", "mlp_layer_types"):
        if kinds := vars(config).get(name):  # Mamba's follow from the number of its blocks
            setattr(config, name, kinds[:blocks])
    config.num_hidden_layers = blocks


def check_depth(backbone: Backbone, task: Task) -> None:
    """Refuse a block with arrays that go deeper than the model was loaded."""
    layers = {name: name.partition("/")[2] for name in task.arrays if name != TOKENS}
    loaded = {str(layer) for layer in backbone.layers}
    if deeper := [layer for layer in layers.values() if layer not in loaded]:
        raise FeatureError(
            f"a block of {backbone.name} that lacks rows holds layer {deeper[0]} as well, and "
            f"{describe_layers(backbone.layers)} are loaded: load the model with that layer too"
        )
