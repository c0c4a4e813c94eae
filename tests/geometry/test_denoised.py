"""Differences without noise: the truth of lines and waves, told from walks, at any noise."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poslens.errors import UndefinedMeasureError
from poslens.geometry import difference
from poslens.geometry.difference import denoised, noise_variance


def noise(length: int, dim: int, seed: int, variance: float) -> np.ndarray:
    """White noise whose variance, summed over dimensions, is given."""
    rng = np.random.default_rng(seed)
    return np.sqrt(variance / dim) * rng.standard_normal((length, dim))


def circle(length: int, dim: int, step: float) -> np.ndarray:
    angle = step * np.arange(length)
    return np.pad(np.stack([np.cos(angle), np.sin(angle)], axis=1), ((0, 0), (0, dim - 2)))


@pytest.mark.parametrize(("length", "dim"), [(129, 7), (400, 33), (1000, 300)])
def test_the_variance_of_noise_on_a_curve(length: int, dim: int) -> None:
    rows = 5 * circle(length, dim, 0.05) + noise(length, dim, 0, 0.3)
    # A median of L - 4 dependent values; five of its standard errors.
    error = 5 * 1.25 * np.sqrt(2 / dim * 3 / length)
    assert noise_variance(rows) == pytest.approx(0.3, rel=error)


def test_a_curve_has_no_noise_and_an_outlier_is_none() -> None:
    rows = circle(200, 9, 0.05)
    assert noise_variance(rows) < 1e-10
    rows[0] *= 100
    assert noise_variance(rows) < 1e-10
    assert noise_variance(rows[:4]) == 0


@pytest.mark.parametrize("step", [0.02, 0.3, 1.0])
def test_a_circle_without_noise_turns_by_its_step(step: float) -> None:
    """Fourth differences of a wave of 1 rad are a hundredth of its steps: nothing is taken off."""
    found = denoised(circle(300, 12, step))
    assert found.stride == 1
    assert found.cosine == pytest.approx(np.cos(step), abs=0.03)


@pytest.mark.parametrize("variance", [0.001, 0.01, 0.1])
def test_noise_is_taken_off_a_line(variance: float) -> None:
    line = np.outer(np.linspace(0, 1, 400), np.ones(64) / 8)
    rows = line + noise(400, 64, 1, variance)
    found = denoised(rows)
    assert difference.parallel(rows) < -0.3  # noise alone is seen at stride 1
    assert found.stride > 1
    assert found.cosine == pytest.approx(1, abs=0.08)
    # The shortest stride whose squared differences are at most half noise.
    squared = 2 * found.variance / (found.stride / 399) ** 2
    assert squared == pytest.approx(1, abs=0.15)


@pytest.mark.parametrize("rho", [0.5, 0.9, 1.0])
def test_walks_and_decays_are_not_taken_for_noisy_curves(rho: float) -> None:
    rows = noise(2000, 100, 2, 1.0)
    for t in range(1, 2000):
        rows[t] += rho * rows[t - 1]
    # A walk's increments are independent: at stride 2, noise of 2/7 is taken for granted, and
    # (0 + 1/7) ÷ (1 - 2/7) = 0.2 is what is left.
    assert denoised(rows).cosine < 0.25


def test_rows_in_random_order_are_all_noise() -> None:
    found = denoised(noise(500, 40, 3, 1.0))
    assert (found.stride, found.variance) == (1, 0.0)
    assert found.cosine == pytest.approx(-0.5, abs=0.02)


@given(st.integers(3, 60), st.integers(1, 8), st.integers(0, 10_000), st.floats(1e-6, 1e6))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_scale_offset_and_rotation_do_not_matter(
    length: int, dim: int, seed: int, scale: float
) -> None:
    rng = np.random.default_rng(seed)
    rows = np.cumsum(rng.standard_normal((length, dim)), axis=0)
    found = denoised(rows)
    rotation = np.linalg.qr(rng.standard_normal((dim, dim)))[0]
    other = denoised(scale * (rows @ rotation) + scale * rng.standard_normal(dim))
    assert other.stride == found.stride
    assert other.cosine == pytest.approx(found.cosine, abs=1e-6)
    assert -1 <= found.cosine <= 1


def test_identical_rows_have_no_differences() -> None:
    with pytest.raises(UndefinedMeasureError, match="direction of a difference"):
        denoised(np.ones((12, 3)))


def test_what_has_no_noise_and_what_is_noise_alone_are_told_apart() -> None:
    """Neither has a variance taken off: whole numbers on a line leave none to be found."""
    exact = denoised(np.outer(np.arange(128.0), np.ones(16)))
    alone = denoised(noise(128, 16, 3, 1.0))
    assert (exact.all_noise, exact.variance, exact.cosine) == (False, 0.0, 1.0)
    assert (alone.all_noise, alone.variance, alone.stride) == (True, 0.0, 1)
