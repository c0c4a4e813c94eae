"""Which ranks are looked at, and how few of them a model has to read for."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import poslens
from poslens.edit.compression import METHODS
from poslens.edit.ladder import rungs, smallest_that_holds
from poslens.edit.results import Candidate
from poslens.edit.scores import Scores
from poslens.edit.trials import Trials


@pytest.mark.parametrize(
    ("most", "others", "expected"),
    [(1, (), [1]), (8, (), [1, 2, 4, 8]), (9, (5,), [1, 2, 4, 5, 8, 9]), (4, (4,), [1, 2, 4])],
)
def test_rungs(most: int, others: tuple[int, ...], expected: list[int]) -> None:
    assert rungs(most, *others) == expected


@settings(derandomize=True, deadline=None)
@given(most=st.integers(1, 700), data=st.data())
def test_the_smallest_is_found_by_halving(most: int, data: st.DataObject) -> None:
    first = data.draw(st.integers(1, most))
    looked_at: list[int] = []

    def holds(rank: int) -> bool:
        looked_at.append(rank)
        return rank >= first

    known = {rank: rank >= first for rank in rungs(most)}
    assert smallest_that_holds(known, holds) == first
    assert len(looked_at) <= 9  # a gap of at most 256 ranks
    assert not known.keys() & looked_at


def test_a_rank_that_fails_above_those_that_hold_counts() -> None:
    known = {1: False, 2: True, 4: False, 8: True}
    assert smallest_that_holds(known, lambda rank: rank != 5) == 6
    assert smallest_that_holds({1: True, 2: False}, lambda _: True) is None


def test_trials_remember(curve: np.ndarray) -> None:
    trials = Trials(curve, "spline")
    whole = {one.method: one for one in trials.candidates if one.error < 1e-9}
    assert whole.keys() == METHODS.keys()
    scores = Scores(np.array([[1, 2]]), np.array([[3.0, 4.0]]))
    trials.add([("spline", 7)], {("spline", 7): scores})
    trials.add([("spline", 7), ("svd", 3)])
    assert trials["spline", 7].scores is scores
    assert trials["svd", 3].scores is None
    found: Mapping[str, Candidate] = {
        method: trials[method, rank]
        for method, rank in trials.as_small(40)
        if not trials.add([(method, rank)])
    }
    assert found.keys() == METHODS.keys() - {"spline"}
    assert all(one.numbers <= trials.asked.numbers(40) for one in found.values())
    larger = {method: one.rank + 1 for method, one in found.items()}
    trials.add(larger.items())
    assert all(
        trials[method, rank].numbers > trials.asked.numbers(40) for method, rank in larger.items()
    )


def test_a_large_table_is_tried_by_what_was_asked_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    table = np.cumsum(np.random.default_rng(0).standard_normal((65, 12)), axis=0)
    found = poslens.compress(table, rank=3)
    assert {one.method for one in found.tried} == METHODS.keys()
    monkeypatch.setattr("poslens.edit.compress.BESIDE", 65 * 12 - 1)
    found = poslens.compress(table, rank=3)
    assert {one.method for one in found.tried} == {"svd"}
