"""Intervals: exact on constants, right on independent data, wider on dependent data."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poslens.claims.bootstrap import dependence, interval


def mean_of(moments: np.ndarray) -> np.ndarray:
    return moments[:, 0]


def autoregressive(rho: float, n: int, seed: int) -> np.ndarray:
    noise = np.random.default_rng(seed).standard_normal(n)
    series = np.empty(n)
    series[0] = noise[0]
    for t in range(1, n):
        series[t] = rho * series[t - 1] + np.sqrt(1 - rho**2) * noise[t]
    return series


def test_a_constant_series_has_a_point_interval() -> None:
    low, high = interval(np.full((1, 41), 0.25), mean_of, np.random.default_rng(0))
    assert (low, high) == (0.25, 0.25)


def test_independent_data_give_the_textbook_interval() -> None:
    series = np.random.default_rng(1).standard_normal(2000)
    low, high = interval(series[None], mean_of, np.random.default_rng(0))
    half = 1.96 * series.std() / np.sqrt(2000)
    assert (high - low) / 2 == pytest.approx(half, rel=0.12)  # 2,000 resamples scatter by 3 %
    assert (high + low) / 2 == pytest.approx(series.mean(), abs=0.1 * half)


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.9])
def test_intervals_cover_the_mean_of_a_dependent_series(rho: float) -> None:
    """95 % nominal; blocks on finite series fall a little short, never to the independent rate."""
    covered = 0
    for seed in range(200):
        low, high = interval(
            autoregressive(rho, 600, seed)[None], mean_of, np.random.default_rng(seed)
        )
        covered += low <= 0 <= high
    # An interval that ignored dependence would cover 74 % of the time at 0.5, and 35 % at 0.9
    # (1.96 ÷ √19 standard errors).
    assert covered / 200 >= (0.90 if rho < 0.9 else 0.86)


def test_blocks_grow_with_dependence() -> None:
    lengths = [
        np.mean([dependence(autoregressive(rho, 1000, seed)).block for seed in range(20)])
        for rho in (0.0, 0.5, 0.9)
    ]
    assert lengths[0] < lengths[1] < lengths[2]
    assert lengths[0] < 6


def test_block_length_of_an_alternating_series_is_small() -> None:
    series = np.tile([1.0, -1.0], 100) + 0.01 * np.random.default_rng(0).standard_normal(200)
    assert 1 <= dependence(series).block <= 67


@given(st.integers(1, 60), st.integers(0, 10_000), st.floats(1e-8, 1e8))
@settings(max_examples=80, deadline=None)
def test_an_interval_is_ordered_within_the_data_and_scales(n: int, seed: int, scale: float) -> None:
    series = np.random.default_rng(seed).standard_normal(n)
    low, high = interval(series[None], mean_of, np.random.default_rng(seed))
    assert low <= high
    scaled = interval(scale * series[None], mean_of, np.random.default_rng(seed))
    assert scaled == pytest.approx((scale * low, scale * high), rel=1e-6, abs=1e-9 * scale)
    assert 1 <= dependence(series).block <= max(1, n // 3)


def test_the_seed_decides() -> None:
    series = np.random.default_rng(1).standard_normal((1, 100))
    first = interval(series, mean_of, np.random.default_rng(3))
    assert first == interval(series, mean_of, np.random.default_rng(3))
    assert first != interval(series, mean_of, np.random.default_rng(4))
