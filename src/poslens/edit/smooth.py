"""Tables in smooth functions of position, and low-rank tables whose components are smooth."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cached_property
from typing import ClassVar

import numpy as np

from poslens.axes import Rows
from poslens.edit.bases import LARGE_SQUARE, Basis, Cosines, Splines
from poslens.edit.low_rank import (
    Svd,
    gram_values,
    gram_vectors,
    projected,
    singular,
    singular_values,
    tails,
)

ROUNDING = 1e-12  # what is below this share of a table's norm is float64's doing


class Smooth:
    """A table in smooth functions of position: its rank is their number, k·d numbers.

    Factors: ``coefficients``, shape (rank, dim), of the functions of `Cosines` or `Splines`.
    """

    name: str
    about: str
    basis: ClassVar[type[Basis]]

    def __init__(self, rows: Rows) -> None:
        self.shape: tuple[int, int] = rows.shape
        self.most = rows.shape[0]
        self._norm = float(np.linalg.norm(rows))
        self._seen = self.basis(rows)
        self._errors: dict[int, float] = {}  # found so far

    def numbers(self, rank: int) -> int:
        """Return k·d."""
        return rank * self.shape[1]

    def error(self, rank: int) -> float:
        """Return ‖P - P̂‖ ÷ ‖P‖."""
        if rank not in self._errors:
            left_out = self._seen.left_out(self._seen.coordinates(rank))
            self._errors[rank] = math.sqrt(left_out) / self._norm
        return self._errors[rank]

    def table(self, rank: int) -> Rows:
        """Return the rows, shape (position, dim)."""
        return self._seen.rows(self.factors(rank)["coefficients"])

    def factors(self, rank: int) -> Mapping[str, np.ndarray]:
        """Return ``coefficients``."""
        return {"coefficients": self._seen.coefficients(self._seen.coordinates(rank))}


class Cosine(Smooth):
    """The lowest cosines."""

    name = "cosine"
    about = "the lowest cosines along positions (DCT)"
    basis = Cosines


class Spline(Smooth):
    """Cubic splines.

    Their spaces are not nested: a larger rank may do a little worse.
    """

    name = "spline"
    about = "evenly placed cubic splines along positions, by least squares"
    basis = Splines


class SmoothSvd:
    """A table of low rank whose components are smooth functions of position: k(m + d) numbers.

    The rank is k, that of the table. The number m of functions follows from it: the fewest of 2, 3,
    5, 9, 17, … and L with which the closest table is as close as with more functions and as many
    numbers, so at a lower rank (between two ranks, in proportion of squared errors). With all L it
    is that of `Svd`, and at the full rank the table itself: none is further away than that of `Svd`
    in as many numbers. Each of these spaces holds those before it, and m never falls as k rises, so
    the error never rises.

    Factors: ``left``, shape (function, rank), coefficients of the functions of `Cosines` or
    `Splines` (of positions themselves where m = L), and ``right``, shape (rank, dim).
    """

    name: str
    about: str
    basis: ClassVar[type[Basis]]

    def __init__(self, rows: Rows) -> None:
        self.shape: tuple[int, int] = rows.shape
        self.most = min(rows.shape)
        self._norm = float(np.linalg.norm(rows))
        self._unrestricted = Svd(rows)
        self._seen = self.basis(rows)

    def functions(self, rank: int) -> int:
        """Return m, how many functions of position are used."""
        return int(self._choices[0][rank])

    def numbers(self, rank: int) -> int:
        """Return k(m + d)."""
        return rank * (self.functions(rank) + self.shape[1])

    def error(self, rank: int) -> float:
        """Return ‖P - P̂‖ ÷ ‖P‖: of what the functions miss, and of what the rank leaves out."""
        return float(self._choices[1][rank])

    def table(self, rank: int) -> Rows:
        """Return the rows, shape (position, dim)."""
        left, right = self.factors(rank).values()
        if left.shape[0] == self.shape[0]:
            return np.asarray(left @ right)
        return np.asarray(self._seen.rows(left) @ right)

    def factors(self, rank: int) -> Mapping[str, np.ndarray]:
        """Return ``left`` and ``right``."""
        count = self.functions(rank)
        if count == self.shape[0]:
            return self._unrestricted.factors(rank)
        coordinates = self._seen.coordinates(count)
        quick = self._much(self._seen.left_out(coordinates))
        vectors = gram_vectors(coordinates) if quick else singular(coordinates)[0]
        left, right = projected(coordinates, vectors[:, :rank])
        return {"left": self._seen.coefficients(left), "right": right}

    def _much(self, missed: float) -> bool:
        """Whether functions miss so much that digits lost in a Gram matrix do not show."""
        return missed > LARGE_SQUARE * self._norm**2

    @cached_property
    def _choices(self) -> tuple[np.ndarray, np.ndarray]:
        """How many functions each rank takes, and its error; of rank 0 too."""
        length = self.shape[0]
        counts = [*(2**power + 1 for power in range((length - 2).bit_length())), length]
        by_count = [self._errors(count) for count in counts]
        good = [self._good(at, counts, by_count) for at in range(len(counts))]
        chosen, errors, at = [0], [1.0], 0
        for rank in range(1, self.most + 1):
            while rank >= good[at].size or not good[at][rank]:
                at += 1
            chosen.append(counts[at])
            errors.append(by_count[at][rank])
        return np.array(chosen), np.array(errors)

    def _errors(self, count: int) -> np.ndarray:
        """The error with so many functions, of ranks from 0."""
        if count == self.shape[0]:
            return self._unrestricted.errors
        coordinates = self._seen.coordinates(count)
        missed = self._seen.left_out(coordinates)
        quick = self._much(missed)
        squares = gram_values(coordinates) if quick else singular_values(coordinates) ** 2
        return np.asarray(np.sqrt(missed + tails(squares)) / self._norm)

    def _good(self, at: int, counts: list[int], by_count: list[np.ndarray]) -> np.ndarray:
        """At which ranks no larger number of functions is better, in as many numbers."""
        dim = self.shape[1]
        numbers = np.arange(by_count[at].size) * (counts[at] + dim)
        rivals = np.full(numbers.size, np.inf)
        for count, errors in zip(counts[at + 1 :], by_count[at + 1 :], strict=True):
            others = np.arange(errors.size) * (count + dim)
            rivals = np.minimum(rivals, np.sqrt(np.interp(numbers, others, errors**2)))
            rivals[self.most :] = 0.0  # at the full rank nothing but the table will do
        good: np.ndarray = by_count[at] <= np.maximum(rivals, ROUNDING)
        return good


class CosineSvd(SmoothSvd):
    """Components that are sums of the lowest cosines."""

    name = "cosine+svd"
    about = "truncated singular value decomposition, its components in the lowest cosines"
    basis = Cosines


class SplineSvd(SmoothSvd):
    """Components that are cubic splines."""

    name = "spline+svd"
    about = "truncated singular value decomposition, its components in cubic splines"
    basis = Splines
