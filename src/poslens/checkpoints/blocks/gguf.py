"""Attention blocks in GGUF files: what a family's entry says, under GGUF's names of tensors.

By ``general.architecture``, with ggml's names (``docs/gguf.md``) and what the converters of
llama.cpp do to the weights (``convert_hf_to_gguf.py``): matrices are (output, dim) throughout, and
of a fused one the queries of all heads stand first, then the keys, then the values.

Rows of queries and keys are read in the order in which they are stored. Where a converter has
reordered them for its rotation (Llama), the file's `Rotary` turns the pairs of that order, and
every logit is the model's own.
"""

from __future__ import annotations

from dataclasses import replace

from poslens.checkpoints.blocks import decoders, encoders, llamas
from poslens.checkpoints.blocks.entry import BlockEntry, Steps, always
from poslens.checkpoints.blocks.layouts import concatenated
from poslens.checkpoints.blocks.projections import fused, linear
from poslens.checkpoints.blocks.steps import Epsilon, HeadNormEntry, NormEntry
from poslens.checkpoints.config import Config

_LAYER = "blk.{layer}."
_APART = linear(_LAYER, "attn_q", "attn_k", "attn_v", "attn_output")
_FUSED = fused(_LAYER, "attn_qkv", "attn_output", concatenated)
_TOKENS = ("token_embd.weight",)

# What the metadata do not say is refused, so that no default of ε is ever taken.
_LN = Epsilon(1e-5, ("layer_norm_eps",))
_RMS = Epsilon(1e-6, ("rms_norm_eps",))
_BEFORE = NormEntry((f"{_LAYER}attn_norm",), _LN)
_EMBEDDING = NormEntry(("token_embd_norm",), _LN)
_HEAD_NORMS = HeadNormEntry(f"{_LAYER}attn_q_norm", f"{_LAYER}attn_k_norm", _RMS)


def _rms_before(_: Config, __: int) -> Steps:
    return (replace(_BEFORE, epsilon=_RMS, centre=False, bias=False),)


def _llama_like(entry: BlockEntry) -> BlockEntry:
    return replace(entry, layouts=(_APART,), prefixes=("",), before=_rms_before, tokens=_TOKENS)


def _with_head_norms(entry: BlockEntry) -> BlockEntry:
    return replace(_llama_like(entry), head_norms=lambda _, __: _HEAD_NORMS)


BERT = replace(
    encoders.BERT,
    layouts=(_APART,),
    prefixes=("",),
    embedding=always(_EMBEDDING),
    tokens=_TOKENS,
    types=lambda _: ("token_types.weight",),
)
GPT2 = replace(
    decoders.GPT2, layouts=(_FUSED,), prefixes=("",), before=always(_BEFORE), tokens=_TOKENS
)
BLOOM = replace(
    decoders.BLOOM,
    layouts=(_FUSED,),
    prefixes=("",),
    embedding=always(_EMBEDDING),
    before=always(_BEFORE),
    tokens=_TOKENS,
)

# By general.architecture; the file of a Mistral says "llama".
GGUF_BLOCKS: dict[str, tuple[BlockEntry, ...]] = {
    "bert": (BERT,),
    "bloom": (BLOOM,),
    "gpt2": (GPT2,),
    "llama": (_llama_like(llamas.LLAMA),),
    "qwen2": (_llama_like(llamas.QWEN2),),
    "qwen2moe": (_llama_like(llamas.QWEN2_MOE),),
    "qwen3": (_with_head_norms(llamas.QWEN3),),
    "qwen3moe": (_with_head_norms(llamas.QWEN3_MOE),),
}
