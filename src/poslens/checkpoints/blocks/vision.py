"""Attention blocks of models of images, of images and text (CLIP), and of speech (wav2vec 2.0).

Checked against transformers 5.23, its modeling code; the tests compare every entry with the
queries, keys, values and outputs of the model itself.
"""

from __future__ import annotations

from dataclasses import replace

from poslens.checkpoints.blocks.entry import (
    ALL,
    OUTPUT,
    BlockEntry,
    Steps,
    always,
    bidirectional,
    have,
    have_if,
    plain,
)
from poslens.checkpoints.blocks.projections import linear
from poslens.checkpoints.blocks.steps import Epsilon, NormEntry
from poslens.checkpoints.config import Config

BASE = plain(768, 12, 12)
_OLD_LAYER, _LAYER = "encoder.layer.{layer}.", "layers.{layer}."


def _norm(name: str, default: float) -> NormEntry:
    spellings = (_LAYER + name, _OLD_LAYER + name)
    return NormEntry(spellings, Epsilon(default, ("layer_norm_eps",)))


VIT = BlockEntry(
    sizes=BASE,
    layouts=(
        # transformers 5 has these names in memory, and writes the older ones to files.
        linear(f"{_LAYER}attention.", "q_proj", "k_proj", "v_proj", "o_proj"),
        linear(f"{_OLD_LAYER}attention.", "q_proj", "k_proj", "v_proj", "o_proj"),
        linear(
            f"{_OLD_LAYER}attention.",
            "attention.query",
            "attention.key",
            "attention.value",
            "output.dense",
        ),
    ),
    prefixes=("", "vit."),
    before=always(_norm("layernorm_before", 1e-12)),
    biases=have_if("qkv_bias", True, besides=OUTPUT),
    causal=bidirectional,
)
DEIT = replace(VIT, prefixes=("", "deit."))
BEIT = replace(VIT, prefixes=("", "beit."), biases=have(ALL - {"key"}))
DINOV2 = replace(VIT, prefixes=("", "dinov2."), before=always(_norm("norm1", 1e-6)))

_CLIP_LAYER = "encoder.layers.{layer}."


def _clip_norm(name: str, default: float) -> NormEntry:
    return NormEntry((name,), Epsilon(default, ("layer_norm_eps",)))


CLIP_TEXT = BlockEntry(
    sizes=plain(512, 8, 12),
    layouts=(linear(f"{_CLIP_LAYER}self_attn.", "q_proj", "k_proj", "v_proj", "out_proj"),),
    prefixes=("text_model.",),
    name="text",
    before=always(_clip_norm(f"{_CLIP_LAYER}layer_norm1", 1e-5)),
    tokens=("embeddings.token_embedding.weight",),
    sections=("text_config_dict", "text_config"),
)
CLIP_VISION = replace(
    CLIP_TEXT,
    sizes=BASE,
    prefixes=("vision_model.",),
    name="vision",
    embedding=always(_clip_norm("pre_layrnorm", 1e-5)),
    causal=bidirectional,
    tokens=(),
    sections=("vision_config_dict", "vision_config"),
)
SIGLIP_TEXT = replace(
    CLIP_TEXT,
    sizes=BASE,
    before=always(_clip_norm(f"{_CLIP_LAYER}layer_norm1", 1e-6)),
    causal=bidirectional,
    sections=("text_config",),
)
SIGLIP_VISION = replace(
    SIGLIP_TEXT,
    prefixes=("vision_model.",),
    name="vision",
    tokens=(),
    sections=("vision_config",),
)


def _alone(entry: BlockEntry) -> BlockEntry:
    """Return the entry of a model that is one half of a pair."""
    return replace(entry, prefixes=(*entry.prefixes, ""), sections=())


def _stable(config: Config) -> bool:
    return config.switch("do_stable_layer_norm", False)


def _wav2vec2_embedding(config: Config, _: int) -> Steps:
    return () if _stable(config) else (_clip_norm("encoder.layer_norm", 1e-5),)


def _wav2vec2_before(config: Config, _: int) -> Steps:
    return (_clip_norm(f"{_CLIP_LAYER}layer_norm", 1e-5),) if _stable(config) else ()


WAV2VEC2 = BlockEntry(
    sizes=BASE,
    layouts=(linear(f"{_CLIP_LAYER}attention.", "q_proj", "k_proj", "v_proj", "out_proj"),),
    prefixes=("", "wav2vec2."),
    embedding=_wav2vec2_embedding,
    before=_wav2vec2_before,
    causal=bidirectional,
)

BLOCKS: dict[str, tuple[BlockEntry, ...]] = {
    "beit": (BEIT,),
    "clip": (CLIP_TEXT, CLIP_VISION),
    "clip_text_model": (_alone(CLIP_TEXT),),
    "clip_vision_model": (_alone(CLIP_VISION),),
    "deit": (DEIT,),
    "dinov2": (DINOV2,),
    "hubert": (replace(WAV2VEC2, prefixes=("", "hubert.")),),
    "siglip": (SIGLIP_TEXT, SIGLIP_VISION),
    "siglip_text_model": (_alone(SIGLIP_TEXT),),
    "siglip_vision_model": (_alone(SIGLIP_VISION),),
    "vit": (VIT,),
    "wav2vec2": (WAV2VEC2,),
}
