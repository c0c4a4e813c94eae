"""Each method of compression against another implementation, and where theory knows the answer."""

from __future__ import annotations

import numpy as np
import pytest
from compressed_tables import SIZES, cosine_functions, share, smooth, spline_values
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy.interpolate import BSpline, make_interp_spline, make_lsq_spline
from sklearn.decomposition import TruncatedSVD

from poslens.edit.bases import spline_degree, spline_knots
from poslens.edit.compression import compressor
from poslens.edit.low_rank import Svd, gram_values, gram_vectors, singular, singular_values
from poslens.edit.smooth import CosineSvd, SmoothSvd, SplineSvd

combined = pytest.mark.parametrize("kind", [CosineSvd, SplineSvd])


@pytest.mark.parametrize("size", [*SIZES, (500, 7)])
def test_svd_is_that_of_numpy(size: tuple[int, int]) -> None:
    rows = smooth(*size)
    U, s, Vt = np.linalg.svd(rows, full_matrices=False)
    found = compressor("svd", rows)
    for k in range(1, s.size + 1):
        tail = np.sqrt((s[k:] ** 2).sum() / (s**2).sum())
        assert found.error(k) == pytest.approx(tail, rel=1e-10, abs=1e-15)
        assert_allclose(found.table(k), U[:, :k] * s[:k] @ Vt[:k], rtol=0, atol=1e-11)


@pytest.mark.parametrize("size", [(131, 24), (33, 48), (35, 35)])
def test_svd_is_that_of_scikit_learn(size: tuple[int, int]) -> None:
    rows = smooth(*size)
    for k in (1, 4, 11):
        theirs = TruncatedSVD(k, algorithm="arpack", random_state=0)
        expected = theirs.inverse_transform(theirs.fit_transform(rows))
        assert_allclose(compressor("svd", rows).table(k), expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("size", [(131, 11), (11, 131), (11, 11)])
def test_a_small_tail_keeps_its_digits(size: tuple[int, int]) -> None:
    # Eigenvalues of a Gram matrix would be lost in rounding from a tail of 1e-8 on.
    rng = np.random.default_rng(0)
    left, right = (np.linalg.qr(rng.normal(size=(n, 11)))[0] for n in size)
    values = 10.0 ** -np.arange(11)
    rows = left * values @ right.T
    found = compressor("svd", rows)
    norm = np.linalg.norm(values)
    for k in range(10):
        expected = np.linalg.norm(values[k:]) / norm
        relative = 1e-6 if expected > 1e-9 else 1e-4
        assert found.errors[k] == pytest.approx(expected, rel=relative)  # type: ignore[attr-defined]
        if k:
            assert share(found.table(k) - rows, rows) == pytest.approx(expected, rel=relative)


@given(
    seed=st.integers(0, 2**32 - 1),
    length=st.integers(3, 50),
    dim=st.integers(1, 50),
    data=st.data(),
)
@settings(derandomize=True, deadline=None, max_examples=60)
def test_no_projection_of_the_same_rank_is_closer(
    seed: int, length: int, dim: int, data: st.DataObject
) -> None:
    rng = np.random.default_rng(seed)
    rows = np.cumsum(rng.normal(size=(length, dim)), axis=0)
    k = data.draw(st.integers(1, min(length, dim)))
    found = compressor("svd", rows)
    for count, onto in ((length, rows), (dim, rows.T)):
        # Rows of the table itself lie closer to it than directions drawn blindly.
        for directions in (rng.normal(size=(count, k)), onto @ rng.normal(size=(onto.shape[1], k))):
            Q = np.linalg.qr(directions)[0]
            assert found.error(k) <= share(onto - Q @ (Q.T @ onto), rows) + 1e-14


@pytest.mark.parametrize("size", [(1000, 7), (7, 1000), (97, 12), (12, 12), (1, 5), (5, 1)])
def test_singular_vectors_of_the_shorter_side(size: tuple[int, int]) -> None:
    matrix = np.random.default_rng(1).normal(size=size)
    vectors, values = singular(matrix)
    short = matrix if size[0] < size[1] else matrix.T
    assert_allclose(vectors.T @ vectors, np.eye(min(size)), rtol=0, atol=1e-13)
    assert_allclose(np.linalg.norm(short.T @ vectors, axis=0), values, rtol=1e-11)
    assert_allclose(singular_values(matrix), values, rtol=1e-11)
    assert_allclose(gram_values(matrix), values**2, rtol=1e-11)
    assert_allclose(np.linalg.norm(short.T @ gram_vectors(matrix), axis=0), values, rtol=1e-11)
    assert_allclose(values, np.linalg.svd(matrix)[1], rtol=1e-11)


@pytest.mark.parametrize("size", [(61, 12), (62, 80), (3, 2)])
def test_cosines_by_their_formula(size: tuple[int, int]) -> None:
    rows = smooth(*size)
    found = compressor("cosine", rows)
    for k in range(1, size[0] + 1):
        functions = cosine_functions(size[0], k)
        fitted = functions @ np.linalg.lstsq(functions, rows, rcond=None)[0]
        assert_allclose(found.table(k), fitted, rtol=0, atol=1e-12)
        assert found.error(k) == pytest.approx(share(rows - fitted, rows), rel=1e-9, abs=1e-14)


@pytest.mark.parametrize("size", [(61, 12), (62, 80), (131, 5)])
def test_splines_are_those_of_scipy(size: tuple[int, int]) -> None:
    rows = smooth(*size)
    found = compressor("spline", rows)
    positions = np.arange(size[0], dtype=float)
    for k in range(4, size[0] + 1):
        expected = make_lsq_spline(positions, rows, spline_knots(size[0], k), 3)
        assert_allclose(found.table(k), expected(positions), rtol=0, atol=1e-11)
        assert_allclose(found.factors(k)["coefficients"], expected.c, rtol=0, atol=1e-11)


def test_fewer_than_four_splines_are_polynomials() -> None:
    rows = smooth(61, 12)
    positions = np.arange(61.0)
    found = compressor("spline", rows)
    for k in (1, 2, 3, 4):
        powers = np.vander(positions / 60, k)
        fitted = powers @ np.linalg.lstsq(powers, rows, rcond=None)[0]
        assert_allclose(found.table(k), fitted, rtol=0, atol=1e-12)


@pytest.mark.parametrize("length", [4, 5, 64, 131])
def test_knots(length: int) -> None:
    positions = np.arange(length, dtype=float)
    for count in range(4, length + 1):
        knots = spline_knots(length, count)
        even = np.linspace(0, length - 1, count)[2:-2]
        assert knots.size == count + 4
        assert_array_equal(knots[[0, 3, -4, -1]], [0, 0, length - 1, length - 1])
        assert (np.diff(knots[3:-3]) > 0).all()
        assert np.abs(knots[4:-4] - even).max(initial=0) <= 0.5 + 1e-9
        # No combination of the functions all but vanishes at the positions.
        values = BSpline.design_matrix(positions, knots, 3).toarray()
        assert np.linalg.cond(values) < 6
    assert_array_equal(knots, make_interp_spline(positions, positions).t)


@combined
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("noise", [0.0, 1e-5, 0.1, 10.0])
def test_never_further_than_svd_in_as_many_numbers(
    kind: type[SmoothSvd], size: tuple[int, int], noise: float
) -> None:
    rows = smooth(*size, noise)
    found, best = kind(rows), Svd(rows)
    for k in range(1, found.most + 1):
        assert found.numbers(k) == k * (found.functions(k) + size[1]) <= best.numbers(k)
        assert best.error(k) - 1e-14 <= found.error(k)
        assert found.error(k) <= max(best.error(found.numbers(k) // sum(size)), 1e-12)
        assert k == 1 or found.functions(k) >= found.functions(k - 1)


@combined
def test_functions_are_the_fewest_that_are_worth_it(kind: type[SmoothSvd]) -> None:
    rows = smooth(131, 24)
    found = kind(rows)
    counts = (2, 3, 5, 9, 17, 33, 65, 129, 131)
    squares = {
        m: [1.0, *(share(rows - _best(kind, rows, m, k), rows) ** 2 for k in range(1, 25))]
        for m in counts
    }
    previous = 0
    for k in range(1, 24):
        worth = [
            m
            for m in counts
            if previous <= m >= k
            and all(
                squares[m][k] <= np.interp(k * (m + 24), np.arange(25) * (n + 24), squares[n])
                for n in counts
                if n > m
            )
        ]
        assert found.functions(k) == worth[0]
        previous = worth[0]
    assert found.functions(1) < 9 < found.functions(7) < 131 == found.functions(24)


@combined
def test_no_table_of_these_functions_and_rank_is_closer(kind: type[SmoothSvd]) -> None:
    rows = smooth(131, 24)
    found = kind(rows)
    for k in range(1, 25):
        expected = _best(kind, rows, found.functions(k), k)
        assert_allclose(found.table(k), expected, rtol=0, atol=1e-10)


def _best(kind: type[SmoothSvd], rows: np.ndarray, count: int, rank: int) -> np.ndarray:
    """The closest rank-``rank`` table whose columns are sums of ``count`` functions."""
    length = rows.shape[0]
    if kind is CosineSvd or count == length:
        functions = cosine_functions(length, count)
    else:
        functions = spline_values(length, np.eye(count))
    Q = np.linalg.qr(functions)[0]
    U, s, Vt = np.linalg.svd(Q.T @ rows, full_matrices=False)
    return Q @ (U[:, :rank] * s[:rank]) @ Vt[:rank]


def test_smooth_tables_take_fewer_numbers() -> None:
    rng = np.random.default_rng(3)
    weights = rng.normal(size=(7, 24))
    rows = cosine_functions(131, 7) @ weights
    found = CosineSvd(rows)
    assert compressor("cosine", rows).error(7) < 1e-14
    assert found.functions(7) == 9
    assert found.numbers(7) == 7 * (9 + 24)
    assert found.error(7) < 1e-14
    cubic = np.vander(np.arange(131) / 130, 4) @ weights[:4]
    assert compressor("spline", cubic).error(4) < 1e-13
    assert SplineSvd(cubic).functions(4) == 5
    assert spline_degree(4) == 3
