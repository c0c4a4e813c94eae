"""Attention blocks of models with an encoder and a decoder: BART, Whisper, T5 and their kin.

Only a stack's attention to itself; that of a decoder to its encoder knows no positions of its own.
Checked against transformers 5.23, its modeling code; the tests compare every entry with the
queries, keys, values and outputs of the model itself.
"""

from __future__ import annotations

from dataclasses import replace

from poslens.checkpoints.blocks.entry import (
    ALL,
    NONE,
    BlockEntry,
    always,
    have,
    plain,
    root_of_width,
    unscaled,
)
from poslens.checkpoints.blocks.projections import linear
from poslens.checkpoints.blocks.steps import Epsilon, NormEntry
from poslens.checkpoints.families.sizes import Sizes

_EPSILON = Epsilon(1e-5)  # torch's own, which these families do not change


def _is_decoder_part(part: str) -> bool:
    return part == "decoder"


def _tokens(part: str) -> tuple[str, ...]:
    return (f"{part}.embed_tokens.weight", "shared.weight")


def _after_embedding(part: str) -> NormEntry:
    return NormEntry((f"{part}.layernorm_embedding",), _EPSILON)


def _before_attention(part: str) -> NormEntry:
    return NormEntry((f"{part}.layers.{{layer}}.self_attn_layer_norm",), _EPSILON)


def _bart_like(
    part: str, width: int, heads: int, layers: int, *, scaled: bool = False
) -> BlockEntry:
    """Return one stack without norms; ``scaled`` is the default of ``scale_embedding``."""
    return BlockEntry(
        sizes=replace(
            plain(width, heads, layers),
            width_keys=("d_model", "hidden_size"),
            heads_keys=(f"{part}_attention_heads", "num_attention_heads"),
            layers_keys=(f"{part}_layers", "num_hidden_layers"),
        ),
        layouts=(
            linear(f"{part}.layers.{{layer}}.self_attn.", "q_proj", "k_proj", "v_proj", "out_proj"),
        ),
        prefixes=("", "model."),
        name=part,
        causal=lambda _: _is_decoder_part(part),
        token_factor=root_of_width("scale_embedding", scaled),
        tokens=_tokens(part),
    )


def _normed_after(entry: BlockEntry) -> BlockEntry:
    return replace(entry, embedding=always(_after_embedding(str(entry.name))))


def _normed_before(entry: BlockEntry) -> BlockEntry:
    return replace(entry, before=always(_before_attention(str(entry.name))))


def _whisper(part: str) -> BlockEntry:
    return replace(
        _normed_before(_bart_like(part, 384, 6, 4)),
        biases=have(ALL - {"key"}),
        token_factor=lambda _, __: 1.0,  # it has scale_embedding, and does not use it
        tokens=_tokens(part) if _is_decoder_part(part) else (),  # the encoder hears sound
    )


PARTS = ("encoder", "decoder")
MARIAN = tuple(_bart_like(part, 1024, 16, 12) for part in PARTS)
BART = tuple(map(_normed_after, MARIAN))
MBART = tuple(map(_normed_before, BART))
PLBART = tuple(_normed_after(_bart_like(part, 768, 12, 6, scaled=True)) for part in PARTS)
PEGASUS = tuple(map(_normed_before, MARIAN))
M2M_100 = tuple(_normed_before(_bart_like(part, 1024, 16, 12, scaled=True)) for part in PARTS)
BLENDERBOT = (
    _normed_before(_bart_like("encoder", 2560, 32, 2)),
    _normed_before(_bart_like("decoder", 2560, 32, 24)),
)
WHISPER = tuple(map(_whisper, PARTS))


def _t5_like(
    width: int, heads: int, layers: int, encoders: tuple[str, ...] = ("SelfAttention",)
) -> tuple[BlockEntry, BlockEntry]:
    """Return both stacks; ``encoders`` are the names of the attention in the encoder's."""
    first, second = ("num_layers", "num_hidden_layers"), ("num_decoder_layers", "num_layers")
    return (
        _t5_stack("encoder", _t5_sizes(width, heads, layers, first), encoders),
        _t5_stack("decoder", _t5_sizes(width, heads, layers, second), ("SelfAttention",)),
    )


def _t5_sizes(width: int, heads: int, layers: int, layers_keys: tuple[str, ...]) -> Sizes:
    return Sizes(
        width,
        heads,
        layers,
        head_dim=64,
        width_keys=("d_model", "hidden_size"),
        heads_keys=("num_heads", "num_attention_heads"),
        layers_keys=layers_keys,
        key_heads_keys=(),
        head_dim_keys=("d_kv",),
    )


def _t5_stack(part: str, sizes: Sizes, attentions: tuple[str, ...]) -> BlockEntry:
    block = f"{part}.block.{{layer}}.layer.0."
    norm = NormEntry(
        (f"{block}layer_norm",),
        Epsilon(1e-6, ("layer_norm_epsilon",)),
        centre=False,
        bias=False,
    )
    return BlockEntry(
        sizes=sizes,
        layouts=tuple(linear(f"{block}{name}.", "q", "k", "v", "o") for name in attentions),
        prefixes=("", "transformer."),
        name=part,
        before=always(norm),
        biases=have(NONE),
        scale=unscaled,
        causal=lambda _: _is_decoder_part(part),
        tokens=_tokens(part),
    )


T5 = _t5_like(512, 8, 6)
MT5 = _t5_like(512, 6, 8)
SWITCH = _t5_like(768, 12, 12)
LONGT5 = _t5_like(512, 8, 6, ("LocalSelfAttention", "TransientGlobalSelfAttention"))

BLOCKS: dict[str, tuple[BlockEntry, ...]] = {
    "bart": BART,
    "blenderbot": BLENDERBOT,
    "longt5": LONGT5,
    "m2m_100": M2M_100,
    "marian": MARIAN,
    "mbart": MBART,
    "mt5": MT5,
    "pegasus": PEGASUS,
    "plbart": PLBART,
    "switch_transformers": SWITCH,
    "t5": T5,
    "umt5": MT5,
    "whisper": WHISPER,
}
