"""Tables with structure: lines, helices, decays, curves and waves.

All but the decays and the ray stand on an offset that every row shares, three times as long as
the curve is wide, as learned tables do.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import scipy.fft
import scipy.signal

from poslens.audit.processes import Process, Truth, claims, directions, standard
from poslens.axes import Rows
from poslens.encodings.sinusoidal import sinusoidal_rows

OFFSET = 3.0  # length of the common offset, in root mean squares of what varies
NOISES = (0.0, 0.01, 0.05)

_CURVE_WAVES = 8  # cosines that a curve's coordinates are made of
_CURVE_SHARES = (0.6, 0.25, 0.15)  # of the variance, in each of its dimensions
_LATEST_START = 1000  # of a sinusoidal table


def line(length: int, dim: int, rng: np.random.Generator) -> Rows:
    """Return p_t = a + t b with b across a; the variance is 1."""
    offset, along = directions(dim, 2, rng)
    return np.asarray(OFFSET * offset + np.outer(standard(np.arange(length)), along))


def ray(length: int, dim: int, rng: np.random.Generator) -> Rows:
    """Return p_t = (t + 1) b: a line from the origin."""
    return np.outer(np.arange(1, length + 1) / length, directions(dim, 1, rng)[0])


def helix(length: int, dim: int, rng: np.random.Generator, *, turns: int) -> Rows:
    """Return p_t = a + t b + u cos(2πmt/L) + v sin(2πmt/L); line and circle share the variance."""
    offset, along, first, second = directions(dim, 4, rng)
    angle = 2 * np.pi * turns * np.arange(length) / length + 2 * np.pi * rng.random()
    straight = np.sqrt(0.5) * np.outer(standard(np.arange(length)), along)
    circle = np.sqrt(0.5) * (np.outer(np.cos(angle), first) + np.outer(np.sin(angle), second))
    return np.asarray(OFFSET * offset + straight + circle)


def decay(
    length: int,
    dim: int,
    rng: np.random.Generator,
    *,
    rho: float | None = None,
    times: float = 4.0,
) -> Rows:
    """Return p_t = ρ p_{t-1} + √(1-ρ²) ξ_t, stationary (Ornstein & Uhlenbeck 1930).

    Without ``rho``, the correlation time -1 ÷ ln ρ is the table's length ÷ ``times``.
    """
    rho = np.exp(-times / length) if rho is None else rho
    noise = rng.standard_normal((length, dim))
    noise[1:] *= np.sqrt(1 - rho**2)
    return np.asarray(scipy.signal.lfilter([1.0], [1.0, -rho], noise, axis=0))


def curve(length: int, dim: int, rng: np.random.Generator) -> Rows:
    """Return a smooth curve in three dimensions, of eight cosines with random weights."""
    weights = np.zeros((length, len(_CURVE_SHARES)))
    weights[1 : _CURVE_WAVES + 1] = np.linalg.qr(rng.standard_normal((_CURVE_WAVES, 3)))[0]
    scores = standard(scipy.fft.idct(weights, axis=0, norm="ortho"))  # orthogonal, as weights are
    offset, *along = directions(dim, 1 + len(_CURVE_SHARES), rng)
    return np.asarray(OFFSET * offset + (scores * np.sqrt(_CURVE_SHARES)) @ np.stack(along))


def sinusoidal(length: int, dim: int, rng: np.random.Generator) -> Rows:
    """Return the encoding of Vaswani et al. (2017) from a random position on."""
    return sinusoidal_rows(np.arange(length) + rng.integers(_LATEST_START), dim)


_PURE = "sinusoid.many_frequencies"
_ROTATED = "far from the origin a shift along the curve is almost a rotation about it"
_BENDS = "its cosines fall along a curve that is no exponential, but near to one"
_SHORT = "the first component of a decay that spans the table may follow the index by chance"
_ROUGH = "it is no smooth curve, but its steps are small beside its spread"
NORMS = "with few dimensions the norms of such rows scatter by about as much as the bar allows"

_ONE_WAVE = (
    "a line and one wave span three dimensions whatever their phases: independent dimensions of "
    "that spectrum have as few"
)
_OF_ONE_WAVE = {"pca.few_components": _ONE_WAVE, "pca.low_dimensional": _ONE_WAVE}

_OF_CURVES = "trained_rows stable no_tail_explosion neighbours_alike parallel small_noise smooth"
_OF_FEW = " few_components low_dimensional"

TRUTHS: tuple[Process, ...] = (
    Process(
        "line",
        "a + t b",
        line,
        true=claims(_OF_CURVES + _OF_FEW + " decays linear pc1_is_position"),
        false=claims("many_frequencies"),
        open={"sinusoid.linear_shift": _ROTATED, "cosine.exponential": _BENDS},
        noises=NOISES,
    ),
    Process(
        "ray",
        "(t + 1) b",
        ray,
        true=claims(
            "trained_rows parallel linear pc1_is_position few_components low_dimensional "
            "small_noise smooth"
        ),
        false=claims("many_frequencies stable no_tail_explosion"),
        open={
            "sinusoid.linear_shift": _ROTATED,
            "cosine.neighbours_alike": "all rows point the same way, neighbours or not",
            "cosine.decays": "all rows point the same way at every distance",
            "cosine.exponential": "all rows point the same way at every distance",
        },
        noises=NOISES,
    ),
    Process(
        "helix, 1 turn",
        "a + t b + u cos(2πt/L) + v sin(2πt/L)",
        partial(helix, turns=1),
        true=claims(_OF_CURVES + " decays pc1_is_position"),
        false=claims("many_frequencies linear"),
        open={"sinusoid.linear_shift": _ROTATED, "cosine.exponential": _BENDS, **_OF_ONE_WAVE},
        noises=NOISES,
    ),
    Process(
        "helix, 5 turns",
        "a + t b + u cos(10πt/L) + v sin(10πt/L)",
        partial(helix, turns=5),
        true=claims(_OF_CURVES + " pc1_is_position"),
        # The cosine comes back after every turn.
        false=claims("many_frequencies linear decays exponential"),
        open={"sinusoid.linear_shift": _ROTATED, **_OF_ONE_WAVE},
        noises=NOISES,
    ),
    Process(
        "decay, ρ = 0.5",
        "p_t = ρ p_{t-1} + √(1-ρ²) ξ_t",
        partial(decay, rho=0.5),
        true=claims("decays exponential"),
        # The population's neighbours' cosine is 0.5, its roughness 0.5, its noise share 0.42; its
        # steps turn back.
        false=claims(
            "many_frequencies linear_shift neighbours_alike parallel linear pc1_is_position "
            "few_components low_dimensional small_noise smooth"
        ),
        open={
            "learned.trained_rows": "neighbours' cosines lie about the edge of what chance gives",
            "norm.stable": NORMS,
            "norm.no_tail_explosion": NORMS,
        },
        noises=NOISES,
    ),
    Process(
        "decay, ρ = 0.9",
        "p_t = ρ p_{t-1} + √(1-ρ²) ξ_t",
        partial(decay, rho=0.9),
        true=claims("trained_rows neighbours_alike decays exponential"),
        false=claims(
            "many_frequencies linear_shift parallel linear few_components low_dimensional"
        ),
        open={
            "norm.stable": NORMS,
            "norm.no_tail_explosion": NORMS,
            "pca.pc1_is_position": _SHORT,
            "trajectory.small_noise": _ROUGH,
            "trajectory.smooth": _ROUGH,
        },
        noises=NOISES,
    ),
    Process(
        "decay over L/4",
        "p_t = ρ p_{t-1} + √(1-ρ²) ξ_t with ρ = e^{-4/L}",
        decay,
        true=claims("trained_rows neighbours_alike decays exponential"),
        # Its dimensions are independent: few components are what such slow rows show by chance.
        false=claims("many_frequencies parallel linear few_components low_dimensional"),
        open={
            "sinusoid.linear_shift": "its rows hardly move",
            "norm.stable": NORMS,
            "norm.no_tail_explosion": NORMS,
            "pca.pc1_is_position": _SHORT,
            "trajectory.small_noise": _ROUGH,
            "trajectory.smooth": _ROUGH,
        },
        noises=NOISES,
    ),
    Process(
        "curve",
        "a smooth curve in three dimensions: eight cosines with random weights",
        curve,
        true=claims(_OF_CURVES + _OF_FEW),
        false=claims("many_frequencies linear_shift linear pc1_is_position"),
        open={
            "cosine.decays": "a curve may come back to where it was",
            "cosine.exponential": _BENDS,
        },
        noises=NOISES,
    ),
    Process(
        "sinusoidal",
        "the encoding of Vaswani et al. (2017), from a random position on",
        sinusoidal,
        true=claims(
            "many_frequencies linear_shift trained_rows stable no_tail_explosion "
            "neighbours_alike parallel small_noise smooth"
        ),
        false=claims("linear few_components"),
        open={
            "cosine.decays": "its cosine falls in waves",
            "cosine.exponential": _BENDS,
            "pca.pc1_is_position": "the slowest waves may follow the index over a short table",
            "pca.low_dimensional": "waves slower than the table is long share their dimensions",
        },
        noisy={
            _PURE: Truth.OPEN,  # the frequencies are there, but no pair is a pure wave
            # No map predicts the noise of another row: R² is at most 1 minus its share.
            "sinusoid.linear_shift": Truth.FALSE,
            # The steps of the fastest waves are about as long as those of the noise.
            "difference.parallel": Truth.OPEN,
        },
        noises=NOISES,
    ),
)
