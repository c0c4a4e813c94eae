"""Logits as sums of terms: content and position of the query with those of the key.

With q = q_E + q_P + q_0 and k likewise (content, position, constant), a logit is the sum of nine
products, and of what the scheme adds by distance. Softmax ignores what is constant along a row, so
each term's share of the logits is taken within rows:

    share(A) = Σ_t Cov_s(A_ts, S_ts) ÷ Σ_t Var_s(S_ts)

over the keys s that row t may attend to; shares sum to 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
from jaxtyping import Float

from poslens.attention.covariances import HeadCovariances, head_covariances
from poslens.attention.validate import check_parts
from poslens.axes import HeadOffsets, HeadRows, PerHead, PerOffset
from poslens.errors import SettingError, TableError
from poslens.parallel import in_threads

TERMS = (
    "content_content",
    "position_position",
    "content_position",  # the query's content with the key's position
    "position_content",
    "bias",  # the products with constant parts
)

Heads = Float[np.ndarray, "some_head position d_head"]
TermHeads = Float[np.ndarray, "term head"]
TermLogits = Float[np.ndarray, "term query_pos key_pos"]


@dataclass(frozen=True, eq=False)
class Split:
    """Queries or keys of one layer on one text, as the sum of three parts.

    Attributes
    ----------
    content, position, constant
        Each of shape (some_head, position, d_head).
    """

    content: Heads
    position: Heads
    constant: Heads

    @property
    def parts(self) -> tuple[Heads, Heads, Heads]:
        """Content, position and constant."""
        return self.content, self.position, self.constant

    @property
    def total(self) -> Heads:
        """The queries or keys."""
        return np.asarray(self.content + self.position + self.constant)


@dataclass(frozen=True, eq=False)
class LogitParts:
    """What the logits of one layer on one text are made of.

    Attributes
    ----------
    queries, keys
        Of the query heads and the key heads; rotated, and the model's scale in the queries. Query
        head h meets key head ⌊h ÷ (heads ÷ key heads)⌋.
    causal
        Whether row t may attend to s ≤ t only, or to all.
    bias
        What the scheme adds at the offsets of `poslens.attention.offsets`, shape (head, offset),
        which is of positions alone; None for nothing.
    """

    queries: Split
    keys: Split
    causal: bool
    bias: HeadOffsets | None = None

    @property
    def shared_by(self) -> int:
        """How many query heads share one key head."""
        return int(self.queries.content.shape[0] // self.keys.content.shape[0])


@dataclass(frozen=True, eq=False)
class TermSums:
    """Sums within rows, over the texts they were added up on.

    Attributes
    ----------
    covariances
        Σ_t Σ_s (A_ts - row mean)(S_ts - row mean) of each term A of `TERMS`, shape (term, head).
    variances
        The same of S with itself, shape (head,).
    rounding
        What rounding alone may leave of `variances` where nothing varies along rows, shape (head,).
    """

    covariances: TermHeads
    variances: PerHead
    rounding: PerHead

    def __add__(self, other: TermSums) -> TermSums:
        """Return the sums over the texts of both.

        Raises
        ------
        TableError
            If they differ in heads.
        """
        heads, others = self.variances.size, other.variances.size
        if heads != others:
            raise TableError(
                "sums of different layers do not add up",
                expected=f"{heads} heads in both",
                got=f"{others}",
                remedy="add up the sums of one layer over several texts",
            )
        return TermSums(
            np.asarray(self.covariances + other.covariances),
            np.asarray(self.variances + other.variances),
            np.asarray(self.rounding + other.rounding),
        )

    def shares(self) -> TermHeads:
        """Return each term's share, shape (term, head); NaN where a head's logits do not vary.

        They do not where their root mean square within rows is below 1e-13 of what it could be if
        nothing cancelled.
        """
        shares = np.full_like(self.covariances, np.nan)
        varies = self.variances > self.rounding
        np.divide(self.covariances, self.variances, out=shares, where=varies)
        return shares


def term_sums(parts: LogitParts) -> TermSums:
    """Return the sums of every head, without a matrix of logits: O(L·d_k²).

    Raises
    ------
    TableError
        See `poslens.attention.validate.check_parts`.
    """
    _check(parts)
    tasks = [
        partial(
            head_covariances,
            [part[head] for part in parts.queries.parts],
            [part[head // parts.shared_by] for part in parts.keys.parts],
            None if parts.bias is None else parts.bias[head],
            causal=parts.causal,
        )
        for head in range(parts.queries.content.shape[0])
    ]
    found = list(in_threads(tasks))
    return TermSums(
        covariances=np.array([_terms(head) for head in found]).T,
        variances=np.array([head.variance for head in found]),
        rounding=np.array([head.rounding for head in found]),
    )


def _terms(head: HeadCovariances) -> list[float]:
    """The covariances of `TERMS`, from those of products of parts."""
    with_constants = head.products[2].sum() + head.products[:2, 2].sum()
    (content, content_position), (position_content, position) = head.products[:2, :2]
    return [content, position + head.bias, content_position, position_content, with_constants]


def term_logits(parts: LogitParts, head: int) -> TermLogits:
    """Return the terms of one head's logits, each row centred over the keys it may attend to.

    Returns
    -------
    Shape (term, query_pos, key_pos), in float64; NaN where a row may not attend.

    Raises
    ------
    TableError
        See `poslens.attention.validate.check_parts`.
    SettingError
        If there is no such head.
    """
    _check(parts)
    heads = parts.queries.content.shape[0]
    if not 0 <= head < heads:
        raise SettingError(
            "there is no such head in this layer",
            expected=f"0 to {heads - 1}",
            got=f"{head}",
            remedy="count heads from 0",
        )
    qe, qp, q0 = (part[head].astype(np.float64) for part in parts.queries.parts)
    ke, kp, k0 = (_about_mean(part[head // parts.shared_by]) for part in parts.keys.parts)
    constant = q0 @ (ke + kp + k0).T + (qe + qp) @ k0.T
    terms = np.array([qe @ ke.T, qp @ kp.T, qe @ kp.T, qp @ ke.T, constant])
    if parts.bias is not None:
        terms[1] += _at_pairs(parts.bias[head], len(qe))
    if parts.causal:
        terms[:, ~np.tri(len(qe), dtype=bool)] = np.nan
    return np.asarray(terms - np.nanmean(terms, axis=2, keepdims=True))


def _check(parts: LogitParts) -> None:
    check_parts(parts.queries.parts, parts.keys.parts, parts.bias, causal=parts.causal)


def _about_mean(keys: HeadRows) -> HeadRows:
    """Without what would only add a constant to each row, and cost digits."""
    wide = keys.astype(np.float64)
    return np.asarray(wide - wide.mean(axis=0))


def _at_pairs(profile: PerOffset, length: int) -> Float[np.ndarray, "query_pos key_pos"]:
    """A function of s - t at every pair; after a causal query, that at 0."""
    offset = np.arange(length) - np.arange(length)[:, None]
    return np.asarray(profile[np.minimum(offset + length - 1, profile.size - 1)])
