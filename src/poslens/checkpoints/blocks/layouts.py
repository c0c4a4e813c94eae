"""From stored projections to one matrix a head: pure functions of arrays.

A projection is stored for all heads at once, its outputs along the first axis as `torch.nn.Linear`
has them, shape (output, dim), or (output,) for a bias; GPT-2's Conv1D stores the transpose.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from jaxtyping import Float

from poslens.checkpoints.families.sizes import Heads

Stored: TypeAlias = Float[np.ndarray, "output *dim"]
Three: TypeAlias = tuple[
    Float[np.ndarray, "query_output *dim"],
    Float[np.ndarray, "key_output *dim"],
    Float[np.ndarray, "key_output *dim"],
]
Fused: TypeAlias = Callable[[Stored, Heads], Three]

# CodeGen was trained on four accelerators, and its projections are stored as these held them.
CODEGEN_BLOCKS = 4


def query_outputs(heads: Heads) -> int:
    """Return the outputs of a projection to queries."""
    return heads.query * heads.head_dim


def key_outputs(heads: Heads) -> int:
    """Return the outputs of a projection to keys, or to values."""
    return heads.key * heads.head_dim


def fused_outputs(heads: Heads) -> int:
    """Return the outputs of a projection to queries, keys and values together."""
    return query_outputs(heads) + 2 * key_outputs(heads)


def concatenated(stored: Stored, heads: Heads) -> Three:
    """Part all queries, then all keys, then all values (GPT-2, Phi-3, MPT, ModernBERT)."""
    queries, keys = query_outputs(heads), key_outputs(heads)
    return stored[:queries], stored[queries : queries + keys], stored[queries + keys :]


def grouped(stored: Stored, heads: Heads) -> Three:
    """Part groups that hold some queries, the key and the value that these share (Falcon).

    With one query in each group this is [query, key, value] head by head (GPT-NeoX, BLOOM,
    Persimmon, DeBERTa); with one group it is `concatenated` (StarCoder).
    """
    rest = stored.shape[1:]
    groups = stored.reshape(heads.key, heads.query // heads.key + 2, heads.head_dim, *rest)
    return (
        groups[:, :-2].reshape(-1, *rest),
        groups[:, -2].reshape(-1, *rest),
        groups[:, -1].reshape(-1, *rest),
    )


def codegen_blocks(stored: Stored, heads: Heads) -> Three:
    """Part four blocks, each of them some heads' queries, then their values, then their keys."""
    rest = stored.shape[1:]
    blocks = stored.reshape(CODEGEN_BLOCKS, 3, query_outputs(heads) // CODEGEN_BLOCKS, *rest)
    queries, values, keys = (blocks[:, part].reshape(-1, *rest) for part in range(3))
    return queries, keys, values


def inputs_by_head(
    weight: Float[np.ndarray, "output dim"], heads: int
) -> Float[np.ndarray, "head dim d_head"]:
    """Return the matrix of each head by which a row is multiplied, in float64, a copy."""
    by_head = weight.reshape(heads, -1, weight.shape[1])
    return np.array(by_head.transpose(0, 2, 1), dtype=np.float64, order="C")


def outputs_by_head(
    weight: Float[np.ndarray, "dim input"], heads: int
) -> Float[np.ndarray, "head d_head dim"]:
    """Return the matrix of each head by which what it has gathered is multiplied, a copy."""
    by_head = weight.reshape(weight.shape[0], heads, -1)
    return np.array(by_head.transpose(1, 2, 0), dtype=np.float64, order="C")


def bias_by_head(bias: Float[np.ndarray, "output"], heads: int) -> Float[np.ndarray, "head d_head"]:
    """Return the bias of each head, in float64, a copy."""
    return np.array(bias.reshape(heads, -1), dtype=np.float64)
