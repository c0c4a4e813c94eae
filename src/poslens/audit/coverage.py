"""Whether intervals hold what they are of, and p-values are uniform where their null is true."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from scipy.special import gammaln, hyp2f1

from poslens.audit.cells import EVERY
from poslens.audit.evidence import DRAWS, TableAudit
from poslens.audit.exact import share_interval, uniform_distance
from poslens.audit.truths import decay
from poslens.axes import Rows
from poslens.geometry.trajectory import squared_deviations

LEAST_HELD, MOST_HELD = 0.90, 0.99  # of intervals that are 95 % by name
RHOS = (0.5, 0.9, 0.99)

TrueValue: TypeAlias = Callable[[Rows, float], float]


def expected_cosine(correlation: float, dim: int) -> float:
    """Return E cos(x, y) of normal vectors whose coordinates are independent pairs (x_i, y_i).

    The mean of a sample correlation about known means (Hotelling 1953, J. R. Stat. Soc. B 15, §6):
    ρ (2/d) (Γ((d+1)/2) ÷ Γ(d/2))² ₂F₁(½, ½; (d+2)/2; ρ²).
    """
    gammas = math.exp(2 * (gammaln((dim + 1) / 2) - gammaln(dim / 2)))
    return float(2 / dim * gammas * correlation * hyp2f1(0.5, 0.5, dim / 2 + 1, correlation**2))


def _norm_cv(rows: Rows, rho: float) -> float:  # noqa: ARG001
    """Of χ with d degrees of freedom: its mean is √2 Γ((d+1)/2) ÷ Γ(d/2), its mean square d."""
    dim = rows.shape[1]
    mean = math.sqrt(2) * math.exp(gammaln((dim + 1) / 2) - gammaln(dim / 2))
    return math.sqrt(dim - mean**2) / mean


def _cosine_adjacent(rows: Rows, rho: float) -> float:
    return expected_cosine(rho, rows.shape[1])


# Var Δ = 2(1-ρ) and Var(p_{t+2} - 2p_{t+1} + p_t) = 2(1-ρ)(3-ρ) in each dimension. Both measures
# are shares of the variance that the table has, which is no estimate.
def _roughness(rows: Rows, rho: float) -> float:
    return float((1 - rho) * rows.shape[1] / squared_deviations(rows).mean())


def _noise_share(rows: Rows, rho: float) -> float:
    return float((1 - rho) * (3 - rho) / 3 * rows.shape[1] / squared_deviations(rows).mean())


TRUE: Mapping[str, TrueValue] = {
    "norm.stable": _norm_cv,
    "cosine.neighbours_alike": _cosine_adjacent,
    "trajectory.small_noise": _noise_share,
    "trajectory.smooth": _roughness,
}


@dataclass(frozen=True)
class Coverage:
    """How often a claim's interval held the true value on stationary decays.

    Attributes
    ----------
    claim, rho, length, dim
        Of what.
    held, below, tables
        Tables whose interval held the value, and those on which it lay below the value.
    """

    claim: str
    rho: float
    length: int
    dim: int
    held: int
    below: int
    tables: int

    @property
    def rate(self) -> float:
        """Share of the tables whose interval held the value."""
        return self.held / self.tables

    @property
    def interval(self) -> tuple[float, float]:
        """The exact 95 % interval of that share."""
        return share_interval(self.held, self.tables)

    @property
    def right(self) -> bool:
        """Whether the share is as it must be."""
        return LEAST_HELD <= self.rate <= MOST_HELD


@dataclass(frozen=True)
class Uniformity:
    """How far a claim's p-values are from uniform on tables that its null describes.

    Attributes
    ----------
    claim, process, length, dim, tables
        Of what.
    distance, p
        Kolmogorov's distance, and how often uniform values would be as far.
    """

    claim: str
    process: str
    length: int
    dim: int
    tables: int
    distance: float
    p: float


# What each null says is exchangeable, as a process of whole tables.
OWN_NULLS: tuple[tuple[str, str], ...] = (
    ("cosine.neighbours_alike", "Gaussian, offset"),
    ("cosine.decays", "Gaussian, offset"),
    ("cosine.exponential", "permuted"),
    ("difference.parallel", "permuted"),
    ("trajectory.smooth", "permuted"),
    ("trajectory.linear", "random walk"),
    ("pca.few_components", "random walk"),
    ("pca.low_dimensional", "random walk"),
)
MODEL_NULLS: tuple[tuple[str, str], ...] = (
    ("attention.learns_distance", "normal table, share 0.2"),
)


def coverage(rho: float, length: int, dim: int, tables: int, seed: int) -> list[Coverage]:
    """Count how often the intervals of decays hold the true values, claim by claim."""
    held, below = dict.fromkeys(TRUE, 0), dict.fromkeys(TRUE, 0)
    for table in range(tables):
        rng = np.random.default_rng([seed, 1, round(rho * 1000), length, dim, table])
        rows = decay(length, dim, rng, rho=rho)
        audit = TableAudit(rows, seed + table)
        for claim, true in TRUE.items():
            low, high = audit.claim(claim, 0).interval or (math.nan, math.nan)
            value = true(rows, rho)
            held[claim] += low <= value <= high
            below[claim] += high < value
    return [Coverage(c, rho, length, dim, held[c], below[c], tables) for c in TRUE]


def uniformity(
    claim: str, process: str, length: int, dim: int, tables: int, seed: int
) -> Uniformity:
    """Test that p-values are uniform under their own null.

    p has the values 1/100 … 100/100; a uniform number spreads each over its hundredth.
    """
    values = np.empty(tables)
    for table in range(tables):
        rng = np.random.default_rng([seed, 2, zlib.crc32(claim.encode()), length, dim, table])
        p = EVERY[process].audit(length, dim, 0.0, rng, seed + table).claim(claim).p_value
        values[table] = (1.0 if p is None else p) - rng.random() / (1 + DRAWS)
    distance, p = uniform_distance(values)
    return Uniformity(claim, process, length, dim, tables, distance, p)
