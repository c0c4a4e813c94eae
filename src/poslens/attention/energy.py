"""Σ (K(t, s) - row mean)² of one head's K(t, s) = q_t·k_s, in O(L·d_k²).

Row t's part is q_tᵀ S q_t, S the scatter of the keys it may attend to about their mean: all keys,
or, causal, those up to t. That is a running d_k×d_k sum over blocks of keys, updated with their
mean (Chan, Golub & LeVeque 1983), and a triangle of products within each block.

Σ_t q_tᵀ S q_t = tr(QᵀQ·S) is fast, but where queries and keys are nearly orthogonal its terms
cancel, and rounding of their own size is left. There the sum is made again from a factor
S = RᵀR, as the sum of squares ‖Q Rᵀ‖².
"""

from __future__ import annotations

import numpy as np

from poslens.axes import HeadRows, PerDHead, PerPosition

_BLOCK = 128  # rows whose triangle of products is formed: twice the usual d_k balances the costs

# Below this share of Σ‖q‖²·Σ‖k‖², rounding of the trace reaches 1e-9 of the energy.
_NEARLY_ORTHOGONAL = 1e-6


class Products:
    """A sum S of products x xᵀ, as it is."""

    def __init__(self, like: HeadRows) -> None:
        self._sum = np.zeros((like.shape[1], like.shape[1]), dtype=like.dtype)

    def add(self, rows: HeadRows) -> None:
        """Add x xᵀ for every row x."""
        self._sum += rows.T @ rows

    def seen_by(self, queries: HeadRows) -> float:
        """Return tr(QᵀQ·S)."""
        return float(np.vdot(queries.T @ queries, self._sum))


class Factor:
    """The same as R with S = RᵀR: slower, without cancellation."""

    def __init__(self, like: HeadRows) -> None:
        self._factor = np.zeros((0, like.shape[1]), dtype=like.dtype)

    def add(self, rows: HeadRows) -> None:
        """Add x xᵀ for every row x."""
        self._factor = np.asarray(np.linalg.qr(np.concatenate([self._factor, rows]), mode="r"))

    def seen_by(self, queries: HeadRows) -> float:
        """Return ‖Q Rᵀ‖²."""
        seen = queries @ self._factor.T
        return float(np.vdot(seen, seen))


def causal_rows(queries: HeadRows, keys: HeadRows, origin: PerDHead) -> tuple[float, PerPosition]:
    """Return the energy over s ≤ t, and each row's mean of q_t·(k_s - ``origin``)."""
    energy, row_means = _causal_rows(queries, keys, origin, Products(keys))
    if _cancels(energy, queries, keys, origin):
        energy, row_means = _causal_rows(queries, keys, origin, Factor(keys))
    return energy, row_means


def square_energy(queries: HeadRows, keys: HeadRows, mean: PerDHead) -> float:
    """Return the energy over all t and s, ``mean`` that of the keys."""
    energy = _square_energy(queries, keys, mean, Products(keys))
    if _cancels(energy, queries, keys, mean):
        energy = _square_energy(queries, keys, mean, Factor(keys))
    return energy


def _cancels(energy: float, queries: HeadRows, keys: HeadRows, mean: PerDHead) -> bool:
    largest = np.vdot(queries, queries) * (np.vdot(keys, keys) - len(keys) * (mean @ mean))
    return energy < _NEARLY_ORTHOGONAL * float(largest)


def _square_energy(
    queries: HeadRows, keys: HeadRows, mean: PerDHead, scatter: Products | Factor
) -> float:
    # In blocks, since a centred copy would be as large as the keys.
    for start in range(0, len(keys), _BLOCK):
        scatter.add(keys[start : start + _BLOCK] - mean)
    return scatter.seen_by(queries)


def _causal_rows(
    queries: HeadRows, keys: HeadRows, origin: PerDHead, earlier: Products | Factor
) -> tuple[float, PerPosition]:
    length = len(queries)
    allowed = np.tri(_BLOCK, dtype=queries.dtype)
    mean = keys[:_BLOCK].mean(axis=0)  # of the earlier keys; the first block takes its own
    row_means = np.empty(length, dtype=queries.dtype)
    energy = 0.0
    for start in range(0, length, _BLOCK):
        Q, X = queries[start : start + _BLOCK], keys[start : start + _BLOCK] - mean
        count = np.arange(start + 1, start + len(Q) + 1, dtype=queries.dtype)
        own = Q @ X.T
        own *= allowed[: len(Q), : len(Q)]
        own_sums = own.sum(axis=1)
        energy += earlier.seen_by(Q) + float(np.vdot(own, own) - own_sums**2 @ (1 / count))
        row_means[start : start + len(Q)] = Q @ (mean - origin) + own_sums / count
        step = X.sum(axis=0) / count[-1]
        X -= step
        earlier.add(np.concatenate([X, np.sqrt(queries.dtype.type(start)) * step[None]]))
        mean = mean + step
    return energy, row_means
