"""The best table of each rank: truncated singular value decomposition."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from poslens.axes import PerComponent, Rows

_BLOCK = 4  # rows that are factorised at a time, in widths of the matrix


class Svd:
    """The table's projection onto its leading singular vectors.

    No table of this rank is closer (Eckart & Young 1936, Psychometrika 1). The vectors are those
    of the shorter side, from the triangle R of a QR factorisation. Its singular values keep all
    digits, where a Gram matrix, though faster, loses half of them.

    Factors: ``left``, shape (position, rank), and ``right``, shape (rank, dim). The table is left
    times right.
    """

    name = "svd"
    about = "the closest table of its rank: truncated singular value decomposition"

    def __init__(self, rows: Rows) -> None:
        self.shape: tuple[int, int] = rows.shape
        self.most = min(rows.shape)
        self._rows = rows
        self._vectors, values = singular(rows)
        squares = tails(values**2)
        self.errors: np.ndarray = np.sqrt(squares / squares[0])  # of ranks from 0

    def numbers(self, rank: int) -> int:
        """Return k(L + d)."""
        return rank * sum(self.shape)

    def error(self, rank: int) -> float:
        """Return the tail of the spectrum, √(Σ_{i>k} σ_i² ÷ Σ σ_i²)."""
        return float(self.errors[rank])

    def table(self, rank: int) -> Rows:
        """Return the rows, shape (position, dim)."""
        left, right = self.factors(rank).values()
        return np.asarray(left @ right)

    def factors(self, rank: int) -> Mapping[str, np.ndarray]:
        """Return ``left`` and ``right``."""
        left, right = projected(self._rows, self._vectors[:, :rank])
        return {"left": left, "right": right}


def singular(matrix: np.ndarray) -> tuple[np.ndarray, PerComponent]:
    """Return singular vectors of a matrix's shorter side, as columns, and singular values.

    Those of the rows where it has fewer rows than columns, else those of the columns; values
    descending, min(rows, columns) of them.
    """
    _, values, vectors = np.linalg.svd(_triangle(matrix))
    return vectors.T, values


def projected(matrix: np.ndarray, vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return two factors of the matrix's projection onto vectors of `singular`."""
    if matrix.shape[0] < matrix.shape[1]:
        return vectors, vectors.T @ matrix
    return matrix @ vectors, vectors.T


def singular_values(matrix: np.ndarray) -> PerComponent:
    """Return the singular values of a matrix, descending."""
    return np.linalg.svd(_triangle(matrix), compute_uv=False)


def gram_vectors(matrix: np.ndarray) -> np.ndarray:
    """Return the vectors of `singular` from the smaller Gram matrix, in a third of its time.

    What they leave out is right to 1e-15 of all squares, no better.
    """
    return np.linalg.eigh(_gram(matrix))[1][:, ::-1]


def gram_values(matrix: np.ndarray) -> PerComponent:
    """Return the squares of `singular_values`, to 1e-15 of their sum, likewise."""
    return np.maximum(np.linalg.eigvalsh(_gram(matrix))[::-1], 0.0)


def tails(squares: np.ndarray) -> np.ndarray:
    """Return Σ_{i≥k} of the squares for k = 0 … their number; the last is 0.

    They are summed from their small end, so that a tail keeps its digits beside a large head.
    """
    return np.append(np.cumsum(squares[::-1])[::-1], 0.0)


def _triangle(matrix: np.ndarray) -> np.ndarray:
    """R of the QR factorisation of the matrix, or of its transpose where that is the taller.

    A block of rows is added at a time (Demmel et al. 2012, SIAM J. Sci. Comput. 34, §2), which
    needs no copy of the matrix.
    """
    tall = matrix if matrix.shape[0] >= matrix.shape[1] else matrix.T
    triangle = tall[:0]
    size = _BLOCK * tall.shape[1]
    for start in range(0, tall.shape[0], size):
        block = np.concatenate([triangle, tall[start : start + size]])
        triangle = np.asarray(np.linalg.qr(block, mode="r"))
    return triangle


def _gram(matrix: np.ndarray) -> np.ndarray:
    short = matrix if matrix.shape[0] < matrix.shape[1] else matrix.T
    return np.asarray(short @ short.T)
