"""95 % intervals over the contexts of a text.

Bootstrap over contexts: a context is what was drawn at random, its tokens depend on each other.
What is compared is paired, as every variant read the same contexts. Percentiles of resamples are
too near for few contexts, as if a small sample's standard deviation were the true one; they are
widened about the median by √(n / (n - 1)) and by Student's t over the normal quantile.

Source: Hesterberg 2015, "What teachers should know about the bootstrap" (The American Statistician
69), on percentile intervals of small samples.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from jaxtyping import Float
from scipy.special import ndtri, stdtrit

DRAWS = 10_000
LEVEL = 0.95
FEWEST = 5  # contexts of which an interval is given
_AT_ONCE = 1 << 20  # contexts that are picked at once, over draws

Interval = tuple[float, float]


def of_means(
    moments: Float[np.ndarray, "moment context"],
    statistic: Callable[[Float[np.ndarray, "draw moment"]], Float[np.ndarray, "draw"]],
    seed: int,
) -> Interval | None:
    """Return the interval of a function of means over contexts; None for fewer than five.

    Parameters
    ----------
    moments
        One row per mean, one column per context.
    statistic
        From resampled means to what they say.
    seed
        Of the contexts that are drawn.
    """
    count = moments.shape[1]
    if count < FEWEST:
        return None
    rng = np.random.default_rng(seed)
    batch = max(1, _AT_ONCE // count)
    means = [
        _times_drawn(rng, min(batch, DRAWS - start), count) @ moments.T / count
        for start in range(0, DRAWS, batch)
    ]
    values = statistic(np.concatenate(means))
    tail = (1 - LEVEL) / 2
    low, middle, high = (float(q) for q in np.quantile(values, [tail, 0.5, 1 - tail]))
    by = widened(count)
    return middle - by * (middle - low), middle + by * (high - middle)


def _times_drawn(
    rng: np.random.Generator, draws: int, count: int
) -> Float[np.ndarray, "draw context"]:
    """How often each context is in each resample: a product with it is quicker than picking."""
    picked = rng.integers(count, size=(draws, count)) + count * np.arange(draws)[:, None]
    times = np.bincount(picked.ravel(), minlength=draws * count)
    return times.reshape(draws, count).astype(np.float64)


def widened(count: int) -> float:
    """Return what the distance of a percentile from the median is multiplied by."""
    tail = (1 - LEVEL) / 2
    student = float(stdtrit(count - 1, 1 - tail) / ndtri(1 - tail))
    return student * math.sqrt(count / (count - 1))


def of_mean(values: Float[np.ndarray, "context"], seed: int) -> Interval | None:
    """Return the interval of a mean over contexts; None for fewer than five."""
    return of_means(values[None], lambda means: means[:, 0], seed)


def of_increase(
    edited: Float[np.ndarray, "context"], before: Float[np.ndarray, "context"], seed: int
) -> Interval | None:
    """Return the interval of mean(edited) ÷ mean(before) - 1; None for fewer than five contexts.

    Parameters
    ----------
    edited, before
        The mean loss of each context; those before are above 0.
    seed
        Of the contexts that are drawn.
    """
    return of_means(np.stack([edited, before]), lambda m: m[:, 0] / m[:, 1] - 1, seed)
