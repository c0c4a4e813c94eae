"""What must not change a kernel's measures, and kernels whose measures are known."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
import scipy.linalg
from hypothesis import given, settings
from hypothesis import strategies as st
from matrices import allowed, as_heads, brute, matrix
from numpy.testing import assert_allclose

from poslens.attention import factored_kernel, offsets, relative_kernel
from poslens.attention.factored import factored_sums
from poslens.attention.sums import sums_at_offsets

both_kinds = pytest.mark.parametrize("causal", [True, False], ids=["causal", "bidirectional"])


@st.composite
def layers(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, bool]:
    """Queries, keys and kind: 1 to 12 heads, 3 to 150 positions, 1 to 20 dimensions."""
    shape = draw(st.integers(1, 12)), draw(st.integers(3, 150)), draw(st.integers(1, 20))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    rough = rng.normal(size=(2, *shape))
    queries, keys = np.cumsum(rough, axis=2) if draw(st.booleans()) else rough
    size = draw(st.sampled_from([0.0, 1.0, 100.0]))
    return queries + size * rng.normal(size=shape[2]), keys + size, draw(st.booleans())


def assert_shares(found: tuple[float | None, ...], wanted: tuple[float | None, ...]) -> None:
    assert None not in wanted
    assert_allclose(np.array(found, float), np.array(wanted, float), rtol=1e-9, atol=1e-11)


@given(layers(), st.sampled_from([1e-3, 1.0, 1e4]))
@settings(max_examples=60)
def test_a_constant_along_each_row_changes_no_share(
    layer: tuple[np.ndarray, np.ndarray, bool], size: float
) -> None:
    queries, keys, causal = layer
    u = size * np.random.default_rng(0).normal(size=queries.shape[:2])
    # One more dimension, 1 in every key: K(t, s) + u_t.
    more = (
        np.concatenate([queries, u[..., None]], axis=2),
        np.concatenate([keys, np.ones((*keys.shape[:2], 1))], axis=2),
    )
    before, after = (factored_kernel(*pair, causal=causal) for pair in ((queries, keys), more))
    assert_shares(after.relative_share, before.relative_share)
    scale = np.abs(before.distance_part).max()
    assert_allclose(after.distance_part, before.distance_part, rtol=0, atol=1e-9 * scale)
    # The profile is the mean of K itself, u and all.
    ones = sums_at_offsets(np.ones_like(u), causal=causal)
    expected = before.profile + sums_at_offsets(u, causal=causal) / ones
    assert_allclose(after.profile, expected, rtol=0, atol=1e-9 * np.abs(expected).max())


@given(layers(), st.sampled_from([1e-30, 1e-6, 3.0, 1e25]))
@settings(max_examples=40)
def test_scale_changes_only_the_profile(
    layer: tuple[np.ndarray, np.ndarray, bool], factor: float
) -> None:
    queries, keys, causal = layer
    before = factored_kernel(queries, keys, causal=causal)
    after = factored_kernel(factor * queries, keys / 8, causal=causal)
    assert_shares(after.relative_share, before.relative_share)
    assert_allclose(after.profile, factor / 8 * before.profile, rtol=1e-9, atol=1e-12 * factor)
    assert after.peak_offset == before.peak_offset
    assert after.half_distance == before.half_distance


@given(layers(), st.integers(0, 2**32 - 1))
@settings(max_examples=40)
def test_only_the_products_matter(layer: tuple[np.ndarray, np.ndarray, bool], seed: int) -> None:
    queries, keys, causal = layer
    frame = np.linalg.qr(np.random.default_rng(seed).normal(size=(queries.shape[2],) * 2))[0]
    before = factored_kernel(queries, keys, causal=causal)
    after = factored_kernel(queries @ frame, keys @ frame, causal=causal)
    assert_shares(after.relative_share, before.relative_share)


@given(layers())
@settings(max_examples=20)
def test_heads_do_not_know_of_one_another(
    layer: tuple[np.ndarray, np.ndarray, bool],
) -> None:
    queries, keys, causal = layer
    order = np.random.default_rng(queries.size).permutation(queries.shape[0])
    before = factored_kernel(queries, keys, causal=causal)
    after = factored_kernel(queries[order], keys[order], causal=causal)
    assert_shares(after.relative_share, tuple(before.relative_share[i] for i in order))
    assert after.symmetry == tuple(before.symmetry[i] for i in order)
    assert np.array_equal(after.profile, before.profile[order])


@given(layers())
@settings(max_examples=30)
def test_reversal_mirrors_a_bidirectional_kernel(
    layer: tuple[np.ndarray, np.ndarray, bool],
) -> None:
    queries, keys, _ = layer
    before = factored_kernel(queries, keys, causal=False)
    after = factored_kernel(queries[:, ::-1], keys[:, ::-1], causal=False)
    assert_shares(after.relative_share, before.relative_share)
    scale = np.abs(before.profile).max()
    assert_allclose(after.profile, before.profile[:, ::-1], rtol=0, atol=1e-10 * scale)
    assert_allclose(np.array(after.symmetry, float), np.array(before.symmetry, float), rtol=1e-6)


@given(layers())
@settings(max_examples=40)
def test_shares_are_shares(layer: tuple[np.ndarray, np.ndarray, bool]) -> None:
    queries, keys, causal = layer
    found = factored_kernel(queries, keys, causal=causal)
    for share in found.relative_share:
        assert share is not None
        assert 0 <= share <= 1
    for share in found.symmetry:
        assert causal == (share is None)
        assert share is None or 0 <= share <= 1


@both_kinds
@pytest.mark.parametrize("offset", [0.0, 1e6])
@pytest.mark.parametrize("length", [3, 37, 1025, 8191])
def test_a_function_of_distance_has_share_1(length: int, offset: float, causal: bool) -> None:
    k = offsets(length, causal=causal)
    slopes = 2.0 ** -np.linspace(0.5, 8, 12)
    rng = np.random.default_rng(length)
    buckets = np.minimum(np.abs(k), 9) + 10 * (k > 0)
    profiles = np.concatenate([
        -slopes[:, None] * np.abs(k),
        rng.normal(size=(12, 20))[:, buckets],
        rng.normal(size=(3, k.size)),
        np.cumsum(rng.normal(size=(3, k.size)), axis=1),
    ])  # fmt: skip
    found = relative_kernel(profiles + offset, causal=causal)
    assert_allclose(np.array(found.relative_share, float), 1, rtol=0, atol=1e-9)


@both_kinds
@pytest.mark.parametrize("offset", [0.0, 1e3])
@pytest.mark.parametrize("length", [3, 37, 1025])
def test_rotated_means_have_share_1(length: int, offset: float, causal: bool) -> None:
    rng = np.random.default_rng(length)
    angle = np.arange(length)[:, None] * 10_000.0 ** (-np.arange(16) / 16)
    turned = np.exp(1j * angle) * (rng.normal(size=(2, 6, 1, 16)) @ np.eye(16))
    queries, keys = np.concatenate([turned.real, turned.imag], axis=-1)
    # A constant key meets each query in a constant along its row, however large.
    found = factored_kernel(queries, keys + offset * rng.normal(size=32), causal=causal)
    assert_allclose(np.array(found.relative_share, float), 1, rtol=0, atol=1e-9)


@both_kinds
@pytest.mark.parametrize("length", [4, 9, 17])
def test_what_the_fit_leaves_has_share_0(length: int, causal: bool) -> None:
    K = np.random.default_rng(length).normal(size=(length, length))
    left = K - matrix(brute(K, causal=causal).distance_part, causal=causal)
    found = factored_kernel(*as_heads(left), causal=causal)
    assert found.relative_share[0] == pytest.approx(0, abs=1e-12)
    assert_allclose(found.distance_part, 0, atol=1e-12)


def test_opposite_cross_correlations_have_share_0() -> None:
    # Σ_t x_t y_{t+k} is also that of y and x reversed, so their difference has no diagonal sums.
    x, y = np.random.default_rng(0).normal(size=(2, 37))
    x, y = x - x.mean(), y - y.mean()
    queries, keys = np.stack([x, -y[::-1]], axis=1), np.stack([y, x[::-1]], axis=1)
    found = factored_kernel(queries[None], keys[None], causal=False)
    assert found.relative_share[0] == pytest.approx(0, abs=1e-24)


@both_kinds
def test_noise_has_the_share_of_its_degrees_of_freedom(causal: bool) -> None:
    length, count = 31, 400
    noise = np.random.default_rng(0).normal(size=(count, length, length))
    found = factored_kernel(*as_heads(*noise), causal=causal)
    # f has one free number per offset but one, of those that row means leave.
    free = found.offsets.size - 1
    pairs = int(allowed(length, causal=causal).sum()) - length
    expected = free / pairs
    scatter = np.sqrt(2 * expected * (1 - expected) / (pairs + 2) / count)  # a beta's, of the mean
    assert np.mean(np.array(found.relative_share, float)) == pytest.approx(
        expected, abs=4 * scatter
    )


@both_kinds
def test_no_position_no_measure(causal: bool) -> None:
    size = offsets(9, causal=causal).size
    for found in (
        relative_kernel(np.zeros((2, size)), causal=causal),
        relative_kernel(np.full((2, size), 1e5), causal=causal),
        factored_kernel(np.zeros((2, 9, 4)), np.zeros((1, 9, 4)), causal=causal),
    ):
        nothing = (None, None)
        assert found.relative_share == found.half_distance == found.peak_offset == nothing
        assert found.symmetry == nothing
        assert np.isfinite(found.profile).all()
        assert not found.distance_part.any()


@both_kinds
def test_constant_along_rows_is_null_though_the_profile_is_not(causal: bool) -> None:
    rng = np.random.default_rng(0)
    queries, key = rng.normal(size=(3, 200, 8)), rng.normal(size=8)
    keys = np.broadcast_to(key, queries.shape) * (1 + 1e-16 * rng.normal(size=(3, 200, 1)))
    found = factored_kernel(queries, keys, causal=causal)
    assert found.relative_share == found.half_distance == found.peak_offset == (None,) * 3
    assert np.ptp(found.profile, axis=1).min() > 0.1


@both_kinds
def test_keys_across_all_queries_are_null(causal: bool) -> None:
    # What varies in the keys is orthogonal to every query: only rounding is left along rows.
    rng = np.random.default_rng(1)
    frame = np.linalg.qr(rng.normal(size=(8, 8)))[0]
    queries, keys = rng.normal(size=(2, 1, 300, 4))
    found = factored_kernel(queries @ frame[:4], keys @ frame[4:], causal=causal)
    assert found.relative_share == (None,)


@both_kinds
@pytest.mark.parametrize(("tilt", "rtol"), [(2.0**-13, 1e-9), (2.0**-26, 1e-6)])
def test_nearly_orthogonal_queries_and_keys(tilt: float, rtol: float, causal: bool) -> None:
    # Small integers in a Hadamard frame, so that products are exact: what they cancel to is known,
    # however small it is beside ‖q‖‖k‖.
    small, queries, keys = np.random.default_rng(2).integers(-9, 10, size=(3, 1, 300, 4))
    frame = scipy.linalg.hadamard(8).astype(float)
    tilted = np.concatenate([queries, tilt * small], axis=2) @ frame
    across = np.concatenate([0 * keys, keys], axis=2) @ frame
    found = factored_kernel(tilted, across, causal=causal)
    wanted = factored_kernel(small.astype(float), keys.astype(float), causal=causal)
    assert_allclose(found.relative_share, wanted.relative_share, rtol=rtol)


@both_kinds
def test_no_matrix_is_made(causal: bool) -> None:
    length = 4096
    queries, keys = np.random.default_rng(0).normal(size=(2, 1, length, 16))
    factored_sums(queries[:, :5], keys[:, :5], causal=causal)  # imports and thread pools
    tracemalloc.start()
    found = factored_kernel(queries, keys, causal=causal)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.relative_share[0] is not None
    assert peak < length * length * 8 / 20
