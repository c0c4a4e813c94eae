"""Rotations: the identities that make RoPE relative, and the models' own code for each pairing."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import GPTNeoXConfig
from transformers.models.gpt_neox.modeling_gpt_neox import (
    GPTNeoXRotaryEmbedding,
    apply_rotary_pos_emb,
)
from transformers.models.gptj import modeling_gptj

from poslens.encodings import Linear, Rope, Yarn, sinusoidal_rows
from poslens.errors import SettingError

RNG = np.random.default_rng(5)
ROPES = [
    Rope(12),
    Rope(12, pairing="interleaved"),
    Rope(18, 500_000.0, rotary_dim=10),
    Rope(18, 7.5, rotary_dim=10, pairing="interleaved", scaling=Linear(3.0)),
]
positions = st.lists(st.floats(-1_000, 1_000), min_size=1, max_size=5).map(np.array)


@pytest.mark.parametrize("rope", ROPES)
@settings(derandomize=True, deadline=None, max_examples=30)
@given(at=positions, shift=st.floats(-1_000, 1_000))
def test_products_depend_on_the_offset_alone(rope: Rope, at: np.ndarray, shift: float) -> None:
    q, k = np.random.default_rng(1).standard_normal((2, 2, at.size, rope.head_dim))
    here = rope.rotate(q, at) @ rope.rotate(k, at).transpose(0, 2, 1)
    there = rope.rotate(q, at + shift) @ rope.rotate(k, at + shift).transpose(0, 2, 1)
    np.testing.assert_allclose(here, there, rtol=0, atol=1e-11)


@pytest.mark.parametrize("rope", ROPES)
def test_rotations_are_orthogonal_and_compose(rope: Rope) -> None:
    x = RNG.standard_normal((3, 2, 7, rope.head_dim))
    a, b = RNG.integers(-50, 50, 7), RNG.uniform(-50, 50, 7)
    turned = rope.rotate(x, a)
    np.testing.assert_allclose((turned**2).sum(-1), (x**2).sum(-1), rtol=1e-13)
    np.testing.assert_allclose(rope.rotate(turned, b), rope.rotate(x, a + b), atol=1e-13)
    np.testing.assert_allclose(rope.rotate(turned, -a), x, atol=1e-13)
    np.testing.assert_array_equal(rope.rotate(x, np.zeros(7)), x)
    np.testing.assert_array_equal(turned[..., rope.rotated :], x[..., rope.rotated :])
    matrix = rope.rotate(np.eye(rope.head_dim)[:, None], np.array([3.7]))[:, 0]
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(rope.head_dim), atol=1e-15)
    assert np.linalg.det(matrix) == pytest.approx(1, rel=1e-13)


@pytest.mark.parametrize("rope", ROPES)
def test_planes_turn_by_their_angles(rope: Rope) -> None:
    x = RNG.standard_normal((2, 7, rope.head_dim))
    at = RNG.integers(0, 50, 7)
    planes = rope.planes(x)
    assert planes.shape == (2, 7, rope.rotated // 2)
    turns = np.exp(1j * at[:, None] * rope.frequencies())
    np.testing.assert_allclose(rope.planes(rope.rotate(x, at)), planes * turns, atol=1e-13)
    q, k = planes
    product = (q.conj() * k).real.sum(-1) + (x[0] * x[1])[:, rope.rotated :].sum(-1)
    np.testing.assert_allclose(product, (x[0] * x[1]).sum(-1), atol=1e-13)


def test_a_scaling_with_an_amplitude_stretches_what_rotates() -> None:
    rope = Rope(12, scaling=Yarn(16.0, 64))
    assert rope.scaling.amplitude > 1.2
    x = RNG.standard_normal((5, 12))
    lengths = np.linalg.norm(rope.rotate(x, np.arange(5)), axis=1)
    np.testing.assert_allclose(lengths, rope.scaling.amplitude * np.linalg.norm(x, axis=1))


def test_the_angles_are_those_of_the_sinusoidal_table() -> None:
    at = np.array([0.0, 3, 2.5, 400])
    cos, sin = Rope(14, 333.0).rotation(at)
    rows = sinusoidal_rows(at, 14, 333.0)
    np.testing.assert_allclose(sin, rows[:, 0::2], atol=1e-13)
    np.testing.assert_allclose(cos, rows[:, 1::2], atol=1e-13)
    # A shift of the table is the rotation of its (cosine, sine) pairs.
    pairs = rows.reshape(4, 7, 2)[:, :, ::-1].reshape(4, 14)
    turned = Rope(14, 333.0, pairing="interleaved").rotate(pairs, np.full(4, 8.0))
    later = sinusoidal_rows(at + 8, 14, 333.0).reshape(4, 7, 2)[:, :, ::-1].reshape(4, 14)
    np.testing.assert_allclose(turned, later, atol=1e-12)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("part", [0.25, 0.5, 1.0])
def test_halves_as_gpt_neox_turns_them(part: float) -> None:
    config = GPTNeoXConfig(
        hidden_size=6 * 40,
        num_attention_heads=6,
        rope_parameters={
            "rope_type": "default",
            "rope_theta": 5_000.0,
            "partial_rotary_factor": part,
        },
    )
    x = torch.as_tensor(RNG.standard_normal((1, 6, 9, 40)))
    at = torch.arange(30, 39)[None]
    cos, sin = GPTNeoXRotaryEmbedding(config)(x, at)
    theirs, _ = apply_rotary_pos_emb(x, x, cos, sin)
    rope = Rope(40, 5_000.0, rotary_dim=int(40 * part))
    np.testing.assert_allclose(rope.rotate(x.numpy(), at[0].numpy()), theirs, atol=1e-12)


@pytest.mark.usefixtures("float64")
def test_interleaved_pairs_as_gpt_j_turns_them() -> None:
    angles = modeling_gptj.create_sinusoidal_positions(60, 20)
    x = torch.as_tensor(RNG.standard_normal((1, 9, 3, 32)))
    at = np.arange(40, 49)
    sin, cos = angles[at][None].chunk(2, dim=-1)
    theirs = torch.cat(
        [modeling_gptj.apply_rotary_pos_emb(x[..., :20], sin, cos), x[..., 20:]], dim=-1
    )
    rope = Rope(32, rotary_dim=20, pairing="interleaved")
    ours = rope.rotate(x[0].numpy().transpose(1, 0, 2), at)
    np.testing.assert_allclose(ours.transpose(1, 0, 2), theirs[0], atol=1e-12)


def test_the_input_is_left_alone() -> None:
    x = RNG.standard_normal((4, 12))
    before = x.copy()
    Rope(12).rotate(x, np.arange(4))
    np.testing.assert_array_equal(x, before)
    assert Rope(12).rotate(x.astype(np.float32), np.arange(4)).dtype == np.float64
    assert Rope(12).rotate(x[:0], np.arange(0)).shape == (0, 12)


@pytest.mark.parametrize(
    ("head_dim", "more", "message"),
    [
        (63, {}, "from 2 to the head dimension 63, got 63; give a rotary_dim"),
        (64, {"rotary_dim": 31}, "even number .* from 2 to the head dimension 64, got 31"),
        (64, {"rotary_dim": 66}, "got 66"),
        (64, {"rotary_dim": 0}, "got 0"),
        (0, {}, "at least 2 for head_dim, got 0"),
        (64, {"base": 0.5}, "at least 1 for base, got 0.5"),
        (64, {"base": float("inf")}, "for base, got inf"),
        (64, {"base": float("nan")}, "for base, got nan"),
    ],
)
def test_heads_that_cannot_rotate(head_dim: int, more: dict[str, float], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        Rope(head_dim, **more)


def test_positions_and_heads_that_do_not_fit() -> None:
    with pytest.raises(SettingError, match="no value there: expected finite positions, got nan"):
        Rope(12).rotation(np.array([0.0, np.nan]))
    with pytest.raises(SettingError, match=r"positions from -2\^53 to 2\^53, got 1e\+17"):
        Rope(12).rotation(np.array([1e17]))
    with pytest.raises(
        SettingError, match=r"expected shape \(…, position, 12\), got shape \(3, 14"
    ):
        Rope(12).rotate(np.zeros((3, 14)), np.arange(3))
    with pytest.raises(SettingError, match="cannot rotate heads of another dimension"):
        Rope(12).planes(np.zeros((3, 10)))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("Rope(8, pairing='both')", "expected half or interleaved, got 'both'"),
        ("Alibi(2.5)", "expected a whole number of at least 1 for heads, got 2.5"),
    ],
)
def test_words_and_types_are_checked_without_a_type_checker(call: str, message: str) -> None:
    """The tests' own run checks annotations before a function is entered; users' runs do not."""
    code = f"from poslens.encodings import *\ntry: {call}\nexcept Exception as e: print(repr(e))"
    run = subprocess.run([sys.executable, "-Oc", code], capture_output=True, text=True, check=True)  # noqa: S603
    assert run.stdout.startswith("SettingError(")
    assert message in run.stdout
