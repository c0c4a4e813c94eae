"""h = μ + pos_t + ctx_c + resid against the same computed from all hidden states at once."""

from __future__ import annotations

import dataclasses
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poslens.errors import TableError, UndefinedMeasureError
from poslens.hidden import HiddenSplit

PROPERTY = settings(derandomize=True, deadline=None, max_examples=30)
SIZES = [(2, 2, 1), (3, 7, 5), (5, 2, 11), (13, 5, 3), (40, 3, 7), (4, 43, 12)]


def drawn(contexts: int, positions: int, dim: int, seed: int = 0) -> np.ndarray:
    """Shape (context, position, dim): all four parts are there."""
    rng = np.random.default_rng(seed)
    return (
        rng.standard_normal((contexts, positions, dim))
        + 2 * rng.standard_normal((1, positions, dim))
        + rng.standard_normal((contexts, 1, dim))
        + 3.0
    )


def split_of(states: np.ndarray) -> HiddenSplit:
    split = HiddenSplit()
    for rows in states:
        split.add(rows)
    for rows in states:
        split.meet(rows.mean(axis=0))
    return split


def directly(states: np.ndarray) -> dict[str, np.ndarray]:
    """The four parts, each of the shape of all hidden states."""
    mean = states.mean(axis=(0, 1))
    pos = states.mean(axis=0) - mean
    ctx = states.mean(axis=1) - mean
    parts = {"mean": mean[None, None], "pos": pos[None], "ctx": ctx[:, None]}
    whole = {name: np.broadcast_to(part, states.shape) for name, part in parts.items()}
    return whole | {"resid": states - sum(whole.values())}


def tiled(part: np.ndarray) -> np.ndarray:
    return part.reshape(-1, part.shape[-1])


@pytest.mark.parametrize("size", SIZES)
def test_against_all_hidden_states_at_once(size: tuple[int, int, int]) -> None:
    states = drawn(*size)
    split, parts = split_of(states), directly(states)
    np.testing.assert_allclose(split.mean, parts["mean"][0, 0], rtol=1e-12)
    np.testing.assert_allclose(split.position, parts["pos"][0], rtol=0, atol=1e-12)
    total = np.sum((states - parts["mean"]) ** 2)
    for name in ("pos", "ctx", "resid"):
        want = np.sum(parts[name] ** 2) / total
        assert getattr(split.shares(), name) == pytest.approx(want, rel=1e-10, abs=1e-14)
    pos = np.linalg.norm(tiled(parts["pos"]), 2)
    assert split.stable_rank() == pytest.approx(
        np.sum(parts["pos"][0] ** 2) / np.linalg.norm(parts["pos"][0], 2) ** 2, rel=1e-10
    )
    whole = np.linalg.norm(tiled(parts["mean"] + parts["pos"] + parts["ctx"]), 2)
    assert split.relative_norm() == pytest.approx(pos / whole, rel=1e-10)
    cosines = [
        p @ c / np.linalg.norm(p) / np.linalg.norm(c)
        for p in parts["pos"][0]
        for c in parts["ctx"][:, 0]
    ]
    assert split.incoherence() == pytest.approx(np.abs(cosines).max(), rel=1e-10)


def test_shares_sum_to_one() -> None:
    for size in SIZES:
        assert sum(dataclasses.astuple(split_of(drawn(*size)).shares())) == pytest.approx(
            1, abs=1e-14
        )


@PROPERTY
@given(offset=st.floats(-1e7, 1e7), seed=st.integers(0, 99))
def test_an_offset_that_all_share_costs_no_digits(offset: float, seed: int) -> None:
    """What is added is a multiple of 2⁻¹⁰ to states that are: no rounding is due to adding it."""
    states = np.round(drawn(5, 7, 3, seed) * 1024) / 1024
    offset = np.round(offset * 1024) / 1024
    plain, moved = split_of(states), split_of(states + offset)
    np.testing.assert_allclose(moved.position, plain.position, rtol=0, atol=1e-8)
    np.testing.assert_allclose(
        dataclasses.astuple(moved.shares()), dataclasses.astuple(plain.shares()), rtol=1e-8
    )
    assert moved.incoherence() == pytest.approx(plain.incoherence(), rel=1e-7)
    assert moved.stable_rank() == pytest.approx(plain.stable_rank(), rel=1e-8)


@PROPERTY
@given(order=st.permutations(range(6)), seed=st.integers(0, 99))
def test_the_order_of_contexts_does_not_matter(order: list[int], seed: int) -> None:
    states = drawn(6, 5, 4, seed)
    plain, other = split_of(states), split_of(states[order])
    np.testing.assert_allclose(other.position, plain.position, rtol=0, atol=1e-13)
    for measure in ("stable_rank", "relative_norm", "incoherence"):
        assert getattr(other, measure)() == pytest.approx(getattr(plain, measure)(), rel=1e-11)


@PROPERTY
@given(factor=st.floats(1e-3, 1e3), seed=st.integers(0, 99))
def test_nothing_depends_on_units(factor: float, seed: int) -> None:
    states = drawn(4, 5, 6, seed)
    plain, scaled = split_of(states), split_of(states * factor)
    for measure in ("stable_rank", "relative_norm", "incoherence"):
        assert getattr(scaled, measure)() == pytest.approx(getattr(plain, measure)(), rel=1e-10)


def test_repeated_contexts_change_nothing() -> None:
    """Past d contexts their means are kept as a Gram matrix."""
    states = drawn(4, 5, 6)
    once, often = split_of(states), split_of(np.tile(states, (9, 1, 1)))
    assert often.contexts == 36
    for measure in ("stable_rank", "relative_norm", "incoherence"):
        assert getattr(often, measure)() == pytest.approx(getattr(once, measure)(), rel=1e-10)


@pytest.mark.parametrize("present", ["pos", "ctx", "resid"])
def test_one_part_alone_has_all(present: str) -> None:
    states = directly(drawn(5, 7, 3))[present] + 2.0
    shares = dataclasses.asdict(split_of(states).shares())
    assert shares.pop(present) == pytest.approx(1, abs=1e-12)
    assert max(shares.values()) < 1e-25


def test_where_positions_do_not_differ() -> None:
    split = split_of(np.broadcast_to(drawn(5, 1, 3), (5, 7, 3)))
    with pytest.raises(UndefinedMeasureError, match="the same at every position"):
        split.stable_rank()
    with pytest.raises(UndefinedMeasureError, match="differs from μ"):
        split.incoherence()
    assert split.relative_norm() == pytest.approx(0, abs=1e-14)


def test_vectors_that_are_zero_are_left_out() -> None:
    """Of three contexts one has the mean of all, and of three positions one."""
    pos = np.array([[1.0, 0, 0], [0, 0, 0], [-1, 0, 0]])
    ctx = np.array([[1.0, 1, 0], [0, 0, 0], [-1, -1, 0]])
    split = split_of(0.1 + pos[None] + ctx[:, None])
    assert split.incoherence() == pytest.approx(np.sqrt(0.5), rel=1e-12)


def test_one_context_has_no_shares() -> None:
    split = split_of(drawn(1, 7, 5))
    with pytest.raises(UndefinedMeasureError, match="one context alone"):
        split.shares()
    with pytest.raises(UndefinedMeasureError, match="no context's mean"):
        split.incoherence()


def test_hidden_states_that_never_vary() -> None:
    split = split_of(np.full((3, 5, 2), 0.1))
    with pytest.raises(UndefinedMeasureError, match="the same in all contexts"):
        split.shares()
    nothing = split_of(np.zeros((3, 5, 2)))
    with pytest.raises(UndefinedMeasureError, match="are 0"):
        nothing.relative_norm()


def test_one_position_is_refused() -> None:
    with pytest.raises(TableError, match="expected hidden states of at least 2 positions"):
        HiddenSplit().add(np.ones((1, 3)))


def test_contexts_of_another_length_are_refused() -> None:
    split = split_of(drawn(2, 5, 3))
    with pytest.raises(TableError, match=r"shape \(5, 3\), as those before, got \(4, 3\)"):
        split.add(np.ones((4, 3)))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_are_not_finite_are_refused(bad: float) -> None:
    states = np.ones((4, 3))
    states[2, 1] = bad
    with pytest.raises(TableError, match="got 1 that are not; load the model in float32"):
        HiddenSplit().add(states)


def test_float32_is_summed_in_float64() -> None:
    states = drawn(7, 5, 3).astype(np.float32)
    single, double = split_of(states), split_of(states.astype(np.float64))
    assert single.shares() == double.shares()
    assert single.position.dtype == np.float64


def test_memory_does_not_grow_with_contexts() -> None:
    """Hidden states of one context are 1 MB here; all of them would be 120 MB."""
    peaks = []
    for count in (30, 120):
        rng = np.random.default_rng(0)
        split = HiddenSplit()
        split.add(rng.standard_normal((4096, 32)))
        tracemalloc.start()
        for _ in range(count):
            split.add(rng.standard_normal((4096, 32)))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 50_000
