"""A longer table by interpolation: the same curve, read more finely.

Position interpolation (Chen et al. 2023, arXiv:2306.15595, section 2.3) for tables: of L rows made
L', new row i is the old table at position i·L/L'. At an integer factor every old row is kept, at
every factor-th place. Nothing is extrapolated: positions past the last row have the last row.
"""

from __future__ import annotations

import numpy as np
from scipy.interpolate import CubicSpline

from poslens.axes import NewRows, Rows


def linear(rows: Rows, to: int) -> NewRows:
    """Return ``to`` rows, each on the straight line between its two neighbours.

    No row is longer than the longest of the table.
    """
    before, between = _places(rows.shape[0], to)
    after = np.minimum(before + 1, rows.shape[0] - 1)
    return np.asarray(rows[before] + between[:, None] * (rows[after] - rows[before]))


def cubic(rows: Rows, to: int) -> NewRows:
    """Return ``to`` rows on the cubic spline through the table, its ends not-a-knot.

    A spline swings wider than what it passes through: rows may be up to twice as long as the
    longest of the table.
    """
    length = rows.shape[0]
    before, between = _places(length, to)
    spline = CubicSpline(np.arange(length), rows)
    new = np.asarray(spline(np.minimum(before + between, length - 1)))
    kept = (between == 0) | (before == length - 1)  # to the bit, which the spline is not
    new[kept] = rows[before[kept]]
    return new


def linear_keep_first(rows: Rows, to: int) -> NewRows:
    """Return row 0 as it is, and the others made ``to`` - 1 rows by `linear`.

    The first row of a trained table is often unlike all others; between it and the second there
    is nothing to interpolate.
    """
    return np.concatenate([rows[:1], linear(rows[1:], to - 1)])


def cubic_keep_first(rows: Rows, to: int) -> NewRows:
    """Return row 0 as it is, and the others made ``to`` - 1 rows by `cubic`."""
    return np.concatenate([rows[:1], cubic(rows[1:], to - 1)])


def _places(length: int, to: int) -> tuple[np.ndarray, np.ndarray]:
    """Return where each new row lies: the old row before it, and how far on to the next."""
    place = np.arange(to) * length  # in whole numbers, so that no kept row is missed
    return place // to, place % to / to
