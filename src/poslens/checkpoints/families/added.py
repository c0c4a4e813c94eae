"""Architectures that add a position table to their embeddings: one `Part` a table.

Checked against transformers 5.23, its modeling code and its initialisation; the tests compare
every entry with what the model's own forward pass adds.
"""

from __future__ import annotations

from dataclasses import replace

from poslens.checkpoints.config import Config
from poslens.checkpoints.families.entry import Part, Spellings
from poslens.checkpoints.schemes import Kind


def init_std(config: Config) -> float:
    """Return σ as the families that came from fairseq name it."""
    return config.number("init_std", 0.02)


def _clip_text_std(config: Config) -> float:
    # CLIPPreTrainedModel._init_weights scales a constant here, not initializer_range.
    return 0.02 * config.number("initializer_factor", 1.0)


def _clip_vision_std(config: Config) -> float:
    return config.number("initializer_range", 0.02) * config.number("initializer_factor", 1.0)


def rows_up_to_padding(config: Config) -> int:
    """Return how many rows are never added: fairseq counts positions from padding_idx + 1."""
    return config.integer("pad_token_id", 1) + 1


def _opt_norms(config: Config) -> tuple[Spellings, ...]:
    if not config.flag("do_layer_norm_before", True):
        return ()  # OPT-350m normalises after attention
    affine = config.flag("layer_norm_elementwise_affine", True)
    return (("layers.0.self_attn_layer_norm.weight",) if affine else (),)


def _distilbert_scheme(config: Config) -> Kind:
    return "sinusoidal" if config.flag("sinusoidal_pos_embds", False) else "learned"


# GGUF's own names, the same in all its architectures; its converters cut off the rows before
# position 0.
_GGUF_POSITION = "position_embd.weight"
_GGUF_TOKENS = "token_embd.weight"


def _hooked_norms(config: Config) -> tuple[Spellings, ...]:
    # LNPre and RMSPre are what TransformerLens leaves once it has folded γ into the weights.
    without_weights: dict[str, tuple[Spellings, ...]] = {
        "none": (),
        "LNPre": ((),),
        "RMSPre": ((),),
    }
    return without_weights.get(config.text("normalization_type"), (("blocks.0.ln1.w",),))


# Checkpoints converted from TensorFlow call γ gamma.
BERT_NORMS = (
    ("embeddings.LayerNorm.weight", "embeddings.LayerNorm.gamma", "token_embd_norm.weight"),
)

GPT = Part(
    position=("wpe.weight", _GGUF_POSITION),
    prefixes=("", "transformer."),
    tokens=("wte.weight", _GGUF_TOKENS),
    norms=lambda _: (("h.0.ln_1.weight", "blk.0.attn_norm.weight"),),
)

BERT = Part(
    position=("embeddings.position_embeddings.weight", _GGUF_POSITION),
    prefixes=("", "bert."),
    tokens=("embeddings.word_embeddings.weight", _GGUF_TOKENS),
    norms=lambda _: BERT_NORMS,
    # Models trained with relative keys carry an unused table along.
    requires={"position_embedding_type": "absolute"},
)

CLIP_TEXT = Part(
    name="text",
    position=("embeddings.position_embedding.weight",),
    prefixes=("text_model.",),
    tokens=("embeddings.token_embedding.weight",),
    norms=lambda _: (("encoder.layers.0.layer_norm1.weight",),),
    init_std=_clip_text_std,
    sections=("text_config_dict", "text_config"),
)

CLIP_VISION = Part(
    name="vision",
    position=("embeddings.position_embedding.weight",),
    prefixes=("vision_model.",),
    norms=lambda _: (("pre_layrnorm.weight",), ("encoder.layers.0.layer_norm1.weight",)),
    offset=lambda _: 1,
    init_std=_clip_vision_std,
    sections=("vision_config_dict", "vision_config"),
)

WHISPER_ENCODER = Part(
    name="encoder",
    position=("encoder.embed_positions.weight",),
    prefixes=("", "model."),
    norms=lambda _: (("encoder.layers.0.self_attn_layer_norm.weight",),),
    scheme=lambda _: "sinusoidal",
)

WHISPER_DECODER = Part(
    name="decoder",
    position=("decoder.embed_positions.weight",),
    prefixes=("", "model."),
    tokens=("decoder.embed_tokens.weight",),
    norms=lambda _: (("decoder.layers.0.self_attn_layer_norm.weight",),),
    init_std=init_std,
)


OPT = Part(
    position=("embed_positions.weight",),
    prefixes=("decoder.", "model.decoder."),
    tokens=("embed_tokens.weight",),
    norms=_opt_norms,
    offset=lambda _: 2,
    init_std=init_std,
)
DISTILBERT = replace(BERT, prefixes=("", "distilbert."), scheme=_distilbert_scheme, requires={})
ROBERTA = replace(BERT, prefixes=("", "roberta."), offset=rows_up_to_padding)
# MPNet fixes padding_idx at 1, whatever the config says.
MPNET = replace(BERT, prefixes=("", "mpnet."), offset=lambda _: 2, requires={})
ALBERT = replace(BERT, prefixes=("", "albert."))
VIT = Part(
    position=("embeddings.position_embeddings",),
    prefixes=("", "vit."),
    norms=lambda _: (
        ("layers.0.layernorm_before.weight", "encoder.layer.0.layernorm_before.weight"),
    ),
    offset=lambda _: 1,
)
CLIP_TEXT_MODEL = replace(CLIP_TEXT, prefixes=("text_model.", ""), sections=())
CLIP_VISION_MODEL = replace(CLIP_VISION, prefixes=("vision_model.", ""), sections=())
# From Python alone: the cfg of a HookedTransformer or TransformerBridge with "standard" positions.
# Its loader may have subtracted the mean over dimensions from every row.
TRANSFORMER_LENS = Part(
    position=("pos_embed.W_pos", "pos_embed.weight"),
    prefixes=("",),
    tokens=("embed.W_E", "embed.weight"),
    norms=_hooked_norms,
    norms_centre=lambda config: not config.text("normalization_type").startswith("RMS"),
    offset=lambda config: config.integer("reserved_rows", 0),
    init_std=init_std,
)
