"""Longer tables: what each method keeps, how far it can swing, and the same done by others."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.interpolate
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from poslens.edit.copying import ALPHA
from poslens.edit.extension import METHODS, extended
from poslens.encodings import sinusoidal_table
from poslens.errors import SettingError, TableError, UndefinedMeasureError
from poslens.geometry.shift import linear_r2, shift_operator

FACTORS = (2, 3.7, 8)
# Of the longest row of a longer table to that of the table, as the docstrings state it.
BOUNDS = dict.fromkeys(METHODS, 1.0) | {
    "cubic": 2.0,
    "cubic_keep_first": 2.0,
    "hierarchical": (1 + ALPHA) / (1 - ALPHA),
}
proven = settings(derandomize=True, deadline=None, max_examples=30)


@st.composite
def tables(draw: st.DrawFn) -> np.ndarray:
    """Smooth to rough tables of 9 to 60 rows, narrow and wide, some with an outlier in front."""
    length, dim = draw(st.integers(9, 60)), draw(st.integers(1, 24))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    rho = draw(st.sampled_from([0.0, 0.7, 0.95, 1.0]))
    rows = rng.normal(size=(length, dim))
    for t in range(1, length):
        rows[t] += rho * rows[t - 1]
    rows[0] *= draw(st.sampled_from([1.0, 6.0]))
    return np.asarray(rows + draw(st.sampled_from([0.0, 3.0])) * rng.normal(size=dim))


def longest(rows: np.ndarray) -> float:
    return float(np.linalg.norm(rows, axis=1).max())


def helix(length: int, turns: float, dim: int = 5) -> np.ndarray:
    """A circle with an offset, in a plane askew to the axes."""
    frame = np.linalg.qr(np.random.default_rng(1).normal(size=(dim, dim)))[0]
    angle = 2 * np.pi * turns * np.arange(length) / length
    return np.asarray(
        np.column_stack([np.cos(angle), np.sin(angle), np.full(length, 2.0)]) @ frame[:3]
    )


@pytest.mark.parametrize("method", METHODS)
@given(rows=tables())
@proven
def test_longer_tables_are_finite_and_bounded(method: str, rows: np.ndarray) -> None:
    length, dim = rows.shape
    for factor in FACTORS:
        to = int(factor * length)
        new = extended(rows, to, method)
        assert new.shape == (to, dim)
        assert new.dtype == np.float64
        assert np.isfinite(new).all()
        assert longest(new) <= BOUNDS[method] * longest(rows) * (1 + 1e-12)
        assert np.array_equal(new[:length], rows) == METHODS[method].keeps_rows


@pytest.mark.parametrize("method", METHODS)
@given(rows=tables(), scale=st.sampled_from([-1.0, 1e-6, 3.0, 1e6]), seed=st.integers(0, 2**32 - 1))
@proven
def test_scale_and_rotation_pass_through(
    method: str, rows: np.ndarray, scale: float, seed: int
) -> None:
    frame = np.linalg.qr(np.random.default_rng(seed).normal(size=(rows.shape[1],) * 2))[0]
    to = 3 * rows.shape[0] + 2
    wanted = scale * extended(rows, to, method) @ frame
    got = extended(scale * rows @ frame, to, method)
    assert_allclose(got, wanted, rtol=0, atol=1e-8 * abs(scale) * longest(rows))


@pytest.mark.parametrize("method", METHODS)
def test_the_same_length_is_the_same_table(method: str, curve: np.ndarray) -> None:
    new = extended(curve, 131, method)
    assert_array_equal(new, curve)
    assert not np.shares_memory(new, curve)
    narrow = extended(curve.astype(np.float32), 131, method)
    assert narrow.dtype == np.float64


@pytest.mark.parametrize("method", ["linear", "cubic"])
@pytest.mark.parametrize("factor", [2, 3, 4, 8])
def test_whole_factors_keep_every_row(method: str, factor: int, curve: np.ndarray) -> None:
    new = extended(curve, 131 * factor, method)
    assert_array_equal(new[::factor], curve)
    assert_array_equal(new[-factor:], np.repeat(curve[-1:], factor, axis=0))


@pytest.mark.parametrize("to", [132, 200, 262, 485, 1048])
def test_interpolation_as_numpy_and_scipy_do_it(to: int, curve: np.ndarray) -> None:
    at = np.minimum(np.arange(to) * 131 / to, 130)
    straight = np.column_stack([np.interp(at, np.arange(131), column) for column in curve.T])
    assert_allclose(extended(curve, to, "linear"), straight, rtol=0, atol=1e-13)
    spline = scipy.interpolate.make_interp_spline(np.arange(131), curve, k=3)
    assert_allclose(extended(curve, to, "cubic"), spline(at), rtol=0, atol=1e-12)


@pytest.mark.parametrize("method", ["linear", "cubic"])
def test_the_first_row_stays_by_itself(method: str, curve: np.ndarray) -> None:
    new = extended(curve, 485, f"{method}_keep_first")
    assert_array_equal(new[0], curve[0])
    assert_array_equal(new[1:], extended(curve[1:], 484, method))
    shortest = extended(np.arange(6.0).reshape(3, 2), 5, f"{method}_keep_first")
    assert_allclose(shortest[:, 0], [0, 2, 3, 4, 4], rtol=0, atol=1e-14)


def test_copies_by_hand() -> None:
    rows = np.array([[1.0], [5.0], [7.0]])
    assert extended(rows, 8, "tile").ravel().tolist() == [1, 5, 7, 1, 5, 7, 1, 5]
    assert extended(rows, 8, "repeat_last").ravel().tolist() == [1, 5, 7, 7, 7, 7, 7, 7]


def test_pages_and_places_by_hand(curve: np.ndarray) -> None:
    # Su's own form of it, positions counted from 1.
    rows = curve[:5]
    u = [(row - 0.4 * rows[0]) / 0.6 for row in rows]
    by_hand = [0.4 * u[i - 1] + 0.6 * u[j - 1] for i in range(1, 6) for j in range(1, 6)]
    assert_allclose(extended(rows, 25, "hierarchical"), by_hand, rtol=0, atol=1e-14)
    with pytest.raises(SettingError, match=r"expected at most 5² = 25 positions, got 26; choose"):
        extended(rows, 26, "hierarchical")
    every = extended(curve, 131**2, "hierarchical")
    assert np.unique(every, axis=0).shape[0] == 131**2


def test_the_shift_operator_is_that_of_least_squares() -> None:
    rng = np.random.default_rng(11)
    wave = np.exp(1j * np.outer(np.arange(81), [0.3, 0.9, 1.7]) + 0.4j)
    rows = np.hstack([wave.real, wave.imag]) @ rng.normal(size=(6, 6)) + rng.normal(size=(81, 6))
    left, right = shift_operator(rows, 1)
    assert left.shape[1] == right.shape[0] == linear_r2(rows, 1)[1] == 6
    solved = np.linalg.lstsq(rows[:-1], rows[1:], rcond=None)[0]
    assert_allclose(left @ right, solved, rtol=0, atol=1e-12)
    assert np.abs(np.linalg.eigvals(left @ right)).max() < 1, "nothing must be pulled here"
    new = extended(rows, 324, "shift")
    assert_allclose(new[81:100], new[80:99] @ solved, rtol=0, atol=1e-12)


@pytest.mark.parametrize("factor", FACTORS)
def test_shift_continues_sinusoids(factor: float) -> None:
    # Waves of up to 293 positions; of much longer ones 129 rows do not show enough in float64.
    to = int(129 * factor)
    new = extended(sinusoidal_table(129, 12, base=100.0), to, "shift")
    assert_allclose(new, sinusoidal_table(to, 12, base=100.0), rtol=0, atol=1e-9)


def test_shift_turns_on_where_it_would_grow() -> None:
    time = np.arange(320)
    phasor = np.exp((0.02 + 0.3j) * time[:80])
    spiral = np.column_stack([phasor.real, phasor.imag])
    new = extended(spiral, 320, "shift")
    assert_allclose(np.linalg.norm(new[79:], axis=1), np.exp(0.02 * 79), rtol=1e-9)
    angle = np.unwrap(np.arctan2(new[:, 1], new[:, 0]))
    assert_allclose(angle, 0.3 * time, rtol=0, atol=1e-9)


def test_shift_follows_a_line() -> None:
    # A double eigenvalue of 1, whose modes cannot be told apart.
    time = np.arange(90)[:, None]
    line = np.array([[9.0, 0.0, 3.0]]) - time * np.array([[0.05, 0.01, 0.02]])
    assert_allclose(extended(line[:60], 90, "shift"), line, rtol=0, atol=1e-6)


def test_components_continue_a_circle() -> None:
    # 2.5 turns in 130 rows: new positions repeat old ones, so that nothing is clipped.
    new = extended(helix(130, 2.5), 520, "components")
    assert_allclose(new[130:], helix(520, 10.0)[130:], rtol=0, atol=1e-9)


def test_components_stop_where_the_table_did() -> None:
    rng = np.random.default_rng(5)
    rows = np.outer(np.linspace(-4, 3, 71), rng.normal(size=6)) + 0.1 * rng.normal(size=(71, 6))
    mean = rows.mean(axis=0)
    _, values, directions = np.linalg.svd(rows - mean)
    assert values[0] ** 2 > 0.95 * (values**2).sum(), "one component must hold 95 %"
    scores = (rows - mean) @ directions[0]
    new = extended(rows, 400, "components")[71:] - mean
    assert_allclose(new - np.outer(new @ directions[0], directions[0]), 0, rtol=0, atol=1e-12)
    furthest = scores[np.abs(scores[-9:]).argmax() - 9]
    assert_allclose((new @ directions[0])[100:], furthest, rtol=0, atol=1e-12)


def test_components_of_few_rows_go_straight() -> None:
    rows = np.outer([4.0, 3.0, 2.0, 1.0, 0.0, 0.0], [1.0, 2.0])
    assert_allclose(extended(rows, 9, "components")[6:], 0, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("to", "method", "message"),
    [
        (262, "bent\x1b", r"by 'bent\\x1b': expected one of repeat_last, linear, .*, got"),
        (130, "tile", "table is longer: .* from 131, .* got 130; to shorten a table, slice"),
        (10**12, "tile", "too large: .* to 11184810, got 1000000000000$"),
    ],
)
def test_settings_that_cannot_be(to: int, method: str, message: str, curve: np.ndarray) -> None:
    with pytest.raises(SettingError, match=message):
        extended(curve, to, method)


def test_tables_that_cannot_be(curve: np.ndarray) -> None:
    broken = curve.copy()
    broken[7, 3] = np.nan
    with pytest.raises(TableError, match=r"not finite: .* got NaN or Inf in row 7"):
        extended(broken, 262, "linear")
    with pytest.raises(TableError, match="at least 3 positions, got shape"):
        extended(curve[:2], 262, "linear")
    same = np.ones((20, 4))
    for method in METHODS.keys() - {"components", "shift"}:
        assert_allclose(extended(same, 50, method), 1, rtol=1e-14)
    with pytest.raises(UndefinedMeasureError, match="all rows are identical"):
        extended(same, 50, "components")
    with pytest.raises(UndefinedMeasureError, match="held-out targets do not vary"):
        extended(same, 50, "shift")
    with pytest.raises(UndefinedMeasureError, match="7 rows are too few to fit a shift by 1"):
        extended(curve[:7], 50, "shift")


def test_every_method_says_what_it_does() -> None:
    assert next(iter(METHODS)) == "repeat_last"
    for name, method in METHODS.items():
        assert method.name == name
        assert method.about
        assert "\n" not in method.about
