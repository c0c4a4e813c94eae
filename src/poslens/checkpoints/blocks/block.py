"""`AttentionBlock`: what one attention block does to its input before softmax, and after it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from jaxtyping import Float

from poslens.axes import Keys, PerDim, Queries

Bias: TypeAlias = Literal["query", "key", "value", "output"]
Biases: TypeAlias = frozenset[Bias]

HeadVectors: TypeAlias = Float[np.ndarray, "head position d_head"]


@dataclass(frozen=True, eq=False)
class Norm:
    """A LayerNorm, or an RMSNorm, between the embedding and the projections.

    Attributes
    ----------
    scale
        γ, shape (dim,), by which the normalised row is multiplied: 1 is added already where a
        family stores γ - 1 (Gemma), and it is 1 where the norm has none (OLMo).
    shift
        β, shape (dim,); zeros where the norm has none.
    epsilon
        ε, added to the variance or the mean square.
    centre
        Whether the row's mean is subtracted first (LayerNorm), or not (RMSNorm).
    """

    scale: PerDim
    shift: PerDim
    epsilon: float
    centre: bool

    def __call__(self, rows: Float[np.ndarray, "*rows dim"]) -> Float[np.ndarray, "*rows dim"]:
        """Return the normalised rows."""
        normalised = _normalised(rows, self.epsilon, (-1,), centre=self.centre)
        return np.asarray(normalised * self.scale + self.shift)


@dataclass(frozen=True, eq=False)
class Linear:
    """A projection from one width to another.

    Attributes
    ----------
    weight
        Shape (from_dim, to_dim): rows are multiplied by it from the left.
    bias
        Shape (to_dim,); zeros where there is none.
    """

    weight: Float[np.ndarray, "from_dim to_dim"]
    bias: Float[np.ndarray, "to_dim"]

    def __call__(
        self, rows: Float[np.ndarray, "*rows from_dim"]
    ) -> Float[np.ndarray, "*rows to_dim"]:
        """Return the projected rows."""
        return np.asarray(rows @ self.weight + self.bias)


@dataclass(frozen=True, eq=False)
class HeadNorm:
    """A norm of queries or keys, after their projection and before any rotation.

    Attributes
    ----------
    scale
        γ, shape (head, d_head); the heads here are those of queries, or those of keys.
    shift
        β, shape (head, d_head); zeros where the norm has none.
    epsilon
        ε, added to the variance or the mean square.
    centre
        Whether the mean is subtracted first.
    joint
        Whether mean and variance are those of all heads together (OLMo 2), or each head's own.
    """

    scale: Float[np.ndarray, "head d_head"]
    shift: Float[np.ndarray, "head d_head"]
    epsilon: float
    centre: bool
    joint: bool

    def __call__(self, vectors: HeadVectors) -> HeadVectors:
        """Return the normalised queries or keys."""
        axes = (0, -1) if self.joint else (-1,)
        normalised = _normalised(vectors, self.epsilon, axes, centre=self.centre)
        return np.asarray(normalised * self.scale[:, None] + self.shift[:, None])


Step: TypeAlias = Norm | Linear


@dataclass(frozen=True, eq=False)
class AttentionBlock:
    """The attention of one layer, and what acts on the embedding before it, in float64.

    A row x̂ = `block_input` (row) gives head h the query x̂ · ``queries[h]`` + ``query_bias[h]``,
    and key head g the key x̂ · ``keys[g]`` + ``key_bias[g]``; key and value head g serve the
    query heads g·r … g·r + r-1, r = heads ÷ key heads. Then act, in this order and where the
    model has them: ``clip``, ``query_norm`` and ``key_norm``, the rotation (which
    `poslens.checkpoints.description` says; YaRN lengthens vectors in it as well), ``scale``, the
    bias of the scheme, ``soft_cap``. Windows beyond which keys are not seen are not part of this.

    Attributes
    ----------
    family, part, layer
        The ``model_type``; of a model with several parts, which; the layer, from 0.
    queries, keys, values
        W_Q, W_K and W_V of each head.
    output
        W_O of each head.
    query_bias, key_bias, value_bias, output_bias
        Zeros where the model has none.
    biased
        Which of the four biases the model has.
    scale
        What the logits are multiplied by: 1 ÷ √d_head in most families.
    causal
        Whether a query sees only itself and the keys before it.
    path
        What acts between the sum of the embeddings (layer 0), or the residual stream (layers
        above), and the projections, in order of action; empty where they read it as it is.
    token_factor
        What token vectors are multiplied by before positions are added to them (layer 0).
    token_projection
        What token vectors are projected by before that; None in most families (not OPT-350m).
    query_norm, key_norm
        Norms of queries and keys; None in most families.
    soft_cap
        c where logits are passed through c·tanh(logit ÷ c) (Gemma 2).
    clip
        c where queries, keys and values are cut to [-c, c] (OLMo, MPT).
    bytes_read
        Bytes of tensor data that were read.
    """

    family: str
    part: str | None
    layer: int
    queries: Float[np.ndarray, "head dim d_head"]
    keys: Float[np.ndarray, "key_head dim d_head"]
    values: Float[np.ndarray, "key_head dim d_head"]
    output: Float[np.ndarray, "head d_head dim"]
    query_bias: Float[np.ndarray, "head d_head"]
    key_bias: Float[np.ndarray, "key_head d_head"]
    value_bias: Float[np.ndarray, "key_head d_head"]
    output_bias: PerDim
    biased: Biases
    scale: float
    causal: bool
    path: tuple[Step, ...]
    token_factor: float
    token_projection: Linear | None
    query_norm: HeadNorm | None
    key_norm: HeadNorm | None
    soft_cap: float | None
    clip: float | None
    bytes_read: int

    @property
    def norms(self) -> tuple[Norm, ...]:
        """The normalisations of `path`, in order of action."""
        return tuple(step for step in self.path if isinstance(step, Norm))

    @property
    def shared_by(self) -> int:
        """How many query heads share one key head; 1 without grouped queries."""
        return int(self.queries.shape[0] // self.keys.shape[0])

    def block_input(
        self, rows: Float[np.ndarray, "position width"]
    ) -> Float[np.ndarray, "position dim"]:
        """Return x̂, what the projections see of rows of the embedding or the residual stream."""
        for step in self.path:
            rows = step(rows)
        return rows

    def vectors(self, rows: Float[np.ndarray, "position width"]) -> tuple[Queries, Keys, Keys]:
        """Return queries, keys and values of rows of the embedding or the residual stream.

        Cut off and normalised where the model does so; not yet rotated or scaled. Shapes (head,
        position, d_head) and twice (key_head, position, d_head).
        """
        seen = self.block_input(rows)
        queries, keys, values = (
            self._cut_off(np.einsum("td,hdk->htk", seen, weight, optimize=True) + bias[:, None])
            for weight, bias in (
                (self.queries, self.query_bias),
                (self.keys, self.key_bias),
                (self.values, self.value_bias),
            )
        )
        queries = queries if self.query_norm is None else self.query_norm(queries)
        keys = keys if self.key_norm is None else self.key_norm(keys)
        return queries, keys, values

    def _cut_off(self, vectors: HeadVectors) -> HeadVectors:
        cut = vectors if self.clip is None else np.clip(vectors, -self.clip, self.clip)
        return np.asarray(cut)


@dataclass(frozen=True, eq=False)
class HeadBiases:
    """What queries and keys of one layer are where nothing is known of its input but its mean.

    Attributes
    ----------
    layer
        The layer, from 0.
    queries, keys
        The biases of each head's query, and of the key it meets (repeated where heads share one).
    scale
        What the logits are multiplied by.
    causal
        Whether a query sees only itself and the keys before it.
    exist
        Whether the model has biases of both; zeros stand for those that it has not.
    normalised
        Whether queries and keys are normalised after their projection.
    """

    layer: int
    queries: Float[np.ndarray, "head d_head"]
    keys: Float[np.ndarray, "head d_head"]
    scale: float
    causal: bool
    exist: bool
    normalised: bool


def _normalised(
    values: Float[np.ndarray, "..."], epsilon: float, axes: tuple[int, ...], *, centre: bool
) -> Float[np.ndarray, "..."]:
    if centre:
        values = values - values.mean(axis=axes, keepdims=True)
    square = np.mean(values**2, axis=axes, keepdims=True)
    return np.asarray(values / np.sqrt(square + epsilon))
