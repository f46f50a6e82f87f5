"""Tiny random models of many families, and what each one's own last state is made of."""

from dataclasses import dataclass, field
from typing import Any

SIZES = {
    "vocab_size": 32,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "max_position_embeddings": 48,
    "pad_token_id": 0,
    "bos_token_id": 2,
    "eos_token_id": 3,
}
ENCODERS = ("t5", "mt5")  # that AutoModel would give a decoder


@dataclass(frozen=True)
class Family:
    """A model type with a configuration, and what follows its last block.

    `final` are the modules that the last state has gone through since then, in order; `listed` is
    the layer that `hidden_states` of transformers begins with; `whole` says why a model is not
    read block by block.
    """

    type: str
    config: dict[str, Any] = field(default_factory=dict)
    final: tuple[str, ...] = ()
    listed: int = 0
    whole: str = ""

    def make(self) -> Any:
        """The same random network each time, in evaluation."""
        import torch
        import transformers

        values = {name: value for name, value in (SIZES | self.config).items() if value is not None}
        config = transformers.AutoConfig.for_model(self.type, **values)
        alone = self.type in ENCODERS
        auto = transformers.AutoModelForTextEncoding if alone else transformers.AutoModel
        with torch.random.fork_rng():
            torch.manual_seed(5)
            network = auto.from_config(config).eval()
            with torch.no_grad():  # fresh norms and biases would hide that one is left out
                for weight in network.parameters():
                    weight.add_(0.2 * torch.randn_like(weight))
        return network


NORM = ("norm",)
LN_F = ("ln_f",)
NORM_F = ("norm_f",)
# A window that is shorter than the texts, so that each kind of layer gives other numbers.
WINDOW = {"head_dim": 8, "sliding_window": 4}
QWEN2 = {"use_sliding_window": True, "sliding_window": 4, "max_window_layers": 2}
EXPERTS = {"num_local_experts": 2, "num_experts": 2, "num_experts_per_tok": 1}
QWEN_EXPERTS = EXPERTS | {"moe_intermediate_size": 16, "shared_expert_intermediate_size": 16}
BART = {
    f"{half}_{name}": value
    for half in ("encoder", "decoder")
    for name, value in {"layers": 3, "ffn_dim": 32, "attention_heads": 2}.items()
}
T5 = {"d_kv": 8, "d_ff": 32}
DEBERTA = {"relative_attention": True, "pos_att_type": ["p2c", "c2p"]}
DEBERTA_V3 = DEBERTA | {
    "position_buckets": 4,
    "norm_rel_ebd": "layer_norm",
    "share_att_key": True,
    "position_biased_input": False,
}
OTHER = "reports other states than its blocks hold"

FAMILIES = {
    "llama": Family("llama", {}, NORM),
    "mistral": Family("mistral", WINDOW, NORM),
    "mixtral": Family("mixtral", EXPERTS, NORM),
    "mixtral-window": Family("mixtral", EXPERTS | {"sliding_window": 4}, NORM),
    "qwen2": Family("qwen2", QWEN2, NORM),
    "qwen2-moe": Family("qwen2_moe", QWEN_EXPERTS, NORM),
    "qwen2-moe-window": Family("qwen2_moe", QWEN_EXPERTS | QWEN2, NORM),
    "qwen3": Family("qwen3", WINDOW, NORM),
    "qwen3-window": Family("qwen3", QWEN2 | {"head_dim": 8}, NORM),
    "qwen3-moe": Family("qwen3_moe", QWEN_EXPERTS | {"head_dim": 8}, NORM),
    "qwen3-moe-window": Family("qwen3_moe", QWEN_EXPERTS | QWEN2 | {"head_dim": 8}, NORM),
    "gemma": Family("gemma", WINDOW, NORM),
    "gemma2": Family("gemma2", WINDOW, NORM),
    "gemma3": Family("gemma3_text", WINDOW, NORM),
    "gemma3-both-ways": Family(
        "gemma3_text", WINDOW | {"sliding_window": 6, "use_bidirectional_attention": True}, NORM
    ),
    "phi": Family("phi", {}, ("final_layernorm",)),
    "phi3": Family("phi3", {"num_key_value_heads": 2}, NORM),
    "phi3-window": Family("phi3", {"num_key_value_heads": 2, "sliding_window": 4}, NORM),
    "olmo": Family("olmo", {}, NORM),
    "olmo2": Family("olmo2", {}, NORM),
    "olmo3": Family("olmo3", WINDOW, NORM),
    "granite": Family("granite", {}, NORM),
    "smollm3": Family("smollm3", {"no_rope_layer_interval": 2}, NORM),
    "smollm3-window": Family("smollm3", {"no_rope_layer_interval": 2} | QWEN2, NORM),
    "cohere": Family("cohere", {}, NORM),
    "cohere2": Family("cohere2", WINDOW, NORM),
    "starcoder2": Family("starcoder2", {}, NORM),
    "starcoder2-window": Family("starcoder2", {"sliding_window": 4}, NORM),
    "stablelm": Family("stablelm", {}, NORM),
    "gpt-oss": Family("gpt_oss", WINDOW | EXPERTS, NORM),
    "gpt2": Family("gpt2", {}, LN_F),
    "gptj": Family("gptj", {"rotary_dim": 4}, LN_F),
    "gpt-neo": Family(
        "gpt_neo",
        {"attention_types": [[["global", "local"], 2]], "num_hidden_layers": 4, "window_size": 4},
        LN_F,
    ),
    "gpt-neox": Family("gpt_neox", {}, ("final_layer_norm",)),
    # Only its last block has a bias.
    "gpt-neox-japanese": Family(
        "gpt_neox_japanese", {"intermediate_multiple_size": 2}, ("final_layer_norm",)
    ),
    "opt": Family("opt", {"ffn_dim": 32, "word_embed_proj_dim": 16}, ("decoder.final_layer_norm",)),
    "opt-wide": Family(
        "opt",
        {"ffn_dim": 32, "word_embed_proj_dim": 24},
        ("decoder.final_layer_norm", "decoder.project_out"),
    ),
    "opt-350m": Family(
        "opt",
        {"ffn_dim": 32, "word_embed_proj_dim": 8, "do_layer_norm_before": False},
        ("decoder.project_out",),
    ),
    "falcon": Family("falcon", {}, LN_F),
    "falcon-alibi": Family("falcon", {"alibi": True}, LN_F),
    "falcon-40b": Family("falcon", {"new_decoder_architecture": True}, LN_F),
    "bloom": Family("bloom", {}, LN_F),
    "mpt": Family("mpt", {}, NORM_F),
    "mamba": Family("mamba", {"state_size": 4}, NORM_F, listed=1),
    "mamba2": Family(
        "mamba2",
        {"state_size": 4, "num_heads": 4, "head_dim": 8, "n_groups": 1},
        NORM_F,
        listed=1,
    ),
    "falcon-mamba": Family("falcon_mamba", {"state_size": 4}, NORM_F, listed=1),
    "bert": Family("bert"),
    "roberta": Family("roberta"),
    "xlm-roberta": Family("xlm-roberta"),
    "camembert": Family("camembert"),
    "distilbert": Family("distilbert", {"hidden_dim": 32}),
    "electra": Family("electra", {"embedding_size": 8}),
    "deberta": Family("deberta", DEBERTA),
    "deberta-v3": Family("deberta-v2", DEBERTA_V3),
    # A convolution stands between its first two blocks.
    "deberta-v2-xlarge": Family("deberta-v2", DEBERTA_V3 | {"conv_kernel_size": 3}, whole=OTHER),
    "mpnet": Family("mpnet"),
    "nomic-bert": Family("nomic_bert"),
    "eurobert": Family("eurobert", {}, NORM),
    "modernbert": Family(
        "modernbert", {"local_attention": 4, "num_hidden_layers": 4}, ("final_norm",)
    ),
    "albert": Family("albert", {"embedding_size": 8}, whole="has no list of blocks"),
    "xlnet": Family(
        "xlnet", {"d_inner": 32, "d_head": 8, "max_position_embeddings": None}, whole=OTHER
    ),
    "openai-gpt": Family("openai-gpt"),  # its blocks give lists
    "t5": Family("t5", T5, ("encoder.final_layer_norm",)),
    "mt5": Family("mt5", T5, ("encoder.final_layer_norm",)),
    "bart": Family("bart", BART),
}
