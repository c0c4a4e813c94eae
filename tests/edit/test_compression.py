"""What every method of compression promises, at every rank."""

from __future__ import annotations

import numpy as np
import pytest
from compressed_tables import SIZES, rebuilt, share, smooth
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from poslens.edit.compression import METHODS, Compressor, compressor, smallest_rank

every_method = pytest.mark.parametrize("method", METHODS)
every_size = pytest.mark.parametrize("size", SIZES)


def ranks(found: Compressor) -> range:
    return range(1, found.most + 1)


@every_method
@every_size
def test_the_table_comes_back_at_the_full_rank(method: str, size: tuple[int, int]) -> None:
    rows = smooth(*size)
    found = compressor(method, rows)
    assert found.most == (min(size) if "svd" in method else size[0])
    assert_allclose(found.table(found.most), rows, rtol=0, atol=1e-13)
    assert found.error(found.most) < 1e-15


@every_method
@every_size
@pytest.mark.parametrize("noise", [0.1, 1e-5, 1e-9])
def test_the_error_is_that_of_the_table(method: str, size: tuple[int, int], noise: float) -> None:
    rows = smooth(*size, noise)
    found = compressor(method, rows)
    for rank in ranks(found):
        assert found.error(rank) == pytest.approx(
            share(found.table(rank) - rows, rows), rel=1e-10, abs=1e-14
        )


@every_method
@every_size
def test_factors_stand_for_the_table(method: str, size: tuple[int, int]) -> None:
    found = compressor(method, smooth(*size))
    for rank in ranks(found):
        factors = found.factors(rank)
        assert sum(factor.size for factor in factors.values()) == found.numbers(rank)
        assert_allclose(rebuilt(method, factors, size[0]), found.table(rank), rtol=0, atol=1e-12)


@every_method
@every_size
def test_more_numbers_are_no_further_from_the_table(method: str, size: tuple[int, int]) -> None:
    found = compressor(method, smooth(*size))
    numbers = [found.numbers(rank) for rank in ranks(found)]
    errors = [found.error(rank) for rank in ranks(found)]
    assert (np.diff(numbers) > 0).all()
    if method != "spline":  # whose spaces are not nested
        assert (np.diff(errors) <= 1e-15).all()


@every_method
def test_a_table_of_float32_in_any_layout(method: str) -> None:
    rows = smooth(61, 12).astype(np.float32)
    doubled = np.asfortranarray(np.repeat(rows, 2, axis=1))[:, ::2]
    doubled.flags.writeable = False
    found, expected = compressor(method, doubled), compressor(method, rows.astype(np.float64))
    table = found.table(5)
    assert table.dtype == np.float64
    assert_array_equal(table, expected.table(5))
    assert_array_equal(doubled, rows)


@every_method
@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_scale_changes_no_error(method: str, scale: float) -> None:
    rows = smooth(61, 12)
    found, expected = compressor(method, scale * rows), compressor(method, rows)
    assert found.most == expected.most
    for rank in (1, 2, 7, found.most - 1):
        assert found.numbers(rank) == expected.numbers(rank)
        assert found.error(rank) == pytest.approx(expected.error(rank), rel=1e-10)
        assert_allclose(found.table(rank) / scale, expected.table(rank), rtol=0, atol=1e-12)


@every_method
@given(seed=st.integers(0, 2**32 - 1), length=st.integers(3, 40), dim=st.integers(1, 30))
@settings(derandomize=True, deadline=None, max_examples=15)
def test_turning_the_dimensions_turns_the_table(
    method: str, seed: int, length: int, dim: int
) -> None:
    rng = np.random.default_rng(seed)
    rows = np.cumsum(rng.normal(size=(length, dim)), axis=0)
    turn = np.linalg.qr(rng.normal(size=(dim, dim)))[0]
    found, turned = compressor(method, rows), compressor(method, rows @ turn)
    rank = int(rng.integers(1, found.most, endpoint=True))
    assert turned.numbers(rank) == found.numbers(rank)
    assert turned.error(rank) == pytest.approx(found.error(rank), rel=1e-9, abs=1e-14)
    assert share(turned.table(rank) - found.table(rank) @ turn, rows) < 1e-9


@pytest.mark.parametrize("method", ["svd", "cosine", "cosine+svd"])
def test_reading_backwards_changes_no_error(method: str) -> None:
    rows = smooth(62, 12)
    found, reversed_ = compressor(method, rows), compressor(method, rows[::-1])
    for rank in ranks(found):
        assert reversed_.error(rank) == pytest.approx(found.error(rank), rel=1e-9, abs=1e-14)


@every_method
def test_rows_of_zeros(method: str) -> None:
    rows = smooth(61, 12)
    rows[[0, 30, 31, 60]] = 0
    found = compressor(method, rows)
    for rank in ranks(found):
        assert found.error(rank) == pytest.approx(
            share(found.table(rank) - rows, rows), rel=1e-10, abs=1e-14
        )


@every_method
def test_one_row_that_is_not_zero(method: str) -> None:
    rows = np.zeros((61, 12))
    rows[7, 3] = 2.0
    found = compressor(method, rows)
    rank = 1 if "svd" in method else 61
    assert smallest_rank(found, error=1e-14) == rank
    assert_allclose(found.table(rank), rows, rtol=0, atol=1e-14)


@every_method
@every_size
def test_the_smallest_rank_of_an_error(method: str, size: tuple[int, int]) -> None:
    found = compressor(method, smooth(*size))
    errors = np.array([found.error(rank) for rank in ranks(found)])
    for bound in (*errors, *errors * 1.001, 0.0, 1e-20, 0.01, 0.3, 1.0, 5.0):
        rank = smallest_rank(found, error=float(bound))
        assert errors[rank - 1] <= bound or rank == found.most
        assert rank == 1 or errors[rank - 2] > bound
        if method != "spline":
            assert rank == min([*np.flatnonzero(errors <= bound) + 1, found.most])
    assert smallest_rank(found, error=0.0) == found.most


@every_method
@every_size
def test_the_largest_rank_of_a_size(method: str, size: tuple[int, int]) -> None:
    found = compressor(method, smooth(*size))
    entries = size[0] * size[1]
    for rank in ranks(found):
        assert smallest_rank(found, size=found.numbers(rank) / entries) == rank
        if rank > 1:
            assert smallest_rank(found, size=(found.numbers(rank) - 0.5) / entries) == rank - 1
    assert smallest_rank(found, size=1e300) == found.most
