"""Eigenvalues of a Gram matrix, all of them, and eigenvectors, only those that are looked at."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import scipy.linalg
from scipy.linalg import blas, lapack

from poslens.axes import PerComponent, Rows

_BLOCK = 64  # LAPACK's block size for applying reflectors


def gram_spectrum(
    C: Rows, scale: float, count: Callable[[PerComponent], int]
) -> tuple[PerComponent, np.ndarray]:
    """Return the eigenvalues of the smaller Gram matrix of C times ``scale``, and leading vectors.

    The matrix is reduced to tridiagonal form once; from there all eigenvalues cost little, and
    each vector is computed by itself. A full decomposition takes twice as long.

    Parameters
    ----------
    C
        Any rows, shape (position, dim), C-contiguous.
    scale
        Multiplies the matrix; 1/TV makes the eigenvalues sum to 1.
    count
        From the eigenvalues to the number of vectors that are wanted.

    Returns
    -------
    The eigenvalues, descending, min(L, d) of them; and the vectors as columns, of length L where
    L < d (of CCᵀ), else of length d (of CᵀC).
    """
    # BLAS counts in columns: C.T is C as it lies in memory, and only one triangle is computed.
    gram = blas.dsyrk(scale, C.T, trans=int(C.shape[0] < C.shape[1]), lower=1)
    if gram.shape[0] < 3:
        return _fully(gram, count)
    try:
        return _partly(gram, count)
    except scipy.linalg.LinAlgError:  # a cluster of equal eigenvalues can defeat single vectors
        return _fully(gram, count)


def _fully(
    gram: np.ndarray, count: Callable[[PerComponent], int]
) -> tuple[PerComponent, np.ndarray]:
    values, vectors = np.linalg.eigh(gram, UPLO="L")
    descending = np.asarray(values[::-1])
    return descending, np.asarray(vectors[:, ::-1][:, : count(descending)])


def _partly(
    gram: np.ndarray, count: Callable[[PerComponent], int]
) -> tuple[PerComponent, np.ndarray]:
    size = gram.shape[0]
    work = int(lapack.dsytrd_lwork(size, lower=1)[0])
    reflectors, diagonal, off, tau, _ = lapack.dsytrd(gram, lower=1, lwork=work)
    values = scipy.linalg.eigvalsh_tridiagonal(diagonal, off, check_finite=False)[::-1]
    wanted = min(size, count(values))
    _, vectors = scipy.linalg.eigh_tridiagonal(
        diagonal,
        off,
        select="i",
        select_range=(size - wanted, size - 1),
        check_finite=False,
        lapack_driver="stemr",
    )
    # The reduction's orthogonal factor is 1 ⊕ Q, with Q stored as a QR factorisation stores it.
    vectors[1:] = lapack.dormqr(
        "L", "N", reflectors[1:, :-1], tau, vectors[1:], lwork=_BLOCK * size
    )[0]
    return np.asarray(values), np.asarray(vectors[:, ::-1])
