"""A learned table that begins as a smooth curve, each row of which is as likely as any noise."""

from __future__ import annotations

import numpy as np
import scipy.fft

from poslens.encodings import Learned
from poslens.encodings.validate import INIT_STD, noise, require_count, require_number

REACH = 4  # standard deviations to which the Gaussian window extends


def smooth_table(
    length: int, dim: int, scale: float, std: float = INIT_STD, seed: int = 0
) -> Learned:
    """Return a table whose rows are N(0, ``std``²) like `Learned.drawn`, but alike if neighbours.

    White noise under a Gaussian window along positions, scaled so that every entry has variance
    ``std``² exactly: what differs from noise is only that entries k positions apart correlate by
    exp(-k² ÷ (2·``scale``²)).

    Parameters
    ----------
    length, dim
        L and d.
    scale
        In positions.
    std
        Of each entry.
    seed
        Of the noise.

    Raises
    ------
    SettingError
        If a setting is out of its range.
    """
    require_count("length", length)
    require_count("dim", dim)
    require_number("scale", scale, above=True)
    width = scale / np.sqrt(2)  # of the window, whose product with itself has the scale
    reach = int(np.ceil(REACH * width))
    window = np.exp(-0.5 * (np.arange(-reach, reach + 1) / width) ** 2)
    window *= std / np.linalg.norm(window)
    white = noise(1.0, seed, length + 2 * reach, dim)
    size = scipy.fft.next_fast_len(len(white) + 2 * reach, real=True)
    spectrum = scipy.fft.rfft(white, size, axis=0) * scipy.fft.rfft(window, size)[:, None]
    whole = scipy.fft.irfft(spectrum, size, axis=0)
    return Learned(whole[2 * reach : 2 * reach + length], std)
