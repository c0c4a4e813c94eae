"""Kernels that transformers computes, against ours from the numbers that fix them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from matrices import as_heads
from numpy.testing import assert_allclose
from transformers import LlamaConfig, T5Config
from transformers.models.bloom.modeling_bloom import build_alibi_tensor
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding, apply_rotary_pos_emb
from transformers.models.t5.modeling_t5 import T5Attention

from poslens.attention import factored_kernel, offsets, relative_kernel, rope_bands

LENGTH = 151  # odd, and past T5's last bucket edge at distance 128


def test_alibi_of_bloom_with_12_heads() -> None:
    added = build_alibi_tensor(torch.ones(1, LENGTH), 12, torch.float64).numpy()
    # Bloom adds slope·s, which differs from -slope·(t-s) by a constant along each row.
    found = factored_kernel(np.ones((12, LENGTH, 1)), added.transpose(0, 2, 1).copy(), causal=True)
    slopes = added[:, 0, 1]
    ours = relative_kernel(slopes[:, None] * offsets(LENGTH, causal=True), causal=True)
    assert np.unique(slopes).size == 12
    # It multiplies in float32, and rounds slopes that are no powers of two.
    rounding = LENGTH * slopes.max() * np.finfo(np.float32).eps
    assert_allclose(found.distance_part, ours.distance_part, rtol=0, atol=rounding)
    assert_allclose(np.array(found.relative_share, float), 1, rtol=0, atol=1e-9)
    assert ours.relative_share == (1.0,) * 12
    assert ours.peak_offset == (0,) * 12
    assert ours.half_distance == ((LENGTH - 1) // 2,) * 12


@pytest.mark.parametrize("causal", [True, False], ids=["decoder", "encoder"])
def test_buckets_of_t5(causal: bool) -> None:
    torch.manual_seed(0)
    config = T5Config(d_model=24, num_heads=6, d_kv=4, is_decoder=causal)
    attention = T5Attention(config, has_relative_attention_bias=True, layer_idx=0)
    with torch.no_grad():
        bias = attention.compute_bias(LENGTH, LENGTH)[0].double().numpy()
    last_row, first_row = bias[:, -1, :], bias[:, 0, :]
    profile = last_row if causal else np.concatenate([last_row[:, :-1], first_row], axis=1)
    found = factored_kernel(*as_heads(*bias), causal=causal)
    ours = relative_kernel(profile, causal=causal)
    assert_allclose(found.profile, ours.profile, rtol=0, atol=1e-12)
    assert_allclose(ours.profile, profile, rtol=0, atol=1e-13)
    assert_allclose(found.distance_part, ours.distance_part, rtol=0, atol=1e-12)
    for measured in (found, ours):
        assert_allclose(np.array(measured.relative_share, float), 1, rtol=0, atol=1e-9)
    assert found.peak_offset == ours.peak_offset
    assert found.half_distance == ours.half_distance


@pytest.mark.parametrize("causal", [True, False])
def test_rotation_of_llama(causal: bool) -> None:
    config = LlamaConfig(hidden_size=6 * 32, num_attention_heads=6, head_dim=32)
    frequencies = LlamaRotaryEmbedding(config).inv_freq.double()
    means = torch.tensor(np.random.default_rng(0).normal(size=(2, 1, 6, 1, 32)))
    angle = torch.arange(LENGTH, dtype=torch.float64)[:, None] * frequencies
    turn = torch.cat([angle, angle], dim=-1)[None]
    q, k = apply_rotary_pos_emb(means[0], means[1], turn.cos(), turn.sin())
    found = factored_kernel(q[0].numpy() / np.sqrt(32), k[0].numpy(), causal=causal)

    # Llama turns coordinate i with i + 16.
    planes = (means[..., :16] + 1j * means[..., 16:])[:, 0, :, 0].numpy()
    bands = rope_bands(planes[0] / np.sqrt(32), planes[1], frequencies.numpy())
    profile = bands.profile(offsets(LENGTH, causal=causal))
    assert_allclose(found.profile, profile, rtol=0, atol=1e-12)
    assert_allclose(np.array(found.relative_share, float), 1, rtol=0, atol=1e-9)
    ours = relative_kernel(profile, causal=causal)
    assert ours.peak_offset == found.peak_offset
    assert ours.half_distance == found.half_distance
    assert_allclose(ours.distance_part, found.distance_part, rtol=0, atol=1e-12)
