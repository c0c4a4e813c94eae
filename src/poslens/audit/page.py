"""The audit as a page of documentation."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from poslens._version import __version__
from poslens.audit.cells import (
    EVERY,
    LEAST_RIGHT,
    MODELS,
    MOST_WRONG,
    PROCESSES,
    RUNS,
    Outcome,
)
from poslens.audit.coverage import LEAST_HELD, MOST_HELD, Coverage, Uniformity
from poslens.audit.evidence import DRAWS
from poslens.audit.model_evidence import CONTEXTS
from poslens.audit.models import ModelProcess
from poslens.audit.processes import CLAIMS, OF_MODELS, OF_RUNS, Process, Truth
from poslens.audit.run import Audit
from poslens.audit.runs import RunProcess
from poslens.claims.rules import RULES
from poslens.files import written_whole

_AUDITED = tuple(rule.id for rule in RULES if rule.id in {*CLAIMS, *OF_MODELS, *OF_RUNS})
_UNLIKELY = (
    0.01  # p of the test that p-values are uniform, below which it is said that they are not
)


def write_page(audit: Audit, path: str | Path) -> None:
    """Write the audit as Markdown.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    with written_whole(path) as temporary:
        temporary.write_text(page(audit), encoding="utf-8")


def page(audit: Audit) -> str:
    """Return the audit as Markdown."""
    parts = (
        _opening(audit),
        "## Claim by claim",
        _by_claim(audit.outcomes),
        "## Out of reach",
        _out_of_reach(audit),
        "## Intervals",
        _coverage(audit.coverage),
        "## p-values",
        _uniformity(audit.uniformity),
        "## What is known of each table",
        _known(PROCESSES.values()),
        "## What is known of each model",
        _known(MODELS.values()),
        "## What is known of results of runs",
        _known_of_runs(),
    )
    return "\n\n".join(parts) + "\n"


def _opening(audit: Audit) -> str:
    tables = {each.cell: each.cell.tables for each in audit.outcomes}
    known = len(audit.outcomes)
    wrong = sum(not each.right for each in audit.outcomes)
    return (
        "# Audit: how often verdicts are right\n\n"
        "<!-- Written by `python -m poslens.audit`. Not to be edited. -->\n\n"
        f"PosLens {__version__}, seed {audit.seed}: {sum(tables.values()):,} tables, models and "
        f"results of runs, of {len(tables)} cells (a process, a size, a share of noise), whose "
        "construction says what is true of them. A claim is to be `supported` on at least "
        f"{LEAST_RIGHT:.0%} of those on which it is true, and on at most {MOST_WRONG:.0%} of those "
        f"on which it is false. That holds for {known - wrong} of {known} pairs of cell and claim; "
        "the others are listed below. Every table is decided as `poslens analyze --nulls "
        f"{DRAWS}` decides it; of a model, one random block of attention is read as "
        f"`poslens analyze` reads it, on {CONTEXTS} contexts of drawn tokens. For the claims that "
        "runs decide no model is trained or edited: losses are drawn, and what is audited is what "
        "a few seeds or contexts can tell. Intervals in brackets are exact (Clopper & Pearson "
        "1934), 95 %."
    )


def _by_claim(found: Sequence[Outcome]) -> str:
    rows = []
    for claim in _AUDITED:
        of_claim = [each for each in found if each.claim == claim]
        true = [each for each in of_claim if each.truth is Truth.TRUE]
        false = [each for each in of_claim if each.truth is Truth.FALSE]
        rows.append((f"`{claim}`", *_pooled(true, min), *_pooled(false, max)))
    head = ("claim", "true: supported", "lowest cell", "false: supported", "highest cell")
    return _table(head, rows)


def _pooled(found: Sequence[Outcome], worst: object) -> tuple[str, str]:
    if not found:
        return "–", "–"
    supported, tables = sum(each.supported for each in found), sum(each.tables for each in found)
    ordered = sorted(found, key=lambda each: each.rate)
    extreme = ordered[0] if worst is min else ordered[-1]
    return f"{supported / tables:.1%} of {tables:,}", f"{_rate(extreme)} {_where(extreme)}"


def _out_of_reach(audit: Audit) -> str:
    rows = [
        (
            f"`{each.claim}`",
            each.truth.value,
            _where(each),
            f"{each.supported} of {each.tables}",
            _span(each.interval),
            f"{each.contradicted} of {each.tables}",
        )
        for each in audit.outcomes
        if not each.right
    ]
    head = ("claim", "is", "tables", "supported", "95 %", "contradicted")
    return _table(head, rows) if rows else "Nothing that was looked at."


def _coverage(found: Sequence[Coverage]) -> str:
    rows = [
        (
            f"`{each.claim}`",
            f"{each.rho:g}",
            f"{each.length} × {each.dim}",
            f"{each.rate:.1%} {_span(each.interval)}",
            "" if each.right else "out of reach",
        )
        for each in found
    ]
    return (
        "On stationary decays p_t = ρ p_{t-1} + √(1-ρ²) ξ_t, how often the 95 % interval of a "
        "claim's measure holds its true value, which theory gives (roughness and noise share are "
        f"shares of the variance that the table has); {LEAST_HELD:.0%} to {MOST_HELD:.0%} is "
        "wanted. With ρ = 0.99, 256 rows have fewer than three independent norms.\n\n"
        + _table(("claim", "ρ", "L × d", "held", ""), rows)
    )


def _uniformity(found: Sequence[Uniformity]) -> str:
    rows = [
        (
            f"`{each.claim}`",
            each.process,
            f"{each.tables}",
            f"{each.distance:.3f}",
            f"{each.p:.3f}",
            "" if each.p >= _UNLIKELY else "not uniform",
        )
        for each in found
    ]
    return (
        "On tables drawn from the null that a claim names, p-values are uniform: Kolmogorov's "
        "distance from that, and how often uniform values are as far.\n\n"
        + _table(("claim", "tables", "number", "distance", "p", ""), rows)
    )


def _known(processes: Iterable[Process | ModelProcess]) -> str:
    lines = []
    for process in processes:
        lines.append(f"### {process.name}\n\n{process.about}.")
        for word, names in (("True", process.true), ("False", process.false)):
            known = ", ".join(claim for claim in process.audited if claim in names)
            lines.append(f"- {word}: {known or 'none'}")
        for reason in dict.fromkeys(process.open.values()):
            alike = [claim for claim in process.audited if process.open.get(claim) == reason]
            lines.append(f"- Left open: {', '.join(alike)}: {reason}")
        lines.extend(
            f"- With noise {claim} is {truth.value}" for claim, truth in process.noisy.items()
        )
    return "\n".join(line if line.startswith("-") else f"\n{line}\n" for line in lines).strip()


def _known_of_runs() -> str:
    rows = [
        (each.name, f"`{each.claim}`", each.truth_of_it.value, each.about) for each in RUNS.values()
    ]
    return _table(("results", "claim", "is", "made of"), rows)


def _where(each: Outcome) -> str:
    cell, process = each.cell, EVERY[each.cell.process]
    if isinstance(process, RunProcess):
        return f"{cell.process}, {cell.length} {process.of}"
    noise = f", noise {cell.noise:.0%}" if cell.noise else ""
    return f"{cell.process}, {cell.length} × {cell.dim}{noise}"


def _rate(each: Outcome) -> str:
    return f"{each.rate:.1%} {_span(each.interval)}"


def _span(interval: tuple[float, float]) -> str:
    return f"[{interval[0]:.1%}, {interval[1]:.1%}]"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    lines.extend(f"| {' | '.join(row)} |" for row in rows)
    return "\n".join(lines)
