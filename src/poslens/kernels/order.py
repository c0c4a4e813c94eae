"""Whether a first attention block tells the order of its tokens (Vaswani et al. 2017, §3.5).

Self-attention without positions commutes with any reordering π of its inputs: attention(πX) is
π·attention(X). How far it is from that, with positions and without, is measured on the model's own
block, with the causal mask off, since a mask knows an order as well.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy.special
from jaxtyping import Float

from poslens.axes import PairBias, Rows
from poslens.checkpoints.blocks import AttentionBlock
from poslens.errors import UndefinedMeasureError

TOKENS = 64  # enough that the deviation does not hang on a few of them

Vectors = Float[np.ndarray, "head position d_head"]
Rotation = Callable[[Vectors], Vectors]


@dataclass(frozen=True)
class Positions:
    """How a scheme acts on the first positions of a sequence; nothing by default.

    Attributes
    ----------
    table
        Added to the embedding, shape (position, width).
    rotation
        Of queries and keys.
    bias
        Added to the logits, shape (head, query_pos, key_pos).
    """

    table: Rows | None = None
    rotation: Rotation | None = None
    bias: PairBias | None = None


def order_deviations(
    block: AttentionBlock, content: Rows, positions: Positions, seed: int
) -> tuple[float, float]:
    """Return ‖attention(πX) - π·attention(X)‖ ÷ ‖attention(X)‖ without positions, and with them.

    Parameters
    ----------
    block
        The first attention block.
    content
        Vectors of tokens, shape (position, width).
    positions
        What the model does with positions.
    seed
        Of the reordering.

    Raises
    ------
    UndefinedMeasureError
        If attention gives zeros, or what is not finite.
    """
    order = np.random.default_rng(seed).permutation(content.shape[0])
    deviations = []
    for acting in (Positions(), positions):
        plain = attend(block, content, acting)[order]
        moved = attend(block, content[order], acting)
        size = float(np.linalg.norm(plain))
        if size == 0 or not np.isfinite(size):
            raise UndefinedMeasureError(
                "the first block's attention gives "
                + ("zeros for every token" if size == 0 else "numbers that are not finite")
            )
        deviations.append(float(np.linalg.norm(moved - plain)) / size)
    return deviations[0], deviations[1]


def attend(
    block: AttentionBlock, content: Float[np.ndarray, "position width"], positions: Positions
) -> Float[np.ndarray, "position dim"]:
    """Return the output of a block's attention, every token seeing every other."""
    rows = content if positions.table is None else content + positions.table
    queries, keys, values = block.vectors(rows)
    if positions.rotation is not None:
        queries, keys = positions.rotation(queries), positions.rotation(keys)
    keys, values = (np.repeat(one, block.shared_by, axis=0) for one in (keys, values))
    logits = np.einsum("htk,hsk->hts", queries, keys) * block.scale
    if positions.bias is not None:
        logits = logits + positions.bias
    if block.soft_cap is not None:
        logits = block.soft_cap * np.tanh(logits / block.soft_cap)
    mixed = scipy.special.softmax(logits, axis=-1) @ values
    return np.asarray(np.einsum("htk,hkd->td", mixed, block.output, optimize=True))
