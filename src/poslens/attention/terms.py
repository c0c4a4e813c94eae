"""Logits as sums of terms: content and position of the query with those of the key.

With q = q_E + q_P + q_0 and k likewise (content, position, constant), a logit is the sum of nine
products, and of what the scheme adds by distance. Softmax ignores what is constant along a row, so
each term's share of the logits is taken within rows:

    share(A) = Σ_t Cov_s(A_ts, S_ts) ÷ Σ_t Var_s(S_ts)

over the keys s that row t may attend to; shares sum to 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from poslens.axes import HeadOffsets, PerHead, PerOffset

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
    """

    covariances: TermHeads
    variances: PerHead

    def __add__(self, other: TermSums) -> TermSums:
        """Return the sums over both."""
        return TermSums(
            np.asarray(self.covariances + other.covariances),
            np.asarray(self.variances + other.variances),
        )

    def shares(self) -> TermHeads:
        """Return each term's share, shape (term, head); NaN where a head's logits do not vary."""
        shares = np.full_like(self.covariances, np.nan)
        np.divide(self.covariances, self.variances, out=shares, where=self.variances > 0)
        return shares


def term_sums(parts: LogitParts) -> TermSums:
    """Return the sums of every head.

    Raises
    ------
    TableError
        If shapes do not fit one another, or a value is not finite.
    """
    found = [_sums_of_matrices(term_logits(parts, h)) for h in range(len(parts.queries.content))]
    covariances, variances = zip(*found, strict=True)
    return TermSums(np.array(covariances).T, np.array(variances))


def _sums_of_matrices(terms: TermLogits) -> tuple[np.ndarray, float]:
    whole = np.nan_to_num(terms.sum(axis=0))
    return np.nan_to_num(terms).reshape(len(terms), -1) @ whole.ravel(), float(np.sum(whole**2))


def term_logits(parts: LogitParts, head: int) -> TermLogits:
    """Return the terms of one head's logits, each row centred over the keys it may attend to.

    Returns
    -------
    Shape (term, query_pos, key_pos); NaN where a row may not attend.
    """
    (qe, qp, q0), (ke, kp, k0) = (
        (split.content[at], split.position[at], split.constant[at])
        for split, at in ((parts.queries, head), (parts.keys, head // parts.shared_by))
    )
    constant = q0 @ (ke + kp + k0).T + (qe + qp) @ k0.T
    terms = np.array([qe @ ke.T, qp @ kp.T, qe @ kp.T, qp @ ke.T, constant])
    if parts.bias is not None:
        terms[1] += _at_pairs(parts.bias[head], len(qe))
    if parts.causal:
        terms[:, ~np.tri(len(qe), dtype=bool)] = np.nan
    return np.asarray(terms - np.nanmean(terms, axis=2, keepdims=True))


def _at_pairs(profile: PerOffset, length: int) -> Float[np.ndarray, "query_pos key_pos"]:
    """A function of s - t at every pair; after a causal query, that at 0."""
    offset = np.arange(length) - np.arange(length)[:, None]
    return np.asarray(profile[np.minimum(offset + length - 1, profile.size - 1)])
