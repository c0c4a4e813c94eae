"""The sinusoidal table of Vaswani et al. (2017), "Attention Is All You Need", section 3.5."""

from __future__ import annotations

import numpy as np

from poslens.axes import Positions, Rows

BASE = 10_000.0  # the paper's; wavelengths run from 2π to BASE · 2π


def sinusoidal_rows(positions: Positions, dim: int, base: float = BASE) -> Rows:
    """Return the encoding of any positions, fractions and negative ones included.

    p_t[2i] = sin(t / base^(2i/d)) and p_t[2i+1] = cos(t / base^(2i/d)), sine and cosine
    interleaved as in the paper. With an odd d the last column is a sine without its cosine.

    Parameters
    ----------
    positions
        t, in positions; shape (position,).
    dim
        d, at least 1.
    base
        The longest wavelength over 2π, at least 1.

    Returns
    -------
    Rows
        float64, shape (position, dim); every entry lies in [-1, 1].
    """
    exponents = np.arange(0, dim, 2) / dim
    angles = np.asarray(positions, dtype=np.float64)[:, None] / base**exponents
    rows = np.empty((angles.shape[0], dim))
    rows[:, 0::2] = np.sin(angles)
    rows[:, 1::2] = np.cos(angles[:, : dim // 2])
    return rows


def sinusoidal_table(length: int, dim: int, base: float = BASE) -> Rows:
    """Return the encoding of positions 0 … ``length`` - 1; see `sinusoidal_rows`.

    Returns
    -------
    Rows
        float64, shape (position, dim).
    """
    return sinusoidal_rows(np.arange(length), dim, base)
