"""RoPE's bands against explicit rotations."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from poslens.attention import offsets, rope_bands
from poslens.attention.validate import check_bands
from poslens.errors import TableError

THETA = 10_000.0 ** (-np.arange(12) / 12)


def means(heads: int, planes: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    parts = np.random.default_rng(seed).normal(size=(2, 2, heads, planes))
    return parts[0, 0] + 1j * parts[0, 1], parts[1, 0] + 1j * parts[1, 1]


@given(st.integers(0, 2**32 - 1), st.integers(0, 10_000), st.integers(0, 10_000))
def test_profile_is_a_rotated_product(seed: int, t: int, s: int) -> None:
    queries, keys = means(6, 12, seed)
    bands = rope_bands(queries, keys, THETA, constant=np.arange(6.0))
    q, k = queries * np.exp(1j * THETA * t), keys * np.exp(1j * THETA * s)
    wanted = (q.real * k.real + q.imag * k.imag).sum(axis=1) + np.arange(6.0)
    assert_allclose(bands.profile(np.array([s - t]))[:, 0], wanted, rtol=0, atol=1e-10)


def test_profile_is_the_sum_of_its_cosines() -> None:
    bands = rope_bands(*means(6, 12), THETA)
    k = offsets(5001, causal=False)  # more than are held at a time
    cosines = bands.amplitude[..., None] * np.cos(np.outer(THETA, k) + bands.phase[..., None])
    assert_allclose(bands.profile(k), cosines.sum(axis=1), rtol=0, atol=1e-11)


def test_energy_is_the_variance_over_whole_turns() -> None:
    length, queries_and_keys = 360, means(6, 5)
    theta = 2 * np.pi * np.array([1, 3, 10, 0, 45]) / length
    bands = rope_bands(*queries_and_keys, theta)
    assert_allclose(
        bands.profile(np.arange(length)).var(axis=1), bands.energy.sum(axis=1), rtol=1e-12
    )
    assert (bands.energy[:, 3] == 0).all()


def test_wavelengths_against_the_context() -> None:
    bands = rope_bands(*means(2, 12), THETA)
    assert bands.wavelengths[0] == pytest.approx(2 * np.pi)
    assert bands.wavelengths[-1] == bands.wavelengths.max()
    assert bands.longest_turns(2048) == pytest.approx(2048 * THETA[-1] / (2 * np.pi))
    still = rope_bands(*means(2, 2), np.array([1.0, 0.0]))
    assert still.wavelengths.tolist() == [2 * np.pi, np.inf]
    assert still.longest_turns(2048) == 0


@pytest.mark.parametrize(
    ("queries", "keys", "frequencies", "constants", "message"),
    [
        ((2, 12), (2, 12), 11, 2, r"got shapes \(2, 12\), \(2, 12\) and \(11,\)"),
        ((2, 12), (1, 12), 12, 2, r"\(1, 12\) .*; repeat keys that heads share"),
        ((2, 12), (2, 12), 12, 3, r"constants \(3,\)"),
        ((0, 12), (0, 12), 12, 0, r"one frequency per plane, got shapes \(0, 12\)"),
        ((2, 0), (2, 0), 0, 2, r"got shapes \(2, 0\)"),
    ],
)
def test_what_does_not_fit_is_refused(
    queries: tuple[int, int],
    keys: tuple[int, int],
    frequencies: int,
    constants: int,
    message: str,
) -> None:
    with pytest.raises(TableError, match=message):
        check_bands(np.ones(queries), np.ones(keys), np.ones(frequencies), np.ones(constants))


def test_parts_that_are_not_finite_are_named() -> None:
    queries, keys = means(2, 12)
    keys[1, 3] = np.nan
    with pytest.raises(TableError, match=r"NaN or Inf in the keys and the frequencies; repair"):
        rope_bands(queries, keys, np.full(12, np.inf))
