"""Text models with one added table, beside those of `added`: encoders and decoders.

Checked against transformers 5.23, its modeling code and its initialisation; the tests compare
every entry with what the model's own forward pass adds.
"""

from __future__ import annotations

import math
from dataclasses import replace

from poslens.checkpoints.config import Config
from poslens.checkpoints.families.added import BERT, BERT_NORMS, GPT, OPT, ROBERTA
from poslens.checkpoints.families.computed import after_two, computed, concatenated, root_of_width
from poslens.checkpoints.families.entry import Family, Part, Spellings, initializer_range
from poslens.checkpoints.families.relative import SHAW
from poslens.checkpoints.families.rotary import ESM as ESM_ROTARY
from poslens.checkpoints.schemes import Kind


def _xlm_scheme(config: Config) -> Kind:
    return "sinusoidal" if config.flag("sinusoidal_embeddings", False) else "learned"


def _xlm_std(config: Config) -> float:
    # XLMPreTrainedModel._init_weights draws all embeddings again, with this σ.
    return config.number("embed_init_std", 2048**-0.5)


def _flaubert_norms(config: Config) -> tuple[Spellings, ...]:
    first = (("layer_norm1.0.weight",),) if config.switch("pre_norm", False) else ()
    return (("layer_norm_emb.weight",), *first)


def _esm_norms(config: Config) -> tuple[Spellings, ...]:
    before = config.switch("emb_layer_norm_before", False)
    attention = "encoder.layer.0.attention.LayerNorm"
    return (
        *((("embeddings.layer_norm.weight",),) if before else ()),
        (f"{attention}.weight", f"{attention}.gamma"),
    )


def _esm_factor(config: Config, _: int) -> float:
    # Trained with 15 % of tokens chosen and 80 % of these masked, whose vectors are zero; without
    # masks all are scaled by the share that was left.
    return 1 - 0.15 * 0.8 if config.switch("token_dropout", False) else 1.0


OPENAI_GPT = Part(
    position=("positions_embed.weight",),
    prefixes=("", "transformer."),
    tokens=("tokens_embed.weight",),
)
CTRL = Part(
    position=("pos_encoding",),
    prefixes=("", "transformer."),
    tokens=("w.weight",),
    norms=lambda _: (("h.0.layernorm1.weight",),),
    scheme=lambda _: "sinusoidal",
    token_factor=lambda _, dim: math.sqrt(dim),
    formula=computed(
        concatenated, 256, 1280, ("n_positions", "max_position_embeddings"), ("n_embd",)
    ),
)
XGLM = Part(
    position=("embed_positions.weights",),
    prefixes=("", "model."),
    tokens=("embed_tokens.weight",),
    norms=lambda _: (("layers.0.self_attn_layer_norm.weight",),),
    offset=lambda _: 2,
    scheme=lambda _: "sinusoidal",
    token_factor=root_of_width("scale_embedding", True),
    formula=computed(after_two, 2048, 1024),
)
BIOGPT = replace(
    OPT,
    prefixes=("", "biogpt."),
    norms=lambda _: (("layers.0.self_attn_layer_norm.weight",),),
    init_std=initializer_range,
    token_factor=root_of_width("scale_embedding", True),
)
XLM = Part(
    position=("position_embeddings.weight",),
    prefixes=("", "transformer."),
    tokens=("embeddings.weight",),
    norms=lambda _: (("layer_norm_emb.weight",),),
    scheme=_xlm_scheme,
    init_std=_xlm_std,
)
FLAUBERT = replace(XLM, norms=_flaubert_norms)

ELECTRA = replace(BERT, prefixes=("", "electra."))
ERNIE = replace(BERT, prefixes=("", "ernie."))
CONVBERT = replace(BERT, prefixes=("", "convbert."), requires={})
SPLINTER = replace(BERT, prefixes=("", "splinter."), requires={})
REMBERT = replace(BERT, prefixes=("", "rembert."), requires={})
SQUEEZEBERT = replace(BERT, prefixes=("", "transformer."), requires={})
BERT_GENERATION = replace(BERT, prefixes=("", "bert."), requires={})
BIG_BIRD = replace(
    BERT, requires={}, token_factor=root_of_width("rescale_embeddings", default=False)
)
NYSTROMFORMER = replace(BERT, prefixes=("", "nystromformer."), offset=lambda _: 2, requires={})

DATA2VEC_TEXT = replace(ROBERTA, prefixes=("", "data2vec_text."))
LONGFORMER = replace(ROBERTA, prefixes=("", "longformer."), requires={})
ROBERTA_PRELAYERNORM = replace(
    ROBERTA,
    prefixes=("", "roberta_prelayernorm."),
    norms=lambda _: (*BERT_NORMS, ("encoder.layer.0.attention.LayerNorm.weight",)),
)
XLM_ROBERTA_XL = replace(
    ROBERTA, norms=lambda _: (("encoder.layer.0.attention.self_attn_layer_norm.weight",),)
)
ESM = replace(ROBERTA, prefixes=("", "esm."), norms=_esm_norms, token_factor=_esm_factor)

FAMILIES: dict[str, Family] = {
    "bert-generation": Family((BERT_GENERATION,)),
    "big_bird": Family((BIG_BIRD,)),
    "biogpt": Family((BIOGPT,)),
    "camembert": Family((ROBERTA,), mechanisms=(SHAW,)),
    "convbert": Family((CONVBERT,)),
    "ctrl": Family((CTRL,), context=("n_positions", "max_position_embeddings")),
    "data2vec-text": Family((DATA2VEC_TEXT,), mechanisms=(SHAW,)),
    "electra": Family((ELECTRA,), mechanisms=(SHAW,)),
    "ernie": Family((ERNIE,), mechanisms=(SHAW,)),
    "esm": Family((ESM,), mechanisms=(ESM_ROTARY, SHAW)),
    "flaubert": Family((FLAUBERT,)),
    "gpt_bigcode": Family((GPT,), context=("n_positions", "max_position_embeddings")),
    "longformer": Family((LONGFORMER,)),
    "nystromformer": Family((NYSTROMFORMER,)),
    "openai-gpt": Family((OPENAI_GPT,), context=("n_positions", "max_position_embeddings")),
    "rembert": Family((REMBERT,)),
    "roberta-prelayernorm": Family((ROBERTA_PRELAYERNORM,), mechanisms=(SHAW,)),
    "splinter": Family((SPLINTER,)),
    "squeezebert": Family((SQUEEZEBERT,)),
    "xglm": Family((XGLM,)),
    "xlm": Family((XLM,)),
    "xlm-roberta": Family((ROBERTA,), mechanisms=(SHAW,)),
    "xlm-roberta-xl": Family((XLM_ROBERTA_XL,), mechanisms=(SHAW,)),
    "xmod": Family((ROBERTA,), mechanisms=(SHAW,)),
}
