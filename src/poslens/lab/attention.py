"""Causal attention in blocks of queries, with what positions add to the logits.

torch's fused kernels give no gradient to a bias on a CPU, where their backward pass is a third of
a training step. A block of queries meets all keys up to its own last one, so that no matrix of all
pairs exists, and half of the pairs are never looked at.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

QUERIES = 64  # of a block, which then fits a core's cache at the lengths of the lab
KEPT_BYTES = 2**25  # the most that a layer keeps of its attention weights for the backward pass


def attention(
    queries: Float[Tensor, "batch head position d_head"],
    keys: Float[Tensor, "batch head position d_head"],
    values: Float[Tensor, "batch head position d_head"],
    *,
    strip: Float[Tensor, "head query strip"] | None = None,
    near: Float[Tensor, "batch head position distance"] | None = None,
    kept_bytes: int = KEPT_BYTES,
) -> Float[Tensor, "batch head position d_head"]:
    """Return softmax(q·k ÷ √d_k + bias)·v, each query over the keys up to its own position.

    Parameters
    ----------
    queries, keys, values
        Of the same positions 0 … T-1.
    strip
        A bias that depends on s - t, as `strip_offsets` lays it out: all blocks of queries read it.
    near
        A bias of each query at the distances w-1 … 0, in this order, where it differs from that
        at all larger distances: what is constant along a row, softmax ignores.
    kept_bytes
        Attention weights are kept for the backward pass up to this size; beyond it they are
        computed again, which takes a tenth of a step longer.
    """
    if queries.is_cuda and strip is None and near is None:
        return functional.scaled_dot_product_attention(queries, keys, values, is_causal=True)
    with torch.autocast(queries.device.type, enabled=False):
        biases = [None if b is None else b.to(queries.dtype) for b in (strip, near)]
        return _apply(queries, keys, values, *biases, kept_bytes)


def strip_width(length: int) -> int:
    """Return the width of a strip for ``length`` positions: whole blocks."""
    return -(-length // QUERIES) * QUERIES


def strip_offsets(length: int) -> range:
    """Return the offsets s - t that a strip for ``length`` positions holds, ascending."""
    return range(1 - strip_width(length), QUERIES)


def as_strip(profile: Float[Tensor, "head offset"]) -> Float[Tensor, "head query strip"]:
    """Lay out a profile over `strip_offsets`: row i is that of a block's i-th query.

    Its last `QUERIES` columns are the block's own keys, the others those before them. Keys after
    the query are masked.
    """
    width = profile.shape[1] - QUERIES + 1
    rows = profile.unfold(1, width, 1).flip(1)  # row i begins at offset -(width - QUERIES) - i
    return rows.masked_fill(_later(width, rows.device), -torch.inf)


def _later(width: int, device: torch.device) -> Tensor:
    """Where a strip's key comes after the query."""
    return torch.ones(QUERIES, width, dtype=torch.bool, device=device).triu(width - QUERIES + 1)


class _Attention(torch.autograd.Function):
    """Forward and backward in blocks of queries; heads of all contexts are one axis."""

    @staticmethod
    def forward(
        ctx: Any,
        queries: Tensor,
        keys: Tensor,
        values: Tensor,
        strip: Tensor | None,
        near: Tensor | None,
        kept_bytes: int,
    ) -> Tensor:
        q, k, v = (one.flatten(0, 1).contiguous() for one in (queries, keys, values))
        out = torch.empty_like(q)
        kept = []
        pairs = q.shape[0] * q.shape[1] * (q.shape[1] + QUERIES) // 2
        keep = any(ctx.needs_input_grad) and pairs * q.element_size() <= kept_bytes
        for start in range(0, q.shape[1], QUERIES):
            weights = _weights(q, k, strip, near, start)
            stop = start + weights.shape[1]
            out[:, start:stop] = weights @ v[:, :stop]
            if keep:
                kept.append(weights)
        ctx.save_for_backward(q, k, v, out, strip, near, *kept)
        return out.view(queries.shape)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, out, strip, near, *kept = ctx.saved_tensors
        gradient = gradients[0]
        shape = gradient.shape
        gradient = gradient.flatten(0, 1).contiguous()
        along = (gradient * out).sum(-1, keepdim=True)
        scale = q.shape[-1] ** -0.5
        to_q, to_k, to_v = torch.empty_like(q), torch.zeros_like(k), torch.zeros_like(v)
        to_strip = torch.zeros_like(strip) if ctx.needs_input_grad[3] else None
        to_near = torch.empty_like(near) if ctx.needs_input_grad[4] else None
        for block, start in enumerate(range(0, q.shape[1], QUERIES)):
            weights = kept[block] if kept else _weights(q, k, strip, near, start)
            stop = start + weights.shape[1]
            rows, past = slice(start, stop), slice(stop)
            to_logits = gradient[:, rows] @ v[:, past].mT
            to_v[:, past] += weights.mT @ gradient[:, rows]
            to_logits.sub_(along[:, rows]).mul_(weights)
            to_q[:, rows] = to_logits @ k[:, past]
            to_k[:, past] += to_logits.mT @ q[:, rows]
            by_head = to_logits.unflatten(0, shape[:2])
            if to_strip is not None:
                _columns(to_strip, start, stop).add_(by_head.sum(0))
            if to_near is not None:
                to_near[:, :, rows] = _from_pairs(by_head, to_near.shape[-1])
        grown = (one.view(shape) for one in (to_q.mul_(scale), to_k.mul_(scale), to_v))
        return *grown, to_strip, to_near, None


_apply: Callable[..., Tensor] = _Attention.apply


def _weights(q: Tensor, k: Tensor, strip: Tensor | None, near: Tensor | None, start: int) -> Tensor:
    """Return the attention weights of one block, shape (batch × head, query, key)."""
    stop = min(start + QUERIES, q.shape[1])
    scale = q.shape[-1] ** -0.5
    rows, past = q[:, start:stop], k[:, :stop].mT
    if strip is None:
        logits = torch.baddbmm(rows.new_zeros(1), rows, past, beta=0, alpha=scale)
        own = _later(QUERIES, q.device)[: stop - start, : stop - start]
        logits[:, :, start:].masked_fill_(own, -torch.inf)
    else:
        logits = _columns(strip, start, stop).repeat(len(q) // len(strip), 1, 1)
        logits.baddbmm_(rows, past, alpha=scale)
    if near is not None:
        band = _to_pairs(near[:, :, start:stop], stop).flatten(0, 1)
        logits[:, :, stop - band.shape[-1] :].add_(band)
    return torch.softmax(logits, -1, dtype=torch.promote_types(q.dtype, torch.float32)).to(q.dtype)


def _columns(strip: Tensor, start: int, stop: int) -> Tensor:
    """Return the part of a strip for one block, a view of shape (head, query, key)."""
    first = strip.shape[2] - QUERIES - start
    return strip[:, : stop - start, first : first + stop]


def _to_pairs(near: Tensor, stop: int) -> Tensor:
    """Return what belongs to (query, distance) at (query, key), for the keys up to ``stop``.

    Rows of w entries, read as rows of one entry less than what they are padded to, move by one key
    from each query to the next. Keys before position 0 are cut off.
    """
    *lead, count, distances = near.shape
    width = distances + count - 1
    moved = functional.pad(near, (0, count)).flatten(-2)[..., :-count].view(*lead, count, width)
    return moved[..., max(width - stop, 0) :]


def _from_pairs(pairs: Tensor, distances: int) -> Tensor:
    """Return what belongs to (query, key) at (query, distance), the reverse of `_to_pairs`."""
    *lead, count, keys = pairs.shape
    width = distances + count - 1
    band = pairs[..., max(keys - width, 0) :]
    band = functional.pad(band, (width - band.shape[-1], 0)).flatten(-2)
    return functional.pad(band, (0, count)).view(*lead, count, width + 1)[..., :distances]
