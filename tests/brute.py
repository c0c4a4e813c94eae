"""Every measure of a table a second time, straight from the contract: slow and obvious.

Nothing here comes from `poslens`. Explicit L × L matrices, loops over positions and lags, NumPy's
SVD, SciPy's Spearman and scikit-learn's models stand in for the closed forms, Fourier transforms
and Gram matrices of the product, so that the two agree only if both are right.

Where the contract leaves something open, the choice made here is stated at the function.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
from scipy.linalg import polar
from scipy.ndimage import minimum_filter
from scipy.optimize import brentq
from scipy.stats import pearsonr, spearmanr
from sklearn.linear_model import LinearRegression, LogisticRegression

Array: TypeAlias = np.ndarray


def cos(a: Array, b: Array) -> float:
    """Return the cosine of the angle between two vectors."""
    return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))


def centred(rows: Array) -> Array:
    """Return C: the rows with their mean removed."""
    return rows - rows.mean(axis=0)


def total_variation(rows: Array) -> float:
    """Return TV = Σ_t ‖C_t‖²."""
    return float(sum(row @ row for row in centred(rows)))


def effective(rows: Array, gain: Array) -> Array:
    """Return the effective view: each row centred over its own dimensions, then scaled by γ."""
    return np.array([(row - row.mean()) * gain for row in rows])


# --- norms ---------------------------------------------------------------------------------


def norms(rows: Array) -> list[float]:
    """Return ‖p_t‖ for every t."""
    return [math.sqrt(sum(float(x) ** 2 for x in row)) for row in rows]


def norm_measures(rows: Array) -> dict[str, float]:
    """Return every `norm.*` that is one number and needs no token table."""
    each = norms(rows)
    median = float(np.median(each))
    mean = sum(each) / len(each)
    tail = each[-math.ceil(len(each) / 20) :]
    return {
        "norm.mean": mean,
        "norm.cv": math.sqrt(sum((n - mean) ** 2 for n in each) / len(each)) / mean,
        "norm.first_ratio": each[0] / median,
        "norm.tail_ratio": sum(tail) / len(tail) / median,
    }


def norm_outlier_rows(rows: Array) -> list[int]:
    """Return the rows further than 6 scaled median absolute deviations from the median norm.

    Norms that agree to 1e-12 are equal: without that, a table whose norms are all the same would
    have half its rows named for their rounding.
    """
    each = norms(rows)
    median = float(np.median(each))
    deviation = float(np.median([abs(n - median) for n in each]))
    bound = max(6 * 1.4826 * deviation, 1e-12 * median)
    return [t for t, n in enumerate(each) if abs(n - median) > bound]


def norm_token_ratio(rows: Array, tokens: Array) -> float:
    """Return median ‖p_t‖ ÷ median ‖e_v‖."""
    return float(np.median(norms(rows)) / np.median(norms(tokens)))


# --- cosines -------------------------------------------------------------------------------


def cosine_profile(rows: Array) -> Array:
    """Return the mean cosine at every lag, pair by pair."""
    length = len(rows)
    unit = [row / np.linalg.norm(row) for row in rows]
    matrix = np.array([[a @ b for b in unit] for a in unit])
    return np.array(
        [sum(matrix[t, t + k] for t in range(length - k)) / (length - k) for k in range(length)]
    )


def cosine_offset_share(rows: Array) -> float:
    """Return ‖mean p‖² ÷ mean ‖p‖²."""
    mean = rows.mean(axis=0)
    return float(mean @ mean / np.mean([n**2 for n in norms(rows)]))


def cosine_half_lag(profile: Array) -> int:
    """Return the first lag at which the profile is at or below one half; L if there is none."""
    return next((k for k, value in enumerate(profile) if value <= 0.5), len(profile))


def fit_lags(length: int) -> Array:
    """Return the lags on which curves are fitted: 0 … ⌊L/2⌋."""
    return np.arange(length // 2 + 1)


def cosine_monotonicity(profile: Array) -> float:
    """Return Spearman's ρ between lag and profile over 1 ≤ k ≤ ⌊L/2⌋."""
    lags = fit_lags(len(profile))[1:]
    return float(spearmanr(lags, profile[lags]).statistic)


def cosine_decay(profile: Array) -> tuple[float, float]:
    """Return the best α ≥ 0 of e^{-αk} and its R².

    The sum of squares is read on a dense grid from 0 to 60, where e^{-α} is below rounding, so
    that a second minimum cannot be missed; between the grid's neighbours the derivative is
    brought to zero. Where α → ∞ (1 at lag 0, else 0) is at least as good as the best finite α,
    no finite α attains the minimum, and the rate is infinite.
    """
    lags = fit_lags(len(profile)).astype(float)
    wanted = profile[: len(lags)]
    spread = float(np.sum((wanted - wanted.mean()) ** 2))

    def rss(alpha: float) -> float:
        return float(np.sum((wanted - np.exp(-alpha * lags)) ** 2))

    def slope(alpha: float) -> float:
        fitted = np.exp(-alpha * lags)
        return float(np.sum(lags * fitted * (wanted - fitted)))

    grid = np.concatenate([[0.0], np.geomspace(1e-15, 60.0, 3_001)])
    losses = [rss(alpha) for alpha in grid]
    best = int(np.argmin(losses))
    at_infinity = float(np.sum((wanted - (lags == 0)) ** 2))
    if at_infinity <= losses[best]:
        return math.inf, 1 - at_infinity / spread
    rate = float(grid[best])
    below, above = float(grid[max(best - 1, 0)]), float(grid[min(best + 1, len(grid) - 1)])
    if slope(below) < 0 < slope(above):
        rate = float(brentq(slope, below, above, xtol=1e-18, rtol=1e-15))
    return rate, 1 - rss(rate) / spread


RATES = np.array([0.0, *np.geomspace(1e-12, 50.0, 200)])
FREQUENCIES = np.array([0.0, *np.geomspace(1e-7, 0.01, 40), *np.linspace(0.012, math.pi, 260)])
PARAMETERS = {
    "exponential": 1,
    "exponential+floor": 2,
    "power": 1,
    "damped_cosine": 2,
    "linear": 1,
}


def family_rss(profile: Array) -> dict[str, float]:
    """Return each family's least sum of squares.

    Rates and slopes are not negative, the floor c is a cosine and so in [-1, 1], ω is in [0, π].
    For a given rate the best floor is a regression on one variable, 1 - e^{-αk}.
    """
    k = fit_lags(len(profile)).astype(float)
    wanted = profile[: len(k)]

    def with_floor(rate: Array) -> Array:
        falling = np.exp(-rate * k)
        room = 1 - falling
        across, along = (room * (wanted - falling)).sum(1), (room**2).sum(1)
        floor = np.clip(across / np.where(along == 0, 1, along), -1, 1)
        return falling + floor[:, None] * room

    curves: dict[str, tuple[Callable[..., Array], list[Array]]] = {
        "exponential": (lambda a: np.exp(-a * k), [RATES]),
        "exponential+floor": (with_floor, [RATES]),
        "power": (lambda a: (1 + k) ** -a, [RATES]),
        "damped_cosine": (lambda a, w: np.exp(-a * k) * np.cos(w * k), [RATES[::2], FREQUENCIES]),
        "linear": (lambda a: 1 - a * k, [RATES]),
    }
    result = {}
    for name, (curve, axes) in curves.items():

        def losses(points: Array, curve: Callable[..., Array] = curve) -> Array:
            return np.sum((curve(*points.T[:, :, None]) - wanted) ** 2, axis=1)

        result[name] = least(losses, axes)
    return result


def least(losses: Callable[[Array], Array], axes: list[Array]) -> float:
    """Return the least loss: a grid, and finer and finer grids about each of its best minima.

    A finer grid shrinks when its best point is inside it, and only moves when that is on its
    edge, so that it can follow a valley. ``losses`` maps points, shape (point, parameter), to
    their losses.
    """
    coarse = losses(np.array(list(itertools.product(*axes))))
    coarse = coarse.reshape([len(axis) for axis in axes])
    minima = np.argwhere(coarse == minimum_filter(coarse, size=3, mode="nearest"))
    minima = minima[np.argsort(coarse[tuple(minima.T)], kind="stable")][:6]
    steps = np.array(list(itertools.product(np.linspace(-1, 1, 9), repeat=len(axes))))
    lower, upper = np.array([[axis[0], axis[-1]] for axis in axes]).T
    best = float(coarse.min())
    for index in minima:
        centre, reach = np.empty(len(axes)), np.empty(len(axes))
        for n, (axis, i) in enumerate(zip(axes, index, strict=True)):
            neighbours = axis[max(i - 1, 0) : i + 2]
            centre[n], reach[n] = axis[i], np.abs(neighbours - axis[i]).max()
        for _ in range(150):
            points = np.clip(centre + steps * reach, lower, upper)
            values = losses(points)
            chosen = int(np.argmin(values))
            centre, best = points[chosen], min(best, float(values[chosen]))
            reach = np.where(np.abs(steps[chosen]) < 1, 0.8 * reach, reach)
    return best


def family_aicc(rss: dict[str, float], count: int) -> dict[str, float]:
    """Return AICc = n ln(RSS/n) + 2p + 2p(p+1)/(n-p-1) of each family over ``count`` lags.

    p counts the curve's parameters and the variance of the residuals, as Burnham & Anderson do.
    A mean square below 1e-28 is rounding, and counts as that.
    """
    result = {}
    for name, value in rss.items():
        p = PARAMETERS[name] + 1
        log_likelihood = count * math.log(max(value / count, 1e-28))
        result[name] = log_likelihood + 2 * p + 2 * p * (p + 1) / (count - p - 1)
    return result


# --- differences and trajectory ------------------------------------------------------------


def parallel(rows: Array, stride: int = 1) -> float:
    """Return the mean over t of cos(p_{t+s}-p_t, p_{t+2s}-p_{t+s})."""
    cosines = [
        cos(rows[t + stride] - rows[t], rows[t + 2 * stride] - rows[t + stride])
        for t in range(len(rows) - 2 * stride)
    ]
    return sum(cosines) / len(cosines)


def strides(length: int) -> list[int]:
    """Return 1, 2, 4, 8 … while 2s < L."""
    return [2**e for e in range(length) if 2 * 2**e < length]


def straightness(rows: Array) -> float:
    """Return chord ÷ path."""
    path = sum(float(np.linalg.norm(rows[t + 1] - rows[t])) for t in range(len(rows) - 1))
    return float(np.linalg.norm(rows[-1] - rows[0])) / path


def least_squares_r2(design: Array, rows: Array) -> float:
    """Return R² of the least-squares fit of all dimensions on the design's columns."""
    coefficients = np.linalg.lstsq(design, rows, rcond=None)[0]
    return 1 - float(np.sum((rows - design @ coefficients) ** 2)) / total_variation(rows)


def linear_r2(rows: Array) -> float:
    """Return R² of p_t ≈ a + t b."""
    t = np.arange(len(rows), dtype=float)
    return least_squares_r2(np.stack([np.ones_like(t), t], axis=1), rows)


def helix_scan(rows: Array) -> dict[float, float]:
    """Return R² of line and circle together for every m on the grid."""
    length = len(rows)
    t = np.arange(length, dtype=float)
    scan = {}
    turns = 0.25
    while turns <= min(16.0, length / 4):
        angle = 2 * math.pi * turns * t / length
        design = np.stack([np.ones_like(t), t, np.cos(angle), np.sin(angle)], axis=1)
        scan[turns] = least_squares_r2(design, rows)
        turns += 0.125
    return scan


def helix(rows: Array) -> tuple[float, float]:
    """Return the best R² and its m, the smallest m where several are best."""
    scan = helix_scan(rows)
    turns = max(scan, key=lambda m: scan[m])
    return scan[turns], turns


def roughness(rows: Array) -> float:
    """Return the von Neumann ratio."""
    length = len(rows)
    steps = [float(np.sum((rows[t + 1] - rows[t]) ** 2)) for t in range(length - 1)]
    return (sum(steps) / len(steps)) / (2 * total_variation(rows) / length)


def noise_share(rows: Array) -> float:
    """Return the variance that second differences attribute to rough noise, as a share."""
    length = len(rows)
    bends = [
        float(np.sum((rows[t + 2] - 2 * rows[t + 1] + rows[t]) ** 2)) for t in range(length - 2)
    ]
    return (sum(bends) / len(bends) / 6) / (total_variation(rows) / length)


# --- components ----------------------------------------------------------------------------


def eigenvalues(rows: Array) -> Array:
    """Return the eigenvalues of (1/L) CᵀC in descending order: min(L, d) of them."""
    return np.linalg.svd(centred(rows), compute_uv=False) ** 2 / len(rows)


def explained(rows: Array) -> Array:
    """Return λ_i ÷ Σλ."""
    values = eigenvalues(rows)
    return values / values.sum()


def components_for(shares: Array, wanted: float) -> int:
    """Return the fewest components whose shares sum to at least ``wanted``."""
    return next(
        n for n in range(1, len(shares) + 1) if sum(shares[:n]) >= wanted or n == len(shares)
    )


def participation_ratio(rows: Array) -> float:
    """Return (Σλ)² ÷ Σλ²."""
    values = eigenvalues(rows)
    return float(values.sum() ** 2 / np.sum(values**2))


def stable_rank(rows: Array) -> float:
    """Return Σλ ÷ λ_1."""
    values = eigenvalues(rows)
    return float(values.sum() / values[0])


def index_correlations(rows: Array, count: int = 10) -> list[float]:
    """Return |r| between t and the scores on each of the first components that have variance.

    A component whose singular value is below 1e-10 of the first is rounding, not a component.
    """
    left, singular, _ = np.linalg.svd(centred(rows), full_matrices=False)
    kept = [i for i in range(min(count, len(singular))) if singular[i] > 1e-10 * singular[0]]
    t = np.arange(len(rows))
    return [abs(float(pearsonr(t, left[:, i] * singular[i]).statistic)) for i in kept]


# --- shifts --------------------------------------------------------------------------------


def shift_lags(length: int) -> list[int]:
    """Return those of 1, 8, 64 with L > 4k."""
    return [k for k in (1, 8, 64) if length > 4 * k]


def shift_pairs(rows: Array, k: int, remainders: Sequence[int]) -> tuple[Array, Array]:
    """Return the pairs (p_i, p_{i+k}) whose i mod 4 is among the remainders."""
    chosen = [i for i in range(len(rows) - k) if i % 4 in remainders]
    return np.array([rows[i] for i in chosen]), np.array([rows[i + k] for i in chosen])


def pooled_r2(targets: Array, predictions: Array) -> float:
    """Return R² of all dimensions together, about the mean of the targets."""
    spread = float(np.sum((targets - targets.mean(axis=0)) ** 2))
    return 1 - float(np.sum((targets - predictions) ** 2)) / spread


def shift_rotation_r2(rows: Array, k: int) -> float:
    """Return the held-out R² of the best orthogonal map.

    Fewer pairs than dimensions leave Q open in some directions (singular values below 1e-12 of
    the first). There Q is the orthogonal map nearest to the identity: the polar factor of the
    identity as seen between the directions that are open on either side.
    """
    first, second = shift_pairs(rows, k, (0, 1, 2))
    left, singular, right = np.linalg.svd(first.T @ second)
    known = int(np.sum(singular > 1e-12 * singular[0]))
    rotation = left[:, :known] @ right[:known]
    if known < len(singular):
        open_left, open_right = left[:, known:], right[known:].T
        rotation = rotation + open_left @ polar(open_left.T @ open_right)[0] @ open_right.T
    held_first, held_second = shift_pairs(rows, k, (3,))
    return pooled_r2(held_second, held_first @ rotation)


def truncated_map(first: Array, second: Array, rank: int) -> Array:
    """Return M of least squares restricted to the first members' leading singular directions."""
    left, singular, right = np.linalg.svd(first, full_matrices=False)
    return right[:rank].T @ np.diag(1 / singular[:rank]) @ left[:, :rank].T @ second


def numerical_rank(matrix: Array, tolerance: float = 1e-12) -> int:
    """Return how many singular values exceed ``tolerance`` times the largest."""
    singular = np.linalg.svd(matrix, compute_uv=False)
    return int(np.sum(singular > tolerance * singular[0]))


def shift_selection(rows: Array, k: int) -> dict[int, float]:
    """Return the R² on i mod 4 = 2 of each candidate rank fitted on i mod 4 ∈ {0, 1}.

    The numerical rank is that of the first members fitted here; powers of two stay below it.
    """
    first, second = shift_pairs(rows, k, (0, 1))
    chosen_first, chosen_second = shift_pairs(rows, k, (2,))
    full = numerical_rank(first)
    candidates = sorted({2**e for e in range(1, 30) if 2**e < full} | {full})
    return {
        rank: pooled_r2(chosen_second, chosen_first @ truncated_map(first, second, rank))
        for rank in candidates
    }


def shift_r2_at(rows: Array, k: int, rank: int) -> float:
    """Return the R² on i mod 4 = 3 of the map of this rank fitted on all the rest."""
    first, second = shift_pairs(rows, k, (0, 1, 2))
    held_first, held_second = shift_pairs(rows, k, (3,))
    return pooled_r2(held_second, held_first @ truncated_map(first, second, rank))


def shift_linear(rows: Array, k: int) -> tuple[float, int]:
    """Return (`shift.r2`, `shift.rank`): the smallest rank where several score best."""
    scores = shift_selection(rows, k)
    rank = max(scores, key=lambda r: scores[r])
    return shift_r2_at(rows, k, rank), rank


# --- probes and tokens ---------------------------------------------------------------------


def position_mae(rows: Array, folds: Sequence[Array]) -> float:
    """Return the cross-validated error of reading t off p_t by least squares with intercept.

    ``folds`` are the held-out rows, fold by fold; the contract fixes only that they are five
    and shuffled. Every row counts once, so that folds of unequal size do not matter. Where rows
    do not determine the coefficients, those of least norm are taken about the training means;
    a singular value below 1e-12 of the first is rounding.
    """
    index = np.arange(len(rows))
    errors = []
    for held in folds:
        fitted = np.setdiff1d(index, held)
        mean, middle = rows[fitted].mean(axis=0), fitted.mean()
        weights = np.linalg.lstsq(rows[fitted] - mean, fitted - middle, rcond=1e-12)[0]
        errors += [abs(round(float((rows[t] - mean) @ weights + middle)) - t) for t in held]
    return sum(errors) / len(errors)


def sklearn_position_mae(rows: Array, folds: Sequence[Array]) -> float:
    """Return `position_mae` once more, by scikit-learn, whose rank tolerance is its own."""
    index = np.arange(len(rows))
    errors: list[float] = []
    for held in folds:
        fitted = np.setdiff1d(index, held)
        model = LinearRegression().fit(rows[fitted], fitted)
        errors += list(np.abs(np.rint(model.predict(rows[held])) - held))
    return float(np.mean(errors))


def order_error(
    rows: Array, first: Array, second: Array, folds: Sequence[Array], strength: float = 1.0
) -> float:
    """Return the cross-validated error rate of logistic regression on [p_a; p_b] for b > a.

    ``first`` and ``second`` are the pairs' rows a and b, ``folds`` the held-out pairs.
    ``strength`` is scikit-learn's C: an L2 penalty with an intercept that is not penalised.
    The rate is over all pairs.
    """
    features = np.array(
        [np.concatenate([rows[a], rows[b]]) for a, b in zip(first, second, strict=True)]
    )
    later = np.array([b > a for a, b in zip(first, second, strict=True)])
    wrong = 0
    for held in folds:
        fitted = np.setdiff1d(np.arange(len(later)), held)
        model = LogisticRegression(C=strength, solver="newton-cholesky", tol=1e-10)
        model.fit(features[fitted], later[fitted])
        wrong += int(np.sum(model.predict(features[held]) != later[held]))
    return wrong / len(later)


def subspace_overlap(rows: Array, tokens: Array) -> tuple[float, float]:
    """Return the mean squared cosine of the two leading subspaces, and its chance level k/d.

    Principal directions of P (mean removed) against right singular directions of the token
    table as it stands (mean kept): the squared cosines of the principal angles between them.
    """
    k = min(30, components_for(explained(rows), 0.95))
    positions = np.linalg.svd(centred(rows), full_matrices=False)[2][:k]
    words = np.linalg.svd(tokens, full_matrices=False)[2][:k]
    angles = np.linalg.svd(positions @ words.T, compute_uv=False)
    return float(np.mean(angles**2)), k / rows.shape[1]
