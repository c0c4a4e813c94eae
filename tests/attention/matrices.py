"""The brute force: explicit L×L kernels, masks, and dummy-variable least squares."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Brute:
    """What the explicit matrix of one head says."""

    profile: np.ndarray
    relative_share: float
    distance_part: np.ndarray


def allowed(length: int, *, causal: bool) -> np.ndarray:
    return np.tri(length, dtype=bool) if causal else np.ones((length, length), dtype=bool)


def offsets_of_pairs(length: int) -> np.ndarray:
    """s - t at [t, s]."""
    return np.arange(length) - np.arange(length)[:, None]


def matrix(profile: np.ndarray, *, causal: bool) -> np.ndarray:
    """The L×L matrix of f(s - t), zero where it is not allowed."""
    length = profile.size if causal else (profile.size + 1) // 2
    index = np.minimum(offsets_of_pairs(length) + length - 1, profile.size - 1)
    return np.where(allowed(length, causal=causal), profile[index], 0.0)


def brute(K: np.ndarray, *, causal: bool) -> Brute:
    """Fit c_t and c_t + f(s-t) to the allowed pairs, with a column for every t and every offset."""
    length = K.shape[0]
    pairs = allowed(length, causal=causal)
    offset = offsets_of_pairs(length)[pairs]
    rows = np.eye(length)[np.nonzero(pairs)[0]]
    distances = np.eye(np.ptp(offset) + 1)[offset - offset.min()]
    design = np.hstack([rows, distances])
    y = K[pairs]

    fitted = np.linalg.lstsq(design, y, rcond=None)[0]
    rss_both = float(((y - design @ fitted) ** 2).sum())
    rss_rows = float(((y - rows @ np.linalg.lstsq(rows, y, rcond=None)[0]) ** 2).sum())
    f = fitted[length:]
    return Brute(
        profile=np.array([y[offset == k].mean() for k in range(offset.min(), offset.max() + 1)]),
        relative_share=1 - rss_both / rss_rows,
        distance_part=f - (distances @ f).mean(),
    )


def as_heads(*matrices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Queries and keys whose products are any matrices at all: the keys are unit vectors."""
    stacked = np.stack(matrices)
    return stacked, np.broadcast_to(np.eye(stacked.shape[1]), stacked.shape)
