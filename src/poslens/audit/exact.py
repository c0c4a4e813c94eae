"""Exact intervals of a share, and the distance of p-values from uniform."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from scipy.special import betaincinv, kolmogorov

LEVEL = 0.95


def share_interval(successes: int, trials: int, level: float = LEVEL) -> tuple[float, float]:
    """Return the interval of a binomial share that holds it at least ``level`` of the time.

    Clopper & Pearson (1934), from the quantiles of two beta distributions.
    """
    tail = (1 - level) / 2
    failures = trials - successes
    low = float(betaincinv(successes, failures + 1, tail)) if successes else 0.0
    high = float(betaincinv(successes + 1, failures, 1 - tail)) if failures else 1.0
    return low, high


def uniform_distance(values: Float[np.ndarray, "draw"]) -> tuple[float, float]:
    """Return Kolmogorov's distance of ``values`` from uniform on (0, 1), and its p.

    p is the limit's, with the argument of Stephens (1970, §2), good to 0.01 from ten values on.
    """
    ordered = np.sort(values)
    n = ordered.size
    above = np.arange(1, n + 1) / n - ordered
    below = ordered - np.arange(n) / n
    distance = float(max(above.max(), below.max()))
    root = np.sqrt(n)
    return distance, float(kolmogorov((root + 0.12 + 0.11 / root) * distance))
