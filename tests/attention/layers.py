"""Logits in parts to test with, and their terms from explicit matrices and masks."""

from __future__ import annotations

import numpy as np
from matrices import allowed, matrix

from poslens.attention import LogitParts, Split, offsets


def layer(
    heads: int,
    length: int,
    dim: int,
    *,
    causal: bool,
    key_heads: int | None = None,
    bias: bool = False,
    seed: int = 0,
) -> LogitParts:
    """Rough content, position that drifts, and a constant that varies a little."""
    rng = np.random.default_rng([seed, heads, length, dim])

    def split(count: int) -> Split:
        shape = count, length, dim
        constant = rng.normal(size=(count, 1, dim)) * rng.uniform(0.5, 2, size=(count, length, 1))
        walk = np.cumsum(rng.normal(size=shape), axis=1) / np.sqrt(length) * 2
        return Split(rng.normal(size=shape), walk + rng.normal(size=dim), constant)

    profiles = np.cumsum(rng.normal(size=(heads, offsets(length, causal=causal).size)), axis=1)
    queries, keys = split(heads), split(key_heads or heads)
    return LogitParts(queries, keys, causal=causal, bias=profiles if bias else None)


def explicit_terms(parts: LogitParts, head: int) -> np.ndarray:
    """The matrices of one head's terms in the order of TERMS, uncentred; after a row, 0."""
    group = parts.queries.content.shape[0] // parts.keys.content.shape[0]
    qe, qp, q0 = (part[head].astype(float) for part in parts.queries.parts)
    ke, kp, k0 = (part[head // group].astype(float) for part in parts.keys.parts)
    terms = [
        qe @ ke.T,
        qp @ kp.T,
        qe @ kp.T,
        qp @ ke.T,
        qe @ k0.T + qp @ k0.T + q0 @ ke.T + q0 @ kp.T + q0 @ k0.T,
    ]
    if parts.bias is not None:
        terms[1] = terms[1] + matrix(parts.bias[head], causal=parts.causal)
    return np.where(allowed(len(qe), causal=parts.causal), terms, 0)


def row_centred(matrices: np.ndarray, *, causal: bool) -> np.ndarray:
    pairs = allowed(matrices.shape[-1], causal=causal)
    means = matrices.sum(axis=-1, keepdims=True) / pairs.sum(axis=-1, keepdims=True)
    return np.where(pairs, matrices - means, 0)


def explicit_sums(parts: LogitParts) -> tuple[np.ndarray, np.ndarray]:
    """The covariances, shape (term, head), and variances of every head."""
    covariances, variances = [], []
    for head in range(parts.queries.content.shape[0]):
        terms = row_centred(explicit_terms(parts, head), causal=parts.causal)
        logits = terms.sum(axis=0)
        covariances.append([(term * logits).sum() for term in terms])
        variances.append((logits**2).sum())
    return np.array(covariances).T, np.array(variances)
