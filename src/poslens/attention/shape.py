"""Numbers that say what a profile looks like: where it peaks, how fast it falls, how even it is.

A profile has one value per offset k = s - t, ascending (`poslens.attention.sums.offsets`). Values
that differ by less than 1e-9 of its range are equal: a symmetric profile that came through an FFT
has two equal peaks, not one by rounding.
"""

from __future__ import annotations

import numpy as np

from poslens.axes import PerLag, PerOffset

_TIE = 1e-9


def by_distance(profile: PerOffset, *, causal: bool) -> PerLag:
    """Return the profile over distances d = |s - t| = 0 … L-1, shape (L,).

    Of a bidirectional profile it is the mean of both sides, which have as many pairs.
    """
    if causal:
        return np.asarray(profile[::-1])
    length = (profile.size + 1) // 2
    return np.asarray((profile[length - 1 :: -1] + profile[length - 1 :]) / 2)


def half_distance(profile: PerOffset, *, causal: bool) -> int:
    """Return the distance at which the profile has lost half its range; L if it never does.

    Over distances (`by_distance`): the smallest distance after the maximum (the nearest one, if
    several are equal) at which the value is at most halfway between maximum and minimum. A
    previous-token head, whose maximum is at 1, so has 2 or more, whatever it gives a token itself.
    """
    values = by_distance(profile, causal=causal)
    low, high = float(values.min()), float(values.max())
    slack = _TIE * (high - low)
    peak = int(np.flatnonzero(values >= high - slack)[0])
    lost = np.flatnonzero(values[peak + 1 :] <= (low + high) / 2 + slack)
    return peak + 1 + int(lost[0]) if lost.size else int(values.size)


def symmetry(profile: PerOffset) -> float:
    """Return the share of a bidirectional profile that is even in s - t, between 0 and 1.

    Σ_k e_k² ÷ Σ_k (f_k - f̄)² with f̄ the mean of f over offsets and e the even part of f - f̄. The
    constant is left out since softmax ignores it; every offset counts alike.
    """
    centred = profile - profile.mean()
    even = (centred + centred[::-1]) / 2
    return float(even @ even / (centred @ centred))


def peak_offset(profile: PerOffset, *, causal: bool) -> int:
    """Return the offset s - t of the maximum; if tied, the nearest one, then the earlier key."""
    last = 0 if causal else (profile.size - 1) // 2
    k = np.arange(last - profile.size + 1, last + 1)
    tied = k[profile >= profile.max() - _TIE * np.ptp(profile)]
    return int(tied[np.lexsort((tied, np.abs(tied)))[0]])
