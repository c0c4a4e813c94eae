"""What must not change a measure: rotation, scale, reversal, offset. And no NaN, ever."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from hypothesis import assume, given, reject, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.testing import assert_allclose
from tables import ar1

from annotations import unchecked
from poslens import geometry
from poslens.errors import TableError
from poslens.geometry import TableMeasures

Values = dict[str, Any]

# What each change leaves alone is everything but these.
SCALED = {"norm.mean", "probe.order_error"}  # the probe's penalty knows the scale of the table
DIRECTED = {  # measures in which first and last positions are not alike
    "norm.first_ratio",
    "norm.tail_ratio",
    "norm.outlier_rows",
    "shift.rotation_r2",
    "shift.r2",
    "shift.rank",
    "probe.position_mae",
    "probe.order_error",
}
ABOUT_THE_MEAN = {  # an offset must not matter
    "cosine.centered_profile",
    "cosine.centered_adjacent",
    "difference.parallel",
    "difference.parallel_at",
    "trajectory.straightness",
    "trajectory.linear_r2",
    "trajectory.helix_r2",
    "trajectory.turns",
    "trajectory.roughness",
    "trajectory.noise_share",
    "pca.explained",
    "pca.n80",
    "pca.n95",
    "pca.participation_ratio",
    "pca.stable_rank",
    "pca.pc1_index_correlation",
    "pca.best_index_correlation",
    "pca.best_index_component",
    "probe.position_mae",
}


def measures_of_table(rows: np.ndarray) -> TableMeasures:
    """Measure a thousand tables; annotations are checked where they meet the brute force."""
    with unchecked():
        return geometry.measures_of_table(rows)


@st.composite
def tables(draw: st.DrawFn) -> np.ndarray:
    """Smooth to rough tables of 3 to 60 rows, wide and narrow."""
    length, dim = draw(st.integers(3, 60)), draw(st.integers(1, 40))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    rho = draw(st.sampled_from([0.0, 0.5, 0.9, 0.99]))
    offset = draw(st.sampled_from([0.0, 1.0, 5.0]))
    return offset * rng.normal(size=dim) + ar1(rng.normal(size=(length, dim)), rho)


def assert_same(got: Values, wanted: Values, names: set[str], rtol: float = 1e-7) -> None:
    assert names, "nothing would be compared"
    for name in sorted(names):
        for left, right in zip(leaves(got[name]), leaves(wanted[name]), strict=True):
            if isinstance(right, float) and isinstance(left, float):
                assert_allclose(left, right, rtol=rtol, atol=1e-10, err_msg=name)
            else:
                assert left == right, name


def comparable(found: TableMeasures) -> set[str]:
    """Return the names to compare: all, but for the turns of a helix that fits at any m."""
    exact = (found.values["trajectory.helix_r2"] or 0) > 1 - 1e-9
    return set(found.values) - ({"trajectory.turns"} if exact else set())


def leaves(value: Any) -> Iterator[Any]:
    """Yield the numbers in a measure, be it one, a list or a mapping."""
    if isinstance(value, dict):
        yield from value.values()
    elif isinstance(value, list):
        yield from value
    else:
        yield value


def sharp(found: TableMeasures) -> bool:
    """Say whether no count hangs on a tie: of eigenvalues, or of which component follows best."""
    shares = np.array(found.values["pca.explained"] or [1.0])
    sums = np.cumsum(shares)
    gaps = np.diff(shares[shares > 1e-9])
    return bool(
        np.abs(sums - 0.80).min() > 1e-6
        and np.abs(sums - 0.95).min() > 1e-6
        and (gaps.size == 0 or np.abs(gaps).min() > 1e-6)
    )


@given(tables(), st.integers(0, 2**32 - 1))
@settings(max_examples=30)
def test_rotation_of_the_space_changes_nothing(rows: np.ndarray, seed: int) -> None:
    frame = np.linalg.qr(np.random.default_rng(seed).normal(size=(rows.shape[1],) * 2))[0]
    before, after = measures_of_table(rows), measures_of_table(rows @ frame)
    assume(sharp(before))
    assert before.undefined == after.undefined
    assert_same(after.values, before.values, comparable(before))


@given(tables(), st.sampled_from([1e-30, 1e-6, 3.0, 1e6, 1e30]))
@settings(max_examples=30)
def test_scale_changes_only_the_mean_norm(rows: np.ndarray, factor: float) -> None:
    before, after = measures_of_table(rows), measures_of_table(factor * rows)
    assume(sharp(before))
    assert before.undefined == after.undefined
    assert_same(after.values, before.values, comparable(before) - SCALED)
    assert_allclose(after.values["norm.mean"], factor * before.values["norm.mean"], rtol=1e-12)


@given(tables())
@settings(max_examples=30)
def test_reversal_of_positions_changes_only_what_has_a_direction(rows: np.ndarray) -> None:
    before, after = measures_of_table(rows), measures_of_table(rows[::-1])
    assume(sharp(before))
    assert_same(after.values, before.values, comparable(before) - DIRECTED)
    last = len(rows) - 1
    mirrored = sorted(last - t for t in before.values["norm.outlier_rows"])
    assert after.values["norm.outlier_rows"] == mirrored


@given(tables(), st.integers(0, 2**32 - 1))
@settings(max_examples=30)
def test_offset_does_not_change_what_is_about_the_mean(rows: np.ndarray, seed: int) -> None:
    offset = 10 * np.random.default_rng(seed).normal(size=rows.shape[1])
    before, after = measures_of_table(rows), measures_of_table(rows + offset)
    assume(sharp(before))
    assert_same(after.values, before.values, ABOUT_THE_MEAN & comparable(before))


@given(tables())
@settings(max_examples=30)
def test_bounds(rows: np.ndarray) -> None:
    values = measures_of_table(rows).values
    for name in ("cosine.profile", "cosine.centered_profile", "difference.parallel_at"):
        assert all(-1 <= value <= 1 for value in leaves(values[name]) if value is not None), name
    for name in ("trajectory.straightness", "trajectory.linear_r2", "trajectory.helix_r2"):
        assert 0 <= values[name] <= 1 + 1e-12, name
    assert values["trajectory.linear_r2"] <= values["trajectory.helix_r2"] + 1e-12
    assert math.isclose(sum(values["pca.explained"]), 1, rel_tol=1e-12)
    assert values["pca.explained"] == sorted(values["pca.explained"], reverse=True)
    assert 1 <= values["pca.n80"] <= values["pca.n95"] <= min(rows.shape)
    # (Σλ)² ÷ Σλ² ≥ Σλ ÷ λ_1, since Σλ² ≤ λ_1 Σλ; both lie between 1 and the number of components.
    assert values["pca.stable_rank"] >= 1 - 1e-12
    assert values["pca.stable_rank"] <= values["pca.participation_ratio"] + 1e-9
    assert values["pca.participation_ratio"] <= min(rows.shape) + 1e-9
    for name in ("shift.rotation_r2", "shift.r2"):
        assert all(value <= 1 + 1e-12 for value in leaves(values[name]) if value is not None), name


def measured(rows: np.ndarray) -> TableMeasures:
    """Measure, or skip what PosLens refuses to call a table (`TableError`)."""
    try:
        return measures_of_table(rows)
    except TableError:
        reject()


# Any stored table: many zeros and repeats, whole numbers, tiny and huge entries.
ENTRIES = st.one_of(
    st.sampled_from([0.0, 1.0, -1.0, 2.0]),
    st.floats(-1e3, 1e3, allow_subnormal=False),
    st.floats(allow_nan=False, allow_infinity=False, width=32),
)


def stored_tables(entries: st.SearchStrategy[float]) -> st.SearchStrategy[np.ndarray]:
    shapes = st.tuples(st.integers(3, 14), st.integers(1, 6))
    return shapes.flatmap(lambda shape: arrays(np.float64, shape, elements=entries))


@given(st.one_of(stored_tables(ENTRIES), stored_tables(st.sampled_from([0.0, 1.0, -1.0]))))
@settings(max_examples=300)
def test_every_value_is_finite_or_has_a_reason(rows: np.ndarray) -> None:
    found = measured(rows)
    for name, value in found.values.items():
        if value is None:
            assert found.undefined[name], name
            continue
        assert name not in found.undefined
        for leaf in leaves(value):
            assert leaf is None or isinstance(leaf, str) or math.isfinite(leaf), name
