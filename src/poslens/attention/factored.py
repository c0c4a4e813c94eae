"""Sums of kernels that are products: K(t, s) = q_t·k_s, from the queries and keys of positions.

No L×L matrix is made. The row-centred kernel is q_t·(k_s - mean of the keys that row t may attend
to), so a mean of the keys may be taken away first, and with it what is large and constant along
rows. The energy is made of running d_k×d_k sums (`poslens.attention.energy`). The diagonal sums are
a cross-correlation along positions: an FFT per dimension, summed over dimensions in frequency
space, and one inverse FFT per head.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import scipy.fft

from poslens.attention.energy import ManyRows, PerKey, causal_rows, square_energy, squares
from poslens.attention.scratch import scratch
from poslens.attention.sums import KernelSums, sums_at_offsets
from poslens.attention.validate import check_heads
from poslens.axes import HeadOffsets, Keys, PerHead, Queries
from poslens.parallel import in_threads

# FFT scratch of about 2 MB: fits in a second-level cache, and bounds memory for long tables.
_SCRATCH_BYTES = 2**21

# Rows of the heads that one thread takes together: where heads are short, NumPy's calls are, and
# threads then wait for the interpreter more than they compute.
_ROWS = 3 * 1024


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
    heads, length, _ = queries.shape
    key_head = np.arange(heads) // (heads // keys.shape[0])
    together = max(1, _ROWS // length)
    parts = [slice(start, start + together) for start in range(0, heads, together)]
    tasks = [
        partial(_in_float64, queries[part], keys, key_head[part], causal=causal) for part in parts
    ]
    return gathered(list(in_threads(tasks)), causal=causal)


def gathered(parts: list[KernelSums], *, causal: bool) -> KernelSums:
    """Return the sums of several heads as one."""
    return KernelSums(
        causal=causal,
        energy=np.concatenate([part.energy for part in parts]),
        diagonals=np.concatenate([part.diagonals for part in parts]),
        row_means=np.concatenate([part.row_means for part in parts]),
        scale=np.concatenate([part.scale for part in parts]),
    )


def sums_in_dtype(queries: ManyRows, keys: ManyRows, *, causal: bool) -> KernelSums:
    """Return the sums of heads that each have their own keys, in the dtype given, in one thread."""
    means = keys.mean(axis=1)
    if causal:
        energy, row_means = causal_rows(queries, keys, means)
        diagonals = cross_correlation(queries, keys, means, lags=0)
        diagonals -= sums_at_offsets(row_means, causal=True)
        row_means += (queries @ means[:, :, None])[:, :, 0]
    else:
        energy = square_energy(queries, keys, means)
        diagonals = cross_correlation(queries, keys, means, lags=keys.shape[1] - 1)
        row_means = (queries @ means[:, :, None])[:, :, 0]
    return KernelSums(causal, energy, diagonals, row_means, _scale(queries, keys))


def _in_float64(queries: ManyRows, keys: Keys, key_head: np.ndarray, *, causal: bool) -> KernelSums:
    first, last = key_head[0], key_head[-1]
    keys = keys[first : last + 1]
    if len(keys) < len(queries):
        keys = keys[key_head - first]
    return sums_in_dtype(
        np.ascontiguousarray(queries, dtype=np.float64),
        np.ascontiguousarray(keys, dtype=np.float64),
        causal=causal,
    )


def cross_correlation(
    queries: ManyRows, keys: ManyRows, means: PerKey, *, lags: int
) -> HeadOffsets:
    """Return Σ_t q_t·(k_{t+k} - mean) for k = -(L-1) … ``lags``, shape (head, offset)."""
    heads, length, dim = queries.shape
    # A convolution with the queries in reverse; zeros beyond the end keep it from wrapping around.
    size = int(scipy.fft.next_fast_len(2 * length - 1, real=True))
    width = min(dim, max(2, _SCRATCH_BYTES // (4 * size * heads * queries.itemsize)))
    # NumPy's transform takes `out`, unlike SciPy's: see `poslens.attention.scratch`.
    padded = scratch("padded", (2, heads, width, size), queries.dtype)
    padded[..., length:] = 0
    kind = np.result_type(queries, np.complex64)
    transforms = scratch("transforms", (2, heads, width, size // 2 + 1), kind)
    power = np.zeros((heads, size // 2 + 1), kind)
    for start in range(0, dim, width):
        part = slice(start, start + width)
        both = padded[:, :, : min(width, dim - start)]
        both[0, ..., :length] = queries[:, ::-1, part].swapaxes(1, 2)
        columns = keys[:, :, part].swapaxes(1, 2)
        np.subtract(columns, means[:, part, None], out=both[1, ..., :length])
        Q, K = np.fft.rfft(both, axis=-1, out=transforms[:, :, : both.shape[2]])
        Q *= K
        power += Q.sum(axis=1)
    return np.asarray(scipy.fft.irfft(power, size)[:, : length + lags])


def _scale(queries: ManyRows, keys: ManyRows) -> PerHead:
    """The root mean square of ‖q_t‖ times the largest ‖k_s‖."""
    largest = np.vecdot(keys, keys).max(axis=1)
    return np.asarray(np.sqrt(squares(queries) / queries.shape[1] * largest))
