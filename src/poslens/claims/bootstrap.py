"""Confidence intervals of means over positions, which are not independent.

Moving-block bootstrap (Künsch 1989): blocks of neighbouring positions are drawn with replacement,
so that dependence within a block is kept. The block length is the automatic choice of Politis &
White (2004), with the correction of Patton, Politis & White (2009).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.special import ndtri, stdtrit

RESAMPLES = 2000
LEVEL = 0.95

_FURTHEST = 0.15  # of the series: autocovariances further apart have too few pairs to be summed
_MOST_LACKING = 0.75  # the largest share that is made up for


@dataclass(frozen=True)
class Dependence:
    """How far the values of a series depend on their neighbours.

    Attributes
    ----------
    block
        The block length that suits it, between 1 and n/3.
    variance
        Of the series' mean.
    freedom
        Degrees of freedom of that variance.
    """

    block: int
    variance: float
    freedom: float


def dependence(series: Float[np.ndarray, "position"]) -> Dependence:
    """Return a series' block length and the variance of its mean, from its autocovariance.

    Politis & White (2004), §3.2, for the circular (and so the moving) block bootstrap: the
    spectrum at zero and its curvature from a flat-top lag window, whose width is where the
    autocorrelation first stays within noise. With W the sum of the window, autocovariances about
    the series' own mean lack W/n of the spectrum at zero, and it has about n/W - 1 degrees of
    freedom.
    """
    n = series.size
    most = max(1, n // 3)
    deviation = series - series.mean()
    variance = float(deviation @ deviation) / n
    if n < 8 or variance <= (1e-12 * float(np.abs(series).max())) ** 2:
        return Dependence(1, variance / max(1, n - 1), max(1.0, n - 1.0))
    in_a_row = max(5, math.ceil(math.sqrt(math.log10(n))))
    furthest = min(n - 1, max(math.ceil(math.sqrt(n)) + in_a_row, int(_FURTHEST * n)))
    lags = np.arange(furthest + 1)
    covariance = np.array([deviation[: n - k] @ deviation[k:] for k in lags]) / n
    small = np.abs(covariance[1:] / variance) < 2 * math.sqrt(math.log10(n) / n)
    width = furthest
    for start in range(small.size - in_a_row + 1):
        if small[start : start + in_a_row].all():
            width = 2 * max(start, 1)
            break
    else:
        significant = np.flatnonzero(~small)
        width = 2 * int(significant[-1] + 1) if significant.size else 1
    width = min(max(width, 1), furthest)
    window = np.clip(2 * (1 - lags[: width + 1] / width), 0.0, 1.0)  # 1 to half-way, then down
    weighted = window * covariance[: width + 1]
    curvature = 2 * float(weighted @ lags[: width + 1])
    at_zero = float(weighted[0] + 2 * weighted[1:].sum())
    weights = float(window[0] + 2 * window[1:].sum())
    of_mean = max(at_zero, 0.0) / n / (1 - min(weights / n, _MOST_LACKING))
    freedom = max(1.0, n / weights - 1)
    if at_zero <= 0:  # strongly alternating series: neighbours already cancel
        return Dependence(min(most, in_a_row), of_mean, freedom)
    best = (2 * curvature**2 / (4 / 3 * at_zero**2)) ** (1 / 3) * n ** (1 / 3)
    return Dependence(int(min(most, max(1, math.ceil(best)))), of_mean, freedom)


def interval(
    series: Float[np.ndarray, "moment position"],
    statistic: Callable[[Float[np.ndarray, "resample moment"]], Float[np.ndarray, "resample"]],
    rng: np.random.Generator,
    influence: Float[np.ndarray, "position"] | None = None,
) -> tuple[float, float]:
    """Return the 95 % interval of a function of means over positions.

    Percentiles over resamples. Blocks cut dependence off, and few of them understate their own
    scatter: where the variance of the mean from its autocovariances is larger than the resamples',
    percentiles are moved away from the median to give it, by Student's t over the normal quantile.

    Parameters
    ----------
    series
        One row per mean, one column per position.
    statistic
        From the resampled means, shape (resample, moment), to the statistic, shape (resample,);
        NaN where a resample has none.
    rng
        Draws the blocks.
    influence
        What each position adds to the statistic, to first order: the series whose autocorrelation
        decides the block length and the width; the first row by default.
    """
    moments, n = series.shape
    dependent = dependence(series[0] if influence is None else influence)
    length = dependent.block
    sums = np.concatenate([np.zeros((moments, 1)), np.cumsum(series, axis=1)], axis=1)
    whole, rest = divmod(n, length)
    starts = rng.integers(0, n - length + 1, size=(RESAMPLES, whole))
    totals = (sums[:, starts + length] - sums[:, starts]).sum(axis=2)
    if rest:
        starts = rng.integers(0, n - rest + 1, size=RESAMPLES)
        totals += sums[:, starts + rest] - sums[:, starts]
    values = statistic((totals / n).T)
    values = values[np.isfinite(values)]
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(values, [tail, 1 - tail])
    middle, blocks = float(np.median(values)), max(2.0, n / length)
    scatter = float(values.std())
    normal = float(ndtri(1 - tail))
    widen = float(stdtrit(blocks - 1, 1 - tail)) / normal
    if scatter > 0:
        ratio = math.sqrt(dependent.variance) / scatter
        widen = max(widen, ratio * float(stdtrit(dependent.freedom, 1 - tail)) / normal)
    return middle - widen * (middle - float(low)), middle + widen * (float(high) - middle)
