"""The permutation null against the measure itself on permuted rows."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from poslens.attention import factored_kernel, permuted_shares

both_kinds = pytest.mark.parametrize("causal", [True, False], ids=["causal", "bidirectional"])


def layer(length: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(length)
    rows = np.cumsum(rng.normal(size=(length, 10)), axis=0) + 20
    queries, keys = rows @ rng.normal(size=(6, 10, 8)), rows @ rng.normal(size=(2, 10, 8))
    return queries, keys


@both_kinds
@pytest.mark.parametrize("length", [5, 64, 333])
def test_draws_are_the_measure_on_permuted_rows(length: int, causal: bool) -> None:
    queries, keys = layer(length)
    steps: list[int] = []
    found = permuted_shares(queries, keys, causal=causal, draws=5, seed=7, advance=steps.append)
    wanted = []
    for child in np.random.SeedSequence(7).spawn(5):
        order = np.random.default_rng(child).permutation(length)
        shares = factored_kernel(queries[:, order], keys[:, order], causal=causal).relative_share
        wanted.append(np.median(np.array(shares, float)))
    assert_allclose(found, wanted, rtol=1e-4)
    assert steps == [1] * 5


@both_kinds
def test_draws_are_repeatable_and_do_not_depend_on_their_number(causal: bool) -> None:
    few, more, other = (
        permuted_shares(*layer(50), causal=causal, draws=draws, seed=seed)
        for draws, seed in ((3, 1), (8, 1), (3, 2))
    )
    assert np.array_equal(few, more[:3])
    assert not np.intersect1d(few, other).size
    assert permuted_shares(*layer(50), causal=causal, draws=0, seed=1).shape == (0,)


@both_kinds
def test_the_size_of_queries_and_keys_does_not_matter(causal: bool) -> None:
    queries, keys = layer(50)
    found = permuted_shares(1e30 * queries, 1e-25 * keys, causal=causal, draws=3, seed=1)
    assert_allclose(
        found, permuted_shares(queries, keys, causal=causal, draws=3, seed=1), rtol=1e-4
    )


@both_kinds
def test_heads_that_do_not_vary_are_left_out(causal: bool) -> None:
    queries, keys = layer(50)
    still = np.concatenate([queries, queries[:2]]), np.concatenate([keys, np.ones_like(keys[:1])])
    found = permuted_shares(still[0][[0, 3, 6]], still[1], causal=causal, draws=3, seed=1)
    wanted = permuted_shares(queries[[0, 3]], keys, causal=causal, draws=3, seed=1)
    assert_allclose(found, wanted, rtol=1e-6)


@both_kinds
def test_a_smooth_table_beats_its_permutations(causal: bool) -> None:
    queries, keys = layer(333)
    share = np.median(np.array(factored_kernel(queries, keys, causal=causal).relative_share, float))
    draws = permuted_shares(queries, keys, causal=causal, draws=19, seed=0)
    assert draws.max() < 0.05 < share
