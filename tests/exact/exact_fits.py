"""The curves of the contract fitted to a cosine profile by least squares, in 50 digits."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import numpy as np
import scipy.optimize
from exact_numbers import Number, Vector, dot, mean, minus, mp, root, rounded, solved

# How many free numbers each family has.
PARAMETERS = {
    "exponential": 1,
    "exponential+floor": 2,
    "power": 1,
    "damped_cosine": 2,
    "linear": 1,
}


def loss(wanted: Vector, curve: Vector) -> Number:
    rest = minus(wanted, curve)
    return dot(rest, rest)


RATES = [mp.mpf(0), *(mp.mpf(10) ** (mp.mpf(e) / 8) for e in range(-17 * 8, 14))]


def least(
    curve: Callable[[Number], Vector], slope: Callable[[Number], Vector], wanted: Vector
) -> Number:
    """Return the rate ≥ 0 of the least loss, of a curve and its derivative by the rate."""
    losses = [loss(wanted, curve(rate)) for rate in RATES]
    best = losses.index(min(losses))

    def downhill(rate: Number) -> Number:
        return dot(minus(curve(rate), wanted), slope(rate))

    low, high = RATES[max(best - 1, 0)], RATES[min(best + 1, len(RATES) - 1)]
    return root(downhill, low, high) if downhill(low) < 0 < downhill(high) else RATES[best]


class Fits:
    """The curves fitted to a profile on the lags 0 … ⌊L/2⌋."""

    def __init__(self, profile: Vector) -> None:
        self.wanted = profile[: len(profile) // 2 + 1]
        self.lags = [mp.mpf(k) for k in range(len(self.wanted))]
        self.gone = [mp.mpf(int(k == 0)) for k in self.lags]  # the limit of an infinite rate

    def exponential(self, rate: Number) -> Vector:
        return [mp.exp(-rate * k) for k in self.lags]

    @functools.cached_property
    def decay(self) -> tuple[Number, Number]:
        """The best α and its sum of squares; α is infinite where 1, 0, 0 … is as good as any."""
        rate = least(
            self.exponential,
            lambda rate: [-k * mp.exp(-rate * k) for k in self.lags],
            self.wanted,
        )
        rss, limit = loss(self.wanted, self.exponential(rate)), loss(self.wanted, self.gone)
        return (mp.inf, limit) if limit <= rss else (rate, rss)

    @property
    def r2(self) -> Number:
        """R² of the exponential."""
        return 1 - self.decay[1] / loss(self.wanted, [mean(self.wanted)] * len(self.wanted))

    def rss(self) -> dict[str, Number]:
        """Return the least sum of squares of each family."""
        return {
            "exponential": self.decay[1],
            "exponential+floor": self._with_floor(),
            "power": min(self._power(), loss(self.wanted, self.gone)),
            "damped_cosine": self._damped_cosine(),
            "linear": self._linear(),
        }

    def _with_floor(self) -> Number:
        def curve(rate: Number) -> Vector:
            fallen = [1 - mp.exp(-rate * k) for k in self.lags]
            floor = floor_of(fallen)
            return [1 - (1 - floor) * gone for gone in fallen]

        def floor_of(fallen: Vector) -> Number:
            weight = dot(fallen, fallen)
            best = 1 - dot(fallen, [1 - y for y in self.wanted]) / weight if weight else mp.mpf(0)
            return min(max(best, -1), mp.mpf(1))

        def slope(rate: Number) -> Vector:
            floor = floor_of([1 - mp.exp(-rate * k) for k in self.lags])
            return [-(1 - floor) * k * mp.exp(-rate * k) for k in self.lags]

        flat = min(max(mean(self.wanted[1:]), -1), 1)
        at_once = [mp.mpf(1), *[flat] * (len(self.wanted) - 1)]
        found = loss(self.wanted, curve(least(curve, slope, self.wanted)))
        return min(found, loss(self.wanted, at_once))

    def _power(self) -> Number:
        logs = [mp.log(1 + k) for k in self.lags]

        def curve(rate: Number) -> Vector:
            return [mp.exp(-rate * log) for log in logs]

        def slope(rate: Number) -> Vector:
            return [-log * mp.exp(-rate * log) for log in logs]

        return loss(self.wanted, curve(least(curve, slope, self.wanted)))

    def _linear(self) -> Number:
        slope = max(
            dot(self.lags, [1 - y for y in self.wanted]) / dot(self.lags, self.lags), mp.mpf(0)
        )
        return loss(self.wanted, [1 - slope * k for k in self.lags])

    def _damped_cosine(self) -> Number:
        """e^{-αk}cos ωk, α ≥ 0, 0 ≤ ω ≤ π: by Gauss & Newton from many starts."""
        wanted, lags = rounded(self.wanted), np.arange(len(self.wanted))

        rates, turns = np.array([0.0, *np.geomspace(1e-3, 8, 25)]), np.linspace(0.02, math.pi, 60)
        points = np.array([(rate, turn) for rate in rates for turn in turns])
        curves = np.exp(-points[:, :1] * lags) * np.cos(points[:, 1:] * lags)
        best = points[np.argsort(((curves - wanted) ** 2).sum(axis=1), kind="stable")[:3]]
        # For slow decay the curve is 1 - αk - ω²k²/2.
        fallen = rounded([1 - y for y in self.wanted])
        slow = scipy.optimize.nnls(np.stack([lags, lags**2 / 2], axis=1), fallen)[0]
        starts = [*best, (slow[0], math.sqrt(slow[1]))]
        return min(self._polished(mp.mpf(float(a)), mp.mpf(float(w))) for a, w in starts)

    def _polished(self, rate: Number, turn: Number) -> Number:
        """The least loss that damped Gauss-Newton steps within the bounds come to."""

        def curve(rate: Number, turn: Number) -> Vector:
            return [mp.exp(-rate * k) * mp.cos(turn * k) for k in self.lags]

        current, damping = loss(self.wanted, curve(rate, turn)), mp.mpf("1e-3")
        while damping < mp.mpf(10) ** 30:
            rest = minus(self.wanted, curve(rate, turn))
            by_rate = [-k * mp.exp(-rate * k) * mp.cos(turn * k) for k in self.lags]
            by_turn = [-k * mp.exp(-rate * k) * mp.sin(turn * k) for k in self.lags]
            free = [
                by
                for by, at, top in ((by_rate, rate, mp.mpf(50)), (by_turn, turn, mp.pi))
                if not (at <= 0 and dot(by, rest) <= 0) and not (at >= top and dot(by, rest) >= 0)
            ]
            if not free:
                break
            normal = [[dot(a, b) * (1 + damping if a is b else 1) for b in free] for a in free]
            steps = solved(normal, [[dot(a, rest)] for a in free])
            step = {id(by): value[0] for by, value in zip(free, steps, strict=True)}
            new_rate = min(max(rate + step.get(id(by_rate), 0), mp.mpf(0)), mp.mpf(50))
            new_turn = min(max(turn + step.get(id(by_turn), 0), mp.mpf(0)), mp.pi)
            tried = loss(self.wanted, curve(new_rate, new_turn))
            if tried < current:
                gain, current, rate, turn = current - tried, tried, new_rate, new_turn
                damping /= 10
                if gain < mp.mpf(10) ** -20 * current:
                    break
            else:
                damping *= 10
        return current


def aicc_of(rss: Number, count: int, parameters: int) -> Number:
    """n ln(RSS/n) + 2p + 2p(p+1)/(n-p-1), p with the variance; RSS/n not below 1e-28."""
    p = parameters + 1
    return (
        count * mp.log(max(rss / count, mp.mpf("1e-28")))
        + 2 * p
        + mp.mpf(2 * p * (p + 1)) / (count - p - 1)
    )
