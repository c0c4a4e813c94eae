"""The paper's table against outside implementations, and against its own identities."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers.models.distilbert.modeling_distilbert import create_sinusoidal_embeddings
from transformers.models.marian.modeling_marian import MarianSinusoidalPositionalEmbedding

from poslens.encodings.sinusoidal import sinusoidal_rows, sinusoidal_table


@pytest.mark.parametrize(("length", "dim"), [(5, 2), (129, 48), (64, 30)])
def test_parity_with_distilbert(length: int, dim: int) -> None:
    """DistilBERT interleaves sines and cosines as the paper does; it computes in float64."""
    theirs = create_sinusoidal_embeddings(length, dim, torch.zeros(length, dim)).numpy()
    np.testing.assert_allclose(sinusoidal_table(length, dim), theirs, rtol=0, atol=1e-7)


@pytest.mark.parametrize(("length", "dim"), [(77, 30), (40, 8)])
def test_parity_with_marian(length: int, dim: int) -> None:
    """Marian has the same columns, sines first and cosines second."""
    module = MarianSinusoidalPositionalEmbedding(length, dim)
    with torch.no_grad():
        module.weight.copy_(module.create_weight())
    theirs = module.weight.numpy()
    ours = sinusoidal_table(length, dim)
    np.testing.assert_allclose(
        np.concatenate([ours[:, 0::2], ours[:, 1::2]], axis=1), theirs, rtol=0, atol=1e-7
    )


@pytest.mark.parametrize("dim", [1, 2, 7, 10])
@pytest.mark.parametrize("base", [10_000.0, 500_000.0, 7.5])
def test_the_formula_entry_by_entry(dim: int, base: float) -> None:
    table = sinusoidal_table(9, dim, base)
    assert table.shape == (9, dim)
    for t in range(9):
        for j in range(dim):
            angle = t / base ** (2 * (j // 2) / dim)
            expected = np.sin(angle) if j % 2 == 0 else np.cos(angle)
            assert table[t, j] == pytest.approx(expected, abs=1e-15)


def test_each_pair_turns_by_its_own_angle() -> None:
    """p_{t+k} is p_t turned, in each pair of columns, by k times that pair's frequency."""
    dim, k = 12, 5
    table = sinusoidal_table(30, dim)
    for i in range(dim // 2):
        angle = k / 10_000 ** (2 * i / dim)
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        pair = table[:, 2 * i : 2 * i + 2]
        np.testing.assert_allclose(pair[k:], pair[:-k] @ turn, atol=1e-12)
    np.testing.assert_allclose((table**2).sum(axis=1), dim / 2, rtol=1e-14)


def test_other_positions() -> None:
    table = sinusoidal_table(6, 8)
    np.testing.assert_array_equal(sinusoidal_rows(np.array([4, 0, 5]), 8), table[[4, 0, 5]])
    back = sinusoidal_rows(np.array([-2.0]), 8)[0]
    np.testing.assert_array_equal(back[0::2], -table[2, 0::2])
    np.testing.assert_array_equal(back[1::2], table[2, 1::2])
    between = sinusoidal_rows(np.array([2.5]), 8)[0]
    assert between[0] == pytest.approx(np.sin(2.5))
