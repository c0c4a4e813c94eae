"""95 % intervals over a few seeds."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import scipy.stats
from jaxtyping import Float

LEVEL = 0.95


def of_mean(values: Float[np.ndarray, "seed"]) -> tuple[float, float] | None:
    """Return Student's interval of a mean; None for fewer than two values.

    For differences within seeds it is the paired one.
    """
    count = len(values)
    if count < 2:
        return None
    error = float(np.std(values, ddof=1)) / np.sqrt(count)
    half = float(scipy.stats.t.ppf((1 + LEVEL) / 2, count - 1)) * error
    middle = float(np.mean(values))
    return float(middle - half), float(middle + half)


def of_variance_ratio(
    first: Float[np.ndarray, "seed"], second: Float[np.ndarray, "seed"]
) -> tuple[float, float] | None:
    """Return the interval of Var(first) ÷ Var(second) for pairs; None for fewer than three.

    The ratios λ² for which first - λ·second and first + λ·second do not correlate significantly:
    exact for pairs from a bivariate normal distribution. An F interval would take the two runs of
    a seed, which share weights and data, for independent ones.

    Sources: Pitman 1939, "A note on normal correlation"; Morgan 1939.
    """
    count = len(first)
    if count < 3:
        return None
    above, below = float(np.var(first, ddof=1)), float(np.var(second, ddof=1))
    if above == 0 or below == 0:
        return None
    r = float(np.corrcoef(first, second)[0, 1])
    t = float(scipy.stats.t.ppf((1 + LEVEL) / 2, count - 2))
    k = 1 + 2 * max(1 - r * r, 0.0) * t * t / (count - 2)
    root = float(np.sqrt(k * k - 1))
    # The lower end as the reciprocal of the upper: k - root cancels where k is large.
    return above / below / (k + root), above / below * (k + root)


def worst(
    excess: Mapping[str, Float[np.ndarray, "seed"]],
) -> tuple[str, float, tuple[float, float] | None]:
    """Return the scheme that is worst on average, the worst value of all, and an interval.

    Parameters
    ----------
    excess
        By how much each scheme, at least one, is above what it is held against, seed by seed.

    Returns
    -------
    scheme, value, interval
        The interval is that of the scheme's mean; None for fewer than two seeds.
    """
    scheme = max(excess, key=lambda name: float(excess[name].mean()))
    value = max(float(values.max()) for values in excess.values())
    return scheme, value, of_mean(excess[scheme])
