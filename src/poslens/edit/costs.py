"""What an edit costs, in the numbers that the record, the page and the terminal all show."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from poslens.claims.over_contexts import of_mean
from poslens.edit.intervals import increase
from poslens.edit.profiles import Edges, bin_edges
from poslens.edit.results import Candidate, Compression, Extension, Interval
from poslens.edit.scores import Drift, PerContext, Scores
from poslens.errors import UndefinedMeasureError


def compression_edges(found: Compression) -> Edges | None:
    """Return the bins of position in which a compression is shown; None without losses."""
    if found.original is None:
        return None
    return bin_edges(1 + int(found.original.positions.max()))


def extension_edges(found: Extension) -> Edges | None:
    """Return the bins of position in which an extension is shown; None without losses.

    The trained length is an edge.
    """
    measured = any(one.scores is not None for one in found.tried)
    return bin_edges(found.to, found.trained) if measured else None


def seed_of(settings: Mapping[str, Any]) -> int:
    """Return the seed that was asked for, from which intervals are drawn."""
    return int(settings.get("seed", 0))


def by_context(scores: Scores | None, start: int, stop: int | None) -> PerContext | None:
    """Return each context's mean loss over positions from ``start`` to before ``stop``.

    None where some context has no scored token there.
    """
    if scores is None:
        return None
    try:
        return scores.by_context(start, stop)
    except UndefinedMeasureError:
        return None


def loss_over(
    scores: Scores | None, start: int, stop: int | None, seed: int
) -> tuple[float, Interval | None] | None:
    """Return the mean loss over positions from ``start`` to before ``stop``, and its interval.

    None where some context has no scored token there.
    """
    values = by_context(scores, start, stop)
    return None if values is None else (float(values.mean()), of_mean(values, seed))


def increase_of(
    one: Candidate, original: Scores | None, seed: int
) -> tuple[float, Interval | None] | None:
    """Return by what share a candidate raises the loss; None where that has no value."""
    if one.scores is None or original is None:
        return None
    try:
        return increase(one.scores, original, seed)
    except UndefinedMeasureError:
        return None


def mean_kl(scores: Scores | None) -> float | None:
    """Return the mean KL divergence from the original, in nats; None where it is not known."""
    if scores is None or scores.divergences is None:
        return None
    return float(scores.divergences.mean())


def drifted(drift: Drift | None) -> tuple[float, float] | None:
    """Return the mean of 1 - cosine, of states and of their means over positions; or None."""
    if drift is None:
        return None
    return float(np.mean(1 - drift.cosines)), float(np.mean(1 - drift.pooled))


def perplexity(loss: float) -> float:
    """Return e to a loss; infinite where float64 has no such number."""
    return math.exp(loss) if loss < 709 else math.inf


def saved(found: Compression, one: Candidate) -> float:
    """Return the share of the table's bytes that a candidate saves, in the same dtype."""
    return 1 - one.numbers / (found.table.length * found.table.dim)
