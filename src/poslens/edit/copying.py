"""A longer table from copies of its rows; the table itself stays."""

from __future__ import annotations

import numpy as np

from poslens.axes import NewRows, Rows
from poslens.errors import SettingError

ALPHA = 0.4  # Su's; at 1/2 positions (i, j) and (j, i) would have the same row


def repeat_last(rows: Rows, to: int) -> NewRows:
    """Return the table and then its last row, again and again: positions are told apart no more."""
    return np.asarray(rows[np.minimum(np.arange(to), rows.shape[0] - 1)])


def tile(rows: Rows, to: int) -> NewRows:
    """Return the rows from the first to the last, and again from the first.

    How Longformer was made from RoBERTa (Beltagy et al. 2020, arXiv:2004.05150, section 5).
    """
    return np.asarray(rows[np.arange(to) % rows.shape[0]])


def hierarchical(rows: Rows, to: int) -> NewRows:
    """Return rows for pairs of positions, the page and the place on it.

    Su 2020 (kexue.fm/archives/7947): with u_i = (p_i - α p_1) ÷ (1 - α), row (i-1)·L + j is
    α u_i + (1-α) u_j, both from 1; α is 0.4. On the first page that is p_j itself. No row is
    longer than (1+α) ÷ (1-α) times the longest of the table.

    Raises
    ------
    SettingError
        If ``to`` is above L².
    """
    length = rows.shape[0]
    if to > length**2:
        raise SettingError(
            f"hierarchical rows of {length} positions do not reach so far",
            expected=f"at most {length}² = {length**2} positions",
            got=f"{to}",
            remedy="choose another method",
        )
    u = (rows - ALPHA * rows[0]) / (1 - ALPHA)
    page, place = np.divmod(np.arange(to), length)
    new = ALPHA * u[page] + (1 - ALPHA) * u[place]
    new[:length] = rows[:to]
    return np.asarray(new)
