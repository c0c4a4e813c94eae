"""Tables seen through functions that are smooth along positions: cosines, cubic splines.

Either basis turns a table into coordinates in orthonormal functions, so that what a rank-k
approximation of the coordinates leaves out is what that of the table leaves out.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np
import scipy.fft
import scipy.linalg
from jaxtyping import Float
from scipy.interpolate import BSpline
from scipy.linalg import lapack

from poslens.axes import Rows

Coordinates = Float[np.ndarray, "function dim"]
Knots = Float[np.ndarray, "knot"]

DEGREE = 3  # of splines

# Of squares that sum to 1, float64 keeps ten digits of a difference above this.
LARGE_SQUARE = 1e-5


@runtime_checkable
class Basis(Protocol):
    """A table in the first m functions of a family, for any m from 1 to its length."""

    def __init__(self, rows: Rows) -> None: ...

    def coordinates(self, count: int) -> Coordinates:
        """Return those of the table in ``count`` orthonormal functions, shape (function, dim)."""

    def left_out(self, coordinates: Coordinates) -> float:
        """Return ‖P - P̂‖², P̂ being the table that these coordinates give."""

    def coefficients(self, coordinates: Coordinates) -> Coordinates:
        """Return the coefficients of the family's own functions, shape (function, dim)."""

    def rows(self, coefficients: Coordinates) -> Rows:
        """Return the rows that coefficients give, shape (position, dim)."""


class Cosines:
    """The lowest cosines along positions, orthonormal: the DCT-II.

    Function i is √(2/L)·cos(πi(t + ½)/L), and 1/√L where i = 0 (Ahmed, Natarajan & Rao 1974,
    IEEE Transactions on Computers C-23, §II).
    """

    def __init__(self, rows: Rows) -> None:
        self._length = rows.shape[0]
        self._all = np.asarray(scipy.fft.dct(rows, axis=0, norm="ortho", workers=-1))
        self._energies = np.einsum("fd,fd->f", self._all, self._all)

    def coordinates(self, count: int) -> Coordinates:
        """See `Basis`."""
        return self._all[:count]

    def left_out(self, coordinates: Coordinates) -> float:
        """See `Basis`."""
        return float(self._energies[coordinates.shape[0] :].sum())

    def coefficients(self, coordinates: Coordinates) -> Coordinates:
        """See `Basis`: the cosines are orthonormal as they are."""
        return coordinates

    def rows(self, coefficients: Coordinates) -> Rows:
        """See `Basis`."""
        n = self._length
        return np.asarray(scipy.fft.idct(coefficients, n=n, axis=0, norm="ortho", workers=-1))


class Splines:
    """Cubic B-splines along positions, fitted by least squares.

    Functions m overlap from end to end, with the knots of `spline_knots`; the rows meet them in the
    banded Gram matrix BᵀB = UᵀU, so BU⁻¹ is orthonormal (de Boor 2001, A Practical Guide to
    Splines, ch. XIV).
    """

    def __init__(self, rows: Rows) -> None:
        self._table = rows
        self._energy = float(np.einsum("td,td->", rows, rows))

    def coordinates(self, count: int) -> Coordinates:
        """See `Basis`."""
        functions = _functions(self._table.shape[0], count)
        return _solved(_triangle(functions), functions.T @ self._table, "T")

    def left_out(self, coordinates: Coordinates) -> float:
        """See `Basis`. What is small is measured: as a difference it would lose its digits."""
        difference = self._energy - float(np.einsum("fd,fd->", coordinates, coordinates))
        if difference > LARGE_SQUARE * self._energy:
            return difference
        missed = self.rows(self.coefficients(coordinates))
        missed -= self._table
        return float(np.einsum("td,td->", missed, missed))

    def coefficients(self, coordinates: Coordinates) -> Coordinates:
        """See `Basis`."""
        functions = _functions(self._table.shape[0], coordinates.shape[0])
        return _solved(_triangle(functions), coordinates, "N")

    def rows(self, coefficients: Coordinates) -> Rows:
        """See `Basis`."""
        return np.asarray(_functions(self._table.shape[0], coefficients.shape[0]) @ coefficients)


def spline_degree(count: int) -> int:
    """Return 3, or what ``count`` functions allow where they are fewer than four."""
    return min(DEGREE, count - 1)


def spline_knots(length: int, count: int) -> Knots:
    """Return the knots of ``count`` splines over positions 0 … length - 1.

    They are those of the spline through ``count`` positions as evenly spaced as whole numbers can
    be, its second and last but one left out ("not a knot"), the ends repeated. With as many
    functions as positions it interpolates. Knots between positions would not do: of as many evenly
    spaced functions as positions some combination vanishes at all of them, to any float's eye.
    """
    gaps = max(count - 1, 1)
    sites = (2 * np.arange(count) * (length - 1) + gaps) // (2 * gaps)
    ends = spline_degree(count) + 1
    return np.concatenate([np.zeros(ends), sites[2:-2], np.full(ends, length - 1.0)])


def _functions(length: int, count: int) -> scipy.sparse.csr_array:
    """B, the values of each function at each position, shape (position, function)."""
    positions = np.arange(length, dtype=np.float64)
    return BSpline.design_matrix(positions, spline_knots(length, count), spline_degree(count))


def _triangle(functions: scipy.sparse.csr_array) -> np.ndarray:
    """U of BᵀB = UᵀU in LAPACK's banded form: its diagonal last, the one above it before it."""
    gram = functions.T @ functions
    width = spline_degree(functions.shape[1])
    band = [np.pad(gram.diagonal(above), (above, 0)) for above in range(width, -1, -1)]
    return np.asarray(scipy.linalg.cholesky_banded(np.array(band), check_finite=False))


def _solved(triangle: np.ndarray, right: Coordinates, transposed: str) -> Coordinates:
    """U⁻¹ or, where ``transposed`` is "T", U⁻ᵀ times the right side."""
    return np.asarray(lapack.dtbtrs(triangle, right, uplo="U", trans=transposed)[0])
