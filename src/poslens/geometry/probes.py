"""Linear probes: how well position and order can be read from the rows (`probe.*`).

After Wang & Chen 2020, "What do position embeddings learn?" (EMNLP, arXiv:2010.04903), §4.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import scipy.linalg
import scipy.special

from poslens.axes import Rows
from poslens.errors import UndefinedMeasureError

FOLDS = 5
MIN_LENGTH = 10  # below this a fold of pairs may hold one order only

# The penalty of the logistic probe, ½‖w‖² + C·Σ loss, at the value that scikit-learn's users get.
LOGISTIC_C = 1.0

_SINGULAR = 1e-12  # directions below this share of the largest are rounding, and not used
_MOST_STEPS = 100
_SMALLEST_WEIGHT = 1e-60
_SMALLEST_STEP = 1e-6
_CONVERGED = 1e-6  # a step that gains less than this share of the loss moves no prediction
_RIDGE = 1e-11  # of a diagonal: keeps a matrix positive where rounding would not


def position_mae(rows: Rows, folds: list[np.ndarray]) -> float:
    """Return the cross-validated mean absolute error of a least-squares probe from p_t to t.

    Parameters
    ----------
    rows
        The table, shape (position, dim).
    folds
        The held-out rows of each fold; together every row once.

    Notes
    -----
    With an intercept, and the minimum-norm solution where rows are fewer than dimensions.
    Predictions are rounded to whole positions.
    """
    errors = []
    for held_out in folds:
        kept = np.setdiff1d(np.arange(rows.shape[0]), held_out)
        mean = rows[kept].mean(axis=0)
        # gelsy (a complete orthogonal factorisation) gives the same minimum-norm solution as the
        # SVD in half the time.
        weights, *_ = scipy.linalg.lstsq(
            rows[kept] - mean,
            kept - kept.mean(),
            cond=_SINGULAR,
            lapack_driver="gelsy",
            check_finite=False,
        )
        predicted = np.rint((rows[held_out] - mean) @ weights + kept.mean())
        errors.append(np.abs(predicted - held_out))
    return float(np.concatenate(errors).mean())


def order_error(
    rows: Rows, first: np.ndarray, second: np.ndarray, folds: list[np.ndarray]
) -> float:
    """Return the cross-validated error rate of a logistic probe of [p_a; p_b] for b > a.

    Parameters
    ----------
    rows
        The table, shape (position, dim).
    first, second
        a and b of each pair, shape (pair,).
    folds
        The held-out pairs of each fold; together every pair once.

    Notes
    -----
    Penalised by ½‖w‖² + C·Σ loss with C = 1 and a free intercept, as in Wang & Chen's tools. The
    error rate therefore depends on the table's scale.
    """
    later = np.where(second > first, 1.0, -1.0)
    features = np.concatenate([rows[first], rows[second]], axis=1)
    wide = features.shape[0] <= features.shape[1]
    gram = features @ features.T if wide else np.empty((0, 0))
    wrong = 0
    for held_out in folds:
        kept = np.setdiff1d(np.arange(first.size), held_out)
        if wide:
            dual, bias = _dual_fit(gram[np.ix_(kept, kept)], later[kept])
            logits = gram[np.ix_(held_out, kept)] @ dual + bias
        else:
            weights, bias = _primal_fit(features[kept], later[kept])
            logits = features[held_out] @ weights + bias
        wrong += int(((logits > 0) != (later[held_out] > 0)).sum())
    return wrong / first.size


def measures(rows: Rows, seed: int = 0) -> Mapping[str, float]:
    """Return ``probe.position_mae`` and ``probe.order_error`` for folds and pairs drawn by seed.

    Raises
    ------
    UndefinedMeasureError
        If there are fewer than 10 positions: a fold could hold one order only.
    """
    length = rows.shape[0]
    if length < MIN_LENGTH:
        raise UndefinedMeasureError(f"5-fold probes need at least {MIN_LENGTH} positions")
    rng = np.random.default_rng([seed, 1])
    folds = np.array_split(rng.permutation(length), FOLDS)
    first = np.asarray(rng.integers(length, size=length))
    second = np.asarray((first + rng.integers(1, length, size=length)) % length)
    return {
        "probe.position_mae": position_mae(rows, folds),
        "probe.order_error": order_error(rows, first, second, _pair_folds(rng, length)),
    }


def _pair_folds(rng: np.random.Generator, pairs: int) -> list[np.ndarray]:
    return np.array_split(rng.permutation(pairs), FOLDS)


def _primal_fit(features: np.ndarray, sign: np.ndarray) -> tuple[np.ndarray, float]:
    """Minimise ½‖w‖² + C Σ log(1 + e^{-sign·(Xw + b)}) by Newton's method; returns w and b."""
    count, dim = features.shape
    design = np.concatenate([features, np.ones((count, 1))], axis=1)
    penalty = np.append(np.ones(dim), 0.0)  # the intercept is free

    def loss(weights: np.ndarray) -> float:
        return float(0.5 * penalty @ weights**2) + _logistic_loss(sign * (design @ weights))

    def step(weights: np.ndarray) -> np.ndarray:
        probability = scipy.special.expit(design @ weights)
        gradient = penalty * weights + LOGISTIC_C * design.T @ (probability - (sign > 0))
        scaled = design * np.sqrt(LOGISTIC_C * probability * (1.0 - probability))[:, None]
        hessian = scaled.T @ scaled
        hessian[np.diag_indices(dim + 1)] += penalty
        # Scaled to a unit diagonal, the system does not see the units of the features.
        scale = 1 / np.sqrt(np.maximum(np.diag(hessian), _RIDGE))
        hessian *= scale[:, None] * scale
        hessian[np.diag_indices(dim + 1)] += _RIDGE
        factor = scipy.linalg.cho_factor(hessian, overwrite_a=True, check_finite=False)
        solved = scipy.linalg.cho_solve(factor, scale * gradient, check_finite=False)
        return -np.asarray(scale * solved)

    found = _newton(loss, step, np.zeros(dim + 1))
    return found[:-1], float(found[-1])


def _dual_fit(gram: np.ndarray, sign: np.ndarray) -> tuple[np.ndarray, float]:
    """Minimise the same for w = Xᵀa: an n×n system where features outnumber pairs; a and b.

    Each step solves (K + W⁻¹)a = z - b with Σa = 0, by the factorisation of I + W½KW½ that stays
    well conditioned as W → 0 (Rasmussen & Williams 2006, algorithm 3.1).
    """
    count = sign.size

    def loss(point: np.ndarray) -> float:
        fitted = gram @ point[:-1]
        return float(0.5 * point[:-1] @ fitted) + _logistic_loss(sign * (fitted + point[-1]))

    def step(point: np.ndarray) -> np.ndarray:
        logits = gram @ point[:-1] + point[-1]
        probability = scipy.special.expit(logits)
        # The floor keeps products of weights out of the subnormal range, where arithmetic is slow.
        weight = LOGISTIC_C * np.maximum(probability * (1.0 - probability), _SMALLEST_WEIGHT)
        root = np.sqrt(weight)
        inner = root[:, None] * gram * root
        inner[np.diag_indices(count)] += 1.0
        # Features of any size leave it positive; beyond 1/ridge they drown the 1.
        inner[np.diag_indices(count)] *= 1.0 + _RIDGE
        target = weight * logits + LOGISTIC_C * ((sign > 0) - probability)  # W z
        factor = scipy.linalg.cho_factor(inner, overwrite_a=True, check_finite=False)
        sides = np.stack([root * (gram @ target), root], axis=1)
        solved = root[:, None] * scipy.linalg.cho_solve(factor, sides, check_finite=False)
        from_target, from_one = target - solved[:, 0], solved[:, 1]
        bias = from_target.sum() / max(from_one.sum(), _RIDGE)
        return np.asarray(np.append(from_target - bias * from_one, bias) - point)

    found = _newton(loss, step, np.zeros(count + 1))
    return found[:-1], float(found[-1])


def _logistic_loss(margins: np.ndarray) -> float:
    return float(LOGISTIC_C * np.logaddexp(0.0, -margins).sum())


def _newton(
    loss: Callable[[np.ndarray], float],
    step: Callable[[np.ndarray], np.ndarray],
    start: np.ndarray,
) -> np.ndarray:
    """Newton's method on a convex loss, each step halved until the loss falls.

    It is started from zero, where no probability is saturated: from a wrong and certain fit (the
    neighbouring fold's, say) the quadratic model is useless and takes far more steps.
    """
    point, current = start, loss(start)
    for _ in range(_MOST_STEPS):
        direction = step(point)
        size = 1.0
        while (candidate := loss(point + size * direction)) > current and size > _SMALLEST_STEP:
            size /= 2
        gain = current - candidate
        if gain <= 0:
            break
        point, current = point + size * direction, candidate
        if gain < _CONVERGED * current:
            break
    return point
