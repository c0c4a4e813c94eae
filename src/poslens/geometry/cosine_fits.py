"""Curves fitted to the cosine profile: the article's e^{-αk}, and its rivals.

All are fitted by least squares on the lags 0 … ⌊L/2⌋ and compared by AICc (Hurvich & Tsai 1989).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.fft
import scipy.optimize

from poslens.axes import PerFitLag, PerLag
from poslens.errors import UndefinedMeasureError

Curve = Callable[[Any], np.ndarray]

# Decay rates to start from: from the slowest that float64 can tell from none, to a curve that is
# gone at lag 1. The least-squares error has several minima, so a local search alone will not do.
_RATES = np.concatenate([[0.0], np.geomspace(1e-16, 40.0, 360)])
_DAMPED_RATES = np.concatenate([[0.0], np.geomspace(1e-16, 4.0, 90)])

_SAME = 1e-24  # errors closer than this are equal
_SMALLEST_RSS = 1e-28  # per lag: an error this small is float64 rounding, not a better fit


@dataclass(frozen=True)
class Fit:
    """One family fitted to a profile.

    Attributes
    ----------
    family
        Its name in the contract.
    parameters
        By name; lags count in positions, ω in radians per position.
    curve
        The fitted values at lags 0 … ⌊L/2⌋, shape (fit_lag,).
    rss
        Residual sum of squares.
    aicc
        n ln(RSS/n) + 2K + 2K(K+1)/(n-K-1), K the number of parameters and the error variance.
    """

    family: str
    parameters: Mapping[str, float]
    curve: PerFitLag
    rss: float
    aicc: float


def fitted_part(profile: PerLag) -> PerFitLag:
    """Return the profile at the lags that curves are fitted on, 0 … ⌊L/2⌋."""
    return profile[: profile.size // 2 + 1]


def decay(profile: PerLag) -> tuple[float, float]:
    """Return α ≥ 0 of the best e^{-αk} and its R² (``cosine.decay_rate``, ``cosine.exp_r2``).

    α is infinite where no finite rate is best: the profile is not positive at lag 1, so that the
    best "exponential" is 1 at lag 0 and 0 everywhere else. R² may be negative.

    Raises
    ------
    UndefinedMeasureError
        If the profile does not vary, so that there is nothing to explain.
    """
    y = fitted_part(profile)
    k = np.arange(y.size, dtype=np.float64)
    total = require_decay(profile)
    rate = _decay_rate(y, k)
    return rate, 1.0 - _rss(y, _exponential(k, rate)) / total


def require_decay(profile: PerLag) -> float:
    """Return the sum of squares of the fitted part of a profile about its mean.

    Raises
    ------
    UndefinedMeasureError
        If it is rounding: the profile does not vary.
    """
    y = fitted_part(profile)
    total = float(((y - y.mean()) ** 2).sum())
    if total < y.size * _SAME:
        raise UndefinedMeasureError("the cosine is the same at every lag: no decay to fit")
    return total


def exponential_measures(profile: PerLag) -> Mapping[str, float | None]:
    """Return ``cosine.decay_rate`` (None if infinite) and ``cosine.exp_r2``.

    Raises
    ------
    UndefinedMeasureError
        If the profile does not vary.
    """
    rate, r2 = decay(profile)
    return {"cosine.decay_rate": rate if math.isfinite(rate) else None, "cosine.exp_r2": r2}


def fit_families(profile: PerLag) -> list[Fit]:
    """Fit every family for which the table is long enough, in the contract's order."""
    y = fitted_part(profile)
    k = np.arange(y.size, dtype=np.float64)
    fits = []
    for family, fit in _FAMILIES.items():
        parameters, curve = fit(y, k)
        count = len(parameters) + 1
        if y.size - count - 1 > 0:
            rss = _rss(y, curve)
            fits.append(Fit(family, parameters, curve, rss, _aicc(rss, y.size, count)))
    return fits


def best_family(fits: list[Fit]) -> str:
    """Return the family with the lowest AICc; the simpler, listed first, where two are equal.

    Raises
    ------
    UndefinedMeasureError
        If the table is too short for any family.
    """
    if not fits:
        raise UndefinedMeasureError("AICc needs at least 6 positions")
    return min(fits, key=lambda fit: fit.aicc).family


def _aicc(rss: float, n: int, count: int) -> float:
    likelihood = n * math.log(max(rss / n, _SMALLEST_RSS))
    return likelihood + 2 * count + 2 * count * (count + 1) / (n - count - 1)


def _rss(y: PerFitLag, curve: PerLag) -> float:
    residual = y - curve
    return float(residual @ residual)


def _exponential(k: np.ndarray, rate: float) -> np.ndarray:
    # The limit of e^{-αk} for α → ∞ is 1 at k = 0 and 0 elsewhere.
    return np.exp(-rate * k) if math.isfinite(rate) else (k == 0).astype(np.float64)


def _decay_rate(y: PerFitLag, k: np.ndarray) -> float:
    model = _Model(lambda rate: _exponential(k, rate), lambda rate: -k * np.exp(-rate * k))
    return _least(model, y, limit=_exponential(k, math.inf))


@dataclass(frozen=True)
class _Model:
    """A curve with one parameter that counts, and its derivative by that parameter."""

    curve: Curve
    derivative: Curve


def _least(model: _Model, y: PerFitLag, limit: np.ndarray) -> float:
    """Global minimum over rate ≥ 0: the grid finds the basin, a root of the slope its bottom.

    The loss itself is flat to rounding within 1e-8 of the best rate; its slope still has a sign.
    Infinite where ``limit``, the curve for an infinite rate, is at least as good.
    """
    losses = np.array([_rss(y, model.curve(rate)) for rate in _RATES])
    best = int(losses.argmin())
    if _rss(y, limit) <= losses[best] + _SAME:
        return math.inf
    low, high = float(_RATES[max(best - 1, 0)]), float(_RATES[min(best + 1, _RATES.size - 1)])

    def slope(rate: float) -> float:
        return float((model.curve(rate) - y) @ model.derivative(rate))

    if slope(low) < 0 < slope(high):
        return float(scipy.optimize.brentq(slope, low, high, xtol=1e-300, rtol=1e-14))
    return float(_RATES[best])  # on the edge of the grid, or on a loss that is flat to rounding


def _fit_exponential(y: PerFitLag, k: np.ndarray) -> tuple[dict[str, float], np.ndarray]:
    rate = _decay_rate(y, k)
    return {"rate": rate}, _exponential(k, rate)


def _fit_exponential_floor(y: PerFitLag, k: np.ndarray) -> tuple[dict[str, float], np.ndarray]:
    """(1-c)e^{-αk}+c is linear in c: its best value is exact; a cosine, it is kept in [-1, 1]."""

    def floor(rate: float) -> float:
        fallen = -np.expm1(-rate * k)  # 1 - e^{-αk}, without cancellation for slow decay
        weight = float(fallen @ fallen)
        return float(np.clip(1 - fallen @ (1 - y) / weight, -1.0, 1.0)) if weight > 0 else 0.0

    def curve(rate: float) -> np.ndarray:
        return np.asarray(1 + (1 - floor(rate)) * np.expm1(-rate * k))

    def derivative(rate: float) -> np.ndarray:  # at the best c, whose own change costs nothing
        return np.asarray(-(1 - floor(rate)) * k * np.exp(-rate * k))

    flat = float(np.clip(y[1:].mean(), -1.0, 1.0)) if y.size > 1 else 0.0
    limit = np.where(k == 0, 1.0, flat)
    rate = _least(_Model(curve, derivative), y, limit)
    if math.isinf(rate):
        return {"rate": rate, "floor": flat}, limit
    return {"rate": rate, "floor": floor(rate)}, curve(rate)


def _fit_power(y: PerFitLag, k: np.ndarray) -> tuple[dict[str, float], np.ndarray]:
    log = np.log1p(k)
    model = _Model(lambda a: np.exp(-a * log), lambda a: -log * np.exp(-a * log))
    exponent = _least(model, y, limit=_exponential(k, math.inf))
    curve = model.curve(exponent) if math.isfinite(exponent) else _exponential(k, exponent)
    return {"exponent": exponent}, curve


def _fit_damped_cosine(y: PerFitLag, k: np.ndarray) -> tuple[dict[str, float], np.ndarray]:
    """e^{-αk}cos ωk, polished from the best of a grid and from its small-angle limit."""

    def residual(parameters: np.ndarray) -> np.ndarray:
        rate, frequency = parameters
        return np.asarray(np.exp(-rate * k) * np.cos(frequency * k) - y)

    # For slow decay the curve is 1 - αk - ω²k²/2, and the fit linear with both terms positive.
    slow, _ = scipy.optimize.nnls(np.stack([k, k**2 / 2], axis=1), 1 - y)
    starts = [_damped_grid(y, k), (float(slow[0]), math.sqrt(float(slow[1])))]
    best = min((_polish(residual, start) for start in starts), key=lambda found: found[0])
    _, rate, frequency = best
    return {"rate": rate, "frequency": frequency}, np.exp(-rate * k) * np.cos(frequency * k)


def _damped_grid(y: PerFitLag, k: np.ndarray) -> tuple[float, float]:
    """The best (α, ω) on a grid: for each α one FFT gives the error at every ω in [0, π].

    Σ_k (y_k - e_k cos ωk)² = Σ y² - 2 Re F[y e](ω) + ½ Σ e² + ½ Re F[e²](2ω).
    """
    size = 2 * int(scipy.fft.next_fast_len(4 * y.size, real=True))
    index = np.arange(size // 2 + 1)
    doubled = np.minimum(2 * index, size - 2 * index)  # F[e²] is even and periodic
    best = (math.inf, 0.0, 0.0)
    for rate in _DAMPED_RATES:
        falling = np.exp(-rate * k)
        cross = scipy.fft.rfft(y * falling, size).real
        square = scipy.fft.rfft(falling**2, size).real
        loss = 0.5 * (square[0] + square[doubled]) - 2 * cross
        lowest = int(loss.argmin())
        if loss[lowest] < best[0]:
            best = (float(loss[lowest]), float(rate), 2 * math.pi * lowest / size)
    # At ω = 0 the error is flat in ω, and a search would stay there.
    return best[1], max(best[2], math.pi / size)


def _polish(residual: Curve, start: tuple[float, float]) -> tuple[float, float, float]:
    """Least squares from a start; returns the error, α and ω.

    The search stays 1e-10 off its bounds, at which the slowest decays end, so that the start may
    be better than what is found.
    """
    upper = (50.0, math.pi)
    origin = [
        min(max(value, 1e-16), top * (1 - 1e-12)) for value, top in zip(start, upper, strict=True)
    ]
    found = scipy.optimize.least_squares(
        residual,
        origin,
        bounds=([0.0, 0.0], upper),
        x_scale=np.array(origin),
        xtol=1e-15,
        ftol=1e-15,
        gtol=1e-15,
    )
    started = residual(np.array(start))
    return min(
        (2 * float(found.cost), float(found.x[0]), float(found.x[1])),
        (float(started @ started), *start),
    )


def _fit_linear(y: PerFitLag, k: np.ndarray) -> tuple[dict[str, float], np.ndarray]:
    slope = max(0.0, float(k @ (1.0 - y) / (k @ k))) if y.size > 1 else 0.0
    return {"slope": slope}, 1.0 - slope * k


_FAMILIES: Mapping[str, Callable[[PerFitLag, np.ndarray], tuple[dict[str, float], np.ndarray]]] = {
    "exponential": _fit_exponential,
    "exponential+floor": _fit_exponential_floor,
    "power": _fit_power,
    "damped_cosine": _fit_damped_cosine,
    "linear": _fit_linear,
}
