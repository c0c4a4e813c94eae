"""Keys summed with a row's logits as weights: y_t = Σ_s (S_ts - row mean) k_s, S_ts = q_t·k_s.

Where the keys are a sum of parts k^B, one such vector for each part holds all that the logits of
row t have to do with it: their covariance with any other q'_t·k^B_s is q'_t·y^B_t.

No L×L matrix is made. y^B_t is C q_t with C = Σ_s (k^B_s - mean)(k_s - mean)ᵀ over the keys that
row t may attend to: all, or, causal, those up to t. That is a running d_k×d_k sum over blocks of
keys, updated with their means (Chan, Golub & LeVeque 1983), and within each block of rows a
triangle of products.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeAlias

import numpy as np
from jaxtyping import Float

from poslens.attention.energy import groups, running_means
from poslens.axes import HeadRows

_BLOCK = 64  # rows whose triangle of logits is formed: the usual d_k balances the costs
# Blocks in one NumPy call: below about half a millisecond, threads wait for the interpreter more
# than they compute.
_GROUP = 8

PartRows: TypeAlias = Float[np.ndarray, "part position d_head"]

# Rows, and the weighted keys of each, shape (part, the rows, d_head), to be used before the next.
Weighted: TypeAlias = Iterator[tuple[slice, PartRows]]


class KeyParts:
    """The parts of one head's keys, those left out that are the same at every position.

    A row's weights sum to 0, so that these weigh nothing, exactly.

    Attributes
    ----------
    which
        The parts that are left, as indices.
    shape
        How many they are, positions and dimensions.
    size
        Σ over all parts of the largest ‖k_s‖.
    spread
        Σ over those left of the root of their scatter Σ_s ‖k_s - mean‖².
    """

    def __init__(self, parts: Sequence[HeadRows]) -> None:
        length, dim = parts[0].shape
        self.which = [at for at, rows in enumerate(parts) if (rows != rows[0]).any()]
        self.shape = (len(self.which), length, dim)
        self._rows = [parts[at] for at in self.which]
        self._means = np.array([rows.mean(axis=0) for rows in self._rows]).reshape(-1, dim)
        squares = [np.einsum("sd,sd->s", rows, rows) for rows in parts]
        self.size = float(sum(np.sqrt(of_part.max()) for of_part in squares))
        scatters = np.array([squares[at].sum() for at in self.which])
        scatters -= length * np.einsum("pd,pd->p", self._means, self._means)
        self.spread = float(np.sqrt(np.maximum(scatters, 0)).sum())

    def about_means(self, here: slice, out: PartRows | None = None) -> PartRows:
        """Return rows of each part, less the part's mean over all positions."""
        if out is None:
            out = np.empty((self.shape[0], here.stop - here.start, self.shape[2]))
        for at, (rows, mean) in enumerate(zip(self._rows, self._means, strict=True)):
            np.subtract(rows[here], mean, out=out[at])
        return out


def over_all(queries: HeadRows, keys: KeyParts) -> Weighted:
    """Yield the keys weighted by rows that may attend to every position."""
    parts, length, dim = keys.shape
    scatter = np.zeros((parts, dim, dim))
    for start, blocks, size in groups(length, _BLOCK, _GROUP):
        X = keys.about_means(slice(start, start + blocks * size))
        scatter += X.sum(axis=0).T @ X
    seen = np.empty((parts, min(length, _GROUP * _BLOCK), dim))
    for start, blocks, size in groups(length, _BLOCK, _GROUP):
        here = slice(start, start + blocks * size)
        yield here, np.matmul(queries[here], scatter, out=seen[:, : blocks * size])


def over_earlier(queries: HeadRows, keys: KeyParts) -> Weighted:
    """Yield the keys weighted by rows t that may attend to s ≤ t."""
    parts, length, dim = keys.shape
    blocks, size = min(_GROUP, max(length // _BLOCK, 1)), min(_BLOCK, length)
    # Made once: fresh memory is mapped in page by page, and threads wait on one another for that.
    rows = np.empty((parts, blocks * size, dim))
    centred = np.empty((parts, blocks, size + 1, dim))
    both = np.empty((blocks, size + 1, dim))
    logits = np.empty((blocks, size, size))
    scatters = np.zeros((parts, blocks + 1, dim, dim))  # the first: of the keys before the group
    summed = np.empty_like(scatters)
    seen, more = np.empty((2, parts, blocks, size, dim))
    lower = np.tri(size)
    # Of the earlier keys; the first block takes its own.
    mean = keys.about_means(slice(0, size)).mean(axis=1)
    for start, blocks, size in groups(length, _BLOCK, _GROUP):
        here = slice(start, start + blocks * size)
        Q = queries[here].reshape(blocks, size, dim)
        K = keys.about_means(here, out=rows[:, : blocks * size]).reshape(parts, blocks, size, dim)
        count = np.arange(here.start + 1, here.stop + 1, dtype=np.float64).reshape(blocks, size)
        before, after = running_means(K, mean, start)
        step = after - before

        X, total = centred[:, :blocks, : size + 1], both[:blocks, : size + 1]
        np.subtract(K, before[:, :, None], out=X[:, :, :size])
        np.sum(X[:, :, :size], axis=0, out=total[:, :size])
        own = np.matmul(Q, total[:, :size].transpose(0, 2, 1), out=logits[:blocks, :size, :size])
        own *= lower[:size, :size]
        own -= (own.sum(axis=2) / count)[:, :, None]
        own *= lower[:size, :size]
        Y = np.matmul(own, X[:, :, :size], out=seen[:, :blocks, :size])

        X[:, :, :size] -= step[:, :, None]
        X[:, :, size] = np.sqrt(count[:, 0] - 1)[:, None] * step
        np.sum(X, axis=0, out=total)
        C, sums = scatters[:, : blocks + 1], summed[:, : blocks + 1]
        np.matmul(total.transpose(0, 2, 1), X, out=C[:, 1:])
        # A running sum as a product: NumPy's own takes ten times as long along this axis.
        flat = (parts, blocks + 1, dim * dim)
        np.matmul(np.tri(blocks + 1), C.reshape(flat), out=sums.reshape(flat))
        Y += np.matmul(Q, sums[:, :-1], out=more[:, :blocks, :size])
        C[:, 0] = sums[:, -1]
        mean = after[:, -1]
        yield here, Y.reshape(parts, blocks * size, dim)


def from_rows(queries: HeadRows, keys: KeyParts, *, causal: bool) -> Weighted:
    """Yield the same from rows of logits: O(L²), for what would cancel in a sum over keys."""
    length = keys.shape[1]
    X = keys.about_means(slice(0, length))
    total = X.sum(axis=0)
    for start in range(0, length, _BLOCK):
        here = slice(start, min(start + _BLOCK, length))
        stop = here.stop if causal else length
        allowed = np.tri(here.stop - start, stop, start if causal else length)
        logits = (queries[here] @ total[:stop].T) * allowed
        logits -= logits.sum(axis=1, keepdims=True) / allowed.sum(axis=1, keepdims=True)
        yield here, (logits * allowed) @ X[:, :stop]
