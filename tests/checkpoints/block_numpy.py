"""An attention block in NumPy, float64, from its record alone."""

from __future__ import annotations

import numpy as np

from poslens.checkpoints.blocks import AttentionBlock


def softmax_of(block: AttentionBlock, logits: np.ndarray) -> np.ndarray:
    """Attention from scaled logits, shape (head, query, key)."""
    if block.soft_cap is not None:
        logits = block.soft_cap * np.tanh(logits / block.soft_cap)
    if block.causal:
        logits = np.where(np.tri(logits.shape[-1], dtype=bool), logits, -np.inf)
    weights = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return weights / weights.sum(axis=-1, keepdims=True)


def vectors_of(block: AttentionBlock, rows: np.ndarray) -> tuple[np.ndarray, ...]:
    """Queries, keys and values before any rotation, shape (head, token, d_head)."""
    x = block.block_input(rows)
    vectors = [
        np.einsum("td,hde->hte", x, weight) + bias[:, None]
        for weight, bias in (
            (block.queries, block.query_bias),
            (block.keys, block.key_bias),
            (block.values, block.value_bias),
        )
    ]
    if block.clip is not None:
        vectors = [np.clip(one, -block.clip, block.clip) for one in vectors]
    queries, keys, values = vectors
    if block.query_norm is not None and block.key_norm is not None:
        queries, keys = block.query_norm(queries), block.key_norm(keys)
    return queries, keys, values


def gathered(
    block: AttentionBlock,
    queries: np.ndarray,
    keys: np.ndarray,
    values: np.ndarray,
    bias: np.ndarray | float = 0.0,
) -> np.ndarray:
    """What the block adds to the stream, shape (token, dim)."""
    keys, values = (np.repeat(one, block.shared_by, axis=0) for one in (keys, values))
    attention = softmax_of(block, block.scale * queries @ keys.transpose(0, 2, 1) + bias)
    return np.einsum("hte,hed->td", attention @ values, block.output) + block.output_bias
