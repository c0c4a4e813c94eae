"""Kernels that are added to the logits against the models' own matrices."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from kernel_matrices import allowed, offset_of_pairs, spread
from kernel_models import BASIC, LENGTH, T5, build, kernels, profile_of, saved, studied
from numpy.testing import assert_allclose
from safetensors.numpy import load_file, save_file
from transformers.models.bloom.modeling_bloom import build_alibi_tensor
from transformers.models.mpt.modeling_mpt import build_mpt_alibi_tensor

from poslens.study import Study

NAMES = ("relative_share", "half_distance", "peak_offset")


def is_relative(study: Study) -> None:
    """Require what holds of any function of distance."""
    assert_allclose(study.measures["kernel.relative_share"], 1, rtol=0, atol=1e-9)
    claim = study.claim("relative.distance_only")
    assert claim.verdict == "supported"
    assert claim.value == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("heads", [6, 12])
def test_bloom(heads: int, tmp_path: Path) -> None:
    model = build("bloom", {"vocab_size": 37, "n_layer": 2, "n_head": heads}, hidden_size=72)
    study = studied(saved(model, tmp_path))
    found = profile_of(study)
    length = found.shape[1]
    # The model counts from the first key; softmax sees differences alone.
    bias = build_alibi_tensor(torch.ones(1, length), heads, torch.float32)[:, 0].double().numpy()
    want = bias - bias[:, -1:]
    # In float32, and of numbers as large as the first.
    assert np.all(np.abs(found - want) <= 2.0**-23 * bias[:, -1:])
    assert study.measures["kernel.peak_offset"] == [0] * heads
    is_relative(study)
    without, with_positions = kernels(tmp_path).order
    assert without <= 1e-12
    assert with_positions > 1e-3


@pytest.mark.parametrize("most", [8, 5])
def test_mpt(most: int, tmp_path: Path) -> None:
    values = {"vocab_size": 37, "n_layers": 2, "n_heads": 6, "d_model": 42, "max_seq_len": LENGTH}
    model = build("mpt", values, attn_config={"alibi_bias_max": most})
    study = studied(saved(model, tmp_path))
    want = build_mpt_alibi_tensor(6, LENGTH, most)[:, 0].double().numpy()
    assert_allclose(profile_of(study), want, rtol=1e-6, atol=1e-12)
    is_relative(study)


def test_falcon_divides_its_bias_with_the_logits(tmp_path: Path) -> None:
    model = build("falcon", BASIC | {"hidden_size": 60, "alibi": True, "bias": True})
    study = studied(saved(model, tmp_path))
    found = profile_of(study)
    length = found.shape[1]
    slopes = build_alibi_tensor(torch.ones(1, 2), 6, torch.float32)[:, 0, 1].double().numpy()
    want = slopes[:, None] * np.arange(1 - length, 1) / np.sqrt(10)
    assert_allclose(found, want, rtol=1e-6, atol=1e-12)
    is_relative(study)


def test_jina_penalises_both_sides(tmp_path: Path) -> None:
    folder = saved(build("bert", BASIC), tmp_path, position_embedding_type="alibi")
    study = studied(folder)
    before = build_mpt_alibi_tensor(6, LENGTH)[:, 0].double().numpy()
    want = np.concatenate([before, before[:, -2::-1]], axis=1)
    assert_allclose(profile_of(study), want, rtol=1e-6, atol=1e-12)
    assert_allclose(study.measures["kernel.symmetry"], 1, rtol=0, atol=1e-12)
    is_relative(study)
    assert kernels(folder).order[1] > 1e-3


@pytest.mark.parametrize("part", ["encoder", "decoder"])
def test_t5(part: str, tmp_path: Path) -> None:
    model = build("t5", T5)
    study = studied(saved(model, tmp_path), part=part)
    found = profile_of(study)
    causal = part == "decoder"
    length = found.shape[1] if causal else (found.shape[1] + 1) // 2
    assert length > 128  # distances past the last bucket's edge
    attention = getattr(model, part).block[0].layer[0].SelfAttention
    bias = attention.compute_bias(length, length)[0].detach().double().numpy()
    pairs = allowed(length, causal=causal)
    assert np.array_equal(pairs, offset_of_pairs(length) <= 0) is causal
    spreaded = spread(found, length)[:, pairs]
    assert_allclose(spreaded, bias[:, pairs], rtol=0, atol=1e-12 * np.abs(bias).max())
    is_relative(study)
    assert study.data["kernel.profile"].coords["layer"].tolist() == [0]  # shared by all
    without, with_positions = kernels(tmp_path, part).order
    assert without <= 1e-12
    assert with_positions > 1e-3


@pytest.mark.parametrize("part", ["encoder", "decoder"])
def test_a_relative_scheme_whose_kernel_cannot_be_made(part: str, tmp_path: Path) -> None:
    study = studied(saved(build("t5", T5), tmp_path, relative_attention_max_distance=5), part=part)
    reason = study.undefined["kernel.profile"]
    assert reason.startswith("32 buckets cannot end at distance 5")
    for claim in ("relative.distance_only", "order.blind_without_position"):
        assert study.claim(claim).verdict == "not applicable"
        assert study.claim(claim).note == reason
    assert "has distance built in" in study.claim("attention.learns_distance").note


def test_a_relative_scheme_whose_block_cannot_be_read(tmp_path: Path) -> None:
    folder = saved(build("falcon", BASIC | {"hidden_size": 60, "alibi": True}), tmp_path)
    weights = load_file(folder / "model.safetensors")
    del weights["h.0.self_attention.query_key_value.weight"]
    save_file(weights, folder / "model.safetensors")
    study = studied(folder)
    reason = study.undefined["kernel.profile"]
    assert "query_key_value" in reason
    assert study.claim("relative.distance_only").note == reason


def test_t5_without_a_part_is_its_encoder(tmp_path: Path) -> None:
    folder = saved(build("t5", T5), tmp_path)
    chosen, left = kernels(folder, "encoder"), kernels(folder)
    assert np.array_equal(left.measures[0].profile, chosen.measures[0].profile)
    assert left.order == chosen.order
    assert left.order is not None


@pytest.mark.parametrize("part", ["encoder", "decoder"])
def test_umt5_has_its_own_in_each_layer(part: str, tmp_path: Path) -> None:
    model = build("umt5", T5)
    study = studied(saved(model, tmp_path), part=part)
    causal, layers = part == "decoder", {"encoder": 3, "decoder": 2}[part]
    profiles = study.data["kernel.profile"]
    assert profiles.coords["layer"].tolist() == list(range(layers))
    length = profiles.values.shape[2] if causal else (profiles.values.shape[2] + 1) // 2
    pairs = allowed(length, causal=causal)
    for layer, found in enumerate(profiles.values):
        attention = getattr(model, part).block[layer].layer[0].SelfAttention
        bias = attention.compute_bias(length, length)[0].detach().double().numpy()
        spreaded = spread(found, length)[:, pairs]
        assert_allclose(spreaded, bias[:, pairs], rtol=0, atol=1e-12 * np.abs(bias).max())
        for name in NAMES:
            assert study.data[f"kernel.{name}"].values.shape == (layers, 6)
    assert_allclose(study.data["kernel.relative_share"].values, 1, rtol=0, atol=1e-9)
    is_relative(study)


@pytest.mark.parametrize("kind", ["relative_key", "relative_key_query"])
def test_shaws_keys_in_bert(kind: str, tmp_path: Path) -> None:
    """As transformers 4 computed them: einsums over distances t - s, scaled with the logits."""
    model = build("bert", BASIC)
    folder = saved(model, tmp_path, position_embedding_type=kind)
    tensors = load_file(folder / "model.safetensors")
    rng = np.random.default_rng(0)
    for layer in range(2):
        name = f"encoder.layer.{layer}.attention.self.distance_embedding.weight"
        tensors[name] = rng.normal(size=(2 * LENGTH - 1, 7)).astype(np.float32)
    save_file(tensors, folder / "model.safetensors")

    study = studied(folder)
    assert study.length is None  # BERT's table is there, and is not used
    distance = torch.arange(LENGTH)[:, None] - torch.arange(LENGTH)
    for layer in range(2):
        at = f"encoder.layer.{layer}.attention.self."
        query, key = (
            torch.tensor(tensors[f"{at}{one}.bias"].reshape(6, 7)).double()
            for one in ("query", "key")
        )
        vectors = torch.tensor(tensors[f"{at}distance_embedding.weight"]).double()
        vectors = vectors[distance + LENGTH - 1]
        want = torch.einsum("hd,lrd->hlr", query, vectors)
        if kind == "relative_key_query":
            want = want + torch.einsum("hd,lrd->hlr", key, vectors)
        found = study.data["kernel.profile"].values[layer]
        assert_allclose(spread(found, LENGTH), (want / 7**0.5).numpy(), rtol=0, atol=1e-12)
    is_relative(study)
    assert "not computed here" in study.claim("order.blind_without_position").note
