"""Whether a quarter of a table's numbers will do: each verdict can be reached."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pytest
from edit_results import raised, scored, table
from hypothesis import given, settings
from hypothesis import strategies as st

from poslens.claims.claim import Claim, Verdict
from poslens.claims.rules import RULES
from poslens.edit.claim import claim_rank, compressible
from poslens.edit.intervals import increase
from poslens.edit.scores import Scores
from poslens.errors import SettingError


def decided(
    share: float, contexts: int = 20, bars: Mapping[str, float] | None = None, spread: float = 1.0
) -> Claim:
    original = scored(contexts, 40, 3.0)
    noise = 0.001 * spread * np.random.default_rng(2).standard_normal((contexts, 1))
    edited = Scores(original.positions, original.losses * (1 + share + noise))
    return compressible(table(), edited, original, 8, 8 * 175, bars or {}, 0, "")


@given(st.integers(3, 3000), st.integers(1, 3000))
@settings(deadline=None, derandomize=True)
def test_the_rank_is_the_largest_that_takes_a_quarter(length: int, dim: int) -> None:
    rank = claim_rank(length, dim)
    assert 4 * rank * (length + dim) <= length * dim < 4 * (rank + 1) * (length + dim)
    assert rank < min(length, dim)


@pytest.mark.parametrize(
    ("share", "spread", "verdict"),
    [
        (0.004, 1.0, Verdict.SUPPORTED),
        (-0.1, 1.0, Verdict.SUPPORTED),
        (0.05, 1.0, Verdict.CONTRADICTED),
        (0.0101, 1.0, Verdict.INCONCLUSIVE),
        (0.004, 60.0, Verdict.INCONCLUSIVE),
    ],
)
def test_each_verdict_can_be_reached(share: float, spread: float, verdict: Verdict) -> None:
    claim = decided(share, spread=spread)
    assert claim.verdict is verdict
    assert (claim.id, claim.section, claim.bar) == ("memory.compressible", "9", "<= 0.01")
    assert claim.value is not None
    assert claim.interval is not None
    assert claim.interval[0] < claim.value < claim.interval[1]
    assert (claim.null, claim.p_value) == (None, None)


def test_the_value_is_the_increase_and_the_note_says_of_what() -> None:
    original = scored(9, 30, 3.0)
    edited = raised(original, 0.02)
    claim = compressible(table(), edited, original, 8, 1400, {}, 3, "")
    assert (claim.value, claim.interval) == increase(edited, original, 3)
    assert "rank 8, in 23.0% of the table's numbers" in claim.note
    assert f"{original.mean:.4g} → {edited.mean:.4g}" in claim.note
    assert "9 contexts" in claim.note


def test_few_contexts_decide_nothing() -> None:
    claim = decided(0.0, contexts=4)
    assert (claim.verdict, claim.interval) == (Verdict.INCONCLUSIVE, None)
    assert claim.note.endswith("an interval needs 5")


def test_what_is_not_there_is_said() -> None:
    original = scored(6, 30, 3.0)
    for scores, before in ((None, None), (None, original), (original, None)):
        claim = compressible(table(), scores, before, 8, 1400, {}, 0, "no text was read")
        assert (claim.verdict, claim.value) == (Verdict.NOT_APPLICABLE, None)
        assert claim.note == "no text was read"
    tiny = compressible(table(3, 2), original, original, 0, 0, {}, 0, "")
    assert tiny.verdict is Verdict.NOT_APPLICABLE
    assert "3 × 2 has no rank" in tiny.note
    free = Scores(original.positions, 0 * original.losses)
    assert "has no value" in compressible(table(), original, free, 8, 1400, {}, 0, "").note


def test_a_bar_may_be_changed_and_only_this_one() -> None:
    assert decided(0.05, bars={"memory.compressible": 0.1}).verdict is Verdict.SUPPORTED
    assert decided(0.05, bars={"memory.compressible": 0.1}).bar == "<= 0.1"
    with pytest.raises(SettingError, match=r"no bar of 'norm\.stable' here"):
        decided(0.0, bars={"norm.stable": 0.1})
    with pytest.raises(SettingError, match="got nan"):
        decided(0.0, bars={"memory.compressible": math.nan})


def test_an_analysis_says_what_decides_it() -> None:
    rule = next(rule for rule in RULES if rule.id == "memory.compressible")
    assert (rule.measure, rule.bar) == (None, None)
    assert "poslens compress SOURCE --text FILE" in rule.needs
