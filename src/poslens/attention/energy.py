"""Σ (K(t, s) - row mean)² of one head's K(t, s) = q_t·k_s, in O(L·d_k²).

Row t's part is q_tᵀ S q_t, S the scatter of the keys it may attend to about their mean: all keys,
or, causal, those up to t. That is a running d_k×d_k sum over blocks of keys, updated with their
mean (Chan, Golub & LeVeque 1983), and a triangle of products within each block.

Σ_t q_tᵀ S q_t = tr(QᵀQ·S) is fast, but where queries and keys are nearly orthogonal its terms
cancel, and rounding of their own size is left. There the sum is made again from a factor
S = RᵀR, as the sum of squares ‖Q Rᵀ‖².
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from jaxtyping import Float

from poslens.attention.scratch import scratch
from poslens.axes import HeadRows, PerDHead, PerPosition

Blocks = Float[np.ndarray, "*lead block _ d_head"]
Means = Float[np.ndarray, "*lead d_head"]
BlockMeans = Float[np.ndarray, "*lead block d_head"]

_BLOCK = 128  # rows whose triangle of products is formed: twice the usual d_k balances the costs
# Blocks in one NumPy call: below about half a millisecond, threads wait for the interpreter more
# than they compute.
GROUP = 8

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

    def take(self, queries: Blocks, rows: Blocks) -> float:
        """Add the blocks of rows in turn; return Σ tr(QᵀQ·S), S being the sum before each."""
        sums = rows.transpose(0, 2, 1) @ rows
        sums[0] += self._sum
        for before, after in pairwise(sums):  # `cumsum` along this axis takes ten times as long
            after += before
        squares = queries.transpose(0, 2, 1) @ queries
        seen = np.vdot(squares[0], self._sum) + np.vdot(squares[1:], sums[:-1])
        self._sum[:] = sums[-1]
        return float(seen)


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

    def take(self, queries: Blocks, rows: Blocks) -> float:
        """Add the blocks of rows in turn; return Σ ‖Q Rᵀ‖², R being the factor before each."""
        seen = 0.0
        for its_queries, its_rows in zip(queries, rows, strict=True):
            seen += self.seen_by(its_queries)
            self.add(its_rows)
        return seen


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
    length, dim = queries.shape
    mean = keys[:_BLOCK].mean(axis=0)  # of the earlier keys; the first block takes its own
    row_means = np.empty(length, dtype=queries.dtype)
    energy = 0.0
    products = scratch("products", (GROUP, _BLOCK, _BLOCK), queries.dtype)
    centred = scratch("centred", (GROUP, _BLOCK + 1, dim), queries.dtype)
    for start, blocks, size in groups(length, _BLOCK):
        here = slice(start, start + blocks * size)
        Q, K = (rows[here].reshape(blocks, size, dim) for rows in (queries, keys))
        count = np.arange(here.start + 1, here.stop + 1, dtype=queries.dtype).reshape(blocks, size)
        before, after = running_means(K, mean, start)
        step = after - before

        X = centred[:blocks, : size + 1]
        np.subtract(K, before[:, None], out=X[:, :size])
        own = np.matmul(Q, X[:, :size].transpose(0, 2, 1), out=products[:blocks, :size, :size])
        own *= np.tri(size, dtype=own.dtype)
        own_sums = own.sum(axis=2)
        own_means = own_sums / count
        energy += float(np.vdot(own, own) - np.vdot(own_sums, own_means))
        row_means[here] = (own_means + (Q @ (before - origin)[:, :, None])[:, :, 0]).ravel()

        X[:, :size] -= step[:, None]
        X[:, size] = np.sqrt(count[:, 0] - 1)[:, None] * step
        energy += earlier.take(Q, X)
        mean = after[-1]
    return energy, row_means


def groups(length: int, block: int) -> Iterator[tuple[int, int, int]]:
    """Yield (first row, blocks, rows of each) that cover ``length`` rows in turn.

    Groups have up to `GROUP` blocks of ``block`` rows; what is left over is one shorter block.
    """
    start = 0
    while start < length:
        blocks = min(GROUP, (length - start) // block)
        size = block if blocks else length - start
        yield start, max(blocks, 1), size
        start += max(blocks, 1) * size


def running_means(keys: Blocks, mean: Means, count: int) -> tuple[BlockMeans, BlockMeans]:
    """Return the means of all keys before and after each block, given that of ``count`` before."""
    blocks, size = keys.shape[-3:-1]
    steps = np.arange(1, blocks + 1, dtype=keys.dtype)[:, None] * size
    mean = mean[..., None, :]
    shifts = np.cumsum(keys.sum(axis=-2) - size * mean, axis=-2) / (count + steps)
    after = mean + shifts
    return np.concatenate([mean, after[..., :-1, :]], axis=-2), after
