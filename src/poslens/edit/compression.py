"""A table in fewer numbers, by each method and at each rank."""

from __future__ import annotations

import difflib
import math
import operator
from bisect import bisect_left, bisect_right
from collections.abc import Mapping
from typing import Protocol, SupportsIndex, runtime_checkable

import numpy as np

from poslens.axes import Rows
from poslens.edit.low_rank import Svd
from poslens.edit.smooth import ROUNDING, Cosine, CosineSvd, Spline, SplineSvd
from poslens.errors import SettingError, quoted
from poslens.geometry.validate import check_rows


@runtime_checkable
class Compressor(Protocol):
    """A table in fewer numbers, at every rank from 1 to ``most``.

    Attributes
    ----------
    name, about
        Its key in `METHODS`, and what it does, in one line.
    shape
        (L, d) of the table.
    most
        The largest rank, at which the table comes back.
    """

    name: str
    about: str
    shape: tuple[int, int]
    most: int

    def __init__(self, rows: Rows) -> None: ...

    def numbers(self, rank: int) -> int:
        """Return how many numbers are stored."""

    def table(self, rank: int) -> Rows:
        """Return the rows in float64, shape (position, dim)."""

    def error(self, rank: int) -> float:
        """Return ‖P - P̂‖ ÷ ‖P‖, Frobenius."""

    def factors(self, rank: int) -> Mapping[str, np.ndarray]:
        """Return what would be stored, by name: ``numbers(rank)`` of them altogether."""


METHODS: Mapping[str, type[Compressor]] = {
    method.name: method for method in (Svd, Cosine, Spline, CosineSvd, SplineSvd)
}


def compressor(method: str, rows: Rows) -> Compressor:
    """Return a table's compressor.

    Parameters
    ----------
    method
        A key of `METHODS`.
    rows
        Any table, shape (position, dim).

    Raises
    ------
    SettingError
        If there is no such method.
    TableError
        If the rows are no position table: fewer than three, not finite, all zeros, or values whose
        squares leave float64.
    """
    if method not in METHODS:
        near = difflib.get_close_matches(str(method), METHODS, n=1)
        raise SettingError(
            "no such method of compression",
            expected="one of " + ", ".join(METHODS),
            got=quoted(method),
            remedy=f"did you mean {near[0]}?" if near else "",
        )
    return METHODS[method](check_rows(rows))


def check_rank(found: Compressor, rank: object) -> int:
    """Return the rank as an int after checking that the method has a table of it.

    Raises
    ------
    SettingError
        If it is no whole number, or not from 1 to ``found.most``.
    """
    whole = _whole(rank)
    if whole is None or not 1 <= whole <= found.most:
        length, dim = found.shape
        raise SettingError(
            "there is no table of this rank",
            expected=f"a whole number from 1 to {found.most} for {found.name} of a table of "
            f"{length} × {dim}",
            got=quoted(rank),
        )
    return whole


def _whole(value: object) -> int | None:
    if isinstance(value, bool) or not isinstance(value, SupportsIndex):
        return None
    try:
        return operator.index(value)
    except TypeError:  # an array of several, or of booleans
        return None


def smallest_rank(
    found: Compressor, *, size: float | None = None, error: float | None = None
) -> int:
    """Return the rank that a size or an error asks for; exactly one of them is given.

    Parameters
    ----------
    size
        Numbers stored ÷ L·d, at most: the largest rank with so few is returned.
    error
        ‖P - P̂‖ ÷ ‖P‖, at most: the smallest rank with so small an error is returned, the full rank
        where no other is so close. Of splines, whose error may rise a little with the rank, it is
        one whose error is small enough and that of the rank before is not.

    Raises
    ------
    SettingError
        If both or neither are given, the size is not above 0 or the error below 0, either is not
        finite, or not even rank 1 is so small.
    """
    if error is None and size is not None:
        return _for_size(found, size)
    if size is None and error is not None:
        return _for_error(found, error)
    raise SettingError(
        "a rank is found by a size or by an error",
        expected="one of them",
        got="neither" if size is None else "both",
    )


def _for_error(found: Compressor, error: float) -> int:
    _require(math.isfinite(error) and error >= 0, "an error of at least 0", error)
    ranks = range(1, found.most)
    return bisect_left(ranks, True, key=lambda rank: found.error(rank) <= error) + 1


def _for_size(found: Compressor, size: float) -> int:
    _require(math.isfinite(size) and size > 0, "a size above 0", size)
    entries = math.prod(found.shape)
    budget = size * entries * (1 + ROUNDING)
    rank = bisect_right(range(1, found.most + 1), budget, key=found.numbers)
    least = math.ceil(1e6 * found.numbers(1) / entries) / 1e6
    _require(rank > 0, f"a size of at least {least}, that of rank 1", size)
    return rank


def _require(good: bool, expected: str, value: float) -> None:
    if not good:
        raise SettingError("no rank is found by this", expected=expected, got=f"{value}")
