"""The additive fit K(t, s) ≈ c_t + f(s - t), least squares over the allowed pairs, in O(L).

The fit needs the diagonal sums of the row-centred kernel and nothing else (`KernelSums`). A
constant may move between c and f, and nothing else may: f is given with mean 0 over pairs.

Causal rows. Order row t by distance d = t - s, and take its Helmert contrasts: each entry minus the
mean of those nearer. The d-th contrast of f is the same in all rows t ≥ d, and the contrasts
determine f up to a constant, so each is fitted on its own, by the mean over the rows that have it.
That mean is a difference of diagonal sums.

Bidirectional square. Eliminating f leaves L equations for c. Differences of neighbouring ones,
written for the sums C_t = c_0 + … + c_{t-1} with C_L = 0, are tridiagonal and positive definite:

    -C_{t-1} + 2 C_t - C_{t+1} - C_t ÷ (t (L-t)) = (m_{-t} - m_{L-t}) ÷ L,   t = 1 … L-1,

with m_k the mean of the row-centred kernel at offset k. Its eigenfunctions are discrete Legendre
polynomials: the squared correlations between rows and offsets are 1/(n(n+1)), at most 1/2.
"""

from __future__ import annotations

import numpy as np
import scipy.linalg

from poslens.attention.sums import KernelSums, pairs_at_offsets
from poslens.axes import HeadOffsets, PerHead


def relative_share(sums: KernelSums) -> tuple[float | None, ...]:
    """Return 1 - RSS(c_t + f(s-t)) ÷ RSS(c_t) of each head, ``kernel.relative_share``.

    None where the kernel is constant along rows (`KernelSums.varies`).
    """
    explained = explained_energy(sums)
    # Rounding can leave a share a few 1e-16 above 1.
    return tuple(
        min(1.0, float(part / whole)) if varies else None
        for part, whole, varies in zip(explained, sums.energy, sums.varies, strict=True)
    )


def explained_energy(sums: KernelSums) -> PerHead:
    """Return RSS(c_t) - RSS(c_t + f(s-t)), shape (head,)."""
    if sums.causal:
        d = np.arange(1, sums.length)
        return np.asarray(_contrasts(sums) ** 2 @ (d * (sums.length - d) / (d + 1)))
    L, pairs = sums.length, pairs_at_offsets(sums.length, causal=False)
    linear, C = _row_parts(sums)
    m = np.arange(1, L)
    steps = np.diff(C, axis=1)
    # What f alone explains, and what c adds: written so that an error in C enters squared.
    quadratic = np.einsum("ht,ht->h", steps, steps) - C[:, 1:-1] ** 2 @ (1 / (m * (L - m)))
    added = L * (2 * np.einsum("ht,ht->h", linear, C[:, 1:-1]) - quadratic)
    return np.asarray(sums.diagonals**2 @ (1 / pairs) + added)


def distance_part(sums: KernelSums) -> HeadOffsets:
    """Return f of the fit, with mean 0 over pairs, shape (head, offset).

    Unlike the profile it holds nothing of what is constant along rows.
    """
    pairs = pairs_at_offsets(sums.length, causal=sums.causal)
    f = _causal_distance_part(sums) if sums.causal else _bidirectional_distance_part(sums)
    return np.asarray(f - (f @ pairs / pairs.sum())[:, None])


def _contrasts(sums: KernelSums) -> np.ndarray:
    """f_d - mean of f_0 … f_{d-1} for d = 1 … L-1, shape (head, L-1)."""
    L = sums.length
    d = np.arange(1, L)
    g = sums.diagonals[:, ::-1]
    # All of g nearer than d comes from rows t ≥ d: the rows before are complete, and sum to 0.
    return np.asarray((g[:, 1:] - np.cumsum(g, axis=1)[:, :-1] / d) / (L - d))


def _causal_distance_part(sums: KernelSums) -> HeadOffsets:
    a = _contrasts(sums)
    means = np.cumsum(a / np.arange(2, sums.length + 1), axis=1)  # of f_0 … f_d, with f_0 = 0
    start = np.zeros((a.shape[0], 1))
    f = np.concatenate([start, a + np.concatenate([start, means[:, :-1]], axis=1)], axis=1)
    return f[:, ::-1]


def _bidirectional_distance_part(sums: KernelSums) -> HeadOffsets:
    pairs = pairs_at_offsets(sums.length, causal=False)
    C = _row_parts(sums)[1]
    # Σ c over the rows t ≥ -k at k < 0 is C_L - C_{-k} = -C_{-k}; over t ≤ L-1-k it is C_{L-k}.
    rows = np.concatenate([-C[:, -2:0:-1], C[:, :0:-1]], axis=1)
    return np.asarray((sums.diagonals - rows) / pairs)


def _row_parts(sums: KernelSums) -> tuple[np.ndarray, np.ndarray]:
    """The right-hand sides, shape (head, L-1), and C_0 … C_L, shape (head, L+1)."""
    L = sums.length
    means = sums.diagonals / pairs_at_offsets(L, causal=False)
    t = np.arange(1, L)
    linear = (means[:, L - 1 - t] - means[:, 2 * L - 1 - t]) / L
    banded = np.empty((2, L - 1))
    banded[0], banded[1] = -1.0, 2.0 - 1 / (t * (L - t))
    C = scipy.linalg.solveh_banded(banded, linear.T, check_finite=False).T
    return linear, np.pad(C, ((0, 0), (1, 1)))
