"""Models of an encoder and a decoder of text, each with a table of its own: BART and its kin.

Checked against transformers 5.23, its modeling code and its initialisation; the tests compare
every entry with what the model's own forward pass adds.
"""

from __future__ import annotations

from dataclasses import replace

from poslens.checkpoints.config import Config
from poslens.checkpoints.families.added import init_std, rows_up_to_padding
from poslens.checkpoints.families.computed import (
    after_padding,
    computed,
    concatenated,
    root_of_width,
)
from poslens.checkpoints.families.entry import Family, Part, Spellings

STACKS = ("encoder", "decoder")


def _after_embedding(stack: str) -> Spellings:
    return (f"{stack}.layernorm_embedding.weight",)


def _before_attention(stack: str) -> Spellings:
    return (f"{stack}.layers.0.self_attn_layer_norm.weight",)


def _learned(stack: str, *norms: Spellings, offset: int = 0, scaled: bool = False) -> Part:
    """Return a stack with a learned table; ``scaled`` is the default of ``scale_embedding``."""
    return Part(
        name=stack,
        position=(f"{stack}.embed_positions.weight",),
        prefixes=("", "model."),
        tokens=(f"{stack}.embed_tokens.weight", "shared.weight"),
        norms=lambda _: norms,
        offset=lambda _: offset,
        init_std=init_std,
        token_factor=root_of_width("scale_embedding", scaled),
    )


def _sines_first(stack: str, *norms: Spellings) -> Part:
    return replace(
        _learned(stack, *norms),
        scheme=lambda _: "sinusoidal",
        formula=computed(concatenated, 1024, 1024),
    )


def _sines_after_padding(stack: str, *norms: Spellings) -> Part:
    return replace(
        _learned(stack, *norms, scaled=True),
        # "weights" is what the buffer was called while it was stored.
        position=(f"{stack}.embed_positions.weights", f"{stack}.embed_positions.weight"),
        offset=rows_up_to_padding,
        scheme=lambda _: "sinusoidal",
        formula=computed(after_padding, 1024, 1024),
    )


def _trocr_norms(config: Config) -> tuple[Spellings, ...]:
    return (_after_embedding("decoder"),) if config.switch("layernorm_embedding", True) else ()


BART = tuple(_learned(one, _after_embedding(one), offset=2) for one in STACKS)
PLBART = tuple(_learned(one, _after_embedding(one), offset=2, scaled=True) for one in STACKS)
MBART = tuple(
    _learned(one, _after_embedding(one), _before_attention(one), offset=2) for one in STACKS
)
LED = tuple(
    replace(
        _learned(one, _after_embedding(one)),
        prefixes=("", "led."),
        token_factor=lambda *_: 1.0,
    )
    for one in STACKS
)
BIGBIRD_PEGASUS = tuple(_learned(one, _before_attention(one), scaled=True) for one in STACKS)
BLENDERBOT = tuple(_learned(one, _before_attention(one)) for one in STACKS)
# The decoder normalises its tokens, and adds positions after that.
BLENDERBOT_SMALL = (_learned("encoder", _after_embedding("encoder")), _learned("decoder"))
MARIAN = tuple(_sines_first(one) for one in STACKS)
PEGASUS = tuple(_sines_first(one, _before_attention(one)) for one in STACKS)
M2M100 = tuple(_sines_after_padding(one, _before_attention(one)) for one in STACKS)
FSMT = tuple(_sines_after_padding(one) for one in STACKS)
TROCR = replace(
    _learned("decoder", offset=2),
    name=None,
    norms=_trocr_norms,
    requires={"use_learned_position_embeddings": True},
)
TROCR_SINES = replace(
    _sines_after_padding("decoder"),
    name=None,
    norms=_trocr_norms,
    token_factor=TROCR.token_factor,
    requires={"use_learned_position_embeddings": False},
    assumed=False,
    formula=computed(after_padding, 512, 1024),
)

FAMILIES: dict[str, Family] = {
    "bart": Family(BART),
    "bigbird_pegasus": Family(BIGBIRD_PEGASUS),
    "blenderbot": Family(BLENDERBOT),
    "blenderbot-small": Family(BLENDERBOT_SMALL),
    "fsmt": Family(FSMT),
    "led": Family(LED, context=("max_encoder_position_embeddings",)),
    "m2m_100": Family(M2M100),
    "marian": Family(MARIAN),
    "mbart": Family(MBART),
    "nllb-moe": Family(M2M100),
    "pegasus": Family(PEGASUS),
    "plbart": Family(PLBART),
    "trocr": Family((TROCR, TROCR_SINES)),
}
