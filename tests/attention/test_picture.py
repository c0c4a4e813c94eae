"""Block averages against the matrix, block by block."""

from __future__ import annotations

import numpy as np
import pytest
from matrices import allowed
from numpy.testing import assert_allclose

from poslens.attention import kernel_picture


@pytest.mark.parametrize("causal", [True, False], ids=["causal", "bidirectional"])
@pytest.mark.parametrize(("length", "most"), [(3, 64), (17, 5), (65, 64), (130, 7), (131, 1)])
def test_blocks_are_means_over_allowed_pairs(length: int, most: int, causal: bool) -> None:
    rng = np.random.default_rng(length)
    queries, keys = rng.normal(size=(6, length, 4)) + 1, rng.normal(size=(2, length, 4)) - 2
    found = kernel_picture(queries, keys, causal=causal, most=most)
    starts = found.starts.tolist()
    assert len(starts) <= most
    assert found.means.shape == (6, len(starts), len(starts))

    pairs = allowed(length, causal=causal)
    edges = [*starts, length]
    empty = 0
    for head in range(6):
        K = queries[head] @ keys[head // 3].T
        row = (np.where(pairs, K, 0).sum(axis=1) / pairs.sum(axis=1))[:, None] + 0 * K
        for i, j in np.ndindex(len(starts), len(starts)):
            block = np.s_[edges[i] : edges[i + 1], edges[j] : edges[j + 1]]
            inside = pairs[block]
            got = found.means[head, i, j], found.row_means[head, i, j]
            if not inside.any():
                assert np.isnan(got).all()
                empty += 1
                continue
            wanted = K[block][inside].mean(), row[block][inside].mean()
            assert_allclose(got, wanted, rtol=1e-10, atol=1e-11)
            assert found.within_rows[head, i, j] == pytest.approx(
                wanted[0] - wanted[1], rel=1e-9, abs=1e-10
            )
    assert empty == (6 * len(starts) * (len(starts) - 1) // 2 if causal else 0)


def test_float32_sums_do_not_drift() -> None:
    rows = np.full((1, 10_001, 1), 0.1, dtype=np.float32)
    found = kernel_picture(rows, rows, causal=True, most=3)
    exact = float(np.float32(0.1)) ** 2
    assert_allclose(found.means[0][np.tri(3, dtype=bool)], exact, rtol=1e-12)
