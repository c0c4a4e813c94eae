"""Kernels of RoPE from biases against the model's own rotary functions at every pair."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers as hf
from kernel_matrices import allowed, spread
from kernel_models import BASIC, LENGTH, build, kernels, profile_of, saved, studied
from numpy.testing import assert_allclose, assert_array_equal

from poslens.checkpoints.blocks import read_biases, read_block
from poslens.checkpoints.describe import described
from poslens.checkpoints.remote.access import Access
from poslens.checkpoints.safetensors_file import SafetensorsFile
from poslens.checkpoints.schemes import Rotary
from poslens.checkpoints.sources import open_any
from poslens.kernels.order import TOKENS
from poslens.kernels.rotations import rotation_kernels

WIDE = BASIC | {"hidden_size": 60, "num_key_value_heads": 3}
YARN = {
    "rope_type": "yarn",
    "rope_theta": 10_000.0,
    "factor": 4.0,
    "original_max_position_embeddings": LENGTH,
}
LONG_ROPE = {
    "rope_type": "longrope",
    "rope_theta": 10_000.0,
    "short_factor": [1.0, 1.1, 1.25, 1.5, 2.0],
    "long_factor": [1.0, 2.0, 4.5, 9.0, 17.0],
    "original_max_position_embeddings": LENGTH,
}
CASES: list[tuple[str, str, dict[str, Any]]] = [
    ("qwen2", "qwen2", WIDE),
    ("qwen2-yarn", "qwen2", WIDE | {"rope_parameters": YARN, "max_position_embeddings": 171}),
    ("qwen2-long", "qwen2", WIDE | {"rope_parameters": LONG_ROPE, "max_position_embeddings": 171}),
    (
        "qwen2-long-factor",
        "qwen2",
        WIDE
        | {
            "rope_parameters": LONG_ROPE | {"attention_factor": 0.75},
            "max_position_embeddings": 171,
        },
    ),
    ("qwen2-short", "qwen2", WIDE | {"rope_parameters": LONG_ROPE}),
    ("gpt_neox", "gpt_neox", BASIC | {"hidden_size": 72, "rotary_pct": 0.5}),
    ("phi", "phi", BASIC | {"hidden_size": 72, "partial_rotary_factor": 0.5}),
    ("starcoder2", "starcoder2", WIDE | {"use_bias": True}),
]


def biases(model: hf.PreTrainedModel) -> tuple[np.ndarray, np.ndarray, Any]:
    """Biases of queries and keys, shape (head, d_head), and the attention that they are of."""
    attention = getattr(model.layers[0], "self_attn", None) or model.layers[0].attention
    if hasattr(attention, "query_key_value"):
        three = attention.query_key_value.bias.detach().reshape(6, 3, -1)
        return three[:, 0], three[:, 1], attention
    size = model.layers[0].self_attn.head_dim
    two = (attention.q_proj, attention.k_proj)
    query, key = (one.bias.detach().reshape(-1, size) for one in two)
    return query, key.repeat_interleave(len(query) // len(key), 0), attention


def rotated_products(model: hf.PreTrainedModel, length: int) -> np.ndarray:
    """K at [head, t, s], from the biases at every position, turned as the model turns."""
    query, key, attention = biases(model)
    at = torch.arange(length)[None]
    cos, sin = model.rotary_emb(torch.zeros(1, length, 1), at)
    turn = sys.modules[type(attention).__module__].apply_rotary_pos_emb
    q, k = (one[None, :, None].expand(-1, -1, length, -1) for one in (query, key))
    r = cos.shape[-1]
    turned = turn(q[..., :r], k[..., :r], cos, sin)
    q, k = (torch.cat([one, all_[..., r:]], -1) for one, all_ in zip(turned, (q, k), strict=True))
    return (q.double() @ k.double().transpose(2, 3) * attention.scaling)[0].numpy()


@pytest.mark.parametrize(("name", "family", "values"), CASES, ids=[one[0] for one in CASES])
def test_the_profile_at_every_offset(
    name: str, family: str, values: dict[str, Any], tmp_path: Path
) -> None:
    model = build(family, values)
    study = studied(saved(model, tmp_path))
    length = values["max_position_embeddings"]
    want, found = rotated_products(model, length), profile_of(study)
    assert found.shape == (6, length)
    pairs = allowed(length, causal=True)
    # The model turns in float32.
    size = np.abs(want).max()
    assert_allclose(spread(found, length)[:, pairs], want[:, pairs], rtol=0, atol=1e-5 * size)
    assert np.ptp(found, axis=1).min() > 0.1 * size
    assert_allclose(study.measures["kernel.relative_share"], 1, rtol=0, atol=1e-9)
    assert study.measures["kernel.symmetry"] == [None] * 6
    claim = study.claim("relative.distance_only")
    assert claim.verdict == "supported"
    assert study.claim("attention.learns_distance").verdict == "not applicable"

    waves = study.data["kernel.wavelength"].values[0]
    assert_allclose(waves, 2 * np.pi / model.rotary_emb.inv_freq.numpy(), rtol=1e-6)
    assert study.data["kernel.band_energy"].values.shape == (6, waves.size)
    assert study.data["kernel.context"].values == length
    without, with_positions = kernels(tmp_path).order
    assert without <= 1e-12
    assert with_positions > 1e-3


def test_every_layer_has_its_own(tmp_path: Path) -> None:
    model = build("qwen2", WIDE, num_hidden_layers=3)
    study = studied(saved(model, tmp_path))
    profiles = study.data["kernel.profile"]
    assert profiles.coords["layer"].tolist() == [0, 1, 2]
    pairs = allowed(LENGTH, causal=True)
    for layer, found in enumerate(profiles.values):
        model.layers = torch.nn.ModuleList([model.layers[layer], *model.layers])
        want = rotated_products(model, LENGTH)
        model.layers = model.layers[1:]
        size = np.abs(want).max()
        assert_allclose(spread(found, LENGTH)[:, pairs], want[:, pairs], rtol=0, atol=1e-5 * size)
    assert_allclose(study.data["kernel.relative_share"].values, 1, rtol=0, atol=1e-9)


def test_no_matrix_is_read_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = saved(build("qwen2", WIDE), tmp_path)
    read: list[str] = []
    plain = SafetensorsFile.read
    monkeypatch.setattr(
        SafetensorsFile, "read", lambda self, name: read.append(name) or plain(self, name)
    )
    opened = open_any(str(folder), Access(False))
    for layer in range(2):
        biases = read_biases(opened, layer=layer)
        block = read_block(opened, layer=layer)
        assert_allclose(biases.queries, block.query_bias, rtol=0, atol=0)
        assert_allclose(biases.keys, np.repeat(block.key_bias, 2, axis=0), rtol=0, atol=0)
        assert (biases.scale, biases.causal, biases.exist) == (block.scale, True, True)
        assert not biases.normalised
        assert all(name.endswith("bias") for name in read[:3])
        read.clear()


@pytest.mark.parametrize("rule", [YARN, LONG_ROPE], ids=["yarn", "longrope"])
def test_what_a_scaling_lengthens(rule: dict[str, Any], tmp_path: Path) -> None:
    model = build("qwen2", WIDE, rope_parameters=rule, max_position_embeddings=171)
    factor = model.rotary_emb.attention_scaling
    assert factor > 1.1
    query, key, attention = biases(model)
    at_zero = factor**2 * (query * key).double().sum(1) * attention.scaling
    found = profile_of(studied(saved(model, tmp_path)))
    assert_allclose(found[:, -1], at_zero.numpy(), rtol=1e-6)


@pytest.mark.parametrize("length", [LENGTH, 85])
def test_fewer_positions_are_the_first_of_the_context(length: int, tmp_path: Path) -> None:
    """How many are measured is a matter of cost, and changes neither waves nor profile."""
    model = build("qwen2", WIDE, rope_parameters=LONG_ROPE, max_position_embeddings=171)
    opened = open_any(str(saved(model, tmp_path)), Access(False))
    records = [one for one in described(opened).schemes if isinstance(one, Rotary)]
    layers = [read_biases(opened, layer=layer) for layer in records[0].layers]
    whole = rotation_kernels(records, layers, 171, 171, "")
    found = rotation_kernels(records, layers, length, 171, "")
    want = whole.measures[0].profile[:, -length:]
    assert_allclose(found.measures[0].profile, want, rtol=0, atol=1e-13)
    assert_array_equal(found.bands.energy, whole.bands.energy)
    assert_array_equal(found.wavelengths[0][1], whole.wavelengths[0][1])
    assert "sequence" not in whole.note
    said = "turned as in a sequence of 171 positions"
    assert found.note.endswith(said) is (length == LENGTH)  # 85 are beyond the original as well


@pytest.mark.parametrize("original", [20, 91])
def test_the_order_of_tokens_is_told_by_planes_turned_as_in_their_sequence(
    original: int, tmp_path: Path
) -> None:
    rule = LONG_ROPE | {"original_max_position_embeddings": original, "attention_factor": 1.0}
    model = build("qwen2", WIDE, rope_parameters=rule, max_position_embeddings=171)
    found = kernels(saved(model, tmp_path)).order
    # With the same factors for short and long sequences the length does not count.
    factors = rule["long_factor"] if original < TOKENS else rule["short_factor"]
    either = rule | {"short_factor": factors, "long_factor": factors}
    assert found == kernels(saved(model, tmp_path, rope_parameters=either)).order
    other = rule | {"long_factor": rule["short_factor"], "short_factor": rule["long_factor"]}
    assert found != kernels(saved(model, tmp_path, rope_parameters=other)).order


@pytest.mark.parametrize(
    ("family", "values", "reason"),
    [
        ("llama", WIDE, "no biases of queries and keys, and their means need text"),
        ("qwen3", WIDE | {"head_dim": 14}, "normalised; their means need text"),
    ],
)
def test_without_biases_there_are_wavelengths(
    family: str, values: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    model = build(family, values)
    study = studied(saved(model, tmp_path))
    for name in ("profile", "relative_share", "half_distance", "symmetry", "peak_offset"):
        assert study.measures[f"kernel.{name}"] is None
        assert study.undefined[f"kernel.{name}"].endswith(reason)
    of_kernels = {name for name in study.data if name.startswith("kernel.")}
    assert of_kernels == {"kernel.context", "kernel.wavelength"}  # drawn tokens are no corpus
    waves = study.data["kernel.wavelength"].values
    assert_allclose(waves[0], 2 * np.pi / model.rotary_emb.inv_freq.numpy(), rtol=1e-6)
    assert study.claim("relative.distance_only").note.endswith(reason)
    order = study.claim("order.blind_without_position")
    assert order.verdict == "supported"  # which needs no means


def test_gemma_3_turns_in_two_ways(tmp_path: Path) -> None:
    rotary = {
        "sliding_attention": {"rope_type": "default", "rope_theta": 10_000.0},
        "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1_000_000.0},
    }
    values = WIDE | {"head_dim": 10, "num_hidden_layers": 7, "rope_parameters": rotary}
    model = build("gemma3_text", values)
    study = studied(saved(model, tmp_path))
    waves = study.data["kernel.wavelength"]
    found = dict(zip(waves.coords["rotation"].tolist(), waves.values, strict=True))
    assert found.keys() == {"base 10000", "base 1000000"}
    for name, kind in (("base 10000", "sliding_attention"), ("base 1000000", "full_attention")):
        frequencies = getattr(model.rotary_emb, f"{kind}_inv_freq").numpy()
        assert_allclose(found[name], 2 * np.pi / frequencies, rtol=1e-6)
    assert "normalised" in study.undefined["kernel.profile"]
    assert kernels(tmp_path).order[0] <= 1e-12


def test_a_scaling_that_is_unknown_is_said(tmp_path: Path) -> None:
    folder = saved(
        build("qwen2", WIDE), tmp_path, rope_parameters={"rope_type": "spiral", "rope_theta": 1e4}
    )
    study = studied(folder)
    assert "spiral" in study.undefined["kernel.profile"]
    assert "kernel.wavelength" not in study.data


def test_projections_that_the_config_does_not_describe(tmp_path: Path) -> None:
    study = studied(saved(build("qwen2", WIDE), tmp_path, num_attention_heads=30))
    reason = study.undefined["kernel.profile"]
    assert "k_proj" in reason
    assert "expected shape (6,)" in reason
    assert "got shape (30,)" in reason
    assert "kernel.wavelength" in study.data
    claim = study.claim("order.blind_without_position")
    assert claim.verdict == "not applicable"
    assert "k_proj.weight" in claim.note
    assert "expected shape (6, 60), got shape (30, 60)" in claim.note


def test_a_block_is_not_turned_by_another_rotation(tmp_path: Path) -> None:
    folder = saved(build("qwen2", WIDE), tmp_path)
    layers = [read_biases(open_any(str(folder), Access(False)))]
    known = Rotary(1e4, 10, 10, 6, 3, (1,), 2)
    unknown = replace(known, base=500.0, layers=(0,), scaling={"rope_type": "spiral"})
    found = rotation_kernels([unknown, known], layers, LENGTH, LENGTH, "")
    assert [name for name, _ in found.wavelengths] == ["base 10000"]
    assert found.measures == ()
    assert "spiral" in found.reason
    known, unknown = replace(known, layers=(0,)), replace(unknown, layers=(1,))
    turned = rotation_kernels([known, unknown], layers, LENGTH, LENGTH, "")
    assert turned.measures[0].profile.shape == (6, LENGTH)
