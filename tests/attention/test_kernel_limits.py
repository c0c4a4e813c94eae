"""What is refused, and what it says."""

from __future__ import annotations

import numpy as np
import pytest

from poslens.attention import factored_kernel, kernel_picture, permuted_shares, relative_kernel
from poslens.attention.validate import check_heads, check_profiles
from poslens.errors import SettingError, TableError, UndefinedMeasureError

GOOD = np.random.default_rng(0).normal(size=(4, 9, 3))


@pytest.mark.parametrize(
    ("queries", "keys", "message"),
    [
        (GOOD[:, :2], GOOD[:, :2], r"queries .* at least 3 positions, got shape \(4, 2, 3\)"),
        (GOOD[:0], GOOD[:0], r"expected \(head, position, d_head\) .* got shape \(0, 9, 3\)"),
        (GOOD[..., :0], GOOD[..., :0], r"got shape \(4, 9, 0\)"),
        (GOOD, GOOD[:0], r"the keys of a layer .* got shape \(0, 9, 3\)"),
        (GOOD[0], GOOD[0], r"got shape \(9, 3\); pass one row per head and position"),
        (GOOD, GOOD[:, :8], r"shapes \(4, 9, 3\) and \(4, 8, 3\); take both from the same layer"),
        (GOOD, GOOD[..., :2], r"shapes \(4, 9, 3\) and \(4, 9, 2\)"),
        (GOOD, GOOD[:3], r"multiple of the key heads, got 4 query and 3 key heads"),
        (GOOD.astype(int), GOOD, r"the queries are not real numbers: .* got dtype 'int64'"),
        (GOOD, GOOD + 0j, r"the keys are not real numbers: .* got dtype 'complex128'"),
        (1e70 * GOOD, GOOD, r"the queries are out of range: .*e\+70; rescale"),
        (GOOD, 1e-70 * GOOD, r"the keys are out of range: .*e-70; rescale"),
    ],
)
def test_queries_and_keys_that_are_refused(
    queries: np.ndarray, keys: np.ndarray, message: str
) -> None:
    with pytest.raises(TableError, match=message):
        check_heads(queries, keys)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_heads_that_are_not_finite_are_named(bad: float) -> None:
    broken = GOOD.copy()
    broken[[1, 3], 4, 2] = bad
    with pytest.raises(TableError, match=r"the keys hold .* NaN or Inf in heads 1, 3; repair"):
        factored_kernel(GOOD, broken, causal=True)
    with pytest.raises(TableError, match=r"the queries hold values that are not finite"):
        kernel_picture(broken, GOOD, causal=True)
    with pytest.raises(TableError, match=r"NaN or Inf in heads 0, 1, 2, 3, 4 and 7 more"):
        relative_kernel(np.full((12, 9), bad), causal=True)


@pytest.mark.parametrize(
    ("shape", "causal", "message"),
    [
        ((3, 2), True, r"offsets -\(L-1\) … 0, and at least L = 3, got shape \(3, 2\)"),
        ((3, 4), False, r"an odd number, and at least L = 3, got shape \(3, 4\)"),
        ((3, 8), False, r"got shape \(3, 8\); evaluate the bias at `poslens.attention.offsets`"),
        ((3, 3), False, r"got shape \(3, 3\)"),
        ((0, 9), True, r"got shape \(0, 9\)"),
        ((9,), True, r"got shape \(9,\)"),
    ],
)
def test_profiles_that_are_refused(shape: tuple[int, ...], causal: bool, message: str) -> None:
    with pytest.raises(TableError, match=message):
        check_profiles(np.ones(shape), causal=causal)


def test_a_picture_needs_blocks() -> None:
    with pytest.raises(SettingError, match=r"expected at least 1, got 0"):
        kernel_picture(GOOD, GOOD, causal=True, most=0)


def test_a_null_needs_a_head_that_varies() -> None:
    keys = np.ones_like(GOOD)
    with pytest.raises(UndefinedMeasureError, match="all heads are constant along rows"):
        permuted_shares(GOOD, keys, causal=True, draws=3, seed=0)


def test_zeros_are_heads_too() -> None:
    queries, keys = GOOD.copy(), GOOD.copy()
    queries[1], keys[2] = 0, 0
    found = factored_kernel(queries, keys, causal=False)
    assert [share is None for share in found.relative_share] == [False, True, True, False]
