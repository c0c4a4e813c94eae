"""What tokens cost by position, in a few bins."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from poslens.edit.scores import Positions

BINS = 32
Edges = Int[np.ndarray, "edge"]
PerBin = Float[np.ndarray, "bin"]
PerToken = Float[np.ndarray, "context scored"]


def bin_edges(stop: int, mark: int | None = None, most: int = BINS) -> Edges:
    """Return whole edges from 0 to ``stop`` of at most ``most`` bins, about as wide as each other.

    A ``mark`` within them is one of the edges, so that no bin is on both sides of it.
    """
    if mark is None or not 0 < mark < stop:
        return np.unique(np.rint(np.linspace(0, stop, most + 1)).astype(int))
    within = min(max(round(most * mark / stop), 1), most - 1)
    left, right = np.linspace(0, mark, within + 1), np.linspace(mark, stop, most - within + 1)
    return np.unique(np.rint(np.concatenate([left, right])).astype(int))


def binned(positions: Positions, values: PerToken, edges: Edges) -> PerBin:
    """Return the mean of the values at positions within each bin; NaN where there is none.

    Values at positions beyond the last edge are in no bin.
    """
    count = len(edges) - 1
    place = np.searchsorted(edges, positions.ravel(), side="right") - 1
    inside = (place >= 0) & (place < count)
    place = place[inside]
    totals = np.bincount(place, values.ravel()[inside], minlength=count)
    numbers = np.bincount(place, minlength=count)
    return np.where(numbers > 0, totals / np.maximum(numbers, 1), np.nan)
