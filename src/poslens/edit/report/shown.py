"""What the pages and the terminal both say of an edit."""

from __future__ import annotations

import math

from poslens.edit.costs import by_context, increase_of, seed_of
from poslens.edit.results import Candidate, Compression, Extension, Interval, Tried
from poslens.report import words
from poslens.study import Settings, Study


def as_study(found: Compression) -> Study:
    """Return the claim as a study of no measure, which is what pages and terminals show."""
    return Study(
        source=found.table.source,
        length=found.table.length,
        dim=found.table.dim,
        measures={},
        claims=(found.claim,),
        settings=Settings(nulls=0, seed=seed_of(found.settings)),
        data={},
    )


def methods(found: Compression) -> list[str]:
    """Return the methods that were tried, in order and once each."""
    return list(dict.fromkeys(one.method for one in found.tried))


def same(one: Candidate, other: Candidate) -> bool:
    """Return whether two candidates are of one method and rank."""
    return (one.method, one.rank) == (other.method, other.rank)


def named(one: Candidate) -> str:
    """Return a candidate's name: its method and rank."""
    return f"{words.visible(one.method)}, rank {one.rank:,}"


def by_loss(found: Extension) -> list[tuple[Tried, float]]:
    """Return what was measured beyond the trained length with its loss, the lowest first."""
    losses = [(one, by_context(one.scores, found.trained, None)) for one in found.tried]
    means = [(one, float(loss.mean())) for one, loss in losses if loss is not None]
    return sorted(means, key=lambda pair: pair[1])


def cheaper(found: Extension) -> str:
    """Return, in a sentence, what needs no edit and loses less than the recommended; or nothing.

    Only what the text tells from it: without an interval it tells nothing.
    """
    best = found.recommendation
    if best is None:
        return ""
    baselines = [one for one in found.tried if one.baseline and one.method in best.excess]
    told = [(one, *best.excess[one.method]) for one in baselines]
    lower = [
        (value, interval, one)
        for one, value, interval in told
        if interval is not None and interval[1] < 0
    ]
    if not lower:
        return ""
    value, (low, high), one = min(lower, key=lambda each: each[0])
    by = f"{nats(-value)} ({span((-high, -low))})"
    return (
        f"{words.visible(one.method)} ({words.visible(one.about)}) needs no edit, and its loss is "
        f"lower by {by} nats per token"
    )


def raised(found: Compression, one: Candidate) -> tuple[float, Interval | None] | None:
    """Return by what share a candidate raises the loss, and the interval."""
    return increase_of(one, found.original, seed_of(found.settings))


def why_no_loss(found: Compression | Extension) -> str:
    """Return why the model's loss is not known."""
    if any(getattr(one, "drift", None) is not None for one in found.tried):
        return "the model has no head, and so no loss"
    return words.visible(found.read).rstrip(".") or "no text was read"


def points(share: float | None) -> str:
    """Return a share that may be negative, in per cent and with its sign."""
    if share is None or not math.isfinite(share):
        return words.NOTHING
    per_cent = 100 * share
    size = abs(per_cent)
    if per_cent and size < 0.0005:
        return f"{per_cent:+.0e} %"
    digits = 3 if size < 0.1 else 2 if size < 10 else 1 if size < 100 else 0
    return f"{per_cent:+,.{digits}f} %"


def nats(value: float | None) -> str:
    """Return a loss, or a difference of losses, to four figures or a thousandth."""
    if value is None or not math.isfinite(value):
        return words.NOTHING
    return f"{value:,.4f}" if abs(value) < 10 else f"{value:,.2f}"


def short(value: float | None) -> str:
    """Return a number in few characters, however large or small."""
    if value is None or not math.isfinite(value):
        return words.NOTHING
    return f"{value:,.4g}" if abs(value) < 1e5 else f"{value:.2e}"


def span(interval: Interval | None) -> str:
    """Return an interval in nats as ``1.2 … 1.4``; a dash where there is none."""
    return words.NOTHING if interval is None else f"{nats(interval[0])} … {nats(interval[1])}"


def percents(interval: Interval | None) -> str:
    """Return an interval of a share as ``+1.2 … +1.4 %``; a dash where there is none."""
    if interval is None:
        return words.NOTHING
    return f"{points(interval[0]).removesuffix(' %')} … {points(interval[1])}"
