"""From evidence to verdicts."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping

import numpy as np

from poslens.claims.claim import Claim, Verdict
from poslens.claims.evidence import Evidence, NotApplicableError
from poslens.claims.rules import RULES, NullTest, Rule
from poslens.errors import SettingError, quoted

P_LEVEL = 0.01  # p that a null model must reach for support
RANGE = (0.05, 0.95)  # of null draws, quoted beside a value
_ROUNDING = 1e-9  # of a bar: a value this close to its bar meets it

_NULL_WORDS = {
    "permutation": "random order",
    "random_walk": "a random walk",
    "surrogate": "a phase-randomised table",
    "wave_signs": "independent dimensions as smooth",
    "gaussian": "a Gaussian table",
}


def default_bars() -> dict[str, float]:
    """Return the bar of every claim that has one, by claim."""
    return {rule.id: rule.bar for rule in RULES if rule.bar is not None}


def check_bars(bars: Mapping[str, float]) -> dict[str, float]:
    """Return ``bars`` after checking that each belongs to a claim and is finite.

    Raises
    ------
    SettingError
        If a name is no claim with a bar, or a bar is not a finite number.
    """
    known = default_bars()
    for name, bar in bars.items():
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1) or ["norm.stable"]
            raise SettingError(
                f"no claim {quoted(name)} with a bar",
                expected=f"one such as {near[0]}",
                remedy=f"the claims with bars are {', '.join(known)}",
            )
        if not math.isfinite(bar):
            raise SettingError(
                f"the bar of {name} is no number", expected="a finite number", got=str(bar)
            )
    return {name: float(bar) for name, bar in bars.items()}


def decide_all(evidence: Evidence, bars: Mapping[str, float] | None = None) -> tuple[Claim, ...]:
    """Return every claim of the article, decided on ``evidence``, in the article's order.

    Raises
    ------
    SettingError
        If ``bars`` names no claim, or holds no number.
    """
    changed = check_bars(bars or {})
    return tuple(decide(rule, evidence, changed.get(rule.id, rule.bar)) for rule in RULES)


def decide(rule: Rule, evidence: Evidence, bar: float | None) -> Claim:
    """Return one claim: the value, its interval and null, and the verdict on them."""
    # A bar that is a multiple of the table's size has no value without a table.
    unit = 1.0 if rule.bar_unit is None else rule.bar_unit(evidence) or math.nan
    limit = math.nan if bar is None else bar * unit
    if rule.measure is None:
        return _inapplicable(rule, rule.needs, limit)
    if rule.of_table and evidence.no_table:
        return _inapplicable(rule, evidence.no_table, limit)
    try:
        value = rule.measure(evidence)
    except NotApplicableError as reason:
        return _inapplicable(rule, str(reason), limit)
    interval = rule.interval(evidence) if rule.interval else None
    draws, compared = _beside(rule.null, evidence, value)
    p_value = _p_value(compared, draws, rule.relation) if draws.size else None
    reading = rule.reading(evidence, value)
    beside = _beside_null(compared, draws, rule.null, rule.relation)
    return Claim(
        rule.id,
        rule.section,
        rule.statement,
        verdict(rule, limit, value, interval, p_value),
        value,
        _bar_text(rule, limit),
        interval,
        rule.null.null if rule.null and draws.size else None,
        p_value,
        "; ".join(part for part in (reading, beside) if part),
    )


def _beside(test: NullTest | None, evidence: Evidence, value: float) -> tuple[np.ndarray, float]:
    """The draws, and what of the table is compared with them."""
    if test is None:
        return np.empty(0), value
    draws = evidence.draws(test.null, test.measure)
    return draws, test.value(evidence) if test.value and draws.size else value


def verdict(
    rule: Rule,
    limit: float,
    value: float,
    interval: tuple[float, float] | None,
    p_value: float | None,
) -> Verdict:
    """Apply the rule for verdicts: the whole interval against the bar, and p where a null decides.

    Without an interval the value alone decides. Where the bar is met but no null draws exist, or
    too few to reach p ≤ 0.01, the evidence is inconclusive.
    """
    low, high = interval if interval is not None else (value, value)
    # The interval of a resampled statistic need not hold the statistic; the claim must.
    low, high = min(low, value), max(high, value)
    slack = _ROUNDING * abs(limit)
    if rule.relation == "<=":
        meets, misses = high <= limit + slack, low > limit + slack
    else:
        meets, misses = low >= limit - slack, high < limit - slack
    if misses:
        return Verdict.CONTRADICTED
    needs_null = rule.null is not None and rule.null.decides
    if meets and (not needs_null or (p_value is not None and p_value <= P_LEVEL)):
        return Verdict.SUPPORTED
    return Verdict.INCONCLUSIVE


def _inapplicable(rule: Rule, reason: str, limit: float) -> Claim:
    return Claim(
        rule.id,
        rule.section,
        rule.statement,
        Verdict.NOT_APPLICABLE,
        None,
        _bar_text(rule, limit),
        note=reason,
    )


def _bar_text(rule: Rule, limit: float) -> str:
    return "" if math.isnan(limit) else f"{rule.relation} {limit:.6g}"


def _p_value(value: float, draws: np.ndarray, relation: str) -> float:
    """(1 + draws at least as extreme) ÷ (1 + draws), extreme in the direction of the bar."""
    extreme = draws <= value if relation == "<=" else draws >= value
    return float((1 + int(extreme.sum())) / (1 + draws.size))


def _beside_null(value: float, draws: np.ndarray, test: NullTest | None, relation: str) -> str:
    if test is None or not draws.size:
        return ""
    low, high = (float(q) for q in np.quantile(draws, RANGE))
    words, span = _NULL_WORDS[test.null], f"{low:.3g} … {high:.3g}"
    if test.about:
        span = f"{span}, this table {value:.3g} ({test.about})"
    if low <= value <= high:
        return f"{words} would show the same ({span})"
    ahead = value < low if relation == "<=" else value > high
    return f"{words}: {span}" if ahead else f"{words} comes closer: {span}"
