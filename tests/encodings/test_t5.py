"""T5's buckets against transformers at every distance, its bias, and MPNet's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import MPNetConfig, T5Config
from transformers.models.mpnet.modeling_mpnet import MPNetEncoder
from transformers.models.t5.modeling_t5 import T5Attention

from poslens.encodings import T5, t5_buckets
from poslens.errors import SettingError

FAR = np.r_[-5_000:-600, -600:601, 601:5_001, [-(10**6), 10**6, 2**24 + 1, -(2**31)]]


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("buckets", [4, 5, 6, 14, 16, 20, 31, 32, 33, 40, 64, 100, 128, 256])
@pytest.mark.parametrize("max_distance", [129, 128, 130, 200, 256, 600, 1_000])
def test_every_bucket_of_t5(buckets: int, max_distance: int, causal: bool) -> None:
    if max_distance <= buckets // (2 if causal else 4):
        max_distance += buckets
    theirs = T5Attention._relative_position_bucket(
        torch.as_tensor(FAR), not causal, buckets, max_distance
    )
    ours = t5_buckets(FAR, buckets, max_distance, causal)
    np.testing.assert_array_equal(ours, theirs)
    assert ours.min() == 0
    assert ours.max() == (buckets if causal else buckets // 2 * 2) - 1


@pytest.mark.parametrize(("buckets", "max_distance"), [(32, 128), (14, 40), (20, 125), (8, 600)])
def test_edges_are_where_the_formula_has_them(buckets: int, max_distance: int) -> None:
    """In whole numbers: bucket e + j is reached at the first r with r^n·e^j ≥ e^n·D^j."""
    exact = buckets // 2
    n = buckets - exact
    got = t5_buckets(-np.arange(700), buckets, max_distance, causal=True)
    for r in range(exact, 700):
        reached = [j for j in range(n) if r**n * exact**j >= exact**n * max_distance**j]
        assert got[r] == exact + reached[-1]


@pytest.mark.parametrize("causal", [False, True])
def test_the_bias_of_t5(causal: bool) -> None:
    config = T5Config(
        d_model=18, d_kv=5, num_heads=6, relative_attention_num_buckets=14,
        relative_attention_max_distance=40, is_decoder=causal,
    )  # fmt: skip
    module = T5Attention(config, has_relative_attention_bias=True, layer_idx=0).double()
    with torch.no_grad():
        theirs = module.compute_bias(61, 97)[0]
    values = module.relative_attention_bias.weight.detach().numpy()
    ours = T5(values, max_distance=40, causal=causal)
    np.testing.assert_array_equal(ours.bias(np.arange(61), np.arange(97)), theirs)
    assert ours.parameters == module.relative_attention_bias.weight.numel() == 14 * 6
    with torch.no_grad():
        later = module.compute_bias(3, 97, past_seen_tokens=94)[0]
    np.testing.assert_array_equal(ours.bias(np.arange(94, 97), np.arange(97)), later)


def test_the_bias_of_mpnet() -> None:
    config = MPNetConfig(
        vocab_size=37, hidden_size=42, num_hidden_layers=1, num_attention_heads=6,
        intermediate_size=10, relative_attention_num_buckets=14,
    )  # fmt: skip
    encoder = MPNetEncoder(config).double()
    with torch.no_grad():
        theirs = encoder.compute_position_bias(torch.zeros(1, 301, 42), num_buckets=14)[0]
    ours = T5(encoder.relative_attention_bias.weight.detach().numpy())
    np.testing.assert_array_equal(ours.bias(np.arange(301), np.arange(301)), theirs)
    assert ours.parameters == sum(p.numel() for p in encoder.relative_attention_bias.parameters())


@settings(derandomize=True, deadline=None)
@given(
    t=st.lists(st.integers(-(2**40), 2**40), max_size=4).map(np.array),
    s=st.lists(st.integers(-(2**40), 2**40), max_size=4).map(np.array),
    causal=st.booleans(),
)
def test_the_bias_is_its_profile(t: np.ndarray, s: np.ndarray, causal: bool) -> None:
    t5 = T5.drawn(3, causal=causal, seed=1)
    bias = t5.bias(t, s)
    assert bias.shape == (3, t.size, s.size)
    for i in range(t.size):
        np.testing.assert_array_equal(bias[:, i], t5.profile(s - t[i]))
        np.testing.assert_array_equal(bias[:, i], t5.bias(t[i : i + 1] + 7, s + 7)[:, 0])


def test_before_training() -> None:
    t5 = T5.drawn(12, std=0.5, seed=3)
    assert t5.values.shape == (32, 12)
    assert t5.values.std() == pytest.approx(0.5, rel=0.1)
    np.testing.assert_array_equal(t5.values, T5.drawn(12, std=0.5, seed=3).values)
    assert not np.array_equal(t5.values, T5.drawn(12, std=0.5, seed=4).values)
    assert repr(t5) == "T5(buckets=32, heads=12, max_distance=128, causal=False)"
    with pytest.raises(ValueError, match="read-only"):
        t5.values[0, 0] = 1


def test_buckets_that_cannot_be() -> None:
    with pytest.raises(SettingError, match="at least 4 for buckets, got 3"):
        t5_buckets(np.arange(3), buckets=3)
    with pytest.raises(SettingError, match="at least 2 for buckets, got 1"):
        t5_buckets(np.arange(3), buckets=1, causal=True)
    with pytest.raises(
        SettingError, match=r"32 buckets .*: expected a max_distance above 8, .*got 8"
    ):
        T5.drawn(6, max_distance=8)
    with pytest.raises(SettingError, match=r"above 16, .*got 16"):
        T5.drawn(6, max_distance=16, causal=True)
    with pytest.raises(SettingError, match="at least 1 for heads, got 0"):
        T5.drawn(0)
    with pytest.raises(SettingError, match="finite number of at least 0 for std, got -1"):
        T5.drawn(6, std=-1.0)
    with pytest.raises(SettingError, match="at least 0 for seed, got -1"):
        T5.drawn(6, seed=-1)
    with pytest.raises(SettingError, match="at most 268435456 entries, got 32 × 10000000"):
        T5.drawn(10_000_000)
    with pytest.raises(
        SettingError, match=r"these values: expected .* finite numbers only, got nan"
    ):
        T5(np.full((32, 6), np.nan))
    with pytest.raises(SettingError, match=r"at least one number, .*, got shape \(32, 0\)"):
        T5(np.zeros((32, 0)))


def test_offsets_that_cannot_be() -> None:
    with pytest.raises(SettingError, match=r"whole offsets: the scheme has none .*, got 2.5"):
        t5_buckets(np.array([1, 2.5]))
    with pytest.raises(SettingError, match=r"got 0.5"):
        T5.drawn(6).bias(np.array([0.5]), np.arange(3))
    with pytest.raises(SettingError, match=r"offsets from -2\^53 to 2\^53, got 1e\+30"):
        t5_buckets(np.array([1e30]))
    np.testing.assert_array_equal(t5_buckets(np.array([1.0, -2.0])), [17, 2])
