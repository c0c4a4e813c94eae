"""Exact intervals against SciPy's binomial test, distances against its Kolmogorov test."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from poslens.audit.exact import share_interval, uniform_distance


@pytest.mark.parametrize(("successes", "trials"), [(0, 50), (1, 50), (7, 13), (199, 200), (50, 50)])
def test_share_intervals_are_those_of_clopper_and_pearson(successes: int, trials: int) -> None:
    expected = scipy.stats.binomtest(successes, trials).proportion_ci(0.95, method="exact")
    assert share_interval(successes, trials) == pytest.approx((expected.low, expected.high))


@pytest.mark.parametrize("seed", range(4))
def test_the_distance_from_uniform_is_kolmogorovs(seed: int) -> None:
    values = np.random.default_rng(seed).random(150) ** (1 + 0.1 * seed)
    expected = scipy.stats.kstest(values, "uniform")
    distance, p = uniform_distance(values)
    assert distance == pytest.approx(expected.statistic, abs=1e-12)
    assert p == pytest.approx(expected.pvalue, abs=0.01)
