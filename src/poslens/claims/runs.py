"""Claims that runs decide, of models side by side or of one model before and after an edit.

What is measured is with those who run models (`poslens.lab`, `poslens.edit`); bars and verdicts are
here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

from poslens.claims.claim import Claim, Verdict
from poslens.claims.decide import verdict
from poslens.claims.rules import RULES, Rule

BARS: Mapping[str, float] = {
    "relative.extrapolates": 1.0,  # of both ratios: lower than the other's
    "training.stabler": 1.0,
    "memory.compressible": 0.01,  # of the mean loss
}


def rule_of_runs(claim: str, bar: float | None = None) -> Rule:
    """Return the rule of one of `BARS`, with its bar, or another that is given."""
    rule = next(rule for rule in RULES if rule.id == claim)
    return replace(rule, relation="<=", bar=BARS[claim] if bar is None else bar, needs="")


def decided_on_runs(
    rule: Rule, value: float, interval: tuple[float, float] | None, note: str = ""
) -> Claim:
    """Return a claim whose value and interval runs gave; inconclusive without an interval."""
    bar = math.nan if rule.bar is None else rule.bar
    said = Verdict.INCONCLUSIVE if interval is None else verdict(rule, bar, value, interval, None)
    return Claim(
        rule.id,
        rule.section,
        rule.statement,
        said,
        value,
        f"{rule.relation} {bar:.6g}",
        interval,
        note=note,
    )


def inapplicable(rule: Rule, reason: str) -> Claim:
    """Return a claim that these runs do not speak of."""
    bar = "" if rule.bar is None else f"{rule.relation} {rule.bar:.6g}"
    return Claim(
        rule.id, rule.section, rule.statement, Verdict.NOT_APPLICABLE, None, bar, note=reason
    )
