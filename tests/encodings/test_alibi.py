"""ALiBi's slopes against BLOOM and MPT at head counts where rules differ, and its bias."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers.models.bloom.modeling_bloom import build_alibi_tensor
from transformers.models.mpt.modeling_mpt import build_mpt_alibi_tensor

from poslens.encodings import Alibi, alibi_slopes
from poslens.errors import SettingError

HEADS = [1, 2, 3, 6, 8, 12, 25, 32, 71]


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("heads", HEADS)
def test_the_slopes_of_bloom_and_mpt(heads: int) -> None:
    bloom = build_alibi_tensor(torch.ones(1, 9), heads, torch.float64)[:, 0]
    slopes = alibi_slopes(heads)
    np.testing.assert_allclose(slopes, bloom[:, 1], rtol=1e-13)
    for max_bias in (8.0, 5.0, 16.0):
        mpt = build_mpt_alibi_tensor(heads, 9, max_bias)[:, 0]
        bias = Alibi(heads, max_bias=max_bias).bias(np.array([8]), np.arange(9))
        np.testing.assert_allclose(bias[:, 0], mpt, rtol=1e-13)
    # BLOOM counts from the first key: the two differ by what is constant along a row.
    ours = Alibi(heads).bias(np.array([8]), np.arange(9))[:, 0]
    np.testing.assert_allclose(ours - ours[:, :1], bloom - bloom[:, :1], rtol=1e-13, atol=1e-15)


def test_the_slopes_of_the_paper() -> None:
    np.testing.assert_array_equal(alibi_slopes(8), 2.0 ** -np.arange(1, 9))
    sixteen = alibi_slopes(16)
    np.testing.assert_allclose(sixteen[1:] / sixteen[:-1], 2**-0.5, rtol=1e-15)
    twelve = alibi_slopes(12)
    np.testing.assert_array_equal(twelve[:8], alibi_slopes(8))
    np.testing.assert_allclose(twelve[8:], sixteen[[0, 2, 4, 6]], rtol=1e-15)
    assert np.all(alibi_slopes(25) > 0)
    assert np.unique(alibi_slopes(25)).size == 25


def test_keys_after_the_query() -> None:
    offsets = np.array([-3, -1, 0, 1, 3])
    m = alibi_slopes(6)[:, None]
    np.testing.assert_array_equal(Alibi(6).profile(offsets), m * [-3, -1, 0, 0, 0])
    both = Alibi(6, symmetric=True).profile(offsets)
    np.testing.assert_array_equal(both, m * [-3, -1, 0, -1, -3])


@settings(derandomize=True, deadline=None)
@given(
    t=st.lists(st.floats(-1e6, 1e6), max_size=4).map(np.array),
    s=st.lists(st.floats(-1e6, 1e6), max_size=4).map(np.array),
    symmetric=st.booleans(),
)
def test_the_bias_is_its_profile(t: np.ndarray, s: np.ndarray, symmetric: bool) -> None:
    alibi = Alibi(3, symmetric=symmetric)
    bias = alibi.bias(t, s)
    assert bias.shape == (3, t.size, s.size)
    for i in range(t.size):
        np.testing.assert_array_equal(bias[:, i], alibi.profile(s - t[i]))


def test_settings_and_positions_that_cannot_be() -> None:
    for build in (Alibi, alibi_slopes):
        with pytest.raises(SettingError, match="at least 1 for heads, got 0"):
            build(0)
        with pytest.raises(SettingError, match="above 0 for max_bias, got 0"):
            build(6, max_bias=0.0)
    with pytest.raises(SettingError, match="at most 268435456 for heads, got 1000000000000"):
        alibi_slopes(10**12)
    with pytest.raises(SettingError, match="expected finite offsets, got inf"):
        Alibi(6).profile(np.array([0, np.inf]))
    with pytest.raises(SettingError, match="expected finite positions, got nan"):
        Alibi(6).bias(np.array([np.nan]), np.arange(3))
