"""A claim: one of the article's statements, tested on one table."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """What the evidence says of a statement."""

    SUPPORTED = "supported"
    CONTRADICTED = "contradicted"
    INCONCLUSIVE = "inconclusive"
    NOT_APPLICABLE = "not applicable"


@dataclass(frozen=True)
class Claim:
    """A statement, the evidence, and the verdict.

    Attributes
    ----------
    id, section, statement
        Its name, the article's section, and what it says.
    verdict
        See `poslens.claims.decide`.
    value
        The measure's value on this table; None where it has none.
    bar
        The condition that the value is held against, such as ``"<= 0.15"``.
    interval
        95 % moving-block bootstrap interval over positions; None where the measure is no mean over
        positions.
    null
        The null model that the value was compared with; None where none was.
    p_value
        (1 + null draws at least as extreme) ÷ (1 + draws).
    note
        One line for people: what the value means here, and what a null model would show.
    """

    id: str
    section: str
    statement: str
    verdict: Verdict
    value: float | None
    bar: str
    interval: tuple[float, float] | None = None
    null: str | None = None
    p_value: float | None = None
    note: str = ""
