"""What an edit costs over the contexts of a text, and the edit that this speaks for."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool

from poslens.claims.over_contexts import of_increase, of_mean
from poslens.edit.results import Interval, Recommendation, Tried
from poslens.edit.scores import PerContext, Scores
from poslens.errors import SettingError, UndefinedMeasureError


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
    return scores.mean / original.mean - 1, of_increase(edited, before, seed)


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
