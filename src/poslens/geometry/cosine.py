"""Cosine similarity against distance (`cosine.*`).

The mean cosine at every lag is an autocorrelation of the unit rows (Wiener & Khinchin): one FFT
along positions per dimension, power summed over dimensions, one inverse FFT. O(d·L log L) time,
and never the L×L matrix.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import scipy.fft
import scipy.optimize

from poslens.axes import PerLag, PerPosition, Rows
from poslens.errors import UndefinedMeasureError
from poslens.geometry.validate import (
    centered,
    inverse_centered_norms,
    inverse_norms,
    unit_rows,
)

# FFT scratch of about 2 MB: fits in a second-level cache, and bounds memory for long tables.
_SCRATCH_BYTES = 2**21
_LEAST_WIDTH = 8  # columns that are read together: a cache line of each row

_ROUNDING = 1e-12  # mean cosines that differ by less are equal
_RANKED = 1e3 * _ROUNDING  # the least range in which that leaves them their ranks


def lag_means(vectors: Rows, lags: int, scale: PerPosition | None = None) -> PerLag:
    """Return the mean over t of v_t·v_{t+k} for k = 0 … ``lags`` - 1, shape (lag,).

    Parameters
    ----------
    vectors
        Any vectors, shape (position, dim), float64 or float32.
    lags
        How many lags, at most L.
    scale
        Multiplies each vector first, shape (position,); 1 ÷ norm makes the products cosines.
    """
    length, dim = vectors.shape
    # Zeros beyond the end keep the lags that are asked for free of wrap-around.
    size = int(scipy.fft.next_fast_len(length + lags - 1, real=True))
    width = max(_LEAST_WIDTH, _SCRATCH_BYTES // (size * 2 * vectors.itemsize))
    power = np.zeros(2 * (size // 2 + 1), dtype=vectors.dtype)  # real and imaginary side by side
    for start in range(0, dim, width):
        # Rows first: to read down columns fetches a cache line for each number.
        columns = np.ascontiguousarray(vectors[:, start : start + width])
        block = np.array(columns.T, order="C")
        if scale is not None:
            block *= scale
        parts = scipy.fft.rfft(block, size, axis=1, workers=-1).view(vectors.dtype)
        power += np.einsum("df,df->f", parts, parts)
    sums = scipy.fft.irfft(power.reshape(-1, 2).sum(axis=1), size)[:lags]
    return np.asarray(sums / (length - np.arange(lags)))


def profile(rows: Rows) -> PerLag:
    """Return the mean cosine at every lag, ``cosine.profile``, shape (L,).

    Raises
    ------
    UndefinedMeasureError
        If a row is zero.
    """
    return _cosines(rows, inverse_norms(rows))


def centered_profile(rows: Rows) -> PerLag:
    """Return the same for the rows with their mean removed, ``cosine.centered_profile``.

    Raises
    ------
    UndefinedMeasureError
        If a row equals the mean of all rows.
    """
    C = centered(rows)
    return _cosines(C, inverse_centered_norms(C, rows))


def adjacent_cosines(rows: Rows) -> np.ndarray:
    """Return cos(p_t, p_{t+1}) for each t, shape (L - 1,).

    Raises
    ------
    UndefinedMeasureError
        If a row is zero.
    """
    unit = unit_rows(rows)
    return np.asarray(np.einsum("td,td->t", unit[:-1], unit[1:]))


def half_lag(profile: PerLag) -> int:
    """Return the smallest lag at which the profile is at most 0.5; L if there is none."""
    below = np.flatnonzero(profile <= 0.5 + _ROUNDING)
    return int(below[0]) if below.size else int(profile.size)


def monotonicity(profile: PerLag) -> float:
    """Return Spearman's ρ between the lag and the profile over lags 1 … ⌊L/2⌋.

    Raises
    ------
    UndefinedMeasureError
        If there are fewer than two such lags, or the profile does not vary.
    """
    return lag_rank_correlation(profile[1 : profile.size // 2 + 1])


def lag_rank_correlation(values: PerLag) -> float:
    """Return Spearman's ρ between values at successive lags and the lag.

    Raises
    ------
    UndefinedMeasureError
        If there are fewer than two values, or they do not vary.
    """
    if values.size < 2:
        raise UndefinedMeasureError("a rank correlation needs at least 4 positions")
    if float(np.ptp(values)) < _RANKED:
        raise UndefinedMeasureError("the cosine is the same at every lag, so it has no ranks")
    return float(np.corrcoef(np.arange(values.size), _ranks(values))[0, 1])


def falling(profile: PerLag) -> float:
    """Return minus the correlation of the profile with the falling curve that is nearest to it.

    Over lags 1 … ⌊L/2⌋, as `monotonicity`: -1 where the profile never rises, 0 where it only rises.
    Ranks give the noise of a cosine that has long fallen to 0 the weight of the fall; here each lag
    weighs what it departs by. The curve is the isotonic regression (Barlow et al. 1972, §1.2).

    Raises
    ------
    UndefinedMeasureError
        If there are fewer than two such lags, or the profile does not vary.
    """
    return lag_fall(profile[1 : profile.size // 2 + 1])


def lag_fall(values: PerLag) -> float:
    """Return the same for values at successive lags.

    Raises
    ------
    UndefinedMeasureError
        If there are fewer than two values, or they do not vary.
    """
    if values.size < 2:
        raise UndefinedMeasureError("a fall needs at least 4 positions")
    if float(np.ptp(values)) < _ROUNDING:
        raise UndefinedMeasureError("the cosine is the same at every lag, so it does not fall")
    curve = scipy.optimize.isotonic_regression(values, increasing=False).x
    deviation = values - values.mean()
    explained = curve - curve.mean()
    return -float(np.sqrt(explained @ explained / (deviation @ deviation)))


def offset_share(rows: Rows) -> float:
    """Return ‖mean of p_t‖² ÷ mean ‖p_t‖², the share of an offset common to all rows."""
    offset = rows.mean(axis=0)
    return float(offset @ offset / (np.einsum("td,td->", rows, rows) / rows.shape[0]))


def block_means(rows: Rows, most: int = 1024) -> tuple[np.ndarray, np.ndarray]:
    """Return the cosine matrix, averaged over blocks so that it has at most ``most`` rows.

    The mean of u_t·u_s over two blocks is the product of the blocks' mean vectors, so the L×L
    matrix is not needed. Shapes (block, block) and (block,): the values, and each block's first
    position.

    Raises
    ------
    UndefinedMeasureError
        If a row is zero.
    """
    unit = unit_rows(rows)
    size = -(-unit.shape[0] // most)
    starts = np.arange(0, unit.shape[0], size)
    sums = np.add.reduceat(unit, starts, axis=0) if size > 1 else unit
    means = sums / np.diff(np.append(starts, unit.shape[0]))[:, None]
    return means @ means.T, starts


def raw_measures(profile: PerLag) -> Mapping[str, float | int | list[float]]:
    """Return ``cosine.profile``, ``cosine.adjacent`` and ``cosine.half_lag`` from a profile."""
    return {
        "cosine.profile": profile.tolist(),
        "cosine.adjacent": float(profile[1]),
        "cosine.half_lag": half_lag(profile),
    }


def centered_measures(rows: Rows) -> Mapping[str, float | list[float]]:
    """Return ``cosine.centered_profile`` and ``cosine.centered_adjacent``.

    Raises
    ------
    UndefinedMeasureError
        If a row equals the mean of all rows.
    """
    values = centered_profile(rows)
    return {
        "cosine.centered_profile": values.tolist(),
        "cosine.centered_adjacent": float(values[1]),
    }


def _cosines(vectors: Rows, scale: PerPosition) -> PerLag:
    # Rounding can leave a mean of cosines a few 1e-16 outside [-1, 1].
    return np.asarray(np.clip(lag_means(vectors, vectors.shape[0], scale), -1.0, 1.0))


def _ranks(values: np.ndarray) -> np.ndarray:
    """Ranks from 0, ties sharing their mean rank; scipy.stats would triple the import time."""
    rounded = np.round(values / _ROUNDING)
    _, inverse, counts = np.unique(rounded, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts + 1) / 2)[inverse])
