"""The two claims about logits, on constructed evidence."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from poslens.claims import decide_all
from poslens.claims.claim import Claim, Verdict
from poslens.claims.evidence import Evidence, LogitEvidence
from poslens.geometry.table import TableMeasures

FOUR, CONTRIBUTES = "attention.four_terms", "attention.position_contributes"
SUPPORTED, CONTRADICTED = Verdict.SUPPORTED, Verdict.CONTRADICTED
INAPPLICABLE = Verdict.NOT_APPLICABLE


def decided(name: str, **logits: Any) -> Claim:
    evidence = Evidence(
        rows=np.empty((0, 0)),
        raw=np.empty((0, 0)),
        measures=TableMeasures(),
        no_table="nothing is added",
        logits=LogitEvidence(**logits),
    )
    (found,) = [claim for claim in decide_all(evidence) if claim.id == name]
    return found


def shares(*heads: tuple[float, float, float] | None) -> dict[str, tuple[float | None, ...]]:
    """Shares of position_position, content_position and position_content, head by head."""
    columns = [(None,) * 5 if head is None else (0.9 - sum(head), *head, 0.1) for head in heads]
    names = (
        "content_content",
        "position_position",
        "content_position",
        "position_content",
        "bias",
    )
    return dict(zip(names, zip(*columns, strict=True), strict=True))


@pytest.mark.parametrize(
    ("error", "verdict"),
    [(0.0, SUPPORTED), (1e-4, SUPPORTED), (1.1e-4, CONTRADICTED), (None, INAPPLICABLE)],
)
def test_four_terms(error: float | None, verdict: Verdict) -> None:
    claim = decided(FOUR, error=error, shares=shares((0.1, 0.1, 0.1)), reason="of this reason")
    assert claim.verdict is verdict
    assert claim.value == error
    if error is None:
        assert claim.note == "of this reason"
    else:
        assert claim.note.endswith("products with constants hold 10% of the variance in the median "
                                   "head")  # fmt: skip


@pytest.mark.parametrize(
    ("heads", "value", "verdict"),
    [
        (((0.05, 0.0, 0.0), (0.0, 0.02, 0.03), (0.9, 0.0, 0.0)), 0.05, SUPPORTED),
        (((0.02, 0.01, 0.01), (0.0, 0.0, 0.0), (0.5, 0.1, 0.1)), 0.04, CONTRADICTED),
        ((None, (0.2, 0.1, -0.1)), 0.2, SUPPORTED),  # a head without logits has no say
    ],
)
def test_position_contributes(heads: Any, value: float, verdict: Verdict) -> None:
    claim = decided(CONTRIBUTES, shares=shares(*heads), error=0.0, tokens="2 contexts of 8 tokens")
    assert claim.verdict is verdict
    assert claim.value == pytest.approx(value, abs=1e-15)
    assert claim.note.endswith("heads; 2 contexts of 8 tokens")


def test_what_contexts_show_by_chance_is_taken_off() -> None:
    """(32/31)² - 1 of the content's share, head by head, before the median."""
    heads = shares((0.06, 0.0, 0.0), None, (0.0, 0.03, 0.04), (0.5, 0.1, 0.1))
    known = {"shares": heads, "error": 0.0, "tokens": "32 contexts of 8 tokens"}
    exact, mean = decided(CONTRIBUTES, **known), decided(CONTRIBUTES, **known, averaged=32)
    assert exact.value == pytest.approx(0.07, abs=1e-15)
    assert exact.verdict is SUPPORTED
    assert mean.value == pytest.approx(0.07 - 63 / 961 * 0.83, abs=1e-15)
    assert mean.verdict is CONTRADICTED
    assert mean.note == (
        "2% of the variance in the median head, 0% to 69% over 3 heads, "
        "less 0.054 that 32 contexts show by chance; 32 contexts of 8 tokens"
    )


@pytest.mark.parametrize(
    ("logits", "note"),
    [
        ({"reason": "of this reason"}, "of this reason"),
        ({}, "needs the model's attention; a position table alone does not decide it"),
        (
            {"shares": shares(None, None), "error": 0.0},
            "the logits of every head are constant along their rows",
        ),
    ],
)
def test_where_nothing_is_known_of_logits(logits: dict[str, Any], note: str) -> None:
    claim = decided(CONTRIBUTES, **logits)
    assert (claim.verdict, claim.value, claim.note) == (INAPPLICABLE, None, note)
