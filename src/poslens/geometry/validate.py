"""Checks that every measure shares: what a table must be, and where a formula has no value."""

from __future__ import annotations

import numpy as np

from poslens.axes import PerPosition, PerStep, Rows
from poslens.errors import TableError, UndefinedMeasureError

MIN_LENGTH = 3  # a second difference needs three rows

# A vector that is the difference of others counts as zero below this share of the longest of them:
# float64 leaves about 1e-16 of it behind, times a few roundings.
CANCELLATION = 1e-13

_FAR = 1e4  # ‖mean‖² ÷ ‖p_t - mean‖² from which a mean is taken twice

# Squares and fourth powers of entries beyond these leave float64.
LARGEST, SMALLEST = 1e60, 1e-60


def check_rows(rows: Rows) -> Rows:
    """Return ``rows`` as C-contiguous float64 after checking that they are a position table.

    Raises
    ------
    TableError
        If there are fewer than three rows or no dimensions, if a value is not finite, if all are
        zero, or if squares of the values would leave float64.
    """
    table = np.ascontiguousarray(rows, dtype=np.float64)
    if table.ndim != 2 or table.shape[0] < MIN_LENGTH or table.shape[1] < 1:
        raise TableError(
            "not a position table",
            expected=f"a 2-dimensional array of at least {MIN_LENGTH} positions",
            got=f"shape {table.shape}",
            remedy="pass one row per position",
        )
    finite = np.asarray(np.isfinite(table).all(axis=1))
    if not finite.all():
        raise TableError(
            "the table holds values that are not finite",
            expected="finite numbers only",
            got=f"NaN or Inf in {named_rows(~finite)}",
            remedy="repair the table, or leave these rows out",
        )
    largest = float(np.abs(table).max())
    if largest == 0:
        raise TableError(
            "the table is all zeros",
            expected="at least one value that is not zero",
            got="only zeros",
            remedy="check that this is the right tensor",
        )
    if not SMALLEST < largest < LARGEST:
        raise TableError(
            "the table's values are out of range",
            expected=f"a largest absolute value between {SMALLEST:g} and {LARGEST:g}",
            got=f"{largest:.3g}",
            remedy="rescale the table",
        )
    return table


def named_rows(mask: np.ndarray, first: int = 5) -> str:
    """Name the rows where ``mask`` is true: ``row 3``, or ``rows 0, 1, 2 and 9 more``."""
    index = np.flatnonzero(mask)
    shown = ", ".join(str(i) for i in index[:first])
    more = f" and {index.size - first} more" if index.size > first else ""
    return f"row{'s' if index.size > 1 else ''} {shown}{more}"


def inverse_norms(rows: Rows) -> PerPosition:
    """Return 1 ÷ ‖p_t‖, shape (position,).

    Raises
    ------
    UndefinedMeasureError
        If a row is zero: it has no direction. The message names the rows.
    """
    norms = np.sqrt(np.einsum("td,td->t", rows, rows))
    _require(norms > 0, "the cosine with a zero vector is undefined", "all zeros")
    return np.asarray(1 / norms)


def unit_rows(rows: Rows) -> Rows:
    """Return each row divided by its norm.

    Raises
    ------
    UndefinedMeasureError
        If a row is zero.
    """
    return np.asarray(rows * inverse_norms(rows)[:, None])


def centered(rows: Rows) -> Rows:
    """Return C, the rows with their column mean removed."""
    mean = rows.mean(axis=0)
    C = np.asarray(rows - mean)
    # A mean is rounded in proportion to its own size, which counts where rows differ little.
    some = C[:: -(-C.shape[0] // 16)]
    if mean @ mean > _FAR * np.einsum("td,td->t", some, some).max():
        C -= C.mean(axis=0)
    return C


def inverse_centered_norms(C: Rows, rows: Rows) -> PerPosition:
    """Return 1 ÷ ‖C_t‖, shape (position,), for C of `centered`.

    Raises
    ------
    UndefinedMeasureError
        If a row equals the mean of all rows: it has no direction from there.
    """
    norms = np.sqrt(np.einsum("td,td->t", C, C))
    _require(
        norms > CANCELLATION * _longest(rows),
        "the centred cosine is undefined",
        "equal to the mean of all rows",
    )
    return np.asarray(1 / norms)


def require_lengths(lengths: PerStep, rows: Rows, stride: int) -> None:
    """Require that no difference p_{t+s} - p_t vanishes.

    Raises
    ------
    UndefinedMeasureError
        If one does: it has no direction. The message names the rows t.
    """
    norms = np.sqrt(np.einsum("td,td->t", rows, rows))
    _require(
        lengths > CANCELLATION * np.maximum(norms[:-stride], norms[stride:]),
        f"the direction of a difference at stride {stride} is undefined",
        f"equal to the row {stride} further on",
    )


def total_variation(C: Rows, rows: Rows) -> float:
    """Return TV = Σ_t ‖C_t‖².

    Raises
    ------
    UndefinedMeasureError
        If all rows are identical, so that nothing varies.
    """
    total = float(np.einsum("td,td->", C, C))
    if total <= rows.shape[0] * (CANCELLATION * _longest(rows)) ** 2:
        raise UndefinedMeasureError("all rows are identical, so there is no variance to explain")
    return total


def _longest(rows: Rows) -> float:
    return float(np.sqrt(np.einsum("td,td->t", rows, rows).max()))


def _require(good: np.ndarray, problem: str, what: str) -> None:
    if not good.all():
        verb = "is" if (~good).sum() == 1 else "are"
        raise UndefinedMeasureError(f"{problem}: {named_rows(~good)} {verb} {what}")
