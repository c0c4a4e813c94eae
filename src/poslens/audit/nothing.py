"""Tables without the structure that claims speak of: the nulls, as a model of a whole table."""

from __future__ import annotations

from functools import cache, partial

import numpy as np
import scipy.linalg

from poslens.audit.processes import Process, claims, directions
from poslens.audit.truths import NORMS, OFFSET, curve
from poslens.axes import Rows


def gaussian(length: int, dim: int, rng: np.random.Generator, *, offset: float) -> Rows:
    """Return independent normal rows of length 1 about a common offset."""
    rows = rng.standard_normal((length, dim)) / np.sqrt(dim)
    return np.asarray(rows + offset * directions(dim, 1, rng))


def permuted(length: int, dim: int, rng: np.random.Generator) -> Rows:
    """Return the rows of `truths.curve` in random order."""
    return np.asarray(rng.permutation(curve(length, dim, rng)))


def random_walk(length: int, dim: int, rng: np.random.Generator) -> Rows:
    """Return sums of independent normal steps."""
    return np.asarray(np.cumsum(rng.standard_normal((length, dim)), axis=0))


def smooth_dimensions(length: int, dim: int, rng: np.random.Generator, *, scales: int) -> Rows:
    """Return independent smooth dimensions, with correlation exp(-k²/2ℓ²) at distance k.

    ℓ is the length of the table ÷ ``scales``.
    """
    modes = _modes(length, scales)
    return np.asarray(modes @ rng.standard_normal((modes.shape[1], dim)))


@cache
def _modes(length: int, scales: int) -> np.ndarray:
    """Principal waves of such a dimension, times their standard deviations."""
    distance = np.arange(length) * scales / length
    covariance = scipy.linalg.toeplitz(np.exp(-(distance**2) / 2))
    kept = min(length, 16 + 4 * scales)  # the others hold less than rounding does
    values, vectors = scipy.linalg.eigh(covariance, subset_by_index=[length - kept, length - 1])
    return np.asarray(vectors * np.sqrt(np.maximum(values, 0.0)))


_FACT = "true or not of a table by chance: nothing in the construction makes it so"
_WALKS = "true of every walk, which the note says"

NOTHING: tuple[Process, ...] = (
    Process(
        "Gaussian",
        "independent normal rows",
        partial(gaussian, offset=0.0),
        true=claims("no_tail_explosion"),
        false=claims(
            "many_frequencies linear_shift trained_rows neighbours_alike decays exponential "
            "parallel linear pc1_is_position few_components low_dimensional small_noise smooth"
        ),
        open={"norm.stable": NORMS},
    ),
    Process(
        "Gaussian, offset",
        "independent normal rows about a common offset",
        partial(gaussian, offset=OFFSET),
        # Rows with a common offset are not fresh, which is all that the claim says.
        true=claims("trained_rows stable no_tail_explosion"),
        false=claims(
            "many_frequencies linear_shift neighbours_alike decays exponential parallel linear "
            "pc1_is_position few_components low_dimensional small_noise smooth"
        ),
        open={},
    ),
    Process(
        "permuted",
        "the rows of a curve in random order",
        permuted,
        # The order alone is lost: rows, norms and components are the curve's.
        true=claims("trained_rows stable no_tail_explosion few_components low_dimensional"),
        false=claims(
            "many_frequencies linear_shift neighbours_alike decays exponential parallel linear "
            "pc1_is_position small_noise smooth"
        ),
        open={},
    ),
    Process(
        "random walk",
        "sums of independent steps",
        random_walk,
        true=claims("trained_rows neighbours_alike"),
        # Its dimensions are independent, so its few components are those of any walk.
        false=claims("many_frequencies stable parallel linear few_components low_dimensional"),
        open={
            "sinusoid.linear_shift": _WALKS,
            "norm.no_tail_explosion": _FACT,
            "cosine.decays": _WALKS,
            "cosine.exponential": _FACT,
            "pca.pc1_is_position": _WALKS,
            "trajectory.small_noise": "a walk is no smooth curve, but its steps are small",
            "trajectory.smooth": "a walk is no smooth curve, but its steps are small",
        },
    ),
    *(
        Process(
            f"smooth dimensions, L/{scales}",
            f"independent dimensions with correlation exp(-k²/2ℓ²), ℓ = L/{scales}",
            partial(smooth_dimensions, scales=scales),
            true=claims("trained_rows neighbours_alike parallel small_noise smooth"),
            # Each dimension is smooth, and no two have anything to do with one another.
            false=claims("many_frequencies linear few_components low_dimensional"),
            open={
                "sinusoid.linear_shift": "many stationary dimensions turn as one, about",
                "norm.stable": _FACT,
                "norm.no_tail_explosion": _FACT,
                "cosine.decays": "falls, but what has fallen scatters",
                "cosine.exponential": "falls as a Gaussian does",
                "pca.pc1_is_position": _FACT,
            },
        )
        for scales in (16, 4, 2)
    ),
)
