"""What stands side by side when studies are compared: one row for each fact, claim and measure.

The terminal, the notebook and the page lay out the same rows.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import TypeAlias

from poslens.claims.claim import Claim, Verdict
from poslens.report import words
from poslens.study import PROFILES, LayerStudy, Study

Scalar: TypeAlias = float | int | str | None

# Lists over the heads of the first layer, of which a table shows the median.
BY_HEAD = (
    "kernel.relative_share",
    "kernel.half_distance",
    "kernel.peak_offset",
    "kernel.symmetry",
)


def ordered_names(records: Iterable[Iterable[str]]) -> list[str]:
    """Return every name once, in the order of its first appearance."""
    return list(dict.fromkeys(name for record in records for name in record))


def facts(studies: Sequence[Study]) -> dict[str, tuple[str, ...]]:
    """Return family, scheme and shape, and the view where it is not the raw one, by row."""
    rows = {
        "family": [_known(study.source.family) for study in studies],
        "scheme": [_known(study.source.scheme) for study in studies],
        "table": [
            "none" if study.length is None else f"{study.length:,} × {study.dim:,}"
            for study in studies
        ],
    }
    if any(study.settings.view != "raw" for study in studies):
        rows["view"] = [words.visible(study.settings.view) for study in studies]
    return {name: tuple(cells) for name, cells in rows.items()}


def _known(name: str | None) -> str:
    return words.NOTHING if name in (None, "", "unknown") else words.visible(name)


def claims(studies: Sequence[Study | LayerStudy]) -> dict[str, tuple[Claim | None, ...]]:
    """Return every claim by its id, in the article's order: one for each study that has it."""
    found = [{claim.id: claim for claim in study.claims} for study in studies]
    return {name: tuple(record.get(name) for record in found) for name in ordered_names(found)}


def tested(studies: Sequence[Study | LayerStudy]) -> dict[str, tuple[Claim | None, ...]]:
    """Return the claims that apply to one study at least."""
    return {name: row for name, row in claims(studies).items() if any(map(applies, row))}


def applies(claim: Claim | None) -> bool:
    """Return whether a claim is there and applies."""
    return claim is not None and claim.verdict != Verdict.NOT_APPLICABLE


def shared_bar(row: Sequence[Claim | None]) -> str:
    """Return the bar of a row of claims; nothing where it differs, as with a table's dimension."""
    bars = {claim.bar for claim in row if claim is not None and applies(claim)}
    return words.bar_text(bars.pop()) if len(bars) == 1 else ""


def measures(studies: Sequence[Study]) -> dict[str, tuple[Scalar, ...]]:
    """Return the measures that are one value, by name: one for each study, None where it has none.

    A measure that is a list or a mapping in any of the studies is left out.
    """
    rows: dict[str, tuple[Scalar, ...]] = {}
    for name in ordered_names(study.measures for study in studies):
        values = [study.measures.get(name) for study in studies]
        scalars = tuple(value for value in values if not isinstance(value, list | Mapping))
        if name not in PROFILES and name not in BY_HEAD and len(scalars) == len(values):
            rows[name] = scalars
    return rows


def with_kernels(studies: Sequence[Study]) -> dict[str, tuple[Scalar, ...]]:
    """Return the measures that have a value in one study at least, and medians over heads."""
    rows = measures(studies)
    for name in BY_HEAD:
        rows[name] = tuple(over_heads(study.measures.get(name)) for study in studies)
    return {name: row for name, row in rows.items() if any(value is not None for value in row)}


def over_heads(value: object) -> float | None:
    """Return the median of a measure of heads; None where no head has one."""
    if not isinstance(value, list):
        return None
    finite = [float(each) for each in value if each is not None and math.isfinite(each)]
    return median(finite) if finite else None
