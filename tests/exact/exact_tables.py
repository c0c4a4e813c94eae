"""Small seeded tables, plain and on the edge of what float64 holds."""

from __future__ import annotations

import numpy as np

PLAIN = ("rough", "walk", "curve")
NEARLY = ("tiny", "huge", "offset", "equal", "collinear", "steep", "outlier", "uneven")
# Longer than wide, and wider than long where that makes another case.
CASES = [(kind, *size) for kind in PLAIN + NEARLY for size in ((9, 5), (13, 4))] + [
    (kind, 11, 13) for kind in ("rough", "offset", "collinear")
]


def table(kind: str, length: int, dim: int) -> np.ndarray:
    rng = np.random.default_rng([length, dim])
    rough = rng.normal(size=(length, dim))
    walk = np.cumsum(rough, axis=0) + rng.normal(size=dim)
    time = np.arange(length)[:, None]
    if kind == "rough":
        return rough
    if kind == "walk":
        return walk
    if kind == "curve":
        waves = np.cos(0.4 * time * np.arange(1, 4) + rng.uniform(0, 6, 3))
        return waves @ rng.normal(size=(3, dim)) + 0.01 * rough
    if kind in ("tiny", "huge"):
        return walk * {"tiny": 1e-30, "huge": 1e30}[kind]
    if kind == "offset":  # a million times what varies
        return 1e6 * rng.normal(size=dim) + walk
    if kind == "equal":  # rows that agree to nine digits
        return rng.normal(size=dim) * (1 + 1e-9 * rough)
    if kind == "collinear":
        return rng.normal(size=dim) + time * rng.normal(size=dim) + 1e-7 * rough
    if kind == "steep":  # components of 1 to 1e-11 of the variance
        frame = np.linalg.qr(rng.normal(size=(dim, dim)))[0]
        return walk * 10.0 ** -np.linspace(0, 5.5, dim) @ frame
    if kind == "outlier":
        walk[length // 3] *= 1e8
        return walk
    if kind == "uneven":  # norms from 1e-30 to 1e30, in no order
        return walk * 10.0 ** rng.permutation(np.linspace(-30, 30, length))[:, None]
    raise ValueError(kind)


def tokens(dim: int) -> np.ndarray:
    rng = np.random.default_rng([dim, 1])
    return rng.normal(size=(2 * dim + 1, dim)) * np.linspace(2, 1, dim) + 0.2
