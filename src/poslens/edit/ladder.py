"""Which ranks to measure a model at: a ladder, and between two rungs the smallest that will do."""

from __future__ import annotations

from collections.abc import Callable, Mapping


def rungs(most: int, *others: int) -> list[int]:
    """Return 1, 2, 4, … and ``most``, with ``others`` among them, ascending."""
    doubled = {2**power for power in range(most.bit_length()) if 2**power < most}
    return sorted(doubled | {most, *others})


def smallest_that_holds(known: Mapping[int, bool], holds: Callable[[int], bool]) -> int | None:
    """Return the smallest rank from which every rank that was looked at holds.

    Parameters
    ----------
    known
        Whether ranks of a ladder hold.
    holds
        Asked of ranks in between, by halving: log2 of the gap times.

    Returns
    -------
    int or None
        None if the largest rank does not hold.
    """
    low = max((rank for rank, good in known.items() if not good), default=0)
    above = [rank for rank in known if rank > low]
    if not above:
        return None
    high = min(above)
    while low > 0 and high - low > 1:
        middle = (low + high) // 2
        if holds(middle):
            high = middle
        else:
            low = middle
    return high
