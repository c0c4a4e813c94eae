"""From a stored tensor to the rows of a position table, checked once, here."""

from __future__ import annotations

import numpy as np

from poslens.axes import Rows
from poslens.checkpoints.table import FEWEST_POSITIONS
from poslens.checkpoints.tensors import Entry, StoredTensor, require_readable
from poslens.errors import TableError, quoted

ROWS_NAMED = 5  # of those that are not finite


def is_table_shape(shape: tuple[int, ...]) -> bool:
    """Whether a shape is (position, dim), or (1, position, dim) as vision models store it."""
    return len(shape) == 2 or (len(shape) == 3 and shape[0] == 1)


def check_entry(entry: Entry, offset: int, shown: str) -> None:
    """Require the shape and dtype of a position table; called before its bytes are read.

    Parameters
    ----------
    entry
        What the header says.
    offset
        Rows before position 0.
    shown
        The container's quoted name, for messages.

    Raises
    ------
    TableError
        If it has another number of dimensions, fewer than three positions after ``offset``, no
        columns, or a dtype that PosLens does not read.
    """
    require_readable(entry, shown)
    length, dim = entry.shape[-2:] if is_table_shape(entry.shape) else (0, 0)
    if length - offset < FEWEST_POSITIONS or dim < 1:
        after = f" after {offset} rows that are not positions" if offset else ""
        raise TableError(
            f"{_what(entry, shown)} is not a position table",
            expected=f"shape (position, dim) with at least {FEWEST_POSITIONS} positions{after}",
            got=f"shape {entry.shape}",
            remedy="choose a tensor with one row per position",
        )


def position_rows(stored: StoredTensor, offset: int, shown: str, *, zeros: bool = False) -> Rows:
    """Return the rows from position 0 on, in float64.

    Parameters
    ----------
    stored
        The tensor.
    offset, shown
        As in `check_entry`.
    zeros
        Whether all may be zero: such a table has no geometry, but what it adds is known.

    Returns
    -------
    Rows
        Shape (position, dim), C-contiguous, a copy.

    Raises
    ------
    TableError
        If `check_entry` does, if a value is NaN or infinite, or if all are zero and may not be.
    """
    check_entry(stored.entry, offset, shown)
    values = stored.values().reshape(stored.entry.shape[-2:])[offset:]
    finite = np.isfinite(values).all(axis=1)
    if not finite.all():
        bad = np.flatnonzero(~finite) + offset
        first = ", ".join(str(row) for row in bad[:ROWS_NAMED])
        raise TableError(
            f"{_what(stored.entry, shown)} holds NaN or infinite values",
            expected="finite numbers",
            got=f"{bad.size} of {finite.size} rows that are not: "
            f"{first}{', …' if bad.size > ROWS_NAMED else ''}",
            remedy="repair the checkpoint, or save the sound rows with numpy.save",
        )
    if not zeros and not values.any():
        raise TableError(
            f"{_what(stored.entry, shown)} is all zeros",
            expected="at least one value that is not zero",
            got="only zeros",
            remedy="check that this is the right tensor",
        )
    return np.array(values, dtype=np.float64, order="C")


def _what(entry: Entry, shown: str) -> str:
    return f"tensor {quoted(entry.name)} of {shown}" if entry.name else shown
