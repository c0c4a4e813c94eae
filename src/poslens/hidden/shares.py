"""One layer's logits as sums of terms, from the hidden states that enter it.

pos_t and μ are the same in all contexts, but for the scale by which a norm divides each row; they
are projected once. Of each context only the whole is, and content is what remains.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from jaxtyping import Float

from poslens.attention.terms import LogitParts, Split, term_logits
from poslens.axes import Keys, PerDim, Queries, Rows
from poslens.checkpoints.blocks import AttentionBlock, Linear, Norm
from poslens.errors import TableError, UndefinedMeasureError
from poslens.logits.parts import Acting, acted, first_positions, head_normed

OwnLogits = Float[np.ndarray, "head query_pos key_pos"]


COMPARED = 1024  # positions: matrices of longer contexts are large


class LayerTerms:
    """The queries and keys of one layer, in parts.

    Parameters
    ----------
    block
        Whose `path` is at most one norm, as above the first layer.
    acting
        What the scheme does in this layer.
    mean, position
        μ and pos_t of what enters the block, shapes (dim,) and (position, dim).

    Raises
    ------
    TableError
        If they do not fit the block.
    """

    def __init__(self, block: AttentionBlock, acting: Acting, mean: PerDim, position: Rows) -> None:
        dim = block.queries.shape[1]
        if (
            mean.size != dim
            or len(block.path) > 1
            or any(isinstance(step, Linear) for step in block.path)
        ):
            raise TableError(
                "hidden states do not fit the attention block",
                expected=f"{dim} dimensions, and at most one norm before the projections",
                got=f"{mean.size} dimensions, and {len(block.path)} steps",
                remedy="check that the config describes these weights",
            )
        self._block, self._acting = _without_weights(block), acting
        self._norm = next((step for step in block.path if isinstance(step, Norm)), None)
        self._heads = len(block.queries)
        self._d_head = block.queries.shape[2]
        weights = np.concatenate([block.queries, block.keys])
        flat = np.ascontiguousarray(weights.transpose(1, 0, 2).reshape(dim, -1))
        self._bias = np.concatenate([block.query_bias, block.key_bias]).ravel()
        if self._norm is not None:
            self._bias += self._norm.shift @ flat
            flat *= self._norm.scale[:, None]
        self._weights = flat
        self._position = self._centred(position) @ flat
        self._constant = self._centred(mean[None]) @ flat  # one row

    def parts(self, states: Float[np.ndarray, "position dim"]) -> LogitParts:
        """Return what the layer's logits are made of, its norms frozen.

        Parameters
        ----------
        states
            What enters the layer in one context.

        Raises
        ------
        UndefinedMeasureError
            As `poslens.logits.logit_parts`.
        """
        rows = self._centred(states.astype(np.float64))
        scale: np.ndarray | float = 1.0
        if self._norm is not None:
            scale = np.sqrt(np.mean(rows**2, axis=1, keepdims=True) + self._norm.epsilon)
        position, constant = self._position / scale, self._constant / scale
        content = rows @ self._weights / scale - position - constant
        constant = np.broadcast_to(constant + self._bias, content.shape)
        (qe, ke), (qp, kp), (q0, k0) = map(self._by_head, (content, position, constant))
        block = self._block
        queries = head_normed(block, Split(qe, qp, q0), block.query_norm)
        keys = head_normed(block, Split(ke, kp, k0), block.key_norm)
        return acted(block, queries, keys, self._acting)

    def _centred(self, rows: Float[np.ndarray, "*rows dim"]) -> Float[np.ndarray, "*rows dim"]:
        if self._norm is None or not self._norm.centre:
            return rows
        return np.asarray(rows - rows.mean(axis=-1, keepdims=True))

    def _by_head(self, flat: Float[np.ndarray, "some_position flat"]) -> tuple[Queries, Keys]:
        heads = flat.reshape(len(flat), -1, self._d_head).transpose(1, 0, 2)
        return np.ascontiguousarray(heads[: self._heads]), np.ascontiguousarray(
            heads[self._heads :]
        )


def _without_weights(block: AttentionBlock) -> AttentionBlock:
    """Return a block whose matrices hold nothing, once they have been taken over."""
    return replace(
        block,
        queries=np.broadcast_to(0.0, block.queries.shape),
        keys=np.broadcast_to(0.0, block.keys.shape),
        values=np.broadcast_to(0.0, block.values.shape),
        output=np.broadcast_to(0.0, block.output.shape),
    )


def reconstruction_error(parts: LogitParts, own: OwnLogits, soft_cap: float | None) -> float:
    """Return max |Σ terms - logits| ÷ std(logits) over all heads, both centred within rows.

    Of a context of more than 1,024 positions the first are compared.

    Where a model caps its logits (Gemma 2), the terms are of those before the cap, and their sum is
    passed through it.

    Parameters
    ----------
    parts
        Of one context.
    own
        What the model hands to softmax there, NaN where a mask is.
    soft_cap
        c of c·tanh(logit ÷ c); None for no cap.

    Raises
    ------
    UndefinedMeasureError
        If the model masks what the terms are taken over, so that both do not compare.
    """
    length = own.shape[1]
    seen = np.tri(length, dtype=bool) if parts.causal else np.ones((length, length), dtype=bool)
    if np.isnan(own[0][seen]).any():
        raise UndefinedMeasureError(
            "the layer does not let every query see every key that the terms are taken over, as in "
            "a window; take contexts within it"
        )
    count = min(length, COMPARED)
    parts, seen = first_positions(parts, count), seen[:count, :count]
    worst, square = 0.0, 0.0
    for head, logits in enumerate(own[:, :count, :count].astype(np.float64)):
        wanted = _centred(np.where(seen, logits, np.nan))
        terms = term_logits(parts, head).sum(axis=0)
        if soft_cap is not None:
            whole = terms + _row_means(parts, head, seen)
            terms = _centred(soft_cap * np.tanh(whole / soft_cap))
        worst = max(worst, float(np.nanmax(np.abs(terms - wanted))))
        square += float(np.nansum(wanted**2))
    if square == 0:
        raise UndefinedMeasureError("the layer's logits are constant along rows")
    return worst / float(np.sqrt(square / (len(own) * np.count_nonzero(seen))))


def _centred(logits: Float[np.ndarray, "query_pos key_pos"]) -> Rows:
    return np.asarray(logits - np.nanmean(logits, axis=1, keepdims=True))


def _row_means(parts: LogitParts, head: int, seen: np.ndarray) -> Rows:
    """Row means of the whole products: of no model that caps its logits, a bias is added."""
    whole = parts.queries.total[head] @ parts.keys.total[head // parts.shared_by].T
    return np.asarray(np.nanmean(np.where(seen, whole, np.nan), axis=1, keepdims=True))
