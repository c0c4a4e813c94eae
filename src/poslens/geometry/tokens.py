"""Positions beside the tokens they are added to (`norm.token_ratio`, `tokens.*`)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from poslens.axes import Directions, PerDim, Rows, TokenRows
from poslens.errors import UndefinedMeasureError
from poslens.geometry.components import (
    MOST_DIRECTIONS,
    Components,
    leading_directions,
    number_for,
)
from poslens.geometry.norms import row_norms
from poslens.geometry.views import effective

_BLOCK_ROWS = 4096  # a vocabulary is converted to float64 a block at a time


class TokenGeometry:
    """Norms and second moments of a token table, read once in blocks.

    Parameters
    ----------
    tokens
        The token table, shape (token, dim), any float dtype.
    scales, centre
        The view: see `poslens.geometry.views.effective`. No scales for the raw view.

    Attributes
    ----------
    norms
        ‖e_v‖, shape (token,).
    gram
        EᵀE, shape (dim, dim): its eigenvectors are E's right singular directions.
    """

    def __init__(
        self, tokens: TokenRows, scales: tuple[PerDim, ...] = (), *, centre: bool = True
    ) -> None:
        count, dim = tokens.shape
        self.norms = np.empty(count)
        self.gram = np.zeros((dim, dim))
        for start in range(0, count, _BLOCK_ROWS):
            block = tokens[start : start + _BLOCK_ROWS].astype(np.float64)
            block = effective(block, scales, centre=centre) if scales else block
            self.norms[start : start + _BLOCK_ROWS] = row_norms(block)
            self.gram += block.T @ block


def norm_ratio(rows: Rows, tokens: TokenGeometry) -> float:
    """Return median ‖p_t‖ ÷ median ‖e_v‖, ``norm.token_ratio``.

    Raises
    ------
    UndefinedMeasureError
        If the median token is zero.
    """
    median = float(np.median(tokens.norms))
    if median == 0:
        raise UndefinedMeasureError("at least half of the token table's rows are zero")
    return float(np.median(row_norms(rows)) / median)


def subspace_overlap(positions: Directions, tokens: Directions) -> float:
    """Return the mean squared cosine between two k-dimensional subspaces of R^d.

    Both are given by orthonormal columns, shape (dim, k). Two random subspaces give k/d.
    """
    return float(((positions.T @ tokens) ** 2).sum() / positions.shape[1])


def overlap_measures(parts: Components, tokens: TokenGeometry) -> Mapping[str, float]:
    """Return ``tokens.subspace_overlap`` and its chance level k/d."""
    count = min(MOST_DIRECTIONS, number_for(parts.explained, 0.95))
    _, vectors = np.linalg.eigh(tokens.gram)
    overlap = subspace_overlap(leading_directions(parts, count), vectors[:, ::-1][:, :count])
    return {
        "tokens.subspace_overlap": overlap,
        "tokens.subspace_overlap_chance": count / parts.directions.shape[0],
    }
