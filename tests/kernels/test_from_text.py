"""Kernels of RoPE from mean queries and keys over texts, against the model's own rotation."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers as hf
from kernel_matrices import allowed, profile_by_hand, spread
from kernel_models import BASIC, LENGTH, build, saved
from numpy.testing import assert_allclose

from poslens.attention import HeadMeans
from poslens.checkpoints.describe import described
from poslens.checkpoints.remote.access import Access
from poslens.checkpoints.sources import open_any
from poslens.kernels import Kernels, kernels_of
from poslens.logits import first_block_logits

GROUPED = BASIC | {"hidden_size": 60, "num_key_value_heads": 3}
TOKENS = np.random.default_rng(3).integers(5, 37, (3, 11))
NOTE = "from mean queries and keys over 3 contexts of 11 tokens"


def from_text(folder: Path) -> tuple[Kernels, HeadMeans]:
    opened = open_any(str(folder), Access(False))
    description = described(opened)
    means = first_block_logits(opened, description, None, TOKENS).means
    return kernels_of(opened, description, None, means=means), means


def own_means(model: hf.PreTrainedModel) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean query and key of each head after its norms, as the model projects the texts."""
    layer = model.layers[0]
    attention, kept = layer.self_attn, []
    with torch.no_grad():
        for ids in TOKENS:
            seen = layer.input_layernorm(model.embed_tokens(torch.tensor(ids)))
            rows = [
                projected(seen).view(len(ids), -1, attention.head_dim)
                for projected in (attention.q_proj, attention.k_proj)
            ]
            if hasattr(attention, "q_norm"):
                rows = [attention.q_norm(rows[0]), attention.k_norm(rows[1])]
            kept.append([one.double() for one in rows])
    query, key = (torch.cat(one).mean(0) for one in zip(*kept, strict=True))
    return query, key.repeat_interleave(len(query) // len(key), 0)


def turned_products(model: hf.PreTrainedModel, **kind: str) -> np.ndarray:
    """q̄ᵀ R(s - t) k̄ at [head, t, s], the mean query and key put at every position."""
    at = torch.arange(LENGTH)[None]
    cos, sin = model.rotary_emb(torch.zeros(1, LENGTH, 1, dtype=torch.float64), at, **kind)
    attention = model.layers[0].self_attn
    turn = sys.modules[type(attention).__module__].apply_rotary_pos_emb
    both = (one[None, :, None].expand(-1, -1, LENGTH, -1) for one in own_means(model))
    q, k = turn(*both, cos, sin)
    return (q @ k.transpose(2, 3) * attention.scaling)[0].numpy()


@pytest.mark.parametrize(
    ("family", "values"),
    [("llama", GROUPED), ("qwen3", GROUPED | {"head_dim": 14}), ("cohere", GROUPED)],
)
def test_the_kernel_of_means(family: str, values: dict[str, Any], tmp_path: Path) -> None:
    model = build(family, values)
    found, means = from_text(saved(model, tmp_path))
    want = turned_products(model)
    size = np.abs(want).max()
    for got, own in zip((means.queries, means.keys), own_means(model), strict=True):
        assert_allclose(got, own.numpy(), rtol=0, atol=1e-5 * np.abs(own.numpy()).max())

    assert (found.layers, found.note, found.reason) == ((0,), NOTE, "")
    profile = found.measures[0].profile
    pairs = allowed(LENGTH, causal=True)
    # The model projects and turns in float32.
    assert_allclose(spread(profile, LENGTH)[:, pairs], want[:, pairs], rtol=0, atol=1e-5 * size)
    assert_allclose(profile, profile_by_hand(want, causal=True), rtol=0, atol=1e-5 * size)
    assert_allclose(found.measures[0].relative_share, 1, rtol=0, atol=1e-9)
    assert found.bands.energy.shape == (6, found.wavelengths[0][1].size)
    assert found.picture.within_rows.shape[0] == 6


def test_the_first_layer_from_text_and_the_others_from_biases(tmp_path: Path) -> None:
    model = build("qwen2", GROUPED)
    folder = saved(model, tmp_path)
    found, _ = from_text(folder)
    opened = open_any(str(folder), Access(False))
    biased = kernels_of(opened, described(opened), None)
    assert found.layers == biased.layers == (0, 1)
    assert found.note == f"layer 0 {NOTE}; the others from the biases of queries and keys"
    assert np.array_equal(found.measures[1].profile, biased.measures[1].profile)
    want = profile_by_hand(turned_products(model), causal=True)
    size = np.abs(want).max()
    assert_allclose(found.measures[0].profile, want, rtol=0, atol=1e-5 * size)
    assert np.abs(found.measures[0].profile - biased.measures[0].profile).max() > 0.1 * size


def test_the_first_layer_is_turned_by_its_own_base(tmp_path: Path) -> None:
    model = build("gemma3_text", GROUPED | {"head_dim": 10, "num_hidden_layers": 7})
    found, _ = from_text(saved(model, tmp_path))
    assert model.config.layer_types[0] == "sliding_attention"
    want = profile_by_hand(turned_products(model, layer_type="sliding_attention"), causal=True)
    size = np.abs(want).max()
    assert_allclose(found.measures[0].profile, want, rtol=0, atol=1e-5 * size)
    assert len(found.wavelengths) == 2
    assert (found.layers, found.note) == ((0,), NOTE)


def test_a_first_layer_that_does_not_rotate_has_no_kernel(tmp_path: Path) -> None:
    folder = saved(build("smollm3", GROUPED, no_rope_layers=[0, 1]), tmp_path)
    found, means = from_text(folder)
    assert means.layer == 0
    assert found.measures == ()
    assert "their means need text" in found.reason
    assert found.wavelengths
