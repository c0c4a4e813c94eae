"""Tables for the tests of compression, and what its factors mean, written another way."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy.interpolate import BSpline

from poslens.edit.bases import spline_degree, spline_knots

SIZES = ((131, 24), (33, 48), (17, 17), (4, 7), (3, 1))


def smooth(length: int, dim: int, noise: float = 0.1) -> np.ndarray:
    """A curve of three waves with noise."""
    rng = np.random.default_rng([length, dim])
    time = np.linspace(0, 1, length)[:, None]
    waves = np.cos(2 * np.pi * time * np.arange(1, 4) + rng.uniform(0, 6, 3))
    return waves @ rng.normal(size=(3, dim)) + 1.0 + noise * rng.normal(size=(length, dim))


def cosine_functions(length: int, count: int) -> np.ndarray:
    """The lowest orthonormal cosines, shape (position, function), by their formula."""
    functions = np.cos(np.pi * np.outer(np.arange(length) + 0.5, np.arange(count)) / length)
    return functions * np.sqrt(np.where(np.arange(count), 2, 1) / length)


def spline_values(length: int, coefficients: np.ndarray) -> np.ndarray:
    """The rows that coefficients of splines give."""
    count = coefficients.shape[0]
    spline = BSpline(spline_knots(length, count), coefficients, spline_degree(count))
    return spline(np.arange(length, dtype=float))


def rebuilt(method: str, factors: Mapping[str, np.ndarray], length: int) -> np.ndarray:
    """The rows that stored factors stand for."""
    first, *right = factors.values()
    if method == "svd" or (right and first.shape[0] == length):
        columns = first
    elif method.startswith("cosine"):
        columns = cosine_functions(length, first.shape[0]) @ first
    else:
        columns = spline_values(length, first)
    return columns @ right[0] if right else columns


def share(missed: np.ndarray, rows: np.ndarray) -> float:
    return float(np.linalg.norm(missed) / np.linalg.norm(rows))
