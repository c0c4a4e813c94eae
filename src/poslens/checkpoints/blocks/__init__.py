"""A model's attention blocks, read from its checkpoint: projections by head, norms, and the scale.

What turns vectors of the embedding into attention logits, and what heads gather into output.
"""

from __future__ import annotations

from poslens.checkpoints.blocks.block import (
    AttentionBlock,
    Biases,
    HeadBiases,
    HeadNorm,
    Linear,
    Norm,
    Step,
)
from poslens.checkpoints.blocks.embedding import Embedding, read_embedding
from poslens.checkpoints.blocks.found import require_attention
from poslens.checkpoints.blocks.read import (
    MOST_READ,
    block_numbers,
    read_biases,
    read_block,
    require_small,
)
from poslens.checkpoints.blocks.table import BLOCKS

__all__ = [
    "BLOCKS",
    "MOST_READ",
    "AttentionBlock",
    "Biases",
    "Embedding",
    "HeadBiases",
    "HeadNorm",
    "Linear",
    "Norm",
    "Step",
    "block_numbers",
    "read_biases",
    "read_block",
    "read_embedding",
    "require_attention",
    "require_small",
]
