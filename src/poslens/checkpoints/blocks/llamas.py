"""Attention blocks of decoders that rotate: GPT-NeoX, Llama and their kin.

Checked against transformers 5.23, its modeling code; the tests compare every entry with the
queries, keys, values and outputs of the model itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

from poslens.checkpoints.blocks.block import Biases
from poslens.checkpoints.blocks.entry import (
    ALL,
    INPUTS,
    NONE,
    OUTPUT,
    BlockEntry,
    Steps,
    always,
    have,
    have_if,
    positive,
    root_of_width,
)
from poslens.checkpoints.blocks.layouts import concatenated, grouped
from poslens.checkpoints.blocks.projections import fused, linear
from poslens.checkpoints.blocks.steps import (
    EACH,
    FLAT,
    STACKED,
    Epsilon,
    HeadNormEntry,
    NormEntry,
)
from poslens.checkpoints.config import Config
from poslens.checkpoints.families import rotary
from poslens.checkpoints.families.rotation import RotaryEntry, unless_nope
from poslens.checkpoints.families.sizes import Sizes

_ATTENTION = "layers.{layer}.self_attn."
_INPUT_NORM = ("layers.{layer}.input_layernorm",)
_LN = Epsilon(1e-5, ("layer_norm_eps",))


def _rms(default: float) -> Epsilon:
    return Epsilon(default, ("rms_norm_eps",))


def _before(epsilon: Epsilon, *, less_one: bool = False) -> Callable[[Config, int], Steps]:
    return always(
        NormEntry(_INPUT_NORM, epsilon, centre=False, bias=False, stored_less_one=less_one)
    )


def _sizes(family: str) -> Sizes:
    """Return the sizes that the rotation of a family is read with."""
    entries = rotary.FAMILIES[family].mechanisms
    return next(entry.sizes for entry in entries if isinstance(entry, RotaryEntry))


LLAMA = BlockEntry(
    sizes=_sizes("llama"),
    layouts=(linear(_ATTENTION, "q_proj", "k_proj", "v_proj", "o_proj"),),
    prefixes=("", "model."),
    before=_before(_rms(1e-6)),
    biases=have_if("attention_bias", False),
    tokens=("embed_tokens.weight",),
)
MISTRAL = replace(LLAMA, sizes=_sizes("mistral"), biases=have(NONE))
MIXTRAL = replace(LLAMA, sizes=_sizes("mixtral"), before=_before(_rms(1e-5)), biases=have(NONE))
SMOLLM3 = replace(LLAMA, sizes=_sizes("smollm3"))
GPT_OSS = replace(
    LLAMA,
    sizes=_sizes("gpt_oss"),
    before=_before(_rms(1e-5)),
    biases=have_if("attention_bias", True),
)
GLM = replace(
    LLAMA,
    sizes=_sizes("glm"),
    before=_before(_rms(1.5625e-7)),
    biases=have_if("attention_bias", True, INPUTS),
)
GRANITE = replace(
    LLAMA,
    scale=lambda config, _, __: config.number("attention_multiplier", 1.0),
    token_factor=lambda config, _: config.number("embedding_multiplier", 1.0),
)
QWEN2 = replace(LLAMA, sizes=_sizes("qwen2"), biases=have(INPUTS))
QWEN2_MOE = replace(LLAMA, sizes=_sizes("qwen2_moe"), biases=have_if("qkv_bias", True, INPUTS))


def _head_norms(
    epsilon: Epsilon, *, less_one: bool = False
) -> Callable[[Config, int], HeadNormEntry]:
    entry = HeadNormEntry(
        f"{_ATTENTION}q_norm", f"{_ATTENTION}k_norm", epsilon, stored_less_one=less_one
    )
    return lambda _, __: entry


QWEN3 = replace(LLAMA, sizes=_sizes("qwen3"), head_norms=_head_norms(_rms(1e-6)))
QWEN3_MOE = replace(QWEN3, sizes=_sizes("qwen3_moe"))


def _olmo_clip(config: Config) -> float | None:
    return positive(config, "clip_qkv", 1.0) if config.has("clip_qkv") else None


OLMO = replace(
    LLAMA,
    before=always(NormEntry(_INPUT_NORM, Epsilon(1e-5), weight=False, bias=False)),
    clip=_olmo_clip,
)
_OLMO2_NORMS = HeadNormEntry(
    f"{_ATTENTION}q_norm", f"{_ATTENTION}k_norm", _rms(1e-5), FLAT, joint=True
)
# OLMo 2 normalises after attention.
OLMO2 = replace(LLAMA, before=always(), head_norms=lambda _, __: _OLMO2_NORMS)


def _llama4_norms(config: Config, layer: int) -> HeadNormEntry | None:
    # After the rotation, in the model; without weights it is the same before.
    rotates = layer in unless_nope(config, layer + 1)
    normed = rotates and config.switch("use_qk_norm", True)
    return HeadNormEntry("", "", _rms(1e-5), stored=None) if normed else None


LLAMA4_TEXT = replace(
    LLAMA, sizes=_sizes("llama4_text"), before=_before(_rms(1e-5)), head_norms=_llama4_norms
)
_OF_TEXT = ("language_model.", "language_model.model.", "model.language_model.")
LLAMA4 = replace(LLAMA4_TEXT, prefixes=_OF_TEXT, sections=("text_config",))


def _gemma_scale(config: Config, _: int, __: int) -> float:
    return 1 / math.sqrt(positive(config, "query_pre_attn_scalar", 256.0))


def _gemma_causal(config: Config) -> bool:
    # As the config documents it; of the first two Gemmas not every implementation in transformers
    # does it.
    return not config.switch("use_bidirectional_attention", False)


def _gemma2_cap(config: Config) -> float | None:
    nulled = "attn_logit_softcapping" in config.values and not config.has("attn_logit_softcapping")
    return None if nulled else positive(config, "attn_logit_softcapping", 50.0)


GEMMA = replace(
    LLAMA,
    sizes=_sizes("gemma"),
    before=_before(_rms(1e-6), less_one=True),
    causal=_gemma_causal,
    token_factor=root_of_width(),
)
GEMMA2 = replace(GEMMA, sizes=_sizes("gemma2"), scale=_gemma_scale, soft_cap=_gemma2_cap)
GEMMA3_TEXT = replace(
    GEMMA2,
    sizes=_sizes("gemma3_text"),
    head_norms=_head_norms(_rms(1e-6), less_one=True),
    soft_cap=lambda _: None,  # transformers does not apply what the config may say
)
GEMMA3 = replace(GEMMA3_TEXT, prefixes=_OF_TEXT, sections=("text_config",))

NEMOTRON = replace(
    LLAMA,
    sizes=_sizes("nemotron"),
    before=always(NormEntry(_INPUT_NORM, Epsilon(1e-5, ("norm_eps",)), stored_less_one=True)),
)
STARCODER2 = replace(
    LLAMA,
    sizes=_sizes("starcoder2"),
    before=always(NormEntry(_INPUT_NORM, Epsilon(1e-5, ("norm_epsilon",)))),
    biases=have_if("use_bias", True),
)


def _cohere_norms(config: Config, _: int) -> HeadNormEntry | None:
    if not config.switch("use_qk_norm", False):
        return None
    return HeadNormEntry(f"{_ATTENTION}q_norm", f"{_ATTENTION}k_norm", _LN, EACH, centre=True)


COHERE2 = replace(
    LLAMA, sizes=_sizes("cohere2"), before=always(NormEntry(_INPUT_NORM, _LN, bias=False))
)
COHERE = replace(COHERE2, sizes=_sizes("cohere"), head_norms=_cohere_norms)


def _layernorms(
    entry: HeadNormEntry, default: bool
) -> Callable[[Config, int], HeadNormEntry | None]:
    return lambda config, _: entry if config.switch("qk_layernorm", default) else None


_SHARED_LAYERNORMS = HeadNormEntry(
    f"{_ATTENTION}q_layernorm", f"{_ATTENTION}k_layernorm", _LN, centre=True, bias=True
)
_OWN_LAYERNORMS = replace(_SHARED_LAYERNORMS, stored=STACKED, bias=False)

PHI = replace(
    LLAMA,
    sizes=_sizes("phi"),
    layouts=(linear(_ATTENTION, "q_proj", "k_proj", "v_proj", "dense"),),
    before=always(NormEntry(_INPUT_NORM, _LN)),
    biases=have(ALL),
    head_norms=_layernorms(_SHARED_LAYERNORMS, default=False),
)
PERSIMMON = replace(
    PHI,
    sizes=_sizes("persimmon"),
    layouts=(fused(_ATTENTION, "query_key_value", "dense", grouped),),
    head_norms=_layernorms(_SHARED_LAYERNORMS, default=True),
)
STABLELM = replace(
    LLAMA,
    sizes=_sizes("stablelm"),
    before=always(NormEntry(_INPUT_NORM, _LN)),
    biases=have_if("use_qkv_bias", False, INPUTS),
    head_norms=_layernorms(_OWN_LAYERNORMS, default=False),
)
PHI3 = replace(
    LLAMA,
    sizes=_sizes("phi3"),
    layouts=(fused(_ATTENTION, "qkv_proj", "o_proj", concatenated),),
    before=_before(_rms(1e-5)),
    biases=have(NONE),
)
GPT_NEOX = BlockEntry(
    sizes=replace(_sizes("gpt_neox"), key_heads_keys=()),
    layouts=(fused("layers.{layer}.attention.", "query_key_value", "dense", grouped),),
    prefixes=("", "gpt_neox."),
    before=always(NormEntry(_INPUT_NORM, _LN)),
    biases=have_if("attention_bias", True),
    tokens=("embed_in.weight",),
)


def _last_output(config: Config, layer: int) -> Biases:
    return OUTPUT if layer == JAPANESE_SIZES.layer_count(config) - 1 else NONE


JAPANESE_SIZES = replace(_sizes("gpt_neox_japanese"), key_heads_keys=())
GPT_NEOX_JAPANESE = replace(
    GPT_NEOX,
    sizes=JAPANESE_SIZES,
    layouts=(replace(GPT_NEOX.layouts[0], output_bias="layers.{layer}.attention.dense_bias"),),
    prefixes=("", "gpt_neox_japanese."),
    biases=_last_output,
)

BLOCKS: dict[str, tuple[BlockEntry, ...]] = {
    "cohere": (COHERE,),
    "cohere2": (COHERE2,),
    "gemma": (GEMMA,),
    "gemma2": (GEMMA2,),
    "gemma3": (GEMMA3,),
    "gemma3_text": (GEMMA3_TEXT,),
    "glm": (GLM,),
    "gpt_neox": (GPT_NEOX,),
    "gpt_neox_japanese": (GPT_NEOX_JAPANESE,),
    "gpt_oss": (GPT_OSS,),
    "granite": (GRANITE,),
    "llama": (LLAMA,),
    "llama4": (LLAMA4,),
    "llama4_text": (LLAMA4_TEXT,),
    "mistral": (MISTRAL,),
    "mixtral": (MIXTRAL,),
    "nemotron": (NEMOTRON,),
    "olmo": (OLMO,),
    "olmo2": (OLMO2,),
    "persimmon": (PERSIMMON,),
    "phi": (PHI,),
    "phi3": (PHI3,),
    "qwen2": (QWEN2,),
    "qwen2_moe": (QWEN2_MOE,),
    "qwen3": (QWEN3,),
    "qwen3_moe": (QWEN3_MOE,),
    "smollm3": (SMOLLM3,),
    "stablelm": (STABLELM,),
    "starcoder2": (STARCODER2,),
}
