"""Sums of kernels that are products: K(t, s) = q_t·k_s, from the queries and keys of positions.

No L×L matrix is made. The row-centred kernel is q_t·(k_s - mean of the keys that row t may attend
to), so a mean of the keys may be taken away first, and with it what is large and constant along
rows. The energy is made of running d_k×d_k sums (`poslens.attention.energy`). The diagonal sums are
a cross-correlation along positions: an FFT per dimension, summed over dimensions in frequency
space, and one inverse FFT per head.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
import scipy.fft

from poslens.attention.energy import causal_rows, square_energy
from poslens.attention.scratch import scratch
from poslens.attention.sums import KernelSums, sums_at_offsets
from poslens.attention.validate import check_heads
from poslens.axes import HeadRows, Keys, PerDHead, PerOffset, PerPosition, Queries
from poslens.parallel import in_threads

# FFT scratch of about 2 MB: fits in a second-level cache, and bounds memory for long tables.
_SCRATCH_BYTES = 2**21


@dataclass(frozen=True)
class HeadSums:
    """`KernelSums` of one head: its parts without the axis of heads."""

    energy: float
    diagonals: PerOffset
    row_means: PerPosition
    scale: float


def factored_sums(queries: Queries, keys: Keys, *, causal: bool) -> KernelSums:
    """Return the sums of K_h(t, s) = q_t·k_s in O(L·d_k² + d_k·L log L) per head.

    Parameters
    ----------
    queries, keys
        Positions' parts of the queries and keys, shapes (head, position, d_head) and
        (key_head, position, d_head); query head h meets key head ⌊h ÷ (heads ÷ key heads)⌋. The
        kernel is their plain product: 1/√d_k, where a model has it, belongs into the queries.
    causal
        Whether row t may attend to s ≤ t only, or to all positions.

    Raises
    ------
    TableError
        See `poslens.attention.validate.check_heads`.
    """
    queries, keys = check_heads(queries, keys)
    group = queries.shape[0] // keys.shape[0]
    tasks = [
        partial(_in_float64, queries[head], keys[head // group], causal=causal)
        for head in range(queries.shape[0])
    ]
    return gathered(list(in_threads(tasks)), causal=causal)


def gathered(heads: list[HeadSums], *, causal: bool) -> KernelSums:
    """Return the sums of several heads as one."""
    return KernelSums(
        causal=causal,
        energy=np.array([head.energy for head in heads]),
        diagonals=np.array([head.diagonals for head in heads]),
        row_means=np.array([head.row_means for head in heads]),
        scale=np.array([head.scale for head in heads]),
    )


def causal_head_sums(queries: HeadRows, keys: HeadRows) -> HeadSums:
    """Return the sums of one head over s ≤ t, in the dtype given."""
    mean = keys.mean(axis=0)
    energy, row_means = causal_rows(queries, keys, mean)
    diagonals = cross_correlation(queries, keys, mean, lags=0)
    diagonals -= sums_at_offsets(row_means[None], causal=True)[0]
    return HeadSums(energy, diagonals, row_means + queries @ mean, _scale(queries, keys))


def bidirectional_head_sums(queries: HeadRows, keys: HeadRows) -> HeadSums:
    """Return the sums of one head over all t and s, in the dtype given."""
    mean = keys.mean(axis=0)
    return HeadSums(
        energy=square_energy(queries, keys, mean),
        diagonals=cross_correlation(queries, keys, mean, lags=keys.shape[0] - 1),
        row_means=queries @ mean,
        scale=_scale(queries, keys),
    )


def _in_float64(queries: HeadRows, keys: HeadRows, *, causal: bool) -> HeadSums:
    sums = causal_head_sums if causal else bidirectional_head_sums
    return sums(
        np.ascontiguousarray(queries, dtype=np.float64),
        np.ascontiguousarray(keys, dtype=np.float64),
    )


def cross_correlation(queries: HeadRows, keys: HeadRows, mean: PerDHead, *, lags: int) -> PerOffset:
    """Return Σ_t q_t·(k_{t+k} - ``mean``) for k = -(L-1) … ``lags``, shape (offset,)."""
    length, dim = queries.shape
    # Zeros beyond the end keep all lags, of either sign, free of wrap-around.
    size = int(scipy.fft.next_fast_len(2 * length - 1, real=True))
    width = max(2, _SCRATCH_BYTES // (4 * size * queries.itemsize))
    # NumPy's transform takes `out`, unlike SciPy's: see `poslens.attention.scratch`.
    padded = scratch("padded", (2, width, size), queries.dtype)
    padded[:, :, length:] = 0
    spectrum = (2, width, size // 2 + 1)
    transforms = scratch("transforms", spectrum, np.result_type(queries, np.complex64))
    power = np.zeros(size // 2 + 1, dtype=transforms.dtype)
    for start in range(0, dim, width):
        part = slice(start, start + width)
        both = padded[:, : min(width, dim - start)]
        both[0, :, :length] = queries[:, part].T
        np.subtract(keys[:, part].T, mean[part, None], out=both[1, :, :length])
        Q, K = np.fft.rfft(both, axis=-1, out=transforms[:, : both.shape[1]])
        np.conjugate(Q, out=Q)
        Q *= K
        power += Q.sum(axis=0)
    sums = scipy.fft.irfft(power, size)
    return np.concatenate([sums[size - length + 1 :], sums[: lags + 1]])


def _scale(queries: HeadRows, keys: HeadRows) -> float:
    """The root mean square of ‖q_t‖ times the largest ‖k_s‖."""
    largest = float(np.einsum("sd,sd->s", keys, keys).max())
    return float(np.sqrt(np.vdot(queries, queries) / queries.shape[0] * largest))
