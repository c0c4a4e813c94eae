"""Vision models, beside ViT and CLIP: added tables over patches, and biases between them.

Checked against transformers 5.23, its modeling code and its initialisation; the tests compare
every entry with what the model's own forward pass adds.
"""

from __future__ import annotations

import math
from dataclasses import replace

from poslens.checkpoints.config import Config
from poslens.checkpoints.families import windows
from poslens.checkpoints.families.added import CLIP_TEXT, CLIP_VISION, VIT
from poslens.checkpoints.families.entry import Family


def _zeros(_: Config) -> float:
    return 0.0  # not drawn: the table starts from zeros


def _siglip_std(config: Config) -> float:
    # SiglipPreTrainedModel draws both tables with variance 1 / width.
    return 1 / math.sqrt(config.count(768, "hidden_size"))


DEIT = replace(VIT, prefixes=("", "deit."), offset=lambda _: 2, init_std=_zeros)
AST = replace(DEIT, prefixes=("", "audio_spectrogram_transformer."))
VIT_MSN = replace(VIT, init_std=_zeros)
BEIT = replace(
    VIT,
    prefixes=("", "beit."),
    init_std=_zeros,
    requires={"use_absolute_position_embeddings": True},
    assumed=False,
)
DATA2VEC_VISION = replace(BEIT, prefixes=("", "data2vec_vision."))
DINOV2 = replace(
    VIT,
    prefixes=("", "dinov2."),
    norms=lambda _: (("layers.0.norm1.weight", "encoder.layer.0.norm1.weight"),),
)
# Registers come after the table is added, and have no positions.
DINOV2_WITH_REGISTERS = replace(DINOV2, prefixes=("", "dinov2_with_registers."))
SWIN = replace(
    VIT,
    prefixes=("", "swin."),
    # The patches are normalised before the table is added to them.
    norms=lambda _: (("encoder.layers.0.blocks.0.layernorm_before.weight",),),
    offset=lambda _: 0,
    init_std=_zeros,
    requires={"use_absolute_embeddings": True},
    assumed=False,
)
SIGLIP_TEXT = replace(CLIP_TEXT, init_std=_siglip_std, sections=("text_config",))
SIGLIP_VISION = replace(
    CLIP_VISION,
    norms=lambda _: (("encoder.layers.0.layer_norm1.weight",),),
    offset=lambda _: 0,
    init_std=_siglip_std,
    sections=("vision_config",),
)

FAMILIES: dict[str, Family] = {
    "audio-spectrogram-transformer": Family((AST,), context=()),
    "beit": Family((BEIT,), mechanisms=(windows.BEIT,), context=()),
    "data2vec-vision": Family((DATA2VEC_VISION,), mechanisms=(windows.BEIT,), context=()),
    "deit": Family((DEIT,), context=()),
    "dinov2": Family((DINOV2,), context=()),
    "dinov2_with_registers": Family((DINOV2_WITH_REGISTERS,), context=()),
    # transformers cannot run an absolute table in these two: it has one row too many.
    "donut-swin": Family(mechanisms=(windows.SWIN,), context=()),
    "swinv2": Family(mechanisms=(windows.SWINV2,), context=()),
    "siglip": Family((SIGLIP_TEXT, SIGLIP_VISION), context_sections=("text_config",)),
    "siglip_text_model": Family((replace(SIGLIP_TEXT, prefixes=("text_model.", ""), sections=()),)),
    "siglip_vision_model": Family(
        (replace(SIGLIP_VISION, prefixes=("vision_model.", ""), sections=()),), context=()
    ),
    "swin": Family((SWIN,), mechanisms=(windows.SWIN,), context=()),
    "vit_msn": Family((VIT_MSN,), context=()),
}
