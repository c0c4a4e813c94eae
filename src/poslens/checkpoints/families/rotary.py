"""Architectures that rotate queries and keys (RoPE): one `RotaryEntry` for each base.

Checked against transformers 5.23, its configuration and modeling code; the tests compare every
entry with the frequencies of the model itself and with what its own code rotates.
"""

from __future__ import annotations

from dataclasses import replace

from poslens.checkpoints.config import Config
from poslens.checkpoints.families.entry import Family
from poslens.checkpoints.families.rotation import RotaryEntry, of_type, unless_nope
from poslens.checkpoints.families.sizes import Sizes
from poslens.checkpoints.schemes import Pairing

BILLION_SCALE = Sizes(4096, 32, 32)  # the sizes of a 7B model, which many classes default to


def interleaved(_: Config) -> Pairing:
    """Return the pairing of the paper."""
    return "interleaved"


def _gptj_dims(config: Config, head_dim: int) -> int:
    if "rotary_dim" in config.values and not config.has("rotary_dim"):
        return head_dim
    return config.integer("rotary_dim", 64)


def _falcon_keys(config: Config, query: int) -> int:
    if config.switch("new_decoder_architecture", False):
        return config.count(query, "num_kv_heads")
    return 1 if config.switch("multi_query", True) else query


def uses_alibi(config: Config) -> bool:
    """Whether a Falcon adds biases and does not rotate."""
    return config.switch("alibi", False)


FALCON_SIZES = Sizes(
    4544,
    71,
    32,
    width_keys=("n_embed", "hidden_size"),
    head_dim_keys=(),
    grouped=_falcon_keys,
)


def _decoupled(config: Config, _: int = 0) -> int:
    return config.count(64, "qk_rope_head_dim")


def _joined(config: Config) -> int:
    return config.integer("qk_nope_head_dim", 128) + _decoupled(config)


def _deepseek_sizes(width: int, heads: int, layers: int) -> Sizes:
    # The rotated part of the key is one vector that all heads share.
    return Sizes(width, heads, layers, grouped=lambda *_: 1, joined=_joined)


def _v3_pairing(config: Config) -> Pairing:
    return "interleaved" if config.switch("rope_interleave", True) else "half"


def _esm_rotates(config: Config) -> bool:
    return config.text("position_embedding_type", "absolute") == "rotary"


def _nomic_pairing(config: Config) -> Pairing:
    return "interleaved" if config.switch("rotary_emb_interleaved", False) else "half"


def _roformer_note(config: Config) -> str:
    values = ", values as well" if config.switch("rotary_value", False) else ""
    return f"by a stored table of sines and cosines that is not added{values}"


LLAMA = RotaryEntry(BILLION_SCALE)
MISTRAL = RotaryEntry(Sizes(4096, 32, 32, key_heads=8))
QWEN2 = RotaryEntry(Sizes(4096, 32, 32, key_heads=32))
QWEN3 = RotaryEntry(Sizes(4096, 32, 32, key_heads=32, head_dim=128))
GEMMA2 = RotaryEntry(Sizes(2304, 8, 26, key_heads=4, head_dim=256))
PHI = RotaryEntry(Sizes(2048, 32, 24), partial=0.5)
# Phi-3 wrote "su" for what became LongRoPE, and "yarn" for the same.
PHI3 = RotaryEntry(Sizes(3072, 32, 32), partial=1.0, renamed={"su": "longrope", "yarn": "longrope"})
GPT_NEOX = RotaryEntry(
    Sizes(6144, 64, 44, head_dim_keys=()),
    base_keys=("rotary_emb_base", "rope_theta"),
    partial=0.25,
    partial_keys=("rotary_pct", "partial_rotary_factor"),
)
GPT_NEOX_JAPANESE = replace(GPT_NEOX, sizes=Sizes(2560, 32, 32, head_dim_keys=()), partial=1.0)
GPTJ = RotaryEntry(
    Sizes(4096, 16, 28, head_dim_keys=()),
    base_keys=(),
    rotary_dim=_gptj_dims,
    pairing=interleaved,
)
FALCON = RotaryEntry(FALCON_SIZES, when=lambda config: not uses_alibi(config))
STABLELM = RotaryEntry(Sizes(2560, 32, 32, key_heads=32, head_dim_keys=()), partial=0.25)
SMOLLM3 = RotaryEntry(Sizes(2048, 16, 36, key_heads=4), base=2_000_000.0, layers=unless_nope)
GLM = RotaryEntry(Sizes(4096, 32, 40, key_heads=2, head_dim=128), partial=0.5, pairing=interleaved)
GPT_OSS = RotaryEntry(
    Sizes(2880, 64, 36, key_heads=8, head_dim=64),
    base=150_000.0,
    defaults={
        "rope_type": "yarn",
        "factor": 32.0,
        "beta_fast": 32.0,
        "beta_slow": 1.0,
        "truncate": False,
        "original_max_position_embeddings": 4096,
    },
)
LLAMA4_TEXT = RotaryEntry(
    Sizes(5120, 40, 48, key_heads=8, head_dim=128),
    base=500_000.0,
    pairing=interleaved,
    layers=unless_nope,
)
DEEPSEEK_V2 = RotaryEntry(
    _deepseek_sizes(4096, 32, 32),
    rotary_dim=_decoupled,
    pairing=interleaved,
    note=lambda _: "the rotated dimensions of each head stand last, and all heads share their key",
)
DEEPSEEK_V3 = replace(DEEPSEEK_V2, sizes=_deepseek_sizes(7168, 128, 61), pairing=_v3_pairing)

GEMMA3_GLOBAL = RotaryEntry(
    Sizes(2304, 8, 26, key_heads=4, head_dim=256),
    base=1_000_000.0,
    layers=of_type("full_attention", "sliding_window_pattern", 6, global_last=True),
    layer_type="full_attention",
    note=lambda _: "full attention",
)
GEMMA3_LOCAL = replace(
    GEMMA3_GLOBAL,
    base=10_000.0,
    base_keys=("rope_local_base_freq",),
    layers=of_type("sliding_attention", "sliding_window_pattern", 6, global_last=True),
    layer_type="sliding_attention",
    scales=False,
    note=lambda _: "sliding attention",
)
MODERNBERT_GLOBAL = RotaryEntry(
    Sizes(768, 12, 22, head_dim_keys=()),
    base=160_000.0,
    base_keys=("global_rope_theta",),
    layers=of_type("full_attention", "global_attn_every_n_layers", 3, global_last=False),
    layer_type="full_attention",
    note=lambda _: "full attention",
)
MODERNBERT_LOCAL = replace(
    MODERNBERT_GLOBAL,
    base=10_000.0,
    base_keys=("local_rope_theta",),
    layers=of_type("sliding_attention", "global_attn_every_n_layers", 3, global_last=False),
    layer_type="sliding_attention",
    note=lambda _: "sliding attention",
)
COHERE = RotaryEntry(Sizes(8192, 64, 40), base=500_000.0, pairing=interleaved)
COHERE2 = RotaryEntry(
    Sizes(8192, 64, 40, head_dim_keys=()),
    pairing=interleaved,
    layers=of_type("sliding_attention", "sliding_window_pattern", 4, global_last=True),
    note=lambda _: "sliding attention; the others know no positions",
)
ROFORMER = RotaryEntry(
    Sizes(768, 12, 12, head_dim_keys=()), base_keys=(), pairing=interleaved, note=_roformer_note
)
ESM = RotaryEntry(Sizes(768, 12, 12, head_dim_keys=()), when=_esm_rotates)
# The second spellings are those of the model's own code, before transformers had it.
NOMIC_BERT = RotaryEntry(
    Sizes(768, 12, 12, key_heads_keys=()),
    base=1000.0,
    base_keys=("rope_theta", "rotary_emb_base"),
    partial=1.0,
    partial_keys=("rotary_emb_fraction",),
    pairing=_nomic_pairing,
)


def _in_text_section(entry: RotaryEntry) -> RotaryEntry:
    return replace(entry, sections=("text_config",))


FAMILIES: dict[str, Family] = {
    "codegen": Family(mechanisms=(GPTJ,), context=("n_positions", "max_position_embeddings")),
    "cohere": Family(mechanisms=(COHERE,)),
    "cohere2": Family(mechanisms=(COHERE2,)),
    "deepseek_v2": Family(mechanisms=(DEEPSEEK_V2,)),
    "deepseek_v3": Family(mechanisms=(DEEPSEEK_V3,)),
    "gemma": Family(
        mechanisms=(RotaryEntry(Sizes(3072, 16, 28, key_heads=16, head_dim=256)),),
    ),
    "gemma2": Family(mechanisms=(GEMMA2,)),
    "gemma3": Family(
        mechanisms=(_in_text_section(GEMMA3_GLOBAL), _in_text_section(GEMMA3_LOCAL)),
        context_sections=("text_config",),
    ),
    "gemma3_text": Family(mechanisms=(GEMMA3_GLOBAL, GEMMA3_LOCAL)),
    "glm": Family(mechanisms=(GLM,)),
    "gpt_neox": Family(mechanisms=(GPT_NEOX,)),
    "gpt_neox_japanese": Family(mechanisms=(GPT_NEOX_JAPANESE,)),
    "gpt_oss": Family(mechanisms=(GPT_OSS,)),
    "gptj": Family(mechanisms=(GPTJ,), context=("n_positions", "max_position_embeddings")),
    "granite": Family(mechanisms=(LLAMA,)),
    "llama": Family(mechanisms=(LLAMA,)),
    "llama4": Family(
        mechanisms=(_in_text_section(LLAMA4_TEXT),), context_sections=("text_config",)
    ),
    "llama4_text": Family(mechanisms=(LLAMA4_TEXT,)),
    "mistral": Family(mechanisms=(MISTRAL,)),
    "mixtral": Family(mechanisms=(replace(MISTRAL, base=1_000_000.0),)),
    "modernbert": Family(mechanisms=(MODERNBERT_GLOBAL, MODERNBERT_LOCAL)),
    "nemotron": Family(mechanisms=(RotaryEntry(Sizes(6144, 48, 32), partial=0.5),)),
    "nomic_bert": Family(
        mechanisms=(NOMIC_BERT,), context=("max_position_embeddings", "n_positions")
    ),
    "olmo": Family(mechanisms=(LLAMA,)),
    "olmo2": Family(mechanisms=(LLAMA,)),
    "persimmon": Family(
        mechanisms=(
            RotaryEntry(
                Sizes(4096, 64, 36, key_heads_keys=(), head_dim_keys=()),
                partial=0.5,
            ),
        )
    ),
    "phi": Family(mechanisms=(PHI,)),
    "phi3": Family(mechanisms=(PHI3,)),
    "qwen2": Family(mechanisms=(QWEN2,)),
    "qwen2_moe": Family(mechanisms=(RotaryEntry(Sizes(2048, 16, 24, key_heads=16)),)),
    "qwen3": Family(mechanisms=(QWEN3,)),
    "qwen3_moe": Family(mechanisms=(RotaryEntry(Sizes(2048, 32, 24, key_heads=4)),)),
    "roformer": Family(mechanisms=(ROFORMER,)),
    "smollm3": Family(mechanisms=(SMOLLM3,)),
    "stablelm": Family(mechanisms=(STABLELM,)),
    "starcoder2": Family(mechanisms=(RotaryEntry(Sizes(3072, 24, 30, key_heads=2)),)),
}
