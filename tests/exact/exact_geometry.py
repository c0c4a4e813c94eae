"""Every measure of a table in 50 digits, written from the contract's formulas and nothing else.

Where the contract leaves something open, what stands in `tests/brute.py` holds here too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from exact_numbers import (
    Number,
    Table,
    Vector,
    centred,
    columns,
    cosine,
    dot,
    identity,
    mean,
    mean_row,
    median,
    minus,
    mp,
    norm,
    pearson,
    plus,
    product,
    residual,
    singular,
    solved,
    squares,
    times,
)

RANK = mp.mpf("1e-12")  # singular values below this share of the first are zero (shift.rank)


# --- norms ---------------------------------------------------------------------------------


def norms(rows: Table) -> dict[str, Number]:
    each = [norm(row) for row in rows]
    middle, average = median(each), mean(each)
    tail = each[-math.ceil(len(each) / 20) :]
    return {
        "norm.mean": average,
        "norm.cv": mp.sqrt(mean((n - average) ** 2 for n in each)) / average,
        "norm.first_ratio": each[0] / middle,
        "norm.tail_ratio": mean(tail) / middle,
    }


def outlier_rows(rows: Table) -> list[int]:
    each = [norm(row) for row in rows]
    middle = median(each)
    spread = median(abs(n - middle) for n in each)
    return [t for t, n in enumerate(each) if abs(n - middle) > 6 * mp.mpf("1.4826") * spread]


def token_ratio(rows: Table, tokens: Table) -> Number:
    return median(norm(row) for row in rows) / median(norm(token) for token in tokens)


# --- cosines -------------------------------------------------------------------------------


def cosine_profile(rows: Table) -> Vector:
    length = len(rows)
    return [
        mean(cosine(rows[t], rows[t + k]) for t in range(length - k)) if k else mp.mpf(1)
        for k in range(length)
    ]


def offset_share(rows: Table) -> Number:
    middle = mean_row(rows)
    return dot(middle, middle) / mean(dot(row, row) for row in rows)


def half_lag(profile: Vector) -> int:
    return next((k for k, value in enumerate(profile) if value <= mp.mpf("0.5")), len(profile))


def monotonicity(profile: Vector) -> Number:
    values = profile[1 : len(profile) // 2 + 1]
    ranks = [
        mp.mpf(sum(other < value for other in values))
        + mp.mpf(sum(other == value for other in values) - 1) / 2
        for value in values
    ]
    return pearson([mp.mpf(k) for k in range(len(values))], ranks)


# --- differences and trajectory ------------------------------------------------------------


def parallel(rows: Table, stride: int = 1) -> Number:
    steps = [minus(rows[t + stride], rows[t]) for t in range(len(rows) - stride)]
    return mean(cosine(steps[t], steps[t + stride]) for t in range(len(steps) - stride))


def strides(length: int) -> list[int]:
    return [2**e for e in range(length) if 2 * 2**e < length]


def variation(rows: Table) -> Number:
    return squares(centred(rows))


def trajectory(rows: Table) -> dict[str, Number]:
    length, total = len(rows), variation(rows)
    steps = [minus(rows[t + 1], rows[t]) for t in range(length - 1)]
    bends = [minus(steps[t + 1], steps[t]) for t in range(length - 2)]
    return {
        "trajectory.straightness": norm(minus(rows[-1], rows[0])) / mp.fsum(map(norm, steps)),
        "trajectory.linear_r2": 1 - squares(residual(rows, line(length))) / total,
        "trajectory.roughness": squares(steps) / (length - 1) / (2 * total / length),
        "trajectory.noise_share": squares(bends) / (length - 2) / 6 / (total / length),
    }


def line(length: int) -> Table:
    return [[mp.mpf(1)] * length, [mp.mpf(t) for t in range(length)]]


def helix(rows: Table) -> dict[float, Number]:
    """Return R² of every m on the grid."""
    length, total, found = len(rows), variation(rows), {}
    for step in range(2, int(8 * min(16.0, length / 4)) + 1):
        turns = mp.mpf(step) / 8
        angle = [2 * mp.pi * turns * t / length for t in range(length)]
        circle = [[mp.cos(a) for a in angle], [mp.sin(a) for a in angle]]
        found[step / 8] = 1 - squares(residual(rows, line(length) + circle)) / total
    return found


# --- components ----------------------------------------------------------------------------


class Components:
    """λ_i ÷ Σλ, the scores on each component, and its direction."""

    def __init__(self, rows: Table) -> None:
        left, s, right = singular(centred(rows))
        total = mp.fsum(value**2 for value in s)
        self.explained = [value**2 / total for value in s]
        self.scores = [times(value, u) for value, u in zip(s, columns(left), strict=False)]
        self.directions = columns(right)[: len(s)]

    def number_for(self, share: Number) -> int:
        return next(
            n
            for n in range(1, len(self.explained) + 1)
            if mp.fsum(self.explained[:n]) >= share or n == len(self.explained)
        )

    def values(self) -> dict[str, Number]:
        return {
            "pca.n80": self.number_for(mp.mpf("0.80")),
            "pca.n95": self.number_for(mp.mpf("0.95")),
            "pca.participation_ratio": 1 / mp.fsum(share**2 for share in self.explained),
            "pca.stable_rank": 1 / self.explained[0],
        }

    def index_correlations(self, least_share: Number) -> Vector:
        """Return |r| of the index with the first ten scores that hold more than this share."""
        return [
            abs(pearson([mp.mpf(t) for t in range(len(scores))], scores))
            for scores, share in zip(self.scores[:10], self.explained, strict=False)
            if share > least_share
        ]


def subspace_overlap(parts: Components, tokens: Table) -> Number:
    count = min(30, parts.number_for(mp.mpf("0.95")))
    words = columns(singular(tokens)[2])[:count]
    return squares(product(parts.directions[:count], columns(words))) / count


# --- shifts --------------------------------------------------------------------------------


def shift_pairs(rows: Table, k: int, residues: Sequence[int]) -> tuple[Table, Table]:
    chosen = [i for i in range(len(rows) - k) if i % 4 in residues]
    return [rows[i] for i in chosen], [rows[i + k] for i in chosen]


def pooled_r2(targets: Table, predicted: Table) -> Number:
    error = [minus(a, b) for a, b in zip(targets, predicted, strict=True)]
    return 1 - squares(error) / squares(centred(targets))


def rotation_r2(rows: Table, k: int) -> Number:
    """Return R² of the orthogonal Procrustes map; what the pairs leave open, near the identity."""
    first, second = shift_pairs(rows, k, (0, 1, 2))
    left, s, right = singular(product(columns(first), second))
    known = sum(value > RANK * s[0] for value in s)
    u, v = columns(left), columns(right)
    rotation = product(columns(u[:known]), v[:known])
    if known < len(u):
        a, _, b = singular(product(u[known:], columns(v[known:])))
        nearest = product(a, columns(b))
        free = product(product(columns(u[known:]), nearest), v[known:])
        rotation = [plus(x, y) for x, y in zip(rotation, free, strict=True)]
    held_first, held_second = shift_pairs(rows, k, (3,))
    return pooled_r2(held_second, product(held_first, rotation))


def numerical_rank(rows: Table) -> int:
    s = singular(rows)[1]
    return sum(value > RANK * s[0] for value in s)


def mapped(first: Table, second: Table, rank: int, new: Table) -> Table:
    """Return what least squares on the first members' ``rank`` leading directions predicts."""
    left, s, right = singular(first)
    u, v = columns(left)[:rank], columns(right)[:rank]
    onto = [times(1 / value, x) for value, x in zip(s, product(u, second), strict=False)]
    return product(product(new, columns(v)), onto)


def shift_selection(rows: Table, k: int) -> dict[int, Number]:
    """Return R² on i mod 4 = 2 by rank."""
    first, second = shift_pairs(rows, k, (0, 1))
    new, target = shift_pairs(rows, k, (2,))
    full = numerical_rank(first)
    ranks = sorted({2**e for e in range(1, 10) if 2**e < full} | {full})
    return {rank: pooled_r2(target, mapped(first, second, rank, new)) for rank in ranks}


def shift_r2(rows: Table, k: int, rank: int) -> Number:
    new, target = shift_pairs(rows, k, (3,))
    return pooled_r2(target, mapped(*shift_pairs(rows, k, (0, 1, 2)), rank, new))


# --- probes --------------------------------------------------------------------------------


def position_mae(rows: Table, folds: Sequence[np.ndarray]) -> Number:
    """Return the error of least squares from p_t to t: the solution of least norm, about means."""
    errors = []
    for held in folds:
        kept = [t for t in range(len(rows)) if t not in held]
        middle, index = mean_row([rows[t] for t in kept]), mean(mp.mpf(t) for t in kept)
        left, s, right = singular([minus(rows[t], middle) for t in kept])
        rank = sum(value > RANK * s[0] for value in s)
        times_index = [dot(u, [t - index for t in kept]) for u in columns(left)[:rank]]
        weights = [mp.mpf(0)] * len(middle)
        for value, along, v in zip(s, times_index, columns(right), strict=False):
            weights = plus(weights, times(along / value, v))
        for t in held:
            errors.append(abs(mp.nint(dot(minus(rows[t], middle), weights) + index) - int(t)))
    return mean(errors)


def order_logits(
    rows: Table, first: np.ndarray, second: np.ndarray, folds: Sequence[np.ndarray]
) -> Vector:
    """Return the held-out logit of b > a for each pair, ½‖w‖² + Σ loss minimised by Newton."""
    features = [[*rows[a], *rows[b], mp.mpf(1)] for a, b in zip(first, second, strict=True)]
    later = [1 if b > a else -1 for a, b in zip(first, second, strict=True)]
    size = len(features[0])
    found: Vector = [mp.mpf(0)] * len(features)
    for held in folds:
        kept = [i for i in range(len(features)) if i not in held]
        weights = [mp.mpf(0)] * size
        for _ in range(60):
            away = [1 / (1 + mp.exp(later[i] * dot(features[i], weights))) for i in kept]
            gradient = [*weights[:-1], mp.mpf(0)]
            hessian = [times(int(i < size - 1), row) for i, row in enumerate(identity(size))]
            for i, p in zip(kept, away, strict=True):
                gradient = minus(gradient, times(later[i] * p, features[i]))
                for at, x in enumerate(features[i]):
                    hessian[at] = plus(hessian[at], times(p * (1 - p) * x, features[i]))
            step = [value[0] for value in solved(hessian, [[g] for g in gradient])]
            weights = minus(weights, step)
            if norm(step) < mp.mpf(10) ** -25 * (1 + norm(weights)):
                break
        for i in held:
            found[i] = dot(features[i], weights)
    return found
