"""Claims that runs decide: the worst of schemes, and verdicts with and without an interval."""

from __future__ import annotations

import numpy as np
import pytest

from poslens.claims.claim import Verdict
from poslens.claims.over_seeds import of_mean, worst
from poslens.claims.runs import BARS, decided_on_runs, inapplicable, rule_of_runs


def test_the_worst_value_need_not_be_of_the_worst_scheme() -> None:
    excess = {"even": np.array([-0.1, -0.2, -0.3]), "uneven": np.array([-2.0, 0.5, -1.0])}
    scheme, value, interval = worst(excess)
    assert (scheme, value) == ("even", 0.5)
    assert interval == of_mean(excess["even"])
    assert worst({"one": np.array([0.25])}) == ("one", 0.25, None)


@pytest.mark.parametrize("claim", BARS)
@pytest.mark.parametrize(
    ("value", "interval", "expected"),
    [
        (0.9, (0.8, 0.95), Verdict.SUPPORTED),
        (0.9, (0.8, 1.05), Verdict.INCONCLUSIVE),
        # One seed beyond the bar is enough, wherever the interval of the mean lies.
        (1.1, (0.8, 0.95), Verdict.INCONCLUSIVE),
        (1.1, (1.05, 1.2), Verdict.CONTRADICTED),
        (0.1, None, Verdict.INCONCLUSIVE),
    ],
)
def test_the_value_and_its_interval_must_meet_the_bar(
    claim: str, value: float, interval: tuple[float, float] | None, expected: Verdict
) -> None:
    bar = BARS[claim]
    scaled = interval and (interval[0] * bar, interval[1] * bar)
    found = decided_on_runs(rule_of_runs(claim), value * bar, scaled, "so")
    assert (found.verdict, found.value, found.interval) == (expected, value * bar, scaled)
    assert (found.id, found.bar, found.note) == (claim, f"<= {bar:.6g}", "so")


def test_another_bar_and_a_reason_are_told() -> None:
    found = inapplicable(rule_of_runs("training.stabler", 0.5), "no runs")
    assert (found.verdict, found.bar, found.note) == (Verdict.NOT_APPLICABLE, "<= 0.5", "no runs")
