"""Seeded tables of the kinds that measures meet, for the tests of this folder."""

from __future__ import annotations

import numpy as np

KINDS = (
    "gaussian",
    "random_walk",
    "line_noise",
    "helix",
    "sinusoidal",
    "ar1",
    "offset",
    "float32",
    "float16",
)
# Odd and even L; L < d and L > d; few dimensions and many.
SIZES = ((33, 16), (64, 17), (65, 48), (257, 24), (130, 200))


def table(kind: str, length: int, dim: int, seed: int = 0) -> np.ndarray:
    """Return a table of this kind, in the dtype in which a checkpoint would store it."""
    rng = np.random.default_rng([seed, length, dim, KINDS.index(kind)])
    noise = rng.normal(size=(length, dim))
    t = np.arange(length)[:, None]
    if kind == "gaussian":
        return noise
    if kind == "random_walk":
        return np.cumsum(noise, axis=0)
    if kind == "line_noise":
        return rng.normal(size=dim) + t / length * rng.normal(size=dim) + 0.05 * noise
    if kind == "helix":
        line, cosine, sine = np.linalg.qr(rng.normal(size=(dim, 3)))[0].T
        angle = 2 * np.pi * 2.5 * t / length
        return t / length * line + np.cos(angle) * cosine + np.sin(angle) * sine
    if kind == "sinusoidal":
        angle = t / 10_000.0 ** (np.arange(0, dim, 2) / dim)
        rows = np.empty((length, dim))
        rows[:, 0::2], rows[:, 1::2] = np.sin(angle), np.cos(angle)[:, : dim // 2]
        return rows
    if kind == "ar1":
        return ar1(noise, 0.9)
    if kind == "offset":
        return 100 * rng.normal(size=dim) + ar1(noise, 0.95)
    if kind == "float32":
        return (0.02 * np.cumsum(noise, axis=0)).astype(np.float32)
    if kind == "float16":
        return (0.02 * ar1(noise, 0.8)).astype(np.float16)
    raise ValueError(kind)


def ar1(noise: np.ndarray, rho: float) -> np.ndarray:
    """Return p_t = ρ p_{t-1} + √(1-ρ²) ξ_t, stationary from the first row."""
    rows = [noise[0]]
    for innovation in noise[1:]:
        rows.append(rho * rows[-1] + np.sqrt(1 - rho**2) * innovation)
    return np.array(rows)
