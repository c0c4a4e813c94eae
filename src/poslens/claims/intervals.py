"""Bootstrap intervals of the measures that are means over positions, or functions of such means."""

from __future__ import annotations

import numpy as np

from poslens.claims.bootstrap import dependence, interval
from poslens.claims.evidence import Evidence
from poslens.claims.trained import untrained_rows
from poslens.geometry import cosine, norms, trajectory

Interval = tuple[float, float]


def norm_cv(evidence: Evidence) -> Interval:
    """Interval of ``norm.cv``, a function of the means of ‖p‖ and ‖p‖²."""
    row = norms.row_norms(evidence.rows)
    mean, deviation = row.mean(), row.std()
    influence = (row - mean) ** 2 / (2 * max(deviation, 1e-300)) - deviation * row / mean
    influence /= mean

    def cv(moments: np.ndarray) -> np.ndarray:
        variance = np.maximum(moments[:, 1] - moments[:, 0] ** 2, 0.0)
        return _quotient(np.sqrt(variance), moments[:, 0])

    # The moments are taken about a scale of 1, which keeps small differences from cancelling.
    scaled = row / mean
    low, high = interval(np.stack([scaled, scaled**2]), cv, _rng(evidence, 10), influence)
    # The variance about the norms' own mean lacks the variance of that mean.
    lacking = dependence(row).variance / max(deviation**2, 1e-300) if high > 0 else 0.0
    return low, high * float(np.sqrt(1 + lacking))


def cosine_adjacent(evidence: Evidence) -> Interval:
    """Interval of ``cosine.adjacent``, the mean of cos(p_t, p_{t+1})."""
    return _of_mean(cosine.adjacent_cosines(evidence.rows), evidence, 11)


def difference_parallel(evidence: Evidence) -> Interval:
    """Interval of the cosine of successive differences without noise, a ratio of two means."""
    found = evidence.differences
    top, bottom = found.products, found.lengths
    value = float(top.mean() / bottom.mean())
    low, high = interval(
        np.stack([top, bottom]),
        lambda moments: _quotient(moments[:, 0], moments[:, 1]),
        _rng(evidence, 12),
        (top - value * bottom) / bottom.mean(),
    )
    return max(low, -1.0), min(high, 1.0)


def untrained_share(evidence: Evidence) -> Interval:
    """Interval of the share of rows that look like their initialisation."""
    rows = untrained_rows(evidence.raw, evidence.init_std or 0.0)
    return _of_mean(rows.astype(np.float64), evidence, 13)


def roughness(evidence: Evidence) -> Interval:
    """Interval of ``trajectory.roughness``."""
    return _of_variance(trajectory.squared_steps(evidence.rows) / 2, evidence, 14)


def noise_share(evidence: Evidence) -> Interval:
    """Interval of ``trajectory.noise_share``."""
    return _of_variance(trajectory.squared_bends(evidence.rows) / 6, evidence, 15)


def _of_mean(series: np.ndarray, evidence: Evidence, stream: int) -> Interval:
    return interval(series[None, :], lambda moments: moments[:, 0], _rng(evidence, stream))


def _of_variance(series: np.ndarray, evidence: Evidence, stream: int) -> Interval:
    """Mean of the series as a share of the table's variance, which is known and not resampled.

    How far rows lie from their mean is where they are on the curve, and not chance: on a straight
    line it grows from the middle to both ends, and blocks of it are no sample of anything.
    """
    variance = float(trajectory.squared_deviations(evidence.rows).mean())
    low, high = _of_mean(series / variance, evidence, stream)
    return low, high


def _quotient(top: np.ndarray, bottom: np.ndarray) -> np.ndarray:
    """The quotient; NaN where a resample (of zero rows only, say) leaves nothing to divide by."""
    empty = np.full(top.shape, np.nan)
    return np.asarray(np.divide(top, bottom, out=empty, where=bottom > 0))


def _rng(evidence: Evidence, stream: int) -> np.random.Generator:
    return np.random.default_rng([evidence.seed, stream])
