"""Every scaling against transformers' own function for it, in float64, and as it runs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from transformers import LlamaConfig
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

from poslens.encodings import (
    SCALINGS,
    Dynamic,
    Linear,
    Llama3,
    LongRope,
    Proportional,
    Rope,
    Scaling,
    Unscaled,
    Yarn,
    scaling_from,
)
from poslens.errors import SettingError

RNG = np.random.default_rng(3)
SHORT = RNG.uniform(1, 1.2, 24).tolist()
LONG = RNG.uniform(1, 40, 24).tolist()
LONGROPE = {"rope_type": "longrope", "short_factor": SHORT, "long_factor": LONG}
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 128}
LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 128,
}

# The head has 48 dimensions and the config 512 positions, unless a case says otherwise.
CASES: dict[str, dict[str, Any]] = {
    "default": {"rope_type": "default"},
    "linear": {"rope_type": "linear", "factor": 4.0},
    "linear, base 5e5": {"rope_type": "linear", "factor": 2.5, "rope_theta": 500_000.0},
    "linear, partial": {"rope_type": "linear", "factor": 8.0, "partial_rotary_factor": 0.25},
    "dynamic": {"rope_type": "dynamic", "factor": 2.0},
    "dynamic, base 1e6": {"rope_type": "dynamic", "factor": 4.0, "rope_theta": 1e6},
    "dynamic, partial": {"rope_type": "dynamic", "factor": 3.0, "partial_rotary_factor": 0.5},
    "yarn": YARN,
    "yarn, no factor": YARN | {"factor": None},
    "yarn, base 1e6": YARN | {"factor": 40.0, "rope_theta": 1e6},
    "yarn, betas": YARN | {"beta_fast": 16.0, "beta_slow": 2.0},
    "yarn, not truncated": YARN | {"truncate": False},
    "yarn, mscale": YARN | {"mscale": 0.707, "mscale_all_dim": 1.0},
    "yarn, one mscale": YARN | {"mscale": 0.707},
    "yarn, attention factor": YARN | {"attention_factor": 1.25},
    "yarn, factor 1": YARN | {"factor": 1.0},
    "yarn, partial": YARN | {"partial_rotary_factor": 0.5},
    "yarn, tiny original": YARN | {"original_max_position_embeddings": 4},
    "yarn, bounds meet": YARN | {"original_max_position_embeddings": 6, "beta_slow": 1.0},
    "longrope": LONGROPE | {"factor": 4.0, "original_max_position_embeddings": 128},
    "longrope, no factor": LONGROPE | {"original_max_position_embeddings": 100},
    "longrope, attention factor": LONGROPE
    | {"factor": 4.0, "original_max_position_embeddings": 128, "attention_factor": 1.5},
    "longrope, factor 1": LONGROPE | {"factor": 1.0, "original_max_position_embeddings": 512},
    "longrope, partial": LONGROPE
    | {
        "short_factor": SHORT[:6],
        "long_factor": LONG[:6],
        "original_max_position_embeddings": 128,
        "partial_rotary_factor": 0.25,
    },
    "llama3": LLAMA3,
    "llama3, base 5e5": LLAMA3 | {"rope_theta": 500_000.0, "factor": 32.0},
    "llama3, factors": LLAMA3 | {"low_freq_factor": 2.0, "high_freq_factor": 3.0},
    "llama3, partial": LLAMA3 | {"partial_rotary_factor": 0.75},
    "proportional": {"rope_type": "proportional", "partial_rotary_factor": 0.25},
    "proportional, whole": {"rope_type": "proportional", "factor": 2.0},
    "proportional, odd": {"rope_type": "proportional", "partial_rotary_factor": 0.15},
    "proportional, none": {"rope_type": "proportional", "partial_rotary_factor": 0.0},
}
LENGTHS = (100, 101, 128, 129, 512, 513, 4_001)


def config_of(parameters: dict[str, Any]) -> LlamaConfig:
    return LlamaConfig(
        hidden_size=6 * 48,
        num_attention_heads=6,
        head_dim=48,
        max_position_embeddings=512,
        rope_parameters={"rope_theta": 10_000.0} | parameters,
    )


def ours(parameters: dict[str, Any]) -> Rope:
    # A proportional part is a part of the planes, not of the dimensions that are paired.
    proportional = parameters["rope_type"] == "proportional"
    part = 1.0 if proportional else parameters.get("partial_rotary_factor", 1.0)
    return Rope(
        head_dim=48,
        base=parameters.get("rope_theta", 10_000.0),
        rotary_dim=int(48 * part),
        scaling=scaling_from(parameters, context=512),
    )


def test_every_scaling_of_transformers_is_here_and_tested() -> None:
    assert SCALINGS.keys() == ROPE_INIT_FUNCTIONS.keys() | {"default"}
    tested = [case["rope_type"] for case in CASES.values()]
    assert all(tested.count(word) >= 3 for word in ROPE_INIT_FUNCTIONS)
    for word, scaling in SCALINGS.items():
        assert scaling.rope_type == word


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("name", CASES)
def test_cosines_and_sines_of_the_model_in_float64(name: str) -> None:
    module = LlamaRotaryEmbedding(config_of(CASES[name]))
    rope = ours(CASES[name])
    for length in LENGTHS:
        positions = np.unique(np.r_[:40, np.linspace(0, length - 1, 50).astype(int)])
        cos, sin = module(torch.zeros(1, dtype=torch.float64), torch.as_tensor(positions)[None])
        assert cos.dtype == torch.float64
        got_cos, got_sin = rope.rotation(positions, length)
        assert got_cos.shape == (positions.size, rope.rotated // 2)
        # A head's two halves turn by the same angles.
        np.testing.assert_allclose(np.tile(got_cos, 2), cos[0], rtol=0, atol=1e-10)
        np.testing.assert_allclose(np.tile(got_sin, 2), sin[0], rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", [name for name in CASES if name != "default"])
def test_frequencies_and_amplitude_as_transformers_rounds_them(name: str) -> None:
    config = config_of(CASES[name])
    for length in (None, *LENGTHS):
        theirs, amplitude = ROPE_INIT_FUNCTIONS[CASES[name]["rope_type"]](config, seq_len=length)
        rope = ours(CASES[name])
        np.testing.assert_allclose(rope.frequencies(length), theirs, rtol=2e-6, atol=0)
        assert rope.scaling.amplitude == pytest.approx(amplitude, rel=1e-15)


def test_what_does_not_depend_on_the_length() -> None:
    for name, parameters in CASES.items():
        rope = ours(parameters)
        short, long = rope.frequencies(), rope.frequencies(100_000)
        depends = parameters["rope_type"] in ("dynamic", "longrope")
        assert np.array_equal(short, long) != depends, name


def test_the_limits_of_each_rule() -> None:
    plain = Unscaled().frequencies(10_000.0, 32)
    np.testing.assert_allclose(plain, [10_000 ** (-i / 16) for i in range(16)], rtol=1e-14)
    same: list[Scaling] = [
        Linear(1.0),
        Dynamic(4.0, 100),
        Yarn(1.0, 100),
        Llama3(1.0, 100, 1.0, 4.0),
        LongRope(1.0, 100, (1.0,) * 16, (2.0,) * 16),
        Proportional(),
    ]
    for scaling in same:
        np.testing.assert_allclose(scaling.frequencies(10_000.0, 32), plain, rtol=1e-14)
        assert scaling.amplitude == 1
    # Dynamic scaling divides the slowest frequency by as much as the sequence has grown.
    stretched = Dynamic(1.0, 100).frequencies(10_000.0, 32, 700)
    np.testing.assert_allclose(stretched[[0, -1]], plain[[0, -1]] / [1, 7], rtol=1e-14)
    # YaRN and Llama 3 leave fast planes alone and divide slow ones by the whole factor.
    for scaling in (Yarn(16.0, 4_096), Llama3(16.0, 4_096, 1.0, 4.0)):
        ratio = plain / scaling.frequencies(10_000.0, 32)
        assert ratio[0] == pytest.approx(1, rel=1e-14)
        assert ratio[-1] == pytest.approx(16, rel=1e-14)
        assert np.all(np.diff(ratio) >= -1e-12)


@pytest.mark.parametrize(
    "scaling",
    [
        Linear(1e-9),
        Linear(1e9),
        Dynamic(1e9, 1),
        Yarn(1e9, 1, mscale=1e9, mscale_all_dim=1e-9),
        Yarn(1e-9, 2**28, beta_fast=1e9, beta_slow=1e-9, truncate=False),
        LongRope(1e9, 2, (1e-9, 1e9), (1e9, 1e-9)),
        Llama3(1e9, 2**28, 1e-9, 1e9),
        Proportional(0.5, 1e-9),
    ],
)
@pytest.mark.parametrize("base", [1.5, 1e308])
def test_no_setting_that_is_taken_leaves_float64(scaling: Scaling, base: float) -> None:
    at = np.array([-(2.0**53), 0, 0.1, 2.0**53])
    for length in (1, 2**28):
        cos, sin = Rope(4, base, scaling=scaling).rotation(at, length)
        size = scaling.amplitude**2
        np.testing.assert_allclose(cos**2 + sin**2, np.full((4, 2), size), rtol=1e-12)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Linear(0.0), "at least 1e-09 and at most 1000000000 for factor, got 0.0"),
        (lambda: Linear(float("nan")), "for factor, got nan"),
        (lambda: Dynamic(2.0, 0), "whole number of at least 1 for original, got 0"),
        (lambda: Rope(2, scaling=Dynamic(2.0, 9)), "one plane: expected at least 4 .*, got 2"),
        (lambda: Yarn(float("inf"), 9), "for factor, got inf"),
        (lambda: Yarn(2.0, 9, beta_fast=0.5), "of at least 1 and .* for beta_fast, got 0.5"),
        (lambda: Yarn(2.0, 9, beta_slow=0.0), "for beta_slow, got 0.0"),
        (lambda: Yarn(2.0, 9, mscale=-1.0), "of at least 0 and .* for mscale, got -1.0"),
        (lambda: Rope(8, 1.0, scaling=Yarn(2.0, 9)), "above 1 for base, got 1.0"),
        (lambda: LongRope(2.0, 1, (1.0,), (1.0,)), "at least 2 for original, got 1"),
        (lambda: LongRope(2.0, 9, (1.0, 0.0), (1.0,)), "for short_factor, got 0.0"),
        (lambda: LongRope(2.0, 9, (1.0,), (1.0,), -2.0), "at least 0 and .* for attention_factor"),
        (
            lambda: Rope(8, scaling=LongRope(2.0, 9, (1.0,) * 4, (1.0,) * 3)),
            "long_factor does not fit 8 rotated dimensions: expected 4 numbers, .* got 3",
        ),
        (lambda: Llama3(2.0, 9, 4.0, 4.0), "above 4 and .* for high_freq_factor, got 4.0"),
        (lambda: Llama3(2.0, 9, 0.0, 4.0), "for low_freq_factor, got 0.0"),
        (lambda: Proportional(1.5), "at least 0 and at most 1 for part, got 1.5"),
        (lambda: Rope(8).frequencies(0), "at least 1 for length, got 0"),
    ],
)
def test_settings_that_cannot_be(build: Any, message: str) -> None:
    with pytest.raises(SettingError, match=message):
        build()
