"""Sums, fits and profiles against explicit matrices and `numpy.linalg.lstsq`."""

from __future__ import annotations

import numpy as np
import pytest
from matrices import allowed, as_heads, brute, matrix, offsets_of_pairs
from numpy.testing import assert_allclose

from poslens.attention import factored_kernel, offsets, relative_kernel
from poslens.attention.additive import distance_part, explained_energy
from poslens.attention.factored import factored_sums
from poslens.attention.relative import relative_sums
from poslens.attention.sums import KernelSums

RTOL, ATOL = 1e-9, 1e-11

both_kinds = pytest.mark.parametrize("causal", [True, False], ids=["causal", "bidirectional"])


def heads(count: int, length: int, dim: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Smooth queries and keys with an offset, as a table's are."""
    rng = np.random.default_rng([seed, count, length, dim])
    walks = np.cumsum(rng.normal(size=(2, count, length, dim)), axis=2)
    return walks[0] + 2 * rng.normal(size=dim), walks[1] - 3 * rng.normal(size=dim)


@both_kinds
@pytest.mark.parametrize("length", [3, 4, 5, 7, 8, 11, 13, 17])
def test_factored_kernels_are_their_matrices(length: int, causal: bool) -> None:
    queries, keys = heads(6, length, 5)
    found = factored_kernel(queries, keys, causal=causal)
    assert found.offsets.tolist() == list(range(1 - length, 1 if causal else length))
    for head in range(6):
        wanted = brute(queries[head] @ keys[head].T, causal=causal)
        assert_allclose(found.profile[head], wanted.profile, rtol=RTOL, atol=ATOL)
        assert_allclose(found.distance_part[head], wanted.distance_part, rtol=RTOL, atol=ATOL)
        assert found.relative_share[head] == pytest.approx(wanted.relative_share, abs=1e-9)
        assert 0 < wanted.relative_share < 1


@both_kinds
@pytest.mark.parametrize("length", [3, 5, 8, 17])
def test_any_matrix_at_all(length: int, causal: bool) -> None:
    matrices = np.random.default_rng(length).standard_t(3, size=(6, length, length))
    found = factored_kernel(*as_heads(*matrices), causal=causal)
    for head, K in enumerate(matrices):
        wanted = brute(K, causal=causal)
        assert_allclose(found.profile[head], wanted.profile, rtol=RTOL, atol=ATOL)
        assert_allclose(found.distance_part[head], wanted.distance_part, rtol=RTOL, atol=ATOL)
        assert found.relative_share[head] == pytest.approx(wanted.relative_share, abs=1e-9)


@both_kinds
@pytest.mark.parametrize("length", [3, 5, 8, 17])
def test_relative_kernels_are_their_matrices(length: int, causal: bool) -> None:
    size = offsets(length, causal=causal).size
    profiles = np.random.default_rng(length).normal(size=(6, size))
    found = relative_kernel(profiles, causal=causal)
    for head, profile in enumerate(profiles):
        wanted = brute(matrix(profile, causal=causal), causal=causal)
        assert_allclose(found.profile[head], profile, rtol=RTOL, atol=ATOL)
        assert_allclose(found.distance_part[head], wanted.distance_part, rtol=RTOL, atol=ATOL)
        assert found.relative_share[head] == pytest.approx(1, abs=1e-12)
        assert wanted.relative_share == pytest.approx(1, abs=1e-12)


def assert_sums(found: KernelSums, head: int, K: np.ndarray) -> None:
    """Compare every sum of a head with those of its matrix."""
    length = K.shape[0]
    pairs = allowed(length, causal=found.causal)
    means = np.where(pairs, K, 0).sum(axis=1) / pairs.sum(axis=1)
    centred = np.where(pairs, K - means[:, None], 0)
    k = offsets_of_pairs(length)
    diagonals = np.bincount((k + length - 1).ravel(), centred.ravel())[: found.diagonals.shape[1]]
    assert_allclose(found.energy[head], (centred**2).sum(), rtol=1e-12)
    assert_allclose(found.row_means[head], means, rtol=1e-11, atol=1e-11 * np.abs(means).max())
    assert_allclose(
        found.diagonals[head], diagonals, rtol=1e-9, atol=1e-11 * np.abs(diagonals).max()
    )


# Either side of the 128 rows in which causal sums are formed, and of FFT lengths; d_k above and
# below the columns that are transformed at a time.
@both_kinds
@pytest.mark.parametrize(("length", "dim"), [(127, 3), (128, 64), (129, 33), (300, 7), (641, 96)])
def test_sums_across_blocks(length: int, dim: int, causal: bool) -> None:
    queries, keys = heads(2, length, dim)
    found = factored_sums(queries, keys, causal=causal)
    for head in range(2):
        assert_sums(found, head, queries[head] @ keys[head].T)


@both_kinds
@pytest.mark.parametrize("length", [3, 64, 301])
def test_sums_of_a_profile(length: int, causal: bool) -> None:
    size = offsets(length, causal=causal).size
    profiles = np.cumsum(np.random.default_rng(1).normal(size=(2, size)), axis=1)
    found = relative_sums(profiles, causal=causal)
    for head, profile in enumerate(profiles):
        assert_sums(found, head, matrix(profile, causal=causal))


@both_kinds
def test_fit_solves_its_normal_equations_at_length(causal: bool) -> None:
    # Too long for a dummy-variable design: c from f in closed form, and nothing left to fit.
    length = 700
    queries, keys = heads(1, length, 8)
    K, pairs = queries[0] @ keys[0].T, allowed(length, causal=causal)
    sums = factored_sums(queries, keys, causal=causal)
    F = matrix(distance_part(sums)[0], causal=causal)
    count = pairs.sum(axis=1, keepdims=True)

    def centred(values: np.ndarray) -> np.ndarray:
        inside = np.where(pairs, values, 0)
        return np.where(pairs, inside - inside.sum(axis=1, keepdims=True) / count, 0)

    left = centred(K) - centred(F)
    diagonals = np.bincount((offsets_of_pairs(length) + length - 1).ravel(), left.ravel())
    assert np.abs(diagonals).max() < 1e-10 * np.abs(sums.diagonals).max()
    rss = (left**2).sum()
    assert explained_energy(sums)[0] == pytest.approx((centred(K) ** 2).sum() - rss, rel=1e-11)


@both_kinds
def test_grouped_keys_are_repeated_keys(causal: bool) -> None:
    queries, keys = heads(12, 19, 4)
    grouped = factored_kernel(queries, keys[:3], causal=causal)
    repeated = factored_kernel(queries, np.repeat(keys[:3], 4, axis=0), causal=causal)
    assert grouped.values == repeated.values


@both_kinds
def test_float32_is_widened_before_anything_is_computed(causal: bool) -> None:
    queries, keys = (values.astype(np.float32) for values in heads(2, 150, 6))
    narrow = factored_kernel(queries, keys, causal=causal)
    wide = factored_kernel(queries.astype(float), keys.astype(float), causal=causal)
    assert narrow.values == wide.values
