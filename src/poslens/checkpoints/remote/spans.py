"""Which ranges to ask for together."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

from poslens.checkpoints.byte_source import Span

WASTE = 0.01  # the most that is fetched beyond what is needed, as a part of it


def joined(spans: Iterable[Span], waste: float = WASTE) -> list[Span]:
    """Join ranges that touch, and those with the smallest gaps while few bytes are wasted.

    A request costs more than a few bytes that nobody reads. The result is sorted, covers every
    range, and is at most ``waste`` longer than the ranges together.
    """
    merged: list[Span] = []
    for start, stop in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(stop, merged[-1][1]))
        else:
            merged.append((start, stop))
    left = waste * sum(stop - start for start, stop in merged)
    gaps = [(after[0] - before[1], before[1]) for before, after in pairwise(merged)]
    bridged: set[int] = set()
    for gap, place in sorted(gaps):
        if gap > left:
            break
        left -= gap
        bridged.add(place)
    result: list[Span] = []
    for start, stop in merged:
        if result and result[-1][1] in bridged:
            result[-1] = (result[-1][0], stop)
        else:
            result.append((start, stop))
    return result
