"""From the parts of what enters a block to the parts of its queries and keys.

A block's input is a sum: content + position + constant. Projections are linear, and a norm is so
once it is frozen, that is once its division by the row's own scale is taken as given. A part then
goes through as the whole does, β and the projections' biases going to the constant.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from poslens.attention.terms import LogitParts, Split
from poslens.axes import HeadOffsets
from poslens.checkpoints.blocks import AttentionBlock, HeadNorm, Linear, Norm
from poslens.encodings import Rope
from poslens.errors import TableError, UndefinedMeasureError

StreamRows = Float[np.ndarray, "position width"]
Weights = Float[np.ndarray, "some_head dim d_head"]
Vectors = Float[np.ndarray, "some_head position d_head"]


@dataclass(frozen=True, eq=False)
class Stream:
    """What enters a block on one text, as the sum of three parts.

    At the first layer of a model with a position table this is what is added up in the embedding:
    the tokens, the table, and token types. Elsewhere the position part is the mean over texts at
    each position, less the mean over positions too, which is the constant part.

    Attributes
    ----------
    content, position, constant
        Each of shape (position, width); the latter two may be of one row for all.
    """

    content: StreamRows
    position: StreamRows
    constant: StreamRows


@dataclass(frozen=True, eq=False)
class Acting:
    """What the scheme does inside one layer's attention; nothing by default.

    Attributes
    ----------
    rope
        By which queries and keys are rotated.
    bias
        What is added to the scaled logits at the offsets of `poslens.attention.offsets`, shape
        (head, offset).
    """

    rope: Rope | None = None
    bias: HeadOffsets | None = None


def logit_parts(block: AttentionBlock, stream: Stream, acting: Acting) -> LogitParts:
    """Return what a block's logits are made of, its norms frozen.

    What is constant before a rotation is a function of position after it, q̄ᵀR(s-t)k̄ being the
    positional kernel of RoPE: the rotated dimensions of the constant part are counted as position.

    Parameters
    ----------
    block
        Its ``path`` acts on the stream first.
    stream
        The parts of its input.
    acting
        What the scheme does in this layer.

    Raises
    ------
    TableError
        If the stream does not fit the block.
    UndefinedMeasureError
        If the block cuts off queries or keys (OLMo, MPT: ``clip``), and does so on this text: they
        are no sum of parts then.
    """
    queries, keys = query_key_parts(block, stream)
    return acted(block, queries, keys, acting)


def query_key_parts(block: AttentionBlock, stream: Stream) -> tuple[Split, Split]:
    """Return what a block's queries and keys are made of before rotation and scale.

    Raises
    ------
    TableError, UndefinedMeasureError
        As `logit_parts`.
    """
    seen = [np.broadcast_to(part, stream.content.shape) for part in _parts(stream)]
    for step in block.path:
        seen = _norm(step, seen) if isinstance(step, Norm) else _linear(step, seen)
    if seen[0].shape[1] != block.queries.shape[1]:
        raise TableError(
            "what enters the attention block does not fit its projections",
            expected=f"rows of {block.queries.shape[1]} dimensions",
            got=f"{seen[0].shape[1]}",
            remedy="check that the config describes these weights",
        )
    queries = _heads(block, seen, block.queries, block.query_bias, block.query_norm)
    keys = _heads(block, seen, block.keys, block.key_bias, block.key_norm)
    return queries, keys


def acted(block: AttentionBlock, queries: Split, keys: Split, acting: Acting) -> LogitParts:
    """Return the parts of logits from those of queries and keys: rotated, scaled, biased."""
    if acting.rope is not None:
        queries, keys = _rotated(queries, acting.rope), _rotated(keys, acting.rope)
    queries = Split(*(part * block.scale for part in _parts(queries)))
    return LogitParts(queries, keys, causal=block.causal, bias=acting.bias)


def first_positions(parts: LogitParts, count: int) -> LogitParts:
    """Return the same of the first positions alone, all of them if there are fewer."""
    length = parts.queries.content.shape[1]
    count = min(count, length)
    queries, keys = (
        Split(*(part[:, :count] for part in _parts(split))) for split in (parts.queries, parts.keys)
    )
    bias = parts.bias
    if bias is not None:
        bias = bias[:, length - count : length if parts.causal else length + count - 1]
    return LogitParts(queries, keys, parts.causal, bias)


def _parts(of: Stream | Split) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return of.content, of.position, of.constant


def _norm(norm: Norm, parts: list[StreamRows]) -> list[StreamRows]:
    _require_width(parts, norm.scale.size)
    if norm.centre:
        parts = [part - part.mean(axis=1, keepdims=True) for part in parts]
    scale = _frozen_scale(parts, norm.epsilon, (1,))
    content, position, constant = (part / scale * norm.scale for part in parts)
    return [content, position, constant + norm.shift]


def _linear(step: Linear, parts: list[StreamRows]) -> list[StreamRows]:
    _require_width(parts, step.weight.shape[0])
    content, position, constant = (part @ step.weight for part in parts)
    return [content, position, constant + step.bias]


def _require_width(parts: list[StreamRows], width: int) -> None:
    if parts[0].shape[1] != width:
        raise TableError(
            "what enters the attention block does not fit its norms",
            expected=f"rows of {width} dimensions",
            got=f"{parts[0].shape[1]}",
            remedy="check that the config describes these weights",
        )


def _frozen_scale(parts: list[np.ndarray], epsilon: float, axes: tuple[int, ...]) -> np.ndarray:
    """√(mean square of the sum + ε): of rows that are centred already, where the norm centres."""
    square = np.mean(sum(parts) ** 2, axis=axes, keepdims=True)
    return np.asarray(np.sqrt(square + epsilon))


def _heads(
    block: AttentionBlock,
    seen: list[StreamRows],
    weights: Weights,
    bias: Float[np.ndarray, "some_head d_head"],
    norm: HeadNorm | None,
) -> Split:
    content, position, constant = (_projected(rows, weights) for rows in seen)
    split = Split(content, position, constant + bias[:, None])
    if block.clip is not None and np.abs(split.total).max() > block.clip:
        raise UndefinedMeasureError(
            "queries or keys are cut off on this text, and are no sum of parts then"
        )
    return split if norm is None else _normed(norm, split)


def _projected(rows: StreamRows, weights: Weights) -> Vectors:
    return np.stack([rows @ weight for weight in weights])


def _normed(norm: HeadNorm, split: Split) -> Split:
    axes = (0, 2) if norm.joint else (2,)
    parts = list(_parts(split))
    if norm.centre:
        parts = [part - part.mean(axis=axes, keepdims=True) for part in parts]
    scale = _frozen_scale(parts, norm.epsilon, axes)
    content, position, constant = (part / scale * norm.scale[:, None] for part in parts)
    return Split(content, position, constant + norm.shift[:, None])


def _rotated(split: Split, rope: Rope) -> Split:
    positions = np.arange(split.content.shape[1])
    content, position, constant = (
        rope.rotate(part, positions, positions.size) for part in _parts(split)
    )
    rest = constant.copy()
    rest[..., : rope.rotated] = 0
    return Split(content, position + (constant - rest), rest)
