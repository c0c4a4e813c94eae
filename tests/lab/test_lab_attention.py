"""Attention in blocks against torch's, which is given the whole bias, in float64."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from poslens.lab.attention import as_strip, attention, strip_offsets

BATCH, HEADS, D_HEAD = 2, 3, 5
LENGTHS = (1, 5, 63, 64, 65, 130, 200)  # on both sides of the edges of blocks


def drawn(*shape: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, dtype=torch.float64, generator=generator).requires_grad_()


def offsets(length: int) -> Tensor:
    position = torch.arange(length)
    return position[None, :] - position[:, None]


def from_profile(profile: Tensor, length: int) -> Tensor:
    return profile[:, offsets(length).clamp(max=0) - strip_offsets(length)[0]]


def from_near(near: Tensor) -> Tensor:
    *_, length, distances = near.shape
    offset = offsets(length)
    column = (distances - 1 + offset).clamp(0, distances - 1)
    values = near.gather(-1, column.expand(*near.shape[:-1], length))
    return torch.where((offset > -distances) & (offset <= 0), values, 0.0)


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("distances", [None, 1, 16, 100])
@pytest.mark.parametrize("with_strip", [False, True])
@pytest.mark.parametrize("kept_bytes", [0, 2**30])
def test_values_and_gradients_are_torchs(
    length: int, distances: int | None, with_strip: bool, kept_bytes: int
) -> None:
    q, k, v, gradient = (drawn(BATCH, HEADS, length, D_HEAD, seed=seed) for seed in range(4))
    inputs = [q, k, v]
    bias = torch.where(offsets(length) > 0, -math.inf, 0.0).expand(BATCH, HEADS, -1, -1).double()
    strip = near = None
    if with_strip:
        profile = drawn(HEADS, len(strip_offsets(length)), seed=4)
        strip = as_strip(profile)
        bias = bias + from_profile(profile, length)
        inputs.append(profile)
    if distances is not None:
        near = drawn(BATCH, HEADS, length, distances, seed=5)
        bias = bias + from_near(near)
        inputs.append(near)
    ours = attention(q, k, v, strip=strip, near=near, kept_bytes=kept_bytes)
    theirs = scaled_dot_product_attention(q, k, v, attn_mask=bias)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-13)
    for got, want in zip(
        torch.autograd.grad(ours, inputs, gradient),
        torch.autograd.grad(theirs, inputs, gradient),
        strict=True,
    ):
        torch.testing.assert_close(got, want, rtol=0, atol=1e-12)


@pytest.mark.parametrize("length", LENGTHS)
def test_a_strip_holds_its_offsets(length: int) -> None:
    """Read by any block of 64 queries, its entry for query t and key s is f(s - t)."""
    held = torch.tensor(list(strip_offsets(length)), dtype=torch.float64)
    strip = as_strip(held[None])[0]
    for start in range(0, length, 64):
        stop = min(start + 64, length)
        first = strip.shape[1] - 64 - start
        block = strip[: stop - start, first : first + stop]
        want = offsets(length)[start:stop, :stop].double()
        torch.testing.assert_close(block, want.masked_fill(want > 0, -math.inf), rtol=0, atol=0)


def test_gradients_in_bfloat16_are_those_of_float32_nearly() -> None:
    """The whole distance between the two, of which rounding inputs and weights is the cause."""
    length = 90
    q, k, v, gradient = (
        drawn(BATCH, HEADS, length, D_HEAD, seed=seed).detach() for seed in range(4)
    )
    found = []
    for dtype in (torch.float32, torch.bfloat16):
        inputs = [one.bfloat16().to(dtype).requires_grad_() for one in (q, k, v)]
        out = attention(*inputs)
        assert out.dtype == dtype
        found.append(torch.autograd.grad(out, inputs, gradient.bfloat16().to(dtype)))
    for exact, rounded in zip(*found, strict=True):
        assert (exact - rounded.float()).norm() <= 0.01 * exact.norm()
