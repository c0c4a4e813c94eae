"""Kernels of two parts and pictures of profiles against the matrix; what a study keeps of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kernel_matrices import picture_by_hand, profile_by_hand, shares_by_hand, spread
from kernel_models import BASIC, T5, build, saved, studied
from numpy.testing import assert_allclose

import poslens
from poslens.attention import (
    factored_sums,
    kernel_picture,
    measures_of_sums,
    relative_picture,
    with_relative,
)
from poslens.errors import TableError

lengths = st.integers(3, 17)
both = st.booleans()
seeds = st.integers(0, 2**32 - 1)


def parts(length: int, seed: int, *, causal: bool) -> tuple[np.ndarray, ...]:
    """Queries of six heads, keys of three, and a profile for each head of queries."""
    rng = np.random.default_rng(seed)
    queries, keys = rng.normal(size=(6, length, 4)) + 1, rng.normal(size=(3, length, 4)) - 2
    return queries, keys, 3 * rng.normal(size=(6, length if causal else 2 * length - 1)) + 5


def sum_of(queries: np.ndarray, keys: np.ndarray, profiles: np.ndarray) -> np.ndarray:
    products = queries @ np.repeat(keys, 2, axis=0).transpose(0, 2, 1)
    return products + spread(profiles, queries.shape[1])


@given(length=lengths, causal=both, seed=seeds)
def test_the_sums_of_two_parts(length: int, causal: bool, seed: int) -> None:
    queries, keys, profiles = parts(length, seed, causal=causal)
    K = sum_of(queries, keys, profiles)
    found = with_relative(factored_sums(queries, keys, causal=causal), profiles)
    pairs = np.tri(length) if causal else np.ones((length, length))
    means = (K * pairs).sum(2) / pairs.sum(1)
    assert_allclose(found.row_means, means, rtol=0, atol=1e-11)
    assert_allclose(found.energy, ((K - means[..., None]) ** 2 * pairs).sum((1, 2)), rtol=1e-9)
    measures = measures_of_sums(found)
    assert_allclose(measures.profile, profile_by_hand(K, causal=causal), rtol=0, atol=1e-11)
    assert_allclose(measures.relative_share, shares_by_hand(K, causal=causal), rtol=1e-9, atol=1e-9)


@given(length=lengths, causal=both, seed=seeds)
def test_a_constant_beside_changes_no_share(length: int, causal: bool, seed: int) -> None:
    queries, keys, profiles = parts(length, seed, causal=causal)
    plain = factored_sums(queries, keys, causal=causal)
    found = with_relative(plain, np.full_like(profiles, 7.0))
    assert_allclose(found.energy, plain.energy, rtol=1e-12)
    assert_allclose(found.diagonals, plain.diagonals, rtol=0, atol=1e-11)
    assert_allclose(found.row_means, plain.row_means + 7, rtol=1e-12)


@pytest.mark.parametrize("shape", [(6, 16), (6, 18), (5, 17), (6, 33)])
def test_parts_that_do_not_fit(shape: tuple[int, int]) -> None:
    queries, keys, _ = parts(17, 0, causal=True)
    sums = factored_sums(queries, keys, causal=True)
    with pytest.raises(TableError, match=r"do not fit together: expected shape \(6, 17\), "):
        with_relative(sums, np.zeros(shape))


@given(length=lengths, causal=both, seed=seeds, most=st.integers(1, 20))
def test_the_picture_of_a_profile(length: int, causal: bool, seed: int, most: int) -> None:
    queries, keys, profiles = parts(length, seed, causal=causal)
    found = relative_picture(profiles, causal=causal, most=most)
    assert len(found.starts) <= most
    want = picture_by_hand(spread(profiles, length), found.starts, causal=causal)
    assert_allclose(found.within_rows, want, rtol=0, atol=1e-12 * np.abs(profiles).max())
    # At least one pair a block where one block is one position: the profile itself.
    if len(found.starts) == length:
        assert_allclose(found.means[:, -1], profiles[:, :length], rtol=0, atol=1e-12)

    beside = kernel_picture(queries, keys, causal=causal, most=most) + found
    want = picture_by_hand(sum_of(queries, keys, profiles), beside.starts, causal=causal)
    assert_allclose(beside.within_rows, want, rtol=0, atol=1e-10)


STUDIES: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "learned": ("bert", BASIC, {}),
    "two parts": ("mpnet", BASIC, {"rows": (5, 40)}),
    "buckets by layer": ("umt5", T5, {"part": "decoder"}),
    "rotations": ("qwen2", BASIC | {"hidden_size": 60, "num_key_value_heads": 3}, {}),
    "no means": ("llama", BASIC | {"hidden_size": 60, "num_key_value_heads": 3}, {}),
}


@pytest.mark.parametrize("name", STUDIES)
def test_what_is_saved_is_opened(name: str, tmp_path: Path) -> None:
    family, values, settings = STUDIES[name]
    study = studied(saved(build(family, values), tmp_path), **settings)
    study.save(tmp_path / "study.nc")
    opened = poslens.open_study(tmp_path / "study.nc")
    assert opened == study
    kept = [one for one in opened.data if one.startswith("kernel.")]
    counts = {"no means": 2, "learned": 8, "buckets by layer": 8, "rotations": 11, "two parts": 9}
    assert len(kept) == counts[name]
    for one in kept:
        assert opened.arrays["kernel"][one.removeprefix("kernel.")].dims == study.data[one].dims

    record = json.loads(study.to_json())
    assert "NaN" not in study.to_json()
    names = {one for one in record["profiles"] if one.startswith("kernel.")}
    assert names == {
        f"kernel.{one}"
        for one in ("profile", "relative_share", "half_distance", "symmetry", "peak_offset")
    }
    assert not [one for one in record["measures"] if one.startswith("kernel.")]
    for one in names:
        if name == "no means":
            assert record["profiles"][one] is None
        else:
            assert len(record["profiles"][one]) == 6
            assert record["profiles"][one] == study.measures[one]


def test_heads_without_a_value_are_null() -> None:
    study = poslens.analyze("nope", nulls=0)
    record = json.loads(study.to_json())["profiles"]
    assert record["kernel.relative_share"] == [None]
    assert np.isnan(study.data["kernel.relative_share"].values).all()
