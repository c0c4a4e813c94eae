"""Principal components of a table (`pca.*`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from poslens.axes import Directions, PerComponent, PerLeadingComponent, Rows, Scores
from poslens.errors import UndefinedMeasureError
from poslens.geometry.validate import centered, total_variation

INDEX_COMPONENTS = 10  # components among which the one that follows the index is sought
_ROUNDING = 1e-12  # shares of variance below this are float64 rounding of the Gram matrix


@dataclass(frozen=True)
class Components:
    """The principal components of a table about its mean.

    Attributes
    ----------
    explained
        λ_i ÷ Σλ for the eigenvalues of (1/L) CᵀC, descending, shape (component,).
    directions
        The unit eigenvectors of the components with any variance, shape (dim, direction); their
        signs make each score grow with the index.
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
    total = total_variation(C, rows)
    length, dim = C.shape
    wide = length < dim
    gram = C @ C.T if wide else C.T @ C
    values, vectors = np.linalg.eigh(gram)
    explained = np.clip(values[::-1] / total, 0.0, None)
    kept = int((explained > _ROUNDING).sum())
    vectors = vectors[:, ::-1][:, :kept]
    if wide:
        vectors = C.T @ vectors
        vectors /= np.linalg.norm(vectors, axis=0)
    scores = C @ vectors[:, :INDEX_COMPONENTS]
    # An eigenvector's sign is free; fixing it makes pictures and files the same on every machine.
    signs = np.where(np.arange(length) @ scores < 0, -1.0, 1.0)
    scores *= signs
    vectors = np.ascontiguousarray(vectors)
    vectors[:, : signs.size] *= signs
    return Components(explained, vectors, scores)


def number_for(explained: PerComponent, share: float) -> int:
    """Return the fewest components whose shares sum to at least ``share``."""
    return int(np.searchsorted(np.cumsum(explained), share - _ROUNDING)) + 1


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
