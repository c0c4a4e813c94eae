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


def concatenated_rows(positions: Positions, dim: int, base: float = BASE) -> Rows:
    """Return the paper's columns with all sines first and all cosines after them.

    The order of Marian, Pegasus and CTRL (``create_weight`` and ``positional_encoding`` in
    transformers); the numbers are those of `sinusoidal_rows`. With an odd d the extra column is a
    sine.

    Returns
    -------
    Rows
        float64, shape (position, dim).
    """
    rows = sinusoidal_rows(positions, dim, base)
    return np.concatenate([rows[:, 0::2], rows[:, 1::2]], axis=1)


def tensor2tensor_rows(positions: Positions, dim: int, base: float = BASE) -> Rows:
    """Return the encoding of tensor2tensor, which fairseq, Whisper and M2M-100 follow.

    With h = ⌊d/2⌋: p_t[i] = sin(t / base^(i/(h-1))) and p_t[h+i] = cos of the same, i = 0 … h-1.
    The wavelengths run from 2π to base · 2π and reach it, unlike the paper's; sines come first and
    cosines after them. With an odd d the last column is 0 (``get_timing_signal_1d``).

    Parameters
    ----------
    positions
        t, in positions; shape (position,).
    dim
        d, at least 2; with d < 4 there is one frequency, 1.
    base
        The longest wavelength over 2π, at least 1.

    Returns
    -------
    Rows
        float64, shape (position, dim).
    """
    half = dim // 2
    exponents = np.arange(half) / max(half - 1, 1)
    angles = np.asarray(positions, dtype=np.float64)[:, None] / base**exponents
    rows = np.zeros((angles.shape[0], dim))
    rows[:, :half] = np.sin(angles)
    rows[:, half : 2 * half] = np.cos(angles)
    return rows
