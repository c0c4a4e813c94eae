"""Covariances within rows between a head's logits and each product that they are the sum of.

Where queries and keys are sums of parts, q = Σ q^A and k = Σ k^B, the logits are
S_ts = Σ_AB q^A_t·k^B_s + f(s - t). Their covariance with one product, summed over rows, is
Σ_t q^A_t·y^B_t, with y^B_t = Σ_s (S_ts - row mean) k^B_s from `poslens.attention.weighted_keys`.
What f puts into y is a convolution of the keys along positions, by FFT.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.fft
from jaxtyping import Float

from poslens.attention.relative import sums_of_profiles
from poslens.attention.sums import offsets, pairs_at_offsets
from poslens.attention.validate import CANCELLATION
from poslens.attention.weighted_keys import (
    KeyParts,
    PartRows,
    Weighted,
    from_rows,
    over_all,
    over_earlier,
)
from poslens.axes import HeadRows, PerOffset

Products = Float[np.ndarray, "query_part key_part"]

# FFT scratch of about 2 MB: fits in a second-level cache, and bounds memory for long texts.
_SCRATCH_BYTES = 2**21

# Below this share of what the variance could be if nothing cancelled, rounding of sums over keys
# reaches 1e-9 of it.
_NEARLY_ORTHOGONAL = 1e-6


@dataclass(frozen=True, eq=False)
class HeadCovariances:
    """Sums over one head's rows.

    Attributes
    ----------
    products
        Σ_t Σ_s (A_ts - row mean)(S_ts - row mean) of each product A of parts.
    bias
        The same of f(s - t).
    variance
        The same of the logits S themselves.
    rounding
        The most that the variance may be where logits do not vary along rows but by rounding.
    """

    products: Products
    bias: float
    variance: float
    rounding: float


def head_covariances(
    queries: Sequence[HeadRows], keys: Sequence[HeadRows], bias: PerOffset | None, *, causal: bool
) -> HeadCovariances:
    """Return the sums of one head, in O(L·d_k²), with f in O(L·d_k² + d_k·L log L).

    Parameters
    ----------
    queries, keys
        Their parts, each of shape (position, d_head), converted to float64.
    bias
        f at the offsets of `poslens.attention.offsets`, shape (offset,).
    causal
        Whether row t may attend to s ≤ t only, or to all.
    """
    Q = [np.ascontiguousarray(rows, dtype=np.float64) for rows in queries]
    K = KeyParts([np.ascontiguousarray(rows, dtype=np.float64) for rows in keys])
    total, size = sum(Q[1:], Q[0]), sum(float(np.linalg.norm(rows)) for rows in Q)
    from_bias, of_bias = None, 0.0
    if bias is not None:
        from_bias, of_bias = _keys_by_bias(bias, K, causal=causal)
        of_bias += sum(float(np.vdot(total, y)) for y in from_bias)

    def covariances(weighted: Weighted) -> tuple[Products, float]:
        products, variance = np.zeros((len(Q), len(keys))), of_bias
        for here, seen in weighted:
            if from_bias is not None:
                seen += from_bias[:, here]
            products[:, K.which] += [[np.vdot(rows[here], y) for y in seen] for rows in Q]
            variance += sum(float(np.vdot(total[here], y)) for y in seen)
        return products, variance

    products, variance = covariances((over_earlier if causal else over_all)(total, K))
    if variance < _NEARLY_ORTHOGONAL * (size * K.spread) ** 2:
        products, variance = covariances(from_rows(total, K, causal=causal))

    length = len(total)
    scale = size / np.sqrt(length) * K.size + (0.0 if bias is None else np.abs(bias).max())
    pairs = pairs_at_offsets(length, causal=causal).sum()
    rounding = float(pairs * (CANCELLATION * scale) ** 2)
    return HeadCovariances(products, of_bias, variance, rounding)


def _keys_by_bias(bias: PerOffset, keys: KeyParts, *, causal: bool) -> tuple[PartRows, float]:
    """The keys weighted by the rows of f(s - t), and the variance of f within rows."""
    length, dim = keys.shape[1:]
    f = bias.astype(np.float64) - bias[length - 1]  # what is constant along rows would cost digits
    of_f = sums_of_profiles(f[None], causal=causal)
    size = int(scipy.fft.next_fast_len(2 * length - 1, real=True))
    around = np.zeros(size)
    around[-offsets(length, causal=causal)] = f  # as a function of t - s, negative ones at the end
    transform = scipy.fft.rfft(around)

    weighted = keys.about_means(slice(0, length))
    sums = np.cumsum(weighted, axis=1) if causal else weighted.sum(axis=1, keepdims=True)
    width = max(1, _SCRATCH_BYTES // (4 * size * weighted.itemsize))
    for rows in weighted:
        for start in range(0, dim, width):
            columns = rows[:, start : start + width]
            spectra = scipy.fft.rfft(np.ascontiguousarray(columns.T), size)
            columns[:] = scipy.fft.irfft(transform * spectra, size)[:, :length].T
    weighted -= of_f.row_means[0][:, None] * sums
    return weighted, float(of_f.energy[0])
