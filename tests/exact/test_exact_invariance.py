"""What a table's measures must not see, and what they must: beyond `tests/geometry`.

There: rotation, scale, reversal, an offset, each on everything that it must leave alone. Here:
spaces with more dimensions that say the same, and what each change must do where it counts.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from poslens.geometry import (
    TableMeasures,
    components,
    cosine,
    difference,
    measures_of_table,
    norms,
    trajectory,
)
from poslens.geometry.tokens import TokenGeometry, norm_ratio, overlap_measures


@st.composite
def tables(draw: st.DrawFn) -> np.ndarray:
    """Rough or smooth tables of 10 to 30 rows, wide and narrow, with an offset or without."""
    length, dim = draw(st.integers(10, 30)), draw(st.integers(1, 16))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    rows = rng.normal(size=(length, dim))
    if draw(st.booleans()):
        rows = np.cumsum(rows, axis=0)
    return rows + draw(st.sampled_from([0.0, 3.0])) * rng.normal(size=dim)


def leaves(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else [value]


def sharp(shares: np.ndarray) -> bool:
    """Say whether no count, and no direction, hangs on a tie of eigenvalues."""
    sums, gaps = np.cumsum(shares), np.diff(shares[shares > 1e-9])
    off = min(np.abs(sums - bar).min() for bar in (0.80, 0.95))
    return bool(off > 1e-6 and (gaps.size == 0 or np.abs(gaps).min() > 1e-6))


def assert_same(after: TableMeasures, before: TableMeasures, but: tuple[str, ...] = ()) -> None:
    assert after.undefined == before.undefined
    exact_helix = before.values["trajectory.helix_r2"] > 1 - 1e-9  # and with it any m
    left_out = {*but, "pca.explained", *(["trajectory.turns"] if exact_helix else [])}
    for name in set(before.values) - left_out:
        pairs = zip(leaves(after.values[name]), leaves(before.values[name]), strict=True)
        for got, wanted in pairs:
            if isinstance(wanted, float):
                assert_allclose(got, wanted, rtol=1e-8, atol=1e-10, err_msg=name)
            else:
                assert got == wanted, name
    # There may be more components, which hold nothing.
    got, wanted = np.array(after.values["pca.explained"]), before.values["pca.explained"]
    assert_allclose(got[: len(wanted)], wanted, rtol=1e-8, atol=1e-13)
    assert got[len(wanted) :].sum() < 1e-12


@given(tables(), st.integers(1, 9), st.integers(0, 2**32 - 1))
@settings(max_examples=8)
def test_dimensions_that_hold_nothing_change_nothing(
    rows: np.ndarray, more: int, seed: int
) -> None:
    padded = np.pad(rows, ((0, 0), (0, more)))
    shuffled = np.random.default_rng(seed).permutation(padded.shape[1])
    before = measures_of_table(rows)
    assume(sharp(before.components.explained))
    assert_same(measures_of_table(padded[:, shuffled]), before)


@given(tables(), st.sampled_from([2, 4, 9]))
@settings(max_examples=8)
def test_dimensions_that_repeat_only_scale(rows: np.ndarray, copies: int) -> None:
    # √copies longer in all; divided by that, the same table in a larger space.
    before = measures_of_table(rows)
    assume(sharp(before.components.explained))
    assert_same(measures_of_table(np.tile(rows, copies) / np.sqrt(copies)), before)
    longer = measures_of_table(np.tile(rows, copies))
    assert_same(longer, before, but=("norm.mean", "probe.order_error"))
    assert_allclose(longer.values["norm.mean"], np.sqrt(copies) * before.values["norm.mean"])


@given(tables(), st.integers(0, 2**32 - 1), st.sampled_from([1e-30, 1e-3, 7.0, 1e30]))
@settings(max_examples=30)
def test_tokens_turn_and_scale_with_the_table(rows: np.ndarray, seed: int, factor: float) -> None:
    rng = np.random.default_rng(seed)
    dim = rows.shape[1]
    words = rng.normal(size=(3 * dim, dim)) * np.linspace(2, 1, dim)
    frame = factor * np.linalg.qr(rng.normal(size=(dim, dim)))[0]
    before, after = TokenGeometry(words), TokenGeometry(words @ frame)
    assert_allclose(norm_ratio(rows @ frame, after), norm_ratio(rows, before), rtol=1e-12)
    parts = components.principal_components(rows)
    assume(sharp(parts.explained))
    got = overlap_measures(components.principal_components(rows @ frame), after)
    wanted = overlap_measures(parts, before)
    assert_allclose(list(got.values()), list(wanted.values()), rtol=1e-7)


@given(tables(), st.integers(0, 2**32 - 1))
@settings(max_examples=30)
def test_an_offset_takes_over_what_is_not_about_the_mean(rows: np.ndarray, seed: int) -> None:
    offset = 1e4 * np.abs(rows).max() * np.random.default_rng(seed).normal(size=rows.shape[1])
    assume(np.linalg.norm(offset) > 1e3 * np.linalg.norm(rows, axis=1).max())
    lifted = rows + offset
    # Every row is nearly the offset: all are as long, and point one way.
    spread = norms.spread(lifted)
    assert spread["norm.cv"] < 1e-3
    assert_allclose(spread["norm.mean"], np.linalg.norm(offset), rtol=1e-3)
    assert_allclose(list(norms.ends(lifted).values()), 1, rtol=3e-3)
    profile = cosine.profile(lifted)
    assert profile.min() > 1 - 4e-6
    assert cosine.half_lag(profile) == len(rows)
    assert cosine.offset_share(lifted) > 1 - 1e-6
    assert cosine.offset_share(rows) < 1 - 1e-6


def about_the_mean(rows: np.ndarray) -> dict[str, Any]:
    parts = components.measures(components.principal_components(rows))
    return {
        **cosine.centered_measures(rows),
        **difference.by_stride(rows),
        **trajectory.measures(rows),
        **{name: parts[name] for name in ("pca.explained", "pca.pc1_index_correlation")},
    }


@given(tables(), st.sampled_from([1e2, 1e5, 1e8]), st.integers(0, 2**32 - 1))
@settings(max_examples=30)
def test_an_offset_costs_only_the_digits_that_it_takes(
    rows: np.ndarray, size: float, seed: int
) -> None:
    # What float64 keeps of the rows under the offset, and the same brought back without it.
    offset = size * np.random.default_rng(seed).normal(size=rows.shape[1])
    lifted = rows + offset
    kept = lifted - offset[None]
    assume(np.array_equal(kept + offset, lifted))
    before, after = about_the_mean(kept), about_the_mean(lifted)
    exact_helix = before["trajectory.helix_r2"] > 1 - 1e-9
    for name in before.keys() - ({"trajectory.turns"} if exact_helix else set()):
        got, wanted = (np.array(leaves(found[name]), float) for found in (after, before))
        assert_allclose(got, wanted, rtol=1e-9, atol=1e-13, err_msg=name)


@given(tables())
@settings(max_examples=30)
def test_reversal_exchanges_the_ends(rows: np.ndarray) -> None:
    lengths = np.linalg.norm(rows, axis=1)
    tail, median = -(-len(rows) // 20), np.median(lengths)
    for table, ends in ((rows, lengths), (rows[::-1], lengths[::-1])):
        wanted = [ends[0] / median, ends[-tail:].mean() / median]
        assert_allclose(list(norms.ends(table).values()), wanted, rtol=1e-12)


@given(tables())
@settings(max_examples=30)
def test_reversal_turns_scores_about(rows: np.ndarray) -> None:
    # Scores grow with the index by choice of sign, so that backwards each is the negative.
    before, after = (components.principal_components(table) for table in (rows, rows[::-1]))
    assume(sharp(before.explained))
    scores, size = before.scores, np.abs(before.scores).max()
    clear = np.abs(np.arange(len(rows)) @ scores) > 1e-6 * size
    clear &= before.explained[: scores.shape[1]] > 1e-6
    backwards = after.scores[::-1]
    assert_allclose(backwards[:, clear], -scores[:, clear], rtol=0, atol=1e-6 * size)
