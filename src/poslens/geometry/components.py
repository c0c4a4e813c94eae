"""Principal components of a table (`pca.*`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from poslens.axes import Directions, PerComponent, PerLeadingComponent, Rows, Scores
from poslens.errors import UndefinedMeasureError
from poslens.geometry.spectrum import gram_spectrum
from poslens.geometry.validate import centered, total_variation

INDEX_COMPONENTS = 10  # components among which the one that follows the index is sought
MOST_DIRECTIONS = 30  # directions that are compared with those of the tokens
_ROUNDING = 1e-12  # shares of variance below this are float64 rounding of the Gram matrix


@dataclass(frozen=True)
class Components:
    """The principal components of a table about its mean.

    Attributes
    ----------
    explained
        λ_i ÷ Σλ for the eigenvalues of (1/L) CᵀC, descending, shape (component,).
    directions
        Unit eigenvectors of the leading components (those that hold 95 % of the variance, but 10
        to 30, and none without variance), shape (dim, direction). Their signs make the first ten
        scores grow with the index.
    scores
        C times the first ten directions, shape (position, leading_component).
    """

    explained: PerComponent
    directions: Directions
    scores: Scores


def principal_components(rows: Rows) -> Components:
    """Return the components, from whichever Gram matrix of C is smaller.

    Raises
    ------
    UndefinedMeasureError
        If all rows are identical.
    """
    C = centered(rows)
    values, vectors = gram_spectrum(C, 1 / total_variation(C, rows), _looked_at)
    explained = np.clip(values, 0.0, None)
    vectors = vectors[:, : int((explained[: vectors.shape[1]] > _ROUNDING).sum())]
    if C.shape[0] < C.shape[1]:
        vectors = C.T @ vectors
        vectors /= np.linalg.norm(vectors, axis=0)
    scores = C @ vectors[:, :INDEX_COMPONENTS]
    # An eigenvector's sign is free; fixing it makes pictures and files the same on every machine.
    signs = np.where(np.arange(C.shape[0]) @ scores < 0, -1.0, 1.0)
    scores *= signs
    vectors = np.ascontiguousarray(vectors)
    vectors[:, : signs.size] *= signs
    return Components(explained, vectors, scores)


def _looked_at(explained: PerComponent) -> int:
    """How many directions any measure looks at: those that hold 95 %, but 10 to 30."""
    return max(INDEX_COMPONENTS, min(MOST_DIRECTIONS, number_for(explained, 0.95)))


def number_for(explained: PerComponent, share: float) -> int:
    """Return the fewest components whose shares sum to at least ``share``."""
    return int(np.searchsorted(np.cumsum(explained), share - _ROUNDING)) + 1


def components_for(explained: PerComponent, share: float) -> float:
    """Return how many components hold ``share``, the last of them counted in part.

    Unlike `number_for` it tells apart tables that need the same number.
    """
    sums = np.cumsum(explained)
    last = number_for(explained, share) - 1
    before = float(sums[last - 1]) if last else 0.0
    return last + (share - before) / float(explained[last])


def participation_ratio(explained: PerComponent) -> float:
    """Return (Σλ)² ÷ Σλ²: d for a sphere, 1 for a line."""
    return float(explained.sum() ** 2 / (explained @ explained))


def stable_rank(explained: PerComponent) -> float:
    """Return Σλ ÷ λ_1 (Song & Zhong 2023, arXiv:2310.04861, §2)."""
    return float(explained.sum() / explained[0])


def index_correlations(scores: Scores) -> PerLeadingComponent:
    """Return |Pearson r| between the index and the scores on each component."""
    index = np.arange(scores.shape[0]) - (scores.shape[0] - 1) / 2
    lengths = np.linalg.norm(scores, axis=0) * np.linalg.norm(index)
    return np.asarray(np.clip(np.abs(index @ scores) / lengths, 0.0, 1.0))


def measures(parts: Components) -> Mapping[str, float | int | list[float]]:
    """Return every ``pca.*`` measure.

    ``pca.best_index_component`` counts from 1, as in "PC1".
    """
    correlations = index_correlations(parts.scores)
    best = int(correlations.argmax())
    return {
        "pca.explained": parts.explained.tolist(),
        "pca.n80": number_for(parts.explained, 0.80),
        "pca.n95": number_for(parts.explained, 0.95),
        "pca.participation_ratio": participation_ratio(parts.explained),
        "pca.stable_rank": stable_rank(parts.explained),
        "pca.pc1_index_correlation": float(correlations[0]),
        "pca.best_index_correlation": float(correlations[best]),
        "pca.best_index_component": best + 1,
    }


def leading_directions(parts: Components, count: int) -> Directions:
    """Return the first ``count`` principal directions, shape (dim, count).

    Raises
    ------
    UndefinedMeasureError
        If fewer components have any variance.
    """
    if parts.directions.shape[1] < count:
        raise UndefinedMeasureError(
            f"only {parts.directions.shape[1]} components have any variance, not {count}"
        )
    return parts.directions[:, :count]
