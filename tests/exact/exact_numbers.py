"""Vectors, least squares and eigenvalues in 50 decimal digits.

Vectors are lists of numbers and tables lists of vectors. A float64 is read as the number that it
is, so that what is computed here is the measure of the very table that PosLens was given.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

import numpy as np
from mpmath.ctx_mp import MPContext

Number: TypeAlias = Any  # mpmath has no types
Vector: TypeAlias = list[Number]
Table: TypeAlias = list[Vector]

mp = MPContext()  # its own, so that the digits of nobody else's are changed
mp.dps = 50


def exactly(values: Any) -> Any:
    """Return an array as nested lists, float64 by float64 and without rounding."""
    if np.ndim(values) == 0:
        return mp.mpf(float(values))
    return [exactly(value) for value in values]


def rounded(values: Any) -> np.ndarray:
    """Return nested lists of numbers as the nearest float64."""
    if isinstance(values, list | tuple):
        return np.array([rounded(value) for value in values])
    return np.float64(values)


def mean(values: Iterable[Number]) -> Number:
    values = list(values)
    return mp.fsum(values) / len(values)


def median(values: Iterable[Number]) -> Number:
    ordered = sorted(values)
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2


def dot(a: Vector, b: Vector) -> Number:
    return mp.fdot(zip(a, b, strict=True))


def norm(a: Vector) -> Number:
    return mp.sqrt(dot(a, a))


def cosine(a: Vector, b: Vector) -> Number:
    return dot(a, b) / (norm(a) * norm(b))


def plus(a: Vector, b: Vector) -> Vector:
    return [x + y for x, y in zip(a, b, strict=True)]


def minus(a: Vector, b: Vector) -> Vector:
    return [x - y for x, y in zip(a, b, strict=True)]


def times(factor: Number, a: Vector) -> Vector:
    return [factor * x for x in a]


def columns(rows: Table) -> Table:
    return [list(column) for column in zip(*rows, strict=True)]


def product(a: Table, b: Table) -> Table:
    across = columns(b)
    return [[dot(row, column) for column in across] for row in a]


def mean_row(rows: Table) -> Vector:
    return [mean(column) for column in columns(rows)]


def centred(rows: Table) -> Table:
    middle = mean_row(rows)
    return [minus(row, middle) for row in rows]


def squares(rows: Table) -> Number:
    """Return the sum of all squares."""
    return mp.fsum(dot(row, row) for row in rows)


def pearson(a: Vector, b: Vector) -> Number:
    return cosine([x - mean(a) for x in a], [y - mean(b) for y in b])


def residual(rows: Table, design: Sequence[Vector]) -> Table:
    """Return what least squares on the design's columns leaves of every dimension.

    By Gram & Schmidt: a column that the others already span (to 30 digits) adds nothing.
    """
    basis: Table = []
    for column in design:
        rest = column
        for _ in range(2):
            for unit in basis:
                rest = minus(rest, times(dot(unit, rest), unit))
        if norm(rest) > mp.mpf(10) ** -30 * norm(column):
            basis.append(times(1 / norm(rest), rest))
    left = columns(rows)
    for unit in basis:
        left = [minus(column, times(dot(unit, column), unit)) for column in left]
    return columns(left)


def solved(matrix: Table, right: Table) -> Table:
    """Return X of matrix·X = right, by elimination with pivots."""
    size = len(matrix)
    both = [list(row) + list(more) for row, more in zip(matrix, right, strict=True)]
    for at in range(size):
        pivot = max(range(at, size), key=lambda i: abs(both[i][at]))
        both[at], both[pivot] = both[pivot], both[at]
        for i in range(at + 1, size):
            factor = both[i][at] / both[at][at]
            if factor:
                both[i] = [x - factor * y for x, y in zip(both[i], both[at], strict=True)]
    found: Table = [[] for _ in range(size)]
    for at in reversed(range(size)):
        row = both[at][size:]
        for i in range(at + 1, size):
            row = minus(row, times(both[at][i], found[i]))
        found[at] = times(1 / both[at][at], row)
    return found


def singular(matrix: Table) -> tuple[Table, Vector, Table]:
    """Return U, s and V such that matrix = U·diag(s)·Vᵀ, all of U and V, s descending.

    By one-sided Jacobi rotations (Hestenes 1958), which find small values as surely as large ones.
    """
    if len(matrix) < len(matrix[0]):
        V, s, U = singular(columns(matrix))
        return U, s, V
    across, turned = columns(matrix), columns(identity(len(matrix[0])))
    tiny = mp.mpf(10) ** -(mp.dps - 5)
    for _ in range(60):
        still = True
        for i in range(len(across)):
            for j in range(i + 1, len(across)):
                a, b, c = (
                    dot(across[i], across[i]),
                    dot(across[j], across[j]),
                    dot(across[i], across[j]),
                )
                if abs(c) <= tiny * mp.sqrt(a * b):
                    continue
                still = False
                zeta = (b - a) / (2 * c)
                t = (1 if zeta >= 0 else -1) / (abs(zeta) + mp.sqrt(1 + zeta**2))
                cos = 1 / mp.sqrt(1 + t**2)
                for of in (across, turned):
                    x, y = of[i], of[j]
                    of[i] = [cos * (p - t * q) for p, q in zip(x, y, strict=True)]
                    of[j] = [cos * (t * p + q) for p, q in zip(x, y, strict=True)]
        if still:
            break
    order = sorted(range(len(across)), key=lambda i: -norm(across[i]))
    s = [norm(across[i]) for i in order]
    sure = mp.mpf(10) ** -40 * s[0]  # what is left of a column that the others span is smaller
    left = [times(1 / value, across[i]) for value, i in zip(s, order, strict=True) if value > sure]
    return columns(completed(left, len(matrix))), s, columns([turned[i] for i in order])


def identity(size: int) -> Table:
    return [[mp.mpf(int(i == j)) for j in range(size)] for i in range(size)]


def completed(basis: Table, size: int) -> Table:
    """Return orthonormal vectors and others with which they span the space."""
    found = list(basis)
    for axis in identity(size):
        if len(found) == size:
            break
        rest = axis
        for _ in range(3):
            for unit in found:
                rest = minus(rest, times(dot(unit, rest), unit))
        if norm(rest) > mp.mpf(10) ** -20:
            found.append(times(1 / norm(rest), rest))
    return found


def root(slope: Callable[[Number], Number], low: Number, high: Number) -> Number:
    """Return where a slope that is negative at ``low`` and positive at ``high`` is zero."""
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if slope(middle) < 0 else (low, middle)
    return (low + high) / 2
