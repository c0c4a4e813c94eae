"""The attention blocks of each architecture: one `BlockEntry` a part, by ``model_type``."""

from __future__ import annotations

from poslens.checkpoints.blocks import decoders, encoders, llamas, seq2seq, vision
from poslens.checkpoints.blocks.entry import BlockEntry

# By the model_type of config.json.
BLOCKS: dict[str, tuple[BlockEntry, ...]] = {
    **decoders.BLOCKS,
    **encoders.BLOCKS,
    **llamas.BLOCKS,
    **seq2seq.BLOCKS,
    **vision.BLOCKS,
}

_LOW_RANK = "low-rank projections (multi-head latent attention)"
NO_ATTENTION = "a model without attention"

# Why families that are known otherwise have no entry.
NO_BLOCK: dict[str, str] = {
    "deepseek_v2": _LOW_RANK,
    "deepseek_v3": _LOW_RANK,
    "mamba": NO_ATTENTION,
    "mamba2": NO_ATTENTION,
    "rwkv": NO_ATTENTION,
}
