"""Kernels of encoding strings: the scheme by itself."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import transformers as hf
from kernel_matrices import agrees
from kernel_models import profile_of
from numpy.testing import assert_allclose
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

import poslens
from poslens.encodings import alibi, shaw, sinusoids, t5
from poslens.encodings.rope_scaling import unscaled
from poslens.errors import SourceError
from poslens.study import Study

WORDS = (
    "sinusoidal:length=33,dim=12",
    "concatenated:length=33,dim=12",
    "whisper:length=33,dim=12",
    "learned:length=33,dim=12",
    "rope:head_dim=10,length=33",
    "alibi:heads=6,length=33",
    "t5:heads=6,length=33",
    "shaw:head_dim=10,before=7,length=33",
    "deberta:dim=12,max_distance=9,length=33",
    "nope:length=33",
)


def named(text: str, **more: object) -> Study:
    return poslens.analyze(text, nulls=0, **more)


def shares(study: Study) -> np.ndarray:
    return np.array(study.measures["kernel.relative_share"], dtype=float)


@pytest.mark.parametrize("text", WORDS)
def test_every_encoding_has_a_kernel_or_a_reason(text: str) -> None:
    study = named(text)
    assert study.data["kernel.context"].values == 33
    profile = study.measures["kernel.profile"]
    if text.startswith("deberta"):
        assert profile is None
        assert study.undefined["kernel.profile"] == "its terms depend on what the tokens are"
        assert "what the tokens are" in study.claim("relative.distance_only").note
    else:
        assert np.shape(profile)[1] in (33, 65)
        assert not [name for name in study.undefined if name.startswith("kernel.")]
    for claim in ("order.blind_without_position", "attention.learns_distance"):
        assert study.claim(claim).verdict == "not applicable"
        assert "speaks of" in study.claim(claim).note


@pytest.mark.parametrize("name", ["sinusoidal", "concatenated", "whisper"])
@pytest.mark.parametrize("dim", [12, 34])
def test_sinusoids_are_exactly_relative(name: str, dim: int) -> None:
    """Σ sin(tθ)sin(sθ) + cos(tθ)cos(sθ) is Σ cos((s-t)θ): p_t·p_s depends on s - t alone."""
    study = named(f"{name}:length=43,dim={dim}")
    assert_allclose(shares(study), 1, rtol=0, atol=1e-9)
    scheme = {"sinusoidal": sinusoids.Sinusoidal, "concatenated": sinusoids.Concatenated,
              "whisper": sinusoids.Whisper}[name](dim)  # fmt: skip
    rows = scheme.table(np.arange(43))
    agrees(study, (rows @ rows.T / np.sqrt(dim))[None], causal=False)
    # It is nevertheless not built in: a model's projections can undo it.
    assert study.claim("relative.distance_only").verdict == "not applicable"


def test_a_slice_of_a_sinusoid_is_as_relative() -> None:
    whole, part = named("sinusoidal:length=64,dim=12"), named("sinusoidal:length=64,dim=12",
                                                              rows=(5, 40))  # fmt: skip
    rows = sinusoids.Sinusoidal(12).table(np.arange(5, 40))
    agrees(part, (rows @ rows.T / np.sqrt(12))[None], causal=False, first=5)
    assert_allclose(profile_of(part), profile_of(whole)[:, 29:-29], rtol=0, atol=1e-12)


def test_of_a_fresh_learned_table_only_the_diagonal_is_relative() -> None:
    """White rows: a token is like itself, and like all others alike."""
    study = named("learned:length=201,dim=64,seed=3")
    rows = poslens.load_table("learned:length=201,dim=64,seed=3").rows
    off = rows @ rows.T - np.diag((rows**2).sum(1))
    assert np.abs(off).max() < (rows**2).sum(1).min()  # what is relative is the diagonal
    other = named("learned:length=201,dim=64,seed=4")
    assert shares(study)[0] == pytest.approx(shares(other)[0], abs=0.02)
    # d·σ² on the diagonal, ±√d·σ² off it: of a row's d² + 200·d, d² is a function of s - t.
    assert shares(study)[0] == pytest.approx(64 / (64 + 200), abs=0.02)


def test_rope_is_a_sum_of_cosines() -> None:
    study = named("rope:head_dim=14,base=500,length=43")
    theta = 500.0 ** (-2 * np.arange(7) / 14)
    # Of ones, each plane's (1, 1)·R(kθ)(1, 1) is 2 cos kθ.
    want = 2 * np.cos(np.arange(-42, 1)[:, None] * theta).sum(1) / np.sqrt(14)
    assert_allclose(profile_of(study), want[None], rtol=0, atol=1e-12)
    assert_allclose(shares(study), 1, rtol=0, atol=1e-9)
    assert study.measures["kernel.peak_offset"] == [0]
    assert_allclose(study.data["kernel.wavelength"].values[0], 2 * np.pi / theta, rtol=1e-12)
    assert study.claim("relative.distance_only").verdict == "supported"


def test_what_a_part_of_a_head_does_not_turn() -> None:
    study = named("rope:head_dim=14,rotary_dim=6,pairing=interleaved,length=43")
    theta = 10_000.0 ** (-2 * np.arange(3) / 6)
    turning = 2 * np.cos(np.arange(-42, 1)[:, None] * theta).sum(1)
    assert_allclose(profile_of(study)[0], (turning + 8) / np.sqrt(14), rtol=0, atol=1e-12)


def test_yarn_multiplies_queries_and_keys() -> None:
    text = "rope:head_dim=14,rotary_dim=6,length=43,scaling=yarn,factor=4,original=16"
    study = named(text)
    amplitude = 1 + 0.1 * np.log(4)
    assert_allclose(profile_of(study)[0, -1], (6 * amplitude**2 + 8) / np.sqrt(14), rtol=1e-12)


@pytest.mark.parametrize("length", [43, 171, 4096])
def test_dynamic_scaling_turns_as_in_a_sequence_of_that_length(length: int) -> None:
    study = named(f"rope:head_dim=64,length={length},scaling=dynamic,factor=4,original=64")
    config = hf.LlamaConfig(
        head_dim=64,
        max_position_embeddings=64,
        rope_parameters={"rope_type": "dynamic", "factor": 4.0, "rope_theta": 10_000.0},
    )
    module = LlamaRotaryEmbedding(config)
    module(torch.zeros(1, length, 1), torch.arange(length)[None])  # which sets its frequencies
    theta = module.inv_freq.double().numpy()
    waves = study.data["kernel.wavelength"].values[0]
    precision = 1e-6  # of the module's powers, in float32
    assert_allclose(waves, 2 * np.pi / theta, rtol=precision)
    want = 2 * np.cos(np.arange(1 - length, 1)[:, None] * theta).sum(1) / 8
    assert_allclose(profile_of(study)[0], want, rtol=0, atol=precision * length)
    assert bool(theta[-1] < unscaled(10_000.0, 64)[-1] / 2) is (length > 64)


def test_without_a_length_the_sequence_is_what_is_measured() -> None:
    scaled = "rope:head_dim=14,scaling=dynamic,factor=4,original=100"
    without, with_length = named(scaled), named(f"{scaled},length=512")
    assert_allclose(profile_of(without), profile_of(with_length), rtol=0, atol=0)
    for name in ("kernel.wavelength", "kernel.band_energy"):
        assert_allclose(without.data[name].values, with_length.data[name].values, rtol=0, atol=0)


@pytest.mark.parametrize("symmetric", ["true", "false"])
def test_alibi(symmetric: str) -> None:
    study = named(f"alibi:heads=12,symmetric={symmetric},length=43")
    last = 43 if symmetric == "true" else 1
    want = -alibi.alibi_slopes(12)[:, None] * np.abs(np.arange(-42, last))
    assert_allclose(profile_of(study), want, rtol=1e-12, atol=1e-12)
    assert_allclose(shares(study), 1, rtol=0, atol=1e-9)
    assert study.measures["kernel.half_distance"] == [21] * 12


@pytest.mark.parametrize("causal", ["true", "false"])
def test_t5(causal: str) -> None:
    study = named(f"t5:heads=6,causal={causal},seed=5,length=201")
    scheme = t5.T5.drawn(6, causal=causal == "true", seed=5)
    want = scheme.profile(np.arange(-200, 1 if causal == "true" else 201))
    assert_allclose(profile_of(study), want, rtol=0, atol=1e-14)
    assert_allclose(shares(study), 1, rtol=0, atol=1e-9)


def test_shaw() -> None:
    study = named("shaw:head_dim=10,before=7,seed=5,length=43")
    rows = shaw.Shaw.drawn(10, 7, seed=5).vectors(np.arange(-42, 43))
    assert_allclose(profile_of(study)[0], rows.sum(1) / 10, rtol=0, atol=1e-14)
    assert_allclose(shares(study), 1, rtol=0, atol=1e-9)


def test_nope_says_nothing() -> None:
    study = named("nope")
    assert np.array_equal(profile_of(study), np.zeros((1, 512)))
    for name in ("relative_share", "half_distance", "symmetry", "peak_offset"):
        assert study.measures[f"kernel.{name}"] == [None]
    claim = study.claim("relative.distance_only")
    assert claim.note == "the kernel of every head is constant along its rows"


@pytest.mark.parametrize("text", ["rope:head_dim=10", "alibi:heads=6", "t5:heads=6", "nope"])
def test_lengths(text: str) -> None:
    assert profile_of(named(text)).shape[1] in (512, 1023)
    assert "kernel.context" not in named(text).data
    mark = "," if ":" in text else ":"
    assert profile_of(named(f"{text}{mark}length=3")).shape[1] in (3, 5)
    with pytest.raises(SourceError, match="a whole number of at least 3 for length"):
        named(f"{text}{mark}length=2")


def test_three_positions_of_a_table() -> None:
    study = named("sinusoidal:length=3,dim=4")
    assert profile_of(study).shape == (1, 5)
    assert_allclose(shares(study), 1, rtol=0, atol=1e-9)
