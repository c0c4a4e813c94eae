"""Σ (K(t, s) - row mean)² of heads' K(t, s) = q_t·k_s, in O(L·d_k²).

Row t's part is q_tᵀ S q_t, S the scatter of the keys it may attend to about their mean: all keys,
or, causal, those up to t. That is a running d_k×d_k sum over blocks of keys, and a triangle of
products within each block.

Σ_t q_tᵀ S q_t = tr(QᵀQ·S) is fast, but where queries and keys are nearly orthogonal its terms
cancel, and rounding of their own size is left. There the sum is made again from a factor
S = RᵀR, as the sum of squares ‖Q Rᵀ‖², about the running mean of the keys (Chan, Golub & LeVeque
1983), so that no row's mean is left to cancel either.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float

from poslens.attention.scratch import scratch
from poslens.axes import HeadPositions, HeadRows, PerDHead, PerHead, PerPosition

ManyRows = Float[np.ndarray, "head position d_head"]
PerKey = Float[np.ndarray, "head d_head"]
Blocks = Float[np.ndarray, "*lead block _ d_head"]
Means = Float[np.ndarray, "*lead d_head"]
BlockMeans = Float[np.ndarray, "*lead block d_head"]

_BLOCK = 64  # rows whose triangle of products is formed: the usual d_k balances the costs
# Blocks in one NumPy call: below about half a millisecond, threads wait for the interpreter more
# than they compute.
_GROUP = 16

# Below this share of Σ‖q‖²·Σ‖k‖², rounding of the trace reaches 1e-9 of the energy.
_NEARLY_ORTHOGONAL = 1e-6


def causal_rows(queries: ManyRows, keys: ManyRows, means: PerKey) -> tuple[PerHead, HeadPositions]:
    """Return each head's energy over s ≤ t, and each row's mean of q_t·(k_s - mean).

    ``means`` are those of all keys.
    """
    energy, row_means = _causal_traces(queries, keys, means)
    for head in np.flatnonzero(_cancels(energy, queries, keys, means)):
        energy[head], row_means[head] = _causal_factors(queries[head], keys[head], means[head])
    return energy, row_means


def square_energy(queries: ManyRows, keys: ManyRows, means: PerKey) -> PerHead:
    """Return each head's energy over all t and s, ``means`` those of the keys."""
    scatters = np.zeros((*means.shape, means.shape[1]), keys.dtype)
    for rows in _centred(keys, means):
        scatters += rows.swapaxes(1, 2) @ rows
    energy = np.einsum("hde,hde->h", queries.swapaxes(1, 2) @ queries, scatters)
    for head in np.flatnonzero(_cancels(energy, queries, keys, means)):
        factor = Factor(keys[head])
        for rows in _centred(keys[head, None], means[head, None]):
            factor.add(rows[0])
        energy[head] = factor.seen_by(queries[head])
    return np.asarray(energy)


def _centred(keys: ManyRows, means: PerKey) -> Iterator[ManyRows]:
    """Yield a few of the keys' rows at a time, since a centred copy would be as large as they."""
    rows = 2 * _BLOCK
    for start in range(0, keys.shape[1], rows):
        yield keys[:, start : start + rows] - means[:, None]


def _cancels(energy: PerHead, queries: ManyRows, keys: ManyRows, means: PerKey) -> np.ndarray:
    of_means = keys.shape[1] * np.vecdot(means, means)
    largest = squares(queries) * (squares(keys) - of_means)
    return np.asarray(energy < _NEARLY_ORTHOGONAL * largest)


def squares(rows: ManyRows) -> PerHead:
    """Return Σ ‖row‖² of each head."""
    flat = rows.reshape(len(rows), -1)
    return np.asarray(np.vecdot(flat, flat))


def _causal_traces(
    queries: ManyRows, keys: ManyRows, means: PerKey
) -> tuple[PerHead, HeadPositions]:
    heads, length, dim = queries.shape
    kind = queries.dtype
    energy, row_means = np.zeros(heads), np.empty((heads, length), kind)
    products = scratch("products", (heads, _GROUP, _BLOCK, _BLOCK), kind)
    centred = scratch("centred", (heads, _GROUP, _BLOCK, dim), kind)
    grams = scratch("grams", (2, heads, _GROUP, dim, dim), kind)
    before = np.zeros((heads, dim * dim), kind)  # the scatter of the keys before a group
    total = np.zeros((heads, 1, dim), kind)
    for start, blocks, size in groups(length, _BLOCK, _GROUP):
        here = slice(start, start + blocks * size)
        Q, K = (rows[:, here].reshape(heads, blocks, size, dim) for rows in (queries, keys))
        X = np.subtract(K, means[:, None, None], out=centred[:, :blocks, :size])
        own = np.matmul(Q, X.swapaxes(2, 3), out=products[:, :blocks, :size, :size])
        own *= np.tri(size, dtype=kind)

        # Sums as products with ones, which take a third of the time.
        ones = np.ones(size, kind)
        sums = np.cumsum(np.concatenate([total, ones @ X], axis=1), axis=1)
        row_sums = own @ ones + (Q @ sums[:, :-1, :, None])[..., 0]
        count = np.arange(here.start + 1, here.stop + 1, dtype=kind)
        row_means[:, here] = row_sums.reshape(heads, -1) / count

        of_queries, of_keys = (
            np.matmul(rows.swapaxes(2, 3), rows, out=out[:, :blocks]).reshape(heads, blocks, -1)
            for rows, out in zip((Q, X), grams, strict=True)
        )
        # tr(QᵀQ·XᵀX) of every pair of blocks: fewer and longer calls than with running sums.
        pairs = np.tril(of_queries @ of_keys.swapaxes(1, 2), -1)
        energy += squares(own.reshape(heads, -1, size)) + pairs.sum(axis=(1, 2))
        energy += np.vecdot(of_queries.sum(axis=1), before)
        energy -= np.vecdot(row_sums.reshape(heads, -1), row_means[:, here])
        before += of_keys.sum(axis=1)
        total = sums[:, -1:]
    return energy, row_means


class Factor:
    """A sum S of products x xᵀ, as R with S = RᵀR."""

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


def _causal_factors(
    queries: HeadRows, keys: HeadRows, origin: PerDHead
) -> tuple[float, PerPosition]:
    length, dim = queries.shape
    mean = keys[:_BLOCK].mean(axis=0)  # of the earlier keys; the first block takes its own
    row_means = np.empty(length, dtype=queries.dtype)
    energy, earlier = 0.0, Factor(keys)
    for start, blocks, size in groups(length, _BLOCK, _GROUP):
        here = slice(start, start + blocks * size)
        Q, K = (rows[here].reshape(blocks, size, dim) for rows in (queries, keys))
        count = np.arange(here.start + 1, here.stop + 1, dtype=queries.dtype).reshape(blocks, size)
        before, after = running_means(K, mean, start)
        step = after - before

        X = np.empty((blocks, size + 1, dim), dtype=keys.dtype)
        np.subtract(K, before[:, None], out=X[:, :size])
        own = Q @ X[:, :size].transpose(0, 2, 1) * np.tri(size, dtype=queries.dtype)
        own_sums = own.sum(axis=2)
        own_means = own_sums / count
        energy += float(np.vdot(own, own) - np.vdot(own_sums, own_means))
        row_means[here] = (own_means + (Q @ (before - origin)[:, :, None])[:, :, 0]).ravel()

        X[:, :size] -= step[:, None]
        X[:, size] = np.sqrt(count[:, 0] - 1)[:, None] * step
        energy += earlier.take(Q, X)
        mean = after[-1]
    return energy, row_means


def groups(length: int, block: int, most: int) -> Iterator[tuple[int, int, int]]:
    """Yield (first row, blocks, rows of each) that cover ``length`` rows in turn.

    Groups have up to ``most`` blocks of ``block`` rows; what is left over is one shorter block.
    """
    start = 0
    while start < length:
        blocks = min(most, (length - start) // block)
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
