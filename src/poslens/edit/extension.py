"""A position table made longer: the methods by name, and what all of them require."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from poslens.axes import NewRows, Rows
from poslens.edit.copying import hierarchical, repeat_last, tile
from poslens.edit.extrapolation import components, shift
from poslens.edit.resampling import cubic, cubic_keep_first, linear, linear_keep_first
from poslens.encodings.validate import MOST_ENTRIES
from poslens.errors import SettingError, quoted
from poslens.geometry.validate import check_rows

Extend = Callable[[Rows, int], NewRows]


@dataclass(frozen=True)
class Method:
    """A way to make a table longer.

    Attributes
    ----------
    name
        Its word on the command line.
    about
        What it does, in one line.
    keeps_rows
        Whether the first rows of the longer table are the table, to the bit.
    extend
        From a table and a number of rows, not below the table's own, to so many rows. `extended`
        checks both first.
    """

    name: str
    about: str
    keeps_rows: bool
    extend: Extend


def _by_name(*methods: Method) -> dict[str, Method]:
    return {method.name: method for method in methods}


METHODS: Mapping[str, Method] = _by_name(
    Method("repeat_last", "the last row for every position after it", True, repeat_last),
    Method("linear", "position interpolation, straight between rows", False, linear),
    Method(
        "linear_keep_first",
        "the same from the second row on; the first stays",
        False,
        linear_keep_first,
    ),
    Method("cubic", "position interpolation on a cubic spline", False, cubic),
    Method(
        "cubic_keep_first",
        "the same from the second row on; the first stays",
        False,
        cubic_keep_first,
    ),
    Method("tile", "the rows copied again from the first on (Longformer)", True, tile),
    Method(
        "hierarchical",
        "rows for page and place, up to the square of the length (Su 2020)",
        True,
        hierarchical,
    ),
    Method(
        "components",
        "a line and a wave along each principal component, continued",
        True,
        components,
    ),
    Method("shift", "the table's own shift operator, applied again and again", True, shift),
)


def extended(rows: Rows, to: int, method: str) -> NewRows:
    """Return a position table made longer.

    Parameters
    ----------
    rows
        The table, shape (position, dim).
    to
        The number of rows wanted, at least as many as the table has; with as many, the same rows
        are returned.
    method
        A name of `METHODS`.

    Returns
    -------
    NewRows
        float64, shape (``to``, dim).

    Raises
    ------
    TableError
        If ``rows`` is not a usable table.
    SettingError
        If the method is unknown, or ``to`` is below the table's length, too large for memory, or
        beyond what the method reaches.
    UndefinedMeasureError
        If the table has too few rows, or nothing that varies, for what the method fits.
    """
    if method not in METHODS:
        raise SettingError(
            f"cannot extend a table by {quoted(method)}",
            expected="one of " + ", ".join(METHODS),
            got=quoted(method),
        )
    table = check_rows(rows)
    _check_length(table, to)
    if to == table.shape[0]:
        return table.copy()
    return METHODS[method].extend(table, to)


def _check_length(table: Rows, to: int) -> None:
    length, dim = table.shape
    most = MOST_ENTRIES // dim
    if not length <= to <= most:
        raise SettingError(
            "the table is longer" if to < length else "the table would be too large",
            expected=f"a number of rows from {length}, the table's own, to {most}",
            got=f"{to}",
            remedy="to shorten a table, slice its rows instead" if to < length else "",
        )
