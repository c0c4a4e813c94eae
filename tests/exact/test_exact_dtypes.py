"""Tables as checkpoints store them: a number is read as what it is, and measured in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from exact_tables import table, tokens
from numpy.testing import assert_array_equal

import poslens
from poslens.attention import LogitParts, Split, factored_kernel, relative_kernel, term_sums
from poslens.geometry import measures_of_table
from poslens.geometry.tokens import TokenGeometry
from poslens.geometry.views import effective

KINDS = ("rough", "walk", "curve", "offset")


def stored(kind: str, dtype: str, length: int = 33, dim: int = 6) -> torch.Tensor:
    rows = torch.from_numpy(table(kind, length, dim) * (0.01 if kind == "offset" else 1))
    return rows.to(getattr(torch, dtype))


def widened(tensor: torch.Tensor) -> np.ndarray:
    """Return the same numbers in float64, as torch converts them."""
    return tensor.to(torch.float64).numpy()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_a_stored_table_is_measured_as_its_float64(kind: str, dtype: str) -> None:
    tensor = stored(kind, dtype)
    read = poslens.load_table({"wpe.weight": tensor}).rows
    assert_array_equal(read, widened(tensor), strict=False)
    found, wanted = measures_of_table(read), measures_of_table(widened(tensor))
    assert found.values == wanted.values
    assert found.undefined == wanted.undefined


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_narrow_rows_and_tokens_are_widened_first(dtype: str) -> None:
    rows, words = stored("walk", dtype), torch.from_numpy(tokens(6)).to(getattr(torch, dtype))
    found = measures_of_table(rows.numpy(), TokenGeometry(words.numpy()))
    wanted = measures_of_table(widened(rows), TokenGeometry(widened(words)))
    assert found.values == wanted.values


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_narrow_tokens_are_widened_before_their_view(dtype: str) -> None:
    gain = np.linspace(0.5, 2, 6)
    words = torch.from_numpy(tokens(6)).to(getattr(torch, dtype))
    found = TokenGeometry(words.numpy(), (gain,))
    wanted = TokenGeometry(effective(widened(words), (gain,)))
    assert_array_equal(found.norms, wanted.norms)
    assert_array_equal(found.gram, wanted.gram)


def heads(dtype: str) -> list[torch.Tensor]:
    return [stored(kind, dtype)[None] for kind in ("rough", "walk", "curve")]


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_narrow_heads_are_widened_first(dtype: str, causal: bool) -> None:
    rough, walk, curve = heads(dtype)

    def measured(as_array: Any) -> list[Any]:
        content, position, constant = (as_array(part) for part in (rough, walk, curve))
        profile = as_array(walk[:, :, 0])
        parts = LogitParts(
            Split(content, position, constant), Split(position, content, constant), causal
        )
        return [
            factored_kernel(position, content, causal=causal).values,
            relative_kernel(profile, causal=causal).values,
            term_sums(parts).shares().tolist(),
        ]

    assert measured(torch.Tensor.numpy) == measured(widened)
