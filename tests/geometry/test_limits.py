"""Tables whose measures are known from theory, without any implementation to compare with."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from numpy.testing import assert_allclose
from tables import ar1, table

from poslens.errors import UndefinedMeasureError
from poslens.geometry import (
    components,
    cosine,
    cosine_fits,
    difference,
    measures_of_table,
    norms,
    probes,
    shift,
    trajectory,
)


def rotated(rows: np.ndarray, dim: int, seed: int = 0) -> np.ndarray:
    """Return the rows in a random orthonormal frame of a larger space."""
    frame = np.linalg.qr(np.random.default_rng(seed).normal(size=(dim, rows.shape[1])))[0]
    return rows @ frame.T


def circle(length: int, turns: float) -> np.ndarray:
    angle = 2 * np.pi * turns * np.arange(length) / length
    return np.stack([np.cos(angle), np.sin(angle)], axis=1)


def test_random_walk_has_one_component_of_six_over_pi_squared() -> None:
    # The eigenvalues of a walk of L steps go as 1/sin²(πi/2L), and sum to 2(L²-1)/3 in that unit.
    # Each is a sum of d squares, so it scatters by √(2/d): 1.6 % here.
    length, dim = 256, 8192
    walk = np.cumsum(np.random.default_rng(0).normal(size=(length, dim)), axis=0)
    parts = components.principal_components(walk)
    i = np.arange(1, 6)
    expected = 1 / np.sin(math.pi * i / (2 * length)) ** 2 / (2 * (length**2 - 1) / 3)
    assert expected[0] == pytest.approx(6 / math.pi**2, rel=1e-4)
    assert_allclose(parts.explained[:5], expected, rtol=3 * math.sqrt(2 / dim))
    # The first score is half a cosine: its correlation with a straight line is 4√6/π² = 0.9927.
    correlation = components.index_correlations(parts.scores)[0]
    assert correlation == pytest.approx(4 * math.sqrt(6) / math.pi**2, abs=2e-3)


@pytest.mark.parametrize("rho", [0.5, 0.9, 0.98])
def test_ornstein_uhlenbeck_decays_at_minus_log_rho(rho: float) -> None:
    # A dimension holds about L (1-ρ) independent stretches, so the rate scatters by about
    # 1/√(L (1-ρ) d): 0.5 % at the slowest decay here.
    rows = ar1(np.random.default_rng(1).normal(size=(1024, 2048)), rho)
    rate, r2 = cosine_fits.decay(cosine.profile(rows))
    assert rate == pytest.approx(-math.log(rho), rel=0.015)
    assert r2 > 0.99


def test_straight_line() -> None:
    rng = np.random.default_rng(2)
    start, step = rng.normal(size=(2, 40))
    rows = start + np.arange(101)[:, None] * step
    found = measures_of_table(rows).values
    for name in ("difference.parallel", "trajectory.straightness", "trajectory.linear_r2"):
        assert found[name] == pytest.approx(1, abs=1e-12), name
    assert found["pca.n95"] == 1
    assert found["pca.participation_ratio"] == pytest.approx(1, abs=1e-12)
    assert found["pca.pc1_index_correlation"] == pytest.approx(1, abs=1e-12)
    assert found["trajectory.noise_share"] == pytest.approx(0, abs=1e-12)
    # mean ‖Δ‖² = b², TV/L = b²(L²-1)/12
    assert found["trajectory.roughness"] == pytest.approx(6 / (101**2 - 1), rel=1e-12)
    assert found["probe.position_mae"] == 0


def test_circle() -> None:
    length, turns = 120, 3
    found = measures_of_table(rotated(circle(length, turns), 9)).values
    step = 2 * math.pi * turns / length
    lags = np.arange(length)
    assert_allclose(found["cosine.profile"], np.cos(step * lags), atol=1e-12)
    assert found["difference.parallel"] == pytest.approx(math.cos(step), rel=1e-12)
    for stride, value in found["difference.parallel_at"].items():
        assert value == pytest.approx(math.cos(step * int(stride)), abs=1e-12)
    assert found["trajectory.helix_r2"] == pytest.approx(1, abs=1e-12)
    assert found["trajectory.turns"] == turns
    # ‖Δ‖² = 2 - 2 cos, TV/L = 1; ‖p'' ‖ = 2 - 2 cos
    assert found["trajectory.roughness"] == pytest.approx(1 - math.cos(step), rel=1e-12)
    assert found["trajectory.noise_share"] == pytest.approx((2 - 2 * math.cos(step)) ** 2 / 6)
    assert found["pca.n80"] == 2
    assert_allclose(found["pca.explained"][:2], 0.5, rtol=1e-12)
    assert found["shift.rotation_r2"] == pytest.approx({"1": 1, "8": 1}, abs=1e-12)
    assert found["cosine.best_family"] == "damped_cosine"
    assert found["norm.cv"] == pytest.approx(0, abs=1e-12)
    assert found["norm.outlier_rows"] == []


def test_permuting_rows_leaves_a_roughness_of_one_on_average() -> None:
    # Over all orders of L rows the mean of ‖p_t - p_s‖² is 2 TV/(L-1): L/(L-1) exactly.
    rows = np.random.default_rng(3).normal(size=(6, 3))
    values = [trajectory.roughness(rows[list(p)]) for p in itertools.permutations(range(6))]
    assert np.mean(values) == pytest.approx(6 / 5, rel=1e-12)


def test_white_noise_is_all_noise() -> None:
    rows = np.random.default_rng(4).normal(size=(2000, 200))
    assert trajectory.noise_share(rows) == pytest.approx(1, abs=0.01)
    assert trajectory.roughness(rows) == pytest.approx(1, abs=0.01)
    assert difference.parallel(rows) == pytest.approx(-0.5, abs=0.01)


def test_norms_by_hand() -> None:
    rows = np.array([[3.0, 4.0], [0.0, 1.0], [1.0, 0.0], [0.0, -1.0], [0.6, 0.8]])
    found = measures_of_table(rows).values
    assert found["norm.mean"] == pytest.approx(9 / 5)
    assert found["norm.cv"] == pytest.approx(1.6 / 1.8)
    assert found["norm.first_ratio"] == pytest.approx(5)
    assert found["norm.tail_ratio"] == pytest.approx(1)
    assert found["norm.outlier_rows"] == [0]


@pytest.mark.parametrize(("length", "tail"), [(3, 1), (20, 1), (21, 2), (40, 2), (41, 3)])
def test_tail_is_the_last_twentieth_rounded_up(length: int, tail: int) -> None:
    each = np.ones(length)
    each[-tail:] = 3.0
    each[-tail - 1] = 2.0  # one row too many would count this
    median = float(np.median(each))
    assert norms.tail_ratio(each) == pytest.approx(3 / median)


def test_sinusoidal_table_of_the_paper() -> None:
    # The contract's known values.
    rows = table("sinusoidal", 512, 768)
    found = probes.measures(rows, seed=0)
    assert found["probe.position_mae"] == 0
    assert 0.03 <= found["probe.order_error"] <= 0.08
    for k in (1, 8, 64):
        assert shift.rotation_r2(rows, k) == pytest.approx(1, abs=1e-4)
        assert shift.linear_r2(rows, k)[0] == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("k", [1, 8, 64])
def test_random_walk_passes_for_a_linear_shift(k: int) -> None:
    # The contract prints the null beside the claim for this reason.
    walk = table("random_walk", 1024, 64)
    assert shift.linear_r2(walk, k)[0] > (0.98 if k == 1 else 0.7)


LAGS = np.arange(201.0)
PLANTED = {
    "exponential": np.exp(-0.03 * LAGS),
    "exponential+floor": 0.6 * np.exp(-0.05 * LAGS) + 0.4,
    "power": (1 + LAGS) ** -0.4,
    "damped_cosine": np.exp(-0.01 * LAGS) * np.cos(0.1 * LAGS),
    "linear": 1 - 0.004 * LAGS,
}


@pytest.mark.parametrize("family", PLANTED)
def test_planted_family_is_found(family: str) -> None:
    noise = np.random.default_rng(8).normal(size=201) * 1e-3
    fits = cosine_fits.fit_families(PLANTED[family] + noise * (LAGS > 0))
    assert cosine_fits.best_family(fits) == family
    chosen = next(fit for fit in fits if fit.family == family)
    # Nothing fits better than the truth by more than its few parameters can.
    assert 0.9 < chosen.rss / float((noise[1:101] ** 2).sum()) <= 1


@pytest.mark.parametrize("frequency", [1e-3, 0.05, 1.0, 1.5, 2.5, 3.1])
def test_damped_cosine_is_found_at_any_frequency(frequency: float) -> None:
    profile = np.exp(-0.002 * LAGS) * np.cos(frequency * LAGS)
    fits = {fit.family: fit for fit in cosine_fits.fit_families(profile)}
    assert fits["damped_cosine"].rss < 1e-10 * float(np.sum(profile[:101] ** 2))


@pytest.mark.parametrize("rate", [1e-9, 1e-7, 1e-5, 1e-3, 0.1, 3.0])
def test_exponential_rate_is_recovered(rate: float) -> None:
    # An offset a thousand times the spread leaves a profile that falls by 1e-6 in all.
    found, r2 = cosine_fits.decay(np.exp(-rate * LAGS))
    assert found == pytest.approx(rate, rel=1e-6)
    assert r2 == pytest.approx(1, abs=1e-9)


def test_decay_rate_is_infinite_where_the_cosine_drops_to_zero_at_once() -> None:
    rows = np.eye(40)
    found = measures_of_table(rows)
    assert found.values["cosine.decay_rate"] is None
    assert "lag 1" in found.undefined["cosine.decay_rate"]
    assert found.values["cosine.exp_r2"] == pytest.approx(1)
    assert found.values["cosine.half_lag"] == 1


def test_probe_ignores_directions_that_hold_only_rounding() -> None:
    flat = circle(128, 3)
    folds = np.array_split(np.random.default_rng(9).permutation(128), 5)
    wanted = probes.position_mae(flat, folds)
    assert wanted > 20
    for dim in (3, 64, 200):
        assert probes.position_mae(rotated(flat, dim), folds) == wanted


def test_one_undefined_stride_does_not_take_the_others_with_it() -> None:
    # The rows repeat after eight: p_{t+8} - p_t is zero, the other strides have directions.
    rows = np.tile(np.random.default_rng(10).normal(size=(8, 5)), (4, 1))
    found = measures_of_table(rows)
    assert found.values["difference.parallel"] == pytest.approx(difference.parallel(rows))
    assert found.values["difference.parallel_at"]["8"] is None
    assert found.values["difference.parallel_at"]["4"] == pytest.approx(-1)


def test_half_lag_and_monotonicity_do_not_hang_on_rounding() -> None:
    # Whole turns give lags whose cosines are equal (ties), and cos 60° is one half exactly.
    rows = circle(96, 4)
    frames = [rotated(rows, dim, seed) for dim in (2, 5, 40) for seed in range(3)]
    found = [measures_of_table(frame).values for frame in frames]
    assert {values["cosine.half_lag"] for values in found} == {4}
    ranks = np.array([values["cosine.monotonicity"] for values in found])
    assert_allclose(ranks, ranks[0], atol=1e-12)


def test_zero_row_leaves_everything_without_a_cosine_defined() -> None:
    rows = table("ar1", 40, 6)
    rows[7] = 0
    found = measures_of_table(rows)
    assert all("row 7" in reason for name, reason in found.undefined.items() if "cosine" in name)
    assert set(found.undefined) == {
        "cosine.profile",
        "cosine.adjacent",
        "cosine.half_lag",
        "cosine.monotonicity",
        "cosine.decay_rate",
        "cosine.exp_r2",
        "cosine.best_family",
        "norm.token_ratio",
        "tokens.subspace_overlap",
        "tokens.subspace_overlap_chance",
    }
    with pytest.raises(UndefinedMeasureError, match="row 7 is all zeros"):
        cosine.profile(rows)
