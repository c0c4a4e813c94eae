"""Attention blocks of decoders: GPT-2 and what followed it, up to models that rotate.

Checked against transformers 5.23, its modeling code; the tests compare every entry with the
queries, keys, values and outputs of the model itself.
"""

from __future__ import annotations

import math
from dataclasses import replace

from poslens.checkpoints.blocks.entry import (
    NONE,
    OUTPUT,
    BlockEntry,
    Steps,
    always,
    have,
    have_if,
    inverse_root,
    plain,
    root_of_width,
    unscaled,
)
from poslens.checkpoints.blocks.layouts import (
    CODEGEN_BLOCKS,
    codegen_blocks,
    concatenated,
    grouped,
)
from poslens.checkpoints.blocks.projections import fused, linear
from poslens.checkpoints.blocks.steps import Epsilon, LinearEntry, NormEntry
from poslens.checkpoints.config import Config
from poslens.checkpoints.families import biased, rotary

_EPSILON = Epsilon(1e-5, ("layer_norm_epsilon",))
_LAYER, _LAYERS = "h.{layer}.", "layers.{layer}."


def _scale_by_switch(config: Config, d_head: int, _: int) -> float:
    return 1 / math.sqrt(d_head) if config.switch("scale_attn_weights", True) else 1.0


def _gpt2_scale(config: Config, d_head: int, layer: int) -> float:
    by_depth = config.switch("scale_attn_by_inverse_layer_idx", False)
    return _scale_by_switch(config, d_head, layer) / (layer + 1 if by_depth else 1)


OPENAI_GPT = BlockEntry(
    sizes=plain(768, 12, 12),
    layouts=(fused(f"{_LAYER}attn.", "c_attn", "c_proj", concatenated, transposed=True),),
    prefixes=("", "transformer."),
    tokens=("tokens_embed.weight",),
)
GPT2 = replace(
    OPENAI_GPT,
    before=always(NormEntry((f"{_LAYER}ln_1",), _EPSILON)),
    scale=_gpt2_scale,
    tokens=("wte.weight",),
)


def _bigcode_keys(config: Config, query: int) -> int:
    return 1 if config.switch("multi_query", True) else query


GPT_BIGCODE = replace(
    GPT2,
    sizes=replace(GPT2.sizes, grouped=_bigcode_keys),
    layouts=(fused(f"{_LAYER}attn.", "c_attn", "c_proj", grouped),),
    scale=_scale_by_switch,
)
GPT_NEO = replace(
    GPT2,
    sizes=replace(
        plain(2048, 16, 24),
        heads_keys=("num_heads", "num_attention_heads"),
        layers_keys=("num_layers", "num_hidden_layers"),
    ),
    layouts=(linear(f"{_LAYER}attn.attention.", "q_proj", "k_proj", "v_proj", "out_proj"),),
    biases=have(OUTPUT),
    scale=unscaled,
)
CTRL = BlockEntry(
    sizes=plain(1280, 16, 48),
    layouts=(linear(f"{_LAYER}multi_head_attention.", "Wq", "Wk", "Wv", "dense"),),
    prefixes=("", "transformer."),
    before=always(NormEntry((f"{_LAYER}layernorm1",), Epsilon(1e-6))),
    token_factor=root_of_width(),
    tokens=("w.weight",),
)


def _opt_before(config: Config, _: int) -> Steps:
    if not config.flag("do_layer_norm_before", True):
        return ()  # OPT-350m normalises after attention
    affine = config.flag("layer_norm_elementwise_affine", True)
    norm = NormEntry((f"{_LAYERS}self_attn_layer_norm",), Epsilon(1e-5), weight=affine, bias=affine)
    return (norm,)


def _opt_tokens(config: Config, dim: int) -> tuple[int, LinearEntry] | None:
    width = config.count(dim, "word_embed_proj_dim")
    return (width, LinearEntry("project_in", bias=False)) if width != dim else None


OPT = BlockEntry(
    sizes=plain(768, 12, 12),
    layouts=(linear(f"{_LAYERS}self_attn.", "q_proj", "k_proj", "v_proj", "out_proj"),),
    prefixes=("decoder.", "model.decoder."),
    before=_opt_before,
    biases=have_if("enable_bias", True),
    token_projection=_opt_tokens,
    tokens=("embed_tokens.weight",),
)
BIOGPT = BlockEntry(
    sizes=plain(1024, 16, 24),
    layouts=OPT.layouts,
    prefixes=("", "biogpt."),
    before=always(NormEntry((f"{_LAYERS}self_attn_layer_norm",), Epsilon(1e-5))),
    token_factor=root_of_width("scale_embedding"),
    tokens=OPT.tokens,
)
XGLM = replace(
    BIOGPT,
    sizes=replace(
        plain(1024, 16, 24),
        width_keys=("d_model", "hidden_size"),
        heads_keys=("attention_heads", "num_attention_heads"),
        layers_keys=("num_layers", "num_hidden_layers"),
    ),
    prefixes=("", "model."),
)


def _refuses_parts_of_four(config: Config) -> str:
    heads = rotary.GPTJ.sizes.read(config).query
    return f"{heads} heads, not a multiple of {CODEGEN_BLOCKS}" if heads % CODEGEN_BLOCKS else ""


GPTJ = replace(
    GPT2,
    sizes=rotary.GPTJ.sizes,
    layouts=(linear(f"{_LAYER}attn.", "q_proj", "k_proj", "v_proj", "out_proj"),),
    biases=have(NONE),
    scale=inverse_root,
)
CODEGEN = replace(
    GPTJ,
    layouts=(fused(f"{_LAYER}attn.", "qkv_proj", "out_proj", codegen_blocks),),
    refused=_refuses_parts_of_four,
)
BLOOM = BlockEntry(
    sizes=replace(
        biased.BLOOM.sizes,
        width_keys=("hidden_size", "n_embed", "n_embd"),
        key_heads_keys=(),
        head_dim_keys=(),
    ),
    layouts=(fused(f"{_LAYER}self_attention.", "query_key_value", "dense", grouped),),
    prefixes=("", "transformer."),
    embedding=always(NormEntry(("word_embeddings_layernorm",), _EPSILON)),
    before=always(NormEntry((f"{_LAYER}input_layernorm",), _EPSILON)),
    tokens=("word_embeddings.weight",),
)


def _falcon_before(config: Config, _: int) -> Steps:
    two = 2 if config.switch("new_decoder_architecture", False) else 1
    parallel = config.switch("parallel_attn", True)
    separate = parallel and config.count(two, "num_ln_in_parallel_attn") == 2
    return (NormEntry((_LAYER + ("ln_attn" if separate else "input_layernorm"),), _EPSILON),)


FALCON = replace(
    BLOOM,
    sizes=rotary.FALCON_SIZES,
    embedding=always(),
    before=_falcon_before,
    biases=have_if("bias", False),
)


def _mpt_scale(config: Config, d_head: int, _: int) -> float:
    attention = config.section("attn_config")
    default = 1 / math.sqrt(d_head)
    return attention.number("softmax_scale", 1.0) if attention.has("softmax_scale") else default


def _mpt_clip(config: Config) -> float | None:
    # transformers takes 0 for unset.
    attention = config.section("attn_config")
    return (attention.number("clip_qkv", 0.0) or None) if attention.has("clip_qkv") else None


def _mpt_refused(config: Config) -> str:
    # In the code that the models were trained with; transformers' own port leaves it out.
    normed = config.section("attn_config").switch("qk_ln", False)
    return "norms of queries and keys that transformers does not have" if normed else ""


MPT = BlockEntry(
    sizes=replace(
        biased.MPT.sizes,
        width_keys=("d_model", "hidden_size"),
        key_heads_keys=(),
        head_dim_keys=(),
    ),
    layouts=(fused("blocks.{layer}.attn.", "Wqkv", "out_proj", concatenated),),
    prefixes=("", "transformer."),
    before=always(NormEntry(("blocks.{layer}.norm_1",), _EPSILON, bias=False)),
    biases=have(NONE),
    scale=_mpt_scale,
    tokens=GPT2.tokens,
    clip=_mpt_clip,
    refused=_mpt_refused,
)

BLOCKS: dict[str, tuple[BlockEntry, ...]] = {
    "biogpt": (BIOGPT,),
    "bloom": (BLOOM,),
    "codegen": (CODEGEN,),
    "ctrl": (CTRL,),
    "falcon": (FALCON,),
    "gpt2": (GPT2,),
    "gpt_bigcode": (GPT_BIGCODE,),
    "gpt_neo": (GPT_NEO,),
    "gptj": (GPTJ,),
    "mpt": (MPT,),
    "openai-gpt": (OPENAI_GPT,),
    "opt": (OPT,),
    "xglm": (XGLM,),
}
