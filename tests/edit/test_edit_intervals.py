"""Intervals over contexts, against loops, enumeration and simulation; and who is recommended."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import scipy.stats
from edit_results import extension, raised, scored
from hypothesis import given, settings
from hypothesis import strategies as st

from poslens.claims import over_contexts
from poslens.claims.over_contexts import DRAWS, of_mean, of_means, widened
from poslens.edit.intervals import excess, increase, recommend
from poslens.edit.results import Tried
from poslens.edit.scores import Scores
from poslens.errors import SettingError, UndefinedMeasureError


def of_contexts(values: np.ndarray, start: int = 0) -> Scores:
    """Scores with one token in each context."""
    return Scores(np.full((len(values), 1), start), values[:, None])


def test_the_increase_is_that_of_a_loop_over_draws() -> None:
    original = scored(7, 31, 3.0)
    edited = raised(original, 0.02)
    value, interval = increase(edited, original, 5)
    assert value == edited.losses.mean() / original.losses.mean() - 1
    rng = np.random.default_rng(5)
    drawn = np.empty(DRAWS)
    for draw, picked in enumerate(rng.integers(7, size=(DRAWS, 7))):
        of = edited.losses[picked].mean() / original.losses[picked].mean()
        drawn[draw] = of - 1
    low, middle, high = np.quantile(drawn, [0.025, 0.5, 0.975])
    by = scipy.stats.t.ppf(0.975, 6) / scipy.stats.norm.ppf(0.975) * np.sqrt(7 / 6)
    assert interval == pytest.approx(
        (middle - by * (middle - low), middle + by * (high - middle)), rel=1e-9
    )


def test_draws_are_the_bootstraps_own() -> None:
    """Five contexts have 5⁵ resamples: the shares beyond both ends are those of all of them."""
    values = np.array([0.1, 0.9, 0.35, 0.62, 2.0])
    every = np.array([np.mean(of) for of in itertools.product(values, repeat=5)])
    ends = of_mean(values, 2)
    assert ends is not None
    middle = np.median(every)
    unwidened = middle + (np.array(ends) - middle) / widened(5)
    off = 4 * math.sqrt(0.025 * 0.975 / DRAWS) + 0.002  # of draws, and of the drawn median
    assert abs(np.mean(every < unwidened[0]) - 0.025) < off
    assert abs(np.mean(every > unwidened[1]) - 0.025) < off


def test_drawing_in_batches_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(0).normal(size=(2, 9))
    whole = of_means(values, lambda means: means[:, 0] - means[:, 1], 3)
    monkeypatch.setattr(over_contexts, "_AT_ONCE", 1000)
    batched = of_means(values, lambda means: means[:, 0] - means[:, 1], 3)
    assert batched == pytest.approx(whole, rel=1e-12)


@pytest.mark.parametrize(("contexts", "skewed"), [(5, False), (12, False), (40, True)])
def test_intervals_hold_the_truth_as_often_as_they_say(
    contexts: int, skewed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(over_contexts, "DRAWS", 2000)
    rng = np.random.default_rng(contexts)
    tables, held = 400, 0
    for seed in range(tables):
        before = 3 + 0.3 * rng.standard_normal(contexts)
        by = rng.gamma(4, 0.25, contexts) if skewed else 1 + 0.5 * rng.standard_normal(contexts)
        edited = before + 0.03 * by
        _, interval = increase(of_contexts(edited), of_contexts(before), seed)
        assert interval is not None
        held += interval[0] <= 0.01 <= interval[1]
    low, high = scipy.stats.binom.ppf([0.001, 0.999], tables, 0.95)
    assert low <= held <= high


def test_what_is_shared_by_contexts_is_not_in_the_interval() -> None:
    original = of_contexts(np.random.default_rng(1).uniform(1, 5, 20))
    edited = Scores(original.positions, original.losses * 1.01)
    value, interval = increase(edited, original, 0)
    assert value == pytest.approx(0.01, rel=1e-12)
    assert interval == pytest.approx((0.01, 0.01), rel=1e-9)
    unedited, around = increase(original, original, 0)
    assert (unedited, around) == (0.0, (0.0, 0.0))


@given(st.integers(0, 2**32), st.floats(0.01, 100))
@settings(max_examples=10, deadline=None, derandomize=True)
def test_the_unit_of_a_loss_does_not_matter(seed: int, unit: float) -> None:
    original = of_contexts(np.random.default_rng(seed).uniform(1, 5, 6))
    edited = raised(original, 0.1, seed)
    value, interval = increase(edited, original, seed)
    scaled = [Scores(one.positions, unit * one.losses) for one in (edited, original)]
    assert increase(scaled[0], scaled[1], seed)[0] == pytest.approx(value, rel=1e-9, abs=1e-12)
    assert increase(scaled[0], scaled[1], seed)[1] == pytest.approx(interval, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("contexts", [1, 4])
def test_few_contexts_have_no_interval(contexts: int) -> None:
    original = scored(contexts, 9, 2.0)
    assert increase(raised(original, 0.1), original, 0)[1] is None
    assert excess(raised(original, 0.1), original, 5, 0)[1] is None
    found = recommend(extension(contexts).tried, 128, 0)
    assert found is not None
    assert found.interval is None
    assert len(found.tied) == 10


def test_the_excess_is_of_tokens_that_both_predict() -> None:
    whole = scored(6, 40, 3.0)
    dearer = Scores(whole.positions, whole.losses + 0.5)
    kept = np.arange(39) != 19  # a window that is cut has no token before its first
    cut = Scores(dearer.positions[:, kept], dearer.losses[:, kept])
    value, interval = excess(cut, whole, 10, 0)
    assert value == pytest.approx(0.5, rel=1e-12)
    assert interval == pytest.approx((0.5, 0.5), rel=1e-12)
    # The other way round, from the same draws.
    turned, other = excess(whole, raised(whole, 0.3), 10, 4)
    there, back = excess(raised(whole, 0.3), whole, 10, 4)
    assert turned == pytest.approx(-there, rel=1e-12)
    assert other is not None
    assert back is not None
    assert other == pytest.approx((-back[1], -back[0]), rel=1e-9)


def test_the_excess_begins_where_it_is_asked_to() -> None:
    whole = scored(8, 33, 3.0)
    later = Scores(whole.positions, whole.losses + (whole.positions >= 16))
    assert excess(later, whole, 16, 0)[0] == pytest.approx(1, rel=1e-12)
    assert excess(later, whole, 0, 0)[0] == pytest.approx(17 / 32, rel=1e-12)


def test_what_cannot_be_compared_is_refused() -> None:
    with pytest.raises(SettingError, match="got 5 and 6"):
        increase(scored(5, 9, 1.0), scored(6, 9, 1.0), 0)
    near, far = of_contexts(np.ones(5), 3), of_contexts(np.ones(5), 9)
    with pytest.raises(UndefinedMeasureError, match="that both predict"):
        excess(near, far, 0, 0)
    nothing = Scores(near.positions, np.where(np.arange(5) == 2, 0.0, 1.0)[:, None])
    with pytest.raises(UndefinedMeasureError, match="context 2"):
        increase(near, nothing, 0)
    with pytest.raises(UndefinedMeasureError, match="none in context 0"):
        recommend([Tried("a", "", False, near)], 4, 0)


def test_the_lowest_edit_is_recommended_and_no_baseline() -> None:
    found = extension()
    best = recommend(found.tried, found.trained, 0)
    assert best is not None
    means = {one.method: one.scores.by_context(128).mean() for one in found.tried if one.scores}
    assert min(means, key=means.__getitem__) == "sliding"
    assert best.method == "hierarchical"
    assert best.loss == means["hierarchical"]
    assert set(best.excess) == set(means) - {"hierarchical"}
    for name, (value, interval) in best.excess.items():
        assert value == pytest.approx(means[name] - best.loss, rel=1e-9)
        assert interval is not None
        assert interval[0] <= value <= interval[1]
    assert best.excess["sliding"][1] is not None
    assert best.excess["sliding"][1][1] < 0
    assert best.tied == ()


def test_what_is_not_told_apart_is_tied() -> None:
    rng = np.random.default_rng(4)
    one = rng.uniform(2, 4, 30)
    losses = {
        "a": one,
        "b": one + 0.001 + 0.1 * rng.standard_normal(30),
        "c": one + 0.2 + 0.1 * rng.standard_normal(30),
    }
    tried = [Tried(name, "", False, of_contexts(of, 200)) for name, of in losses.items()]
    window = Tried("window", "", True, of_contexts(one + 0.01 * rng.standard_normal(30), 200))
    found = recommend([*tried, window, Tried("unread", "")], 100, 0)
    assert found is not None
    assert found.method == min(losses, key=lambda name: losses[name].mean())
    assert set(found.tied) == {"a", "b", "window"} - {found.method}
    assert recommend([window, Tried("unread", "")], 100, 0) is None
