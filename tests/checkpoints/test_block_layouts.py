"""The parting of fused projections, against the packing that each family documents."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poslens.checkpoints.blocks.layouts import (
    Fused,
    bias_by_head,
    codegen_blocks,
    concatenated,
    fused_outputs,
    grouped,
    inputs_by_head,
    outputs_by_head,
)
from poslens.checkpoints.families.sizes import Heads

exactly = settings(derandomize=True, deadline=None)
GROUPS = st.sampled_from([(6, 6), (6, 3), (6, 1), (12, 4), (5, 1), (71, 1)])
REST = st.sampled_from([(), (7,)])


def three(heads: Heads, rest: tuple[int, ...]) -> list[np.ndarray]:
    """Queries, keys and values as three projections, outputs first, no two numbers alike."""
    sizes = [count * heads.head_dim for count in (heads.query, heads.key, heads.key)]
    shapes = [(size, *rest) for size in sizes]
    starts = np.cumsum([0, *(int(np.prod(shape)) for shape in shapes)])
    return [
        np.arange(start, start + np.prod(shape), dtype=np.float32).reshape(shape)
        for start, shape in zip(starts, shapes, strict=False)
    ]


def check(parted: Fused, stored: np.ndarray, heads: Heads, want: list[np.ndarray]) -> None:
    assert stored.shape[0] == fused_outputs(heads)
    for got, one in zip(parted(stored, heads), want, strict=True):
        np.testing.assert_array_equal(got, one)


@exactly
@given(GROUPS, st.integers(1, 5), REST)
def test_one_after_the_other(groups: tuple[int, int], d_head: int, rest: tuple[int, ...]) -> None:
    heads = Heads(d_head, *groups, layers=1)
    want = three(heads, rest)
    check(concatenated, np.concatenate(want), heads, want)


@exactly
@given(GROUPS, st.integers(1, 5), REST)
def test_group_by_group(groups: tuple[int, int], d_head: int, rest: tuple[int, ...]) -> None:
    heads = Heads(d_head, *groups, layers=1)
    want = three(heads, rest)
    by_group = [np.split(one, heads.key) for one in want]
    stored = np.concatenate([part for group in zip(*by_group, strict=True) for part in group])
    check(grouped, stored, heads, want)
    if heads.key == 1:
        check(concatenated, stored, heads, want)


@exactly
@given(st.sampled_from([4, 8, 12]), st.integers(1, 5), REST)
def test_codegens_four_accelerators(count: int, d_head: int, rest: tuple[int, ...]) -> None:
    heads = Heads(d_head, count, count, layers=1)
    queries, keys, values = three(heads, rest)
    held = zip(*(np.split(one, 4) for one in (queries, values, keys)), strict=True)
    stored = np.concatenate([part for accelerator in held for part in accelerator])
    check(codegen_blocks, stored, heads, [queries, keys, values])


@pytest.mark.parametrize("heads", [6, 12])
def test_heads_are_what_a_linear_layer_computes(heads: int) -> None:
    rng = np.random.default_rng(heads)
    rows = rng.normal(size=(5, 7))
    weight, bias = rng.normal(size=(heads * 3, 7)), rng.normal(size=heads * 3)
    whole = (rows @ weight.T + bias).reshape(5, heads, 3).transpose(1, 0, 2)
    by_head = rows @ inputs_by_head(weight, heads) + bias_by_head(bias, heads)[:, None]
    np.testing.assert_allclose(by_head, whole, rtol=1e-12)

    back = rng.normal(size=(7, heads * 3))
    merged = whole.transpose(1, 0, 2).reshape(5, -1) @ back.T
    np.testing.assert_allclose(
        (by_head @ outputs_by_head(back, heads)).sum(axis=0), merged, rtol=1e-10
    )
