"""Where profiles peak, how fast they fall and how even they are: shapes that are known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from poslens.attention import offsets, relative_kernel
from poslens.attention.shape import by_distance, half_distance, peak_offset, symmetry

BACK = offsets(21, causal=True)
BOTH = offsets(21, causal=False)


@pytest.mark.parametrize(
    ("name", "profile", "half", "peak"),
    [
        ("linear", 1.0 * BACK, 10, 0),
        ("exponential", 2.0**BACK, 1, 0),
        ("previous token", 1.0 * (BACK == -1), 2, -1),
        ("previous token, itself less than half", np.maximum(0.4 * (BACK == 0), BACK == -1), 2, -1),
        ("step after 6", 1.0 * (BACK >= -6), 7, 0),
        ("plateau at the top", np.minimum(BACK, -4.0), 12, 0),
        ("dip and return", np.where(np.isin(BACK, (-3, -4)), -1.0, 1.0), 3, 0),
        ("farther is better", -1.0 * BACK, 21, -20),
    ],
)
def test_causal_shapes(name: str, profile: np.ndarray, half: int, peak: int) -> None:
    found = relative_kernel(np.stack([profile, 1e3 + 5 * profile]), causal=True)
    assert found.half_distance == (half, half), name
    assert found.peak_offset == (peak, peak), name
    assert found.symmetry == (None, None)


@pytest.mark.parametrize(
    ("name", "profile", "half", "peak", "even"),
    [
        ("linear", -1.0 * np.abs(BOTH), 10, 0, 1.0),
        ("odd", np.sin(BOTH / 4), None, None, 0.0),
        ("next token", 1.0 * (BOTH == 1), 2, 1, None),
        ("both neighbours", 1.0 * (np.abs(BOTH) == 1), 2, -1, 1.0),
        ("even and odd alike", np.cos(np.pi * BOTH / 20.5) + np.sin(np.pi * BOTH / 20.5), None, 5,
         None),
    ],
)  # fmt: skip
def test_bidirectional_shapes(
    name: str, profile: np.ndarray, half: int | None, peak: int | None, even: float | None
) -> None:
    found = relative_kernel(profile[None], causal=False)
    assert found.symmetry[0] is not None
    if half is not None:
        assert found.half_distance == (half,), name
    if peak is not None:
        assert found.peak_offset == (peak,), name
    if even is not None:
        assert found.symmetry[0] == pytest.approx(even, abs=1e-15), name


@given(st.integers(0, 2**32 - 1), st.integers(2, 40))
def test_symmetry_splits_energy_into_even_and_odd(seed: int, reach: int) -> None:
    rng = np.random.default_rng(seed)
    even = rng.normal(size=2 * reach + 1)
    even += even[::-1]
    odd = rng.normal(size=2 * reach + 1)
    odd -= odd[::-1]
    centred = even - even.mean()
    share = centred @ centred / (centred @ centred + odd @ odd)
    assert symmetry(even + odd + 7) == pytest.approx(share, rel=1e-9)
    assert symmetry(even - odd) == pytest.approx(share, rel=1e-9)


def test_ties_go_to_the_nearest_and_then_to_the_earlier_key() -> None:
    tied = np.where(np.isin(BOTH, (-7, -2, 2, 9)), 1.0, 0.0)
    assert peak_offset(tied, causal=False) == -2
    # As if through an FFT: the larger by rounding does not win.
    tied[BOTH == 9] += 1e-13
    assert peak_offset(tied, causal=False) == -2
    tied[BOTH == 9] += 1e-6
    assert peak_offset(tied, causal=False) == 9


def test_distances_of_both_sides() -> None:
    profile = np.where(BOTH < 0, 3.0, 1.0) * np.abs(BOTH)
    assert by_distance(profile, causal=False).tolist() == [2.0 * d for d in range(21)]
    assert by_distance(1.0 * BACK, causal=True).tolist() == [-1.0 * d for d in range(21)]
    assert half_distance(-profile, causal=False) == 10
