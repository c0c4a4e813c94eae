"""95 % intervals over the contexts of a text, and the edit that they speak for.

Bootstrap over contexts: a context is what was drawn at random, its tokens depend on each other.
What is compared is paired, as every variant read the same contexts. Percentiles of resamples are
too near for few contexts, as if a small sample's standard deviation were the true one; they are
widened about the median by √(n / (n - 1)) and by Student's t over the normal quantile.

Source: Hesterberg 2015, "What teachers should know about the bootstrap" (The American Statistician
69), on percentile intervals of small samples.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Bool, Float
from scipy.special import ndtri, stdtrit

from poslens.edit.results import Interval, Recommendation, Tried
from poslens.edit.scores import PerContext, Scores
from poslens.errors import SettingError, UndefinedMeasureError

DRAWS = 10_000
LEVEL = 0.95
FEWEST = 5  # contexts of which an interval is given
_AT_ONCE = 1 << 20  # contexts that are picked at once, over draws


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


def of_mean(values: PerContext, seed: int) -> Interval | None:
    """Return the interval of a mean over contexts; None for fewer than five."""
    return of_means(values[None], lambda means: means[:, 0], seed)


def increase(scores: Scores, original: Scores, seed: int) -> tuple[float, Interval | None]:
    """Return how much an edit raises the mean loss, as a share of the original's.

    mean(edited) / mean(original) - 1, over all scored tokens, and its interval: None for fewer
    than five contexts.

    Raises
    ------
    SettingError
        If the two are of different contexts.
    UndefinedMeasureError
        If the original loses nothing in some context.
    """
    _check_paired(scores, original)
    edited, before = scores.by_context(), original.by_context()
    if not (before > 0).all():
        raise UndefinedMeasureError(
            "the relative increase of the loss has no value",
            expected="an original that loses something in each context",
            got=f"a mean of {before.min():.3g} nats in context {int(before.argmin())}",
        )
    interval = of_means(np.stack([edited, before]), lambda m: m[:, 0] / m[:, 1] - 1, seed)
    return scores.mean / original.mean - 1, interval


def excess(scores: Scores, best: Scores, start: int, seed: int) -> tuple[float, Interval | None]:
    """Return by how many nats a token costs more than with another edit, from ``start`` on.

    The mean over contexts of what differs within each, over the tokens that both predict: a
    window that is cut has none before its first. And its interval: None for fewer than five.

    Raises
    ------
    SettingError
        If the two are of different contexts.
    UndefinedMeasureError
        If some context has no token there that both predict.
    """
    _check_paired(scores, best)
    here, there = _shared(scores, best)
    difference = _over(scores, here, start) - _over(best, there, start)
    return float(difference.mean()), of_mean(difference, seed)


def _over(scores: Scores, kept: Bool[np.ndarray, "context scored"], start: int) -> PerContext:
    """The mean loss of each context over tokens that are kept, from ``start`` on."""
    within = kept & (scores.positions >= start)
    count = within.sum(axis=1)
    if not count.all():
        raise UndefinedMeasureError(
            "the losses cannot be compared",
            expected=f"a token from {start} on, in each context, that both predict",
            got=f"none in context {int(np.argmin(count))}",
        )
    return np.asarray((scores.losses * within).sum(axis=1) / count)


def _shared(
    one: Scores, other: Scores
) -> tuple[Bool[np.ndarray, "context scored"], Bool[np.ndarray, "context other_scored"]]:
    """Which tokens of each the other predicts too."""
    span = 1 + int(max(one.positions.max(), other.positions.max()))
    context = span * np.arange(len(one.positions))[:, None]
    first, second = context + one.positions, context + other.positions
    return np.isin(first, second), np.isin(second, first)


def _check_paired(one: Scores, other: Scores) -> None:
    if len(one.losses) != len(other.losses):
        raise SettingError(
            "losses of different contexts cannot be compared",
            expected="the same contexts for both",
            got=f"{len(one.losses)} and {len(other.losses)}",
        )


def recommend(tried: Sequence[Tried], trained: int, seed: int) -> Recommendation | None:
    """Return the edit with the lowest mean loss from position ``trained`` on.

    Baselines are compared with it, and never recommended. None where no edit was measured.

    Raises
    ------
    SettingError
        If losses are of different contexts.
    UndefinedMeasureError
        If some context has no scored token there.
    """
    measured = {one.method: one.scores for one in tried if one.scores is not None}
    means = {
        one.method: float(one.scores.by_context(trained).mean())
        for one in tried
        if one.scores is not None and not one.baseline
    }
    if not means:
        return None
    method = min(means, key=means.__getitem__)
    best = measured.pop(method)
    compared = {name: excess(scores, best, trained, seed) for name, scores in measured.items()}
    return Recommendation(
        method,
        means[method],
        of_mean(best.by_context(trained), seed),
        compared,
        tuple(name for name, (_, interval) in compared.items() if _holds_zero(interval)),
    )


def _holds_zero(interval: Interval | None) -> bool:
    return interval is None or interval[0] <= 0 <= interval[1]
