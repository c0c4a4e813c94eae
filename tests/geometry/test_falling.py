"""How far a profile falls, and how many components hold a share."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.isotonic import IsotonicRegression

from poslens.errors import UndefinedMeasureError
from poslens.geometry import cosine
from poslens.geometry.components import components_for, number_for


@pytest.mark.parametrize("seed", range(4))
def test_the_nearest_falling_curve_is_that_of_scikit_learn(seed: int) -> None:
    values = np.random.default_rng(seed).standard_normal(63).cumsum()
    curve = IsotonicRegression(increasing=False).fit_transform(np.arange(63), values)
    expected = np.corrcoef(values, curve)[0, 1] if np.ptp(curve) else 0.0
    assert cosine.lag_fall(values) == pytest.approx(-expected, abs=1e-9)


def test_a_fall_into_noise_is_a_fall_and_a_rise_is_none() -> None:
    lags = np.arange(513)
    noisy = np.exp(-lags / 10) + 1e-3 * np.random.default_rng(0).standard_normal(513)
    assert cosine.falling(noisy) < -0.99
    assert cosine.monotonicity(noisy) > -0.7  # ranks see the noise as well
    assert cosine.falling(np.exp(-lags / 300)) == pytest.approx(-1)
    assert cosine.falling(-np.exp(-lags / 300)) == pytest.approx(0, abs=1e-12)
    assert cosine.falling(np.cos(lags / 10)) > -0.5


def test_a_profile_without_ranks_does_not_fall() -> None:
    with pytest.raises(UndefinedMeasureError, match="same at every lag"):
        cosine.falling(np.ones(20))
    with pytest.raises(UndefinedMeasureError, match="at least 4 positions"):
        cosine.falling(np.array([1.0, 0.5, 0.2]))


def test_components_count_the_last_in_part() -> None:
    explained = np.array([0.5, 0.2, 0.2, 0.1])
    assert components_for(explained, 0.8) == pytest.approx(2.5)
    assert components_for(explained, 0.4) == pytest.approx(0.8)
    drawn = np.sort(np.random.default_rng(0).dirichlet(np.ones(12)))[::-1]
    for share in (0.3, 0.8, 0.95):
        counted = components_for(drawn, share)
        assert number_for(drawn, share) - 1 < counted <= number_for(drawn, share)
