"""Do rows of a learned table still look like the noise that they started from? (article §2.2)"""

from __future__ import annotations

import numpy as np
import scipy.special

from poslens.axes import Rows

LOW, HIGH = 0.01, 0.99


def untrained_rows(rows: Rows, init_std: float) -> np.ndarray:
    """Mark the rows whose norm and neighbour cosine are both ordinary for fresh N(0, σ²) rows.

    Both lie inside the 1–99 % range of their exact distribution: ‖p‖² is σ²·χ² with d degrees of
    freedom, and (1 + cos)/2 of two independent directions is Beta((d-1)/2, (d-1)/2). A row's
    neighbour is the next row; the last row's is the one before.

    Returns
    -------
    Booleans, shape (position,).
    """
    dim = rows.shape[1]
    squares = np.einsum("td,td->t", rows, rows)
    low, high = init_std**2 * 2 * scipy.special.gammaincinv(dim / 2, [LOW, HIGH])
    ordinary_norm = (squares >= low) & (squares <= high)
    neighbour = np.append(np.arange(1, rows.shape[0]), rows.shape[0] - 2)
    lengths = np.sqrt(squares * squares[neighbour])
    dots = np.einsum("td,td->t", rows, rows[neighbour])
    # A zero row's cosine is undefined, but its norm has already ruled it out.
    cosines = np.divide(dots, lengths, out=np.ones_like(dots), where=lengths > 0)
    if dim == 1:
        return np.asarray(ordinary_norm)  # in one dimension every cosine is ±1
    edge = 2 * scipy.special.betaincinv((dim - 1) / 2, (dim - 1) / 2, HIGH) - 1
    return np.asarray(ordinary_norm & (np.abs(cosines) <= edge))
