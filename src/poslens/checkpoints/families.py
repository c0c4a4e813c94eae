"""Where each architecture keeps its position table, and what it does with it: one entry a part.

Checked against transformers 5.23, its modeling code and its initialisation; the tests compare
every entry with what the model's own forward pass adds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from poslens.checkpoints.config import Config
from poslens.checkpoints.table import Scheme

# The names under which one weight is found, as transformers has renamed some. No name at all: a
# normalisation without weights, whose γ is 1.
Spellings = tuple[str, ...]


def _initializer_range(config: Config) -> float:
    # PreTrainedModel._init_weights takes 0 for unset.
    return config.number("initializer_range", 0.02) or 0.02


def _init_std(config: Config) -> float:
    return config.number("init_std", 0.02)


def _clip_text_std(config: Config) -> float:
    # CLIPPreTrainedModel._init_weights scales a constant here, not initializer_range.
    return 0.02 * config.number("initializer_factor", 1.0)


def _clip_vision_std(config: Config) -> float:
    return config.number("initializer_range", 0.02) * config.number("initializer_factor", 1.0)


def _rows_up_to_padding(config: Config) -> int:
    # fairseq counts positions from padding_idx + 1; the rows up to it are never added to a token.
    return config.integer("pad_token_id", 1) + 1


def _opt_norms(config: Config) -> tuple[Spellings, ...]:
    if not config.flag("do_layer_norm_before", True):
        return ()  # OPT-350m normalises after attention
    affine = config.flag("layer_norm_elementwise_affine", True)
    return (("layers.0.self_attn_layer_norm.weight",) if affine else (),)


def _distilbert_scheme(config: Config) -> Scheme:
    return "sinusoidal" if config.flag("sinusoidal_pos_embds", False) else "learned"


@dataclass(frozen=True)
class Part:
    """One position table of one architecture.

    Names are without the prefix that the table and everything beside it share.

    Attributes
    ----------
    position
        The position table.
    prefixes
        What stands before the names: nothing in a bare model, the base model's name in a model
        with a task head.
    name
        The value of ``--part``; None in an architecture with one table.
    tokens
        The token table; None where the model reads no tokens.
    norms
        γ of each LayerNorm from the embedding to the first attention block, in order of action.
    offset
        Rows before position 0.
    scheme
        ``"learned"``, or ``"sinusoidal"`` where the model never trains the table.
    init_std
        σ of the normal distribution that a learned table is drawn from.
    sections
        The keys of the config's section that holds the values; the first one present counts.
    requires
        Values the config must have, if it has the key, for the model to add the table at all.
    """

    position: str
    prefixes: tuple[str, ...]
    name: str | None = None
    tokens: str | None = None
    norms: Callable[[Config], tuple[Spellings, ...]] = lambda _: ()
    offset: Callable[[Config], int] = lambda _: 0
    scheme: Callable[[Config], Scheme] = lambda _: "learned"
    init_std: Callable[[Config], float] = _initializer_range
    sections: tuple[str, ...] = ()
    requires: Mapping[str, str] = field(default_factory=dict)


# Checkpoints converted from TensorFlow call γ gamma.
_BERT_NORMS = (("embeddings.LayerNorm.weight", "embeddings.LayerNorm.gamma"),)

_GPT = Part(
    position="wpe.weight",
    prefixes=("", "transformer."),
    tokens="wte.weight",
    norms=lambda _: (("h.0.ln_1.weight",),),
)

_BERT = Part(
    position="embeddings.position_embeddings.weight",
    prefixes=("", "bert."),
    tokens="embeddings.word_embeddings.weight",
    norms=lambda _: _BERT_NORMS,
    # Models trained with relative keys carry an unused table along.
    requires={"position_embedding_type": "absolute"},
)

_CLIP_TEXT = Part(
    name="text",
    position="embeddings.position_embedding.weight",
    prefixes=("text_model.",),
    tokens="embeddings.token_embedding.weight",
    norms=lambda _: (("encoder.layers.0.layer_norm1.weight",),),
    init_std=_clip_text_std,
    sections=("text_config_dict", "text_config"),
)

_CLIP_VISION = Part(
    name="vision",
    position="embeddings.position_embedding.weight",
    prefixes=("vision_model.",),
    norms=lambda _: (("pre_layrnorm.weight",), ("encoder.layers.0.layer_norm1.weight",)),
    offset=lambda _: 1,
    init_std=_clip_vision_std,
    sections=("vision_config_dict", "vision_config"),
)

_WHISPER_ENCODER = Part(
    name="encoder",
    position="encoder.embed_positions.weight",
    prefixes=("", "model."),
    norms=lambda _: (("encoder.layers.0.self_attn_layer_norm.weight",),),
    scheme=lambda _: "sinusoidal",
)

_WHISPER_DECODER = Part(
    name="decoder",
    position="decoder.embed_positions.weight",
    prefixes=("", "model."),
    tokens="decoder.embed_tokens.weight",
    norms=lambda _: (("decoder.layers.0.self_attn_layer_norm.weight",),),
    init_std=_init_std,
)

# By the model_type of config.json.
FAMILIES: dict[str, tuple[Part, ...]] = {
    "gpt2": (_GPT,),
    "gpt_neo": (_GPT,),
    "opt": (
        Part(
            position="embed_positions.weight",
            prefixes=("decoder.", "model.decoder."),
            tokens="embed_tokens.weight",
            norms=_opt_norms,
            offset=lambda _: 2,
            init_std=_init_std,
        ),
    ),
    "bert": (_BERT,),
    "distilbert": (
        replace(_BERT, prefixes=("", "distilbert."), scheme=_distilbert_scheme, requires={}),
    ),
    "roberta": (replace(_BERT, prefixes=("", "roberta."), offset=_rows_up_to_padding),),
    # MPNet fixes padding_idx at 1, whatever the config says.
    "mpnet": (replace(_BERT, prefixes=("", "mpnet."), offset=lambda _: 2, requires={}),),
    "albert": (replace(_BERT, prefixes=("", "albert.")),),
    "vit": (
        Part(
            position="embeddings.position_embeddings",
            prefixes=("", "vit."),
            norms=lambda _: (
                ("layers.0.layernorm_before.weight", "encoder.layer.0.layernorm_before.weight"),
            ),
            offset=lambda _: 1,
        ),
    ),
    "clip": (_CLIP_TEXT, _CLIP_VISION),
    "clip_text_model": (replace(_CLIP_TEXT, prefixes=("text_model.", ""), sections=()),),
    "clip_vision_model": (replace(_CLIP_VISION, prefixes=("vision_model.", ""), sections=()),),
    "whisper": (_WHISPER_ENCODER, _WHISPER_DECODER),
}
