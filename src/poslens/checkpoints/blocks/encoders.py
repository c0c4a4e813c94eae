"""Attention blocks of text encoders: BERT and its kin, and encoders that rotate.

Checked against transformers 5.23, its modeling code; the tests compare every entry with the
queries, keys, values and outputs of the model itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

from poslens.checkpoints.blocks.entry import (
    ALL,
    NONE,
    OUTPUT,
    BlockEntry,
    Steps,
    always,
    bidirectional,
    have,
    have_if,
    is_decoder,
    plain,
    root_of_width,
)
from poslens.checkpoints.blocks.layouts import concatenated, grouped
from poslens.checkpoints.blocks.projections import Apart, Layout, Together, fused, linear
from poslens.checkpoints.blocks.steps import Epsilon, LinearEntry, NormEntry
from poslens.checkpoints.config import Config
from poslens.checkpoints.families import rotary

_LAYER = "encoder.layer.{layer}.attention."
_EPSILON = Epsilon(1e-12, ("layer_norm_eps",))
_EMBEDDING_NORM = NormEntry(("embeddings.LayerNorm",), _EPSILON)
_WORDS = ("embeddings.word_embeddings.weight",)
_TYPES = ("embeddings.token_type_embeddings.weight",)


BASE = plain(768, 12, 12)


def _embedding_size(default: int | None = None) -> Callable[[Config, int], int]:
    return lambda config, dim: config.count(default or dim, "embedding_size")


def _projected_if_narrower(default: int | None = None) -> Callable[[Config, int], Steps]:
    width, projection = _embedding_size(default), LinearEntry("embeddings_project")

    def steps(config: Config, dim: int) -> Steps:
        return (_EMBEDDING_NORM, *((projection,) if width(config, dim) != dim else ()))

    return steps


BERT = BlockEntry(
    sizes=BASE,
    layouts=(linear(_LAYER, "self.query", "self.key", "self.value", "output.dense"),),
    prefixes=("", "bert."),
    embedding=always(_EMBEDDING_NORM),
    causal=is_decoder,
    tokens=_WORDS,
    types=lambda _: _TYPES,
)
ROBERTA = replace(BERT, prefixes=("", "roberta."))
LONGFORMER = replace(BERT, prefixes=("", "longformer."), causal=bidirectional)
ELECTRA = replace(
    BERT,
    sizes=plain(256, 4, 12),
    prefixes=("", "electra."),
    embedding=_projected_if_narrower(128),
    embedding_width=_embedding_size(128),
)
ROFORMER = replace(
    BERT,
    prefixes=("", "roformer."),
    embedding=_projected_if_narrower(),
    embedding_width=_embedding_size(),
)
BIG_BIRD = replace(
    BERT,
    biases=have_if("use_bias", True, besides=OUTPUT),
    token_factor=root_of_width("rescale_embeddings", default=False),
)
ROBERTA_PRELAYERNORM = replace(
    BERT,
    prefixes=("", "roberta_prelayernorm."),
    before=always(NormEntry((f"{_LAYER}LayerNorm",), _EPSILON)),
)
XLM_ROBERTA_XL = replace(
    ROBERTA,
    sizes=plain(2560, 32, 36),
    embedding=always(),
    before=always(
        NormEntry((f"{_LAYER}self_attn_layer_norm",), Epsilon(1e-5, ("layer_norm_eps",)))
    ),
)

DISTILBERT = BlockEntry(
    sizes=replace(
        plain(768, 12, 6),
        width_keys=("dim", "hidden_size"),
        heads_keys=("n_heads", "num_attention_heads"),
        layers_keys=("n_layers", "num_hidden_layers"),
    ),
    layouts=(linear("transformer.layer.{layer}.attention.", "q_lin", "k_lin", "v_lin", "out_lin"),),
    prefixes=("", "distilbert."),
    embedding=always(NormEntry(("embeddings.LayerNorm",), Epsilon(1e-12))),
    causal=bidirectional,
    tokens=_WORDS,
)
MPNET = replace(
    BERT,
    layouts=(linear(f"{_LAYER}attn.", "q", "k", "v", "o"),),
    prefixes=("", "mpnet."),
    causal=bidirectional,
    types=lambda _: (),
)


def _albert_group(config: Config, layer: int) -> int:
    layers = config.count(12, "num_hidden_layers")
    return int(layer / (layers / config.count(1, "num_hidden_groups")))


ALBERT = BlockEntry(
    sizes=plain(4096, 64, 12),
    layouts=(
        linear(
            "encoder.albert_layer_groups.{layer}.albert_layers.0.attention.",
            "query",
            "key",
            "value",
            "dense",
        ),
    ),
    prefixes=("", "albert."),
    embedding=always(_EMBEDDING_NORM, LinearEntry("encoder.embedding_hidden_mapping_in")),
    embedding_width=_embedding_size(128),
    causal=bidirectional,
    tokens=_WORDS,
    types=lambda _: _TYPES,
    place=_albert_group,
)


def _position_kinds(config: Config) -> list[str]:
    if isinstance(config.values.get("pos_att_type"), str):
        return [word.strip() for word in config.text("pos_att_type").lower().split("|")]
    return config.items("pos_att_type", str, fewest=0) or []


def _deberta_scale(config: Config, d_head: int, _: int) -> float:
    # Each kind of term has the variance of the first (He et al. 2021, section 3.1).
    return 1 / math.sqrt(d_head * (1 + len(_position_kinds(config))))


def _deberta_v2_scale(config: Config, d_head: int, _: int) -> float:
    known = {"c2p", "p2c"} & set(_position_kinds(config))
    return 1 / math.sqrt(d_head * (1 + len(known)))


def _deberta_embedding(config: Config, dim: int) -> Steps:
    norm = NormEntry(("embeddings.LayerNorm",), Epsilon(1e-7, ("layer_norm_eps",)))
    narrower = config.count(dim, "embedding_size") != dim
    projection = LinearEntry("embeddings.embed_proj", bias=False)
    return (projection, norm) if narrower else (norm,)


def _deberta_types(config: Config) -> tuple[str, ...]:
    return _TYPES if config.integer("type_vocab_size", 0) > 0 else ()


def _talking_heads(config: Config) -> str:
    return "heads whose logits are mixed" if config.switch("talking_head", False) else ""


DEBERTA = BlockEntry(
    sizes=BASE,
    layouts=(
        Layout(
            Together(f"{_LAYER}self.in_proj.weight", grouped),
            Apart(f"{_LAYER}self.q_bias", None, f"{_LAYER}self.v_bias"),
            f"{_LAYER}output.dense.weight",
            f"{_LAYER}output.dense.bias",
        ),
    ),
    prefixes=("", "deberta."),
    embedding=_deberta_embedding,
    embedding_width=_embedding_size(),
    biases=have(ALL - {"key"}),
    scale=_deberta_scale,
    causal=bidirectional,
    tokens=_WORDS,
    types=_deberta_types,
    refused=_talking_heads,
)
DEBERTA_V2 = replace(
    DEBERTA,
    sizes=replace(plain(1536, 24, 24), head_dim_keys=("attention_head_size",)),
    layouts=(
        linear(_LAYER, "self.query_proj", "self.key_proj", "self.value_proj", "output.dense"),
    ),
    biases=have(ALL),
    scale=_deberta_v2_scale,
    refused=lambda _: "",
)


def _esm_embedding(config: Config, _: int) -> Steps:
    norm = NormEntry(("embeddings.layer_norm",), _EPSILON)
    return (norm,) if config.switch("emb_layer_norm_before", False) else ()


def _esm_factor(config: Config, _: int) -> float:
    # Trained with 15 % of tokens chosen and 80 % of these masked, whose vectors are zero; without
    # masks all are multiplied by the share that was left.
    return 1 - 0.15 * 0.8 if config.switch("token_dropout", False) else 1.0


ESM = replace(
    BERT,
    prefixes=("", "esm."),
    embedding=_esm_embedding,
    before=always(NormEntry((f"{_LAYER}LayerNorm",), _EPSILON)),
    token_factor=_esm_factor,
    types=lambda _: (),
)


def _modernbert_norm(name: str, config: Config) -> NormEntry:
    bias = config.switch("norm_bias", False)
    return NormEntry((name,), Epsilon(1e-5, ("norm_eps",)), bias=bias)


def _modernbert_before(config: Config, layer: int) -> Steps:
    # The first layer reads the normalised embedding as it is.
    return (_modernbert_norm("layers.{layer}.attn_norm", config),) if layer else ()


MODERNBERT = BlockEntry(
    sizes=rotary.MODERNBERT_GLOBAL.sizes,
    layouts=(fused("layers.{layer}.attn.", "Wqkv", "Wo", concatenated),),
    prefixes=("", "model."),
    embedding=lambda config, _: (_modernbert_norm("embeddings.norm", config),),
    before=_modernbert_before,
    biases=have_if("attention_bias", False),
    causal=bidirectional,
    tokens=("embeddings.tok_embeddings.weight",),
)
NOMIC_BERT = BlockEntry(
    sizes=rotary.NOMIC_BERT.sizes,
    layouts=(
        linear("layers.{layer}.self_attn.", "q_proj", "k_proj", "v_proj", "o_proj"),
        fused("encoder.layers.{layer}.attn.", "Wqkv", "out_proj", concatenated),
    ),
    prefixes=("", "nomic_bert."),
    embedding=always(
        NormEntry(
            ("embeddings.LayerNorm", "emb_ln"),
            Epsilon(1e-12, ("layer_norm_eps", "layer_norm_epsilon")),
        )
    ),
    biases=have(NONE),
    causal=bidirectional,
    tokens=_WORDS,
    types=lambda _: _TYPES,
)
XLM = BlockEntry(
    sizes=replace(
        plain(2048, 16, 12),
        width_keys=("emb_dim", "hidden_size"),
        heads_keys=("n_heads", "num_attention_heads"),
        layers_keys=("n_layers", "num_hidden_layers"),
    ),
    layouts=(linear("attentions.{layer}.", "q_lin", "k_lin", "v_lin", "out_lin"),),
    prefixes=("", "transformer."),
    embedding=always(NormEntry(("layer_norm_emb",), _EPSILON)),
    causal=lambda config: config.switch("causal", False),
    tokens=("embeddings.weight",),
)

BERT_GENERATION = replace(BERT, sizes=plain(1024, 16, 24), types=lambda _: ())


def _ernie_types(config: Config) -> tuple[str, ...]:
    tasks = ("embeddings.task_type_embeddings.weight",)
    return _TYPES + (tasks if config.switch("use_task_id", False) else ())


ERNIE = replace(BERT, prefixes=("", "ernie."), types=_ernie_types)

BLOCKS: dict[str, tuple[BlockEntry, ...]] = {
    "albert": (ALBERT,),
    "bert": (BERT,),
    "bert-generation": (BERT_GENERATION,),
    "big_bird": (BIG_BIRD,),
    "camembert": (ROBERTA,),
    "data2vec-text": (replace(BERT, prefixes=("", "data2vec_text.")),),
    "deberta": (DEBERTA,),
    "deberta-v2": (DEBERTA_V2,),
    "distilbert": (DISTILBERT,),
    "electra": (ELECTRA,),
    "ernie": (ERNIE,),
    "esm": (ESM,),
    "longformer": (LONGFORMER,),
    "modernbert": (MODERNBERT,),
    "mpnet": (MPNET,),
    "nomic_bert": (NOMIC_BERT,),
    "roberta": (ROBERTA,),
    "roberta-prelayernorm": (ROBERTA_PRELAYERNORM,),
    "roformer": (ROFORMER,),
    "xlm": (XLM,),
    "xlm-roberta": (ROBERTA,),
    "xlm-roberta-xl": (XLM_ROBERTA_XL,),
}
